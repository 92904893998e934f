"""`Cluster`: the only module that calls Dask.

The other modules give it functions and arguments. An adapter to another engine has the methods of
`Cluster`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import numpy as np

from twofold._kernels.aligned import aligned_copy
from twofold._kernels.threads import at_most_threads, available_threads
from twofold.exceptions import ClusterError, InvalidInputError

__all__ = ["Cluster", "LostError", "connected"]

_IN_FLIGHT = 4  # tasks for each worker that are submitted before their results are used
_MOST_ATTEMPTS = 3  # of a task whose shared object is lost with all workers that have it
_CONNECT_SECONDS = 10
_WORKER_SECONDS = 30
_busy: dict[str, threading.Lock] = {}  # by the address of the worker


class Cluster:
    """The workers of a Dask cluster.

    A worker computes one task at a time, with as many threads as Dask has given to the worker. A
    task whose worker dies is computed by another one. Tasks are therefore pure, or write the same
    whatever was written before.

    Parameters
    ----------
    client : distributed.Client, optional
        The client of the cluster. Default: the current one, which is the last that was made in
        this process. No cluster is started.

    Raises
    ------
    ClusterError
        If there is no client, or it is closed.
    InvalidInputError
        If Dask is not installed, or `client` is something else.
    """

    def __init__(self, client: Any = None) -> None:
        self.client = _checked(client)
        self._sent: dict[int, tuple[Any, Any]] = {}  # with the object, so that its id stays its own
        self._lock = threading.Lock()

    @property
    def n_workers(self) -> int:
        """Number of workers at the moment."""
        return len(self.client.nthreads())

    def submit(self, function: Callable[..., Any], shared: Any, /, *arguments: Any) -> Future[Any]:
        """Compute ``function(shared, *arguments)`` on a worker.

        Parameters
        ----------
        function : callable
            A function of a module that the workers have.
        shared : object
            Sent to each worker once, whatever the number of tasks that use it. It must not change.
        *arguments
            Sent with the task.

        Returns
        -------
        concurrent.futures.Future
        """
        attempt = _Attempt(self, function, shared, arguments)
        attempt.start()
        return attempt.promise

    def each(
        self, function: Callable[..., Any], shared: Any, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[Any]:
        """Yield ``function(shared, *task)`` of each task, in their order.

        The tasks are taken as the workers need them, so that the memory is that of a few.
        """
        promises: deque[Future[Any]] = deque()
        try:
            for task in tasks:
                while len(promises) >= _IN_FLIGHT * max(self.n_workers, 1):
                    yield promises.popleft().result()
                promises.append(self.submit(function, shared, *task))
            while promises:
                yield promises.popleft().result()
        finally:
            for promise in promises:
                promise.cancel()

    def sent(self, shared: Any) -> Any:
        """Return the object on the workers, sent to all of them if it is not there."""
        from distributed import TimeoutError

        with self._lock:
            _, handle = self._sent.get(id(shared), (None, None))
            if handle is None or handle.status != "finished":
                try:
                    (handle,) = self.client.scatter([_Packed(shared)], broadcast=True, hash=False)
                except TimeoutError as error:
                    raise ClusterError(
                        f"the cluster of {self.client.scheduler.address} has no workers: start "
                        "some, for instance by cluster.scale(2) or the command dask worker"
                    ) from error
                self._sent[id(shared)] = shared, handle
            return handle

    # What stays on the workers

    def addresses(self) -> list[str]:
        """Return the addresses of the workers, in alphabetical order.

        Raises
        ------
        ClusterError
            If there is no worker within half a minute.
        """
        from distributed import TimeoutError

        try:
            self.client.wait_for_workers(1, timeout=_WORKER_SECONDS)
        except TimeoutError as error:
            raise ClusterError(
                f"the cluster of {self.client.scheduler.address} has no workers: start some, for "
                "instance by cluster.scale(2) or the command dask worker"
            ) from error
        return sorted(self.client.nthreads())

    def placed(self, objects: Sequence[Any], home: str) -> list[Any]:
        """Send objects to a worker, where they stay while their handles exist."""
        packed = [one if isinstance(one, np.ndarray) else _Packed(one) for one in objects]
        with _lost_is_reported():
            handles: list[Any] = self.client.scatter(packed, workers=[home], hash=False)
        return handles

    def call(self, function: Callable[..., Any], *handles: Any, home: str, **others: Any) -> Any:
        """Compute ``function(*objects, threads=threads, **others)``; return its handle.

        It runs on the worker ``home`` while there is one, and its result stays there.
        """
        key = f"{function.__name__}-{uuid4()}"
        return self.client.submit(
            _on_home, function, others, *handles, key=key, workers=[home],
            allow_other_workers=True,
        )  # fmt: skip

    def values(self, handles: Sequence[Any]) -> list[Any]:
        """Return the objects of handles.

        Raises
        ------
        LostError
            If they, or what they are computed from, were lost with a worker.
        """
        with _lost_is_reported():
            return [_unwrapped(one) for one in self.client.gather(list(handles))]


class LostError(ClusterError):
    """Something that workers had is lost, and can be made again."""


@contextmanager
def _lost_is_reported() -> Iterator[None]:
    from distributed import CancelledError, KilledWorker

    try:
        yield
    except CancelledError as error:
        raise LostError("the cluster lost data with a worker that ended") from error
    except KilledWorker as error:
        raise ClusterError(
            "all workers that were given one task ended, perhaps because it needs more memory than "
            "they have: their logs say more"
        ) from error


def _unwrapped(value: Any) -> Any:
    return value.content if isinstance(value, _Packed) else value


def _on_home(function: Callable[..., Any], others: dict[str, Any], *values: Any) -> Any:
    """Call a function with all threads of the worker, which runs no other one meanwhile."""
    from distributed import get_worker

    worker = get_worker()
    threads = worker.state.nthreads
    with _busy.setdefault(worker.address, threading.Lock()), at_most_threads(threads):
        result = function(*map(_owned, values), threads=available_threads(), **others)
    return result if isinstance(result, np.ndarray) else _Packed(result)


def _owned(value: Any) -> Any:
    """Return an object that kernels can use: arrays from another worker may be read-only."""
    value = _unwrapped(value)
    if isinstance(value, np.ndarray) and not (value.flags.writeable and value.flags.aligned):
        return aligned_copy(value, value.dtype) if value.ndim == 2 else value.copy()
    return value


class _Attempt:
    """A task, begun again if the object that it shares with others is lost."""

    def __init__(
        self, cluster: Cluster, function: Callable[..., Any], shared: Any, arguments: Any
    ) -> None:
        self.cluster, self.shared, self.call = cluster, shared, (function, _Packed(arguments))
        self.promise: Future[Any] = Future()
        self.promise.add_done_callback(self._cancel)
        self.n_attempts = 0

    def start(self) -> None:
        self.n_attempts += 1
        handle, client = self.cluster.sent(self.shared), self.cluster.client
        function, arguments = self.call
        key = f"{function.__name__}-{uuid4()}"  # the name that the dashboard shows
        self.future = client.submit(_on_worker, function, handle, arguments, key=key)
        self.future.add_done_callback(self._end)

    def _end(self, future: Any) -> None:
        """Pass the result on; called by a thread of Dask."""
        is_lost = future.status not in ("finished", "error")
        if is_lost and not self.promise.cancelled() and self._begins_again():
            return
        if not self.promise.set_running_or_notify_cancel():
            return
        try:
            self.promise.set_result(future.result())
        except BaseException as error:
            self.promise.set_exception(self._explained(error))

    def _begins_again(self) -> bool:
        if self.n_attempts == _MOST_ATTEMPTS or self.cluster.client.status != "running":
            return False
        try:
            self.start()
        except Exception:
            return False  # the client is closing: the result is that the future is cancelled
        return True

    def _explained(self, error: BaseException) -> BaseException:
        """Return an error of the cluster in one sentence, and others as they are."""
        from distributed import CancelledError, KilledWorker

        if not isinstance(error, CancelledError | KilledWorker):
            return error
        if isinstance(error, CancelledError) and self.n_attempts < _MOST_ATTEMPTS:
            return ClusterError(
                "the cluster lost a task, because the client was closed or the scheduler ended: "
                "repeat the call with a new client"
            )
        return ClusterError(
            "all workers that were given one task ended, perhaps because it needs more memory than "
            "they have: their logs say more"
        )

    def _cancel(self, promise: Future[Any]) -> None:
        if promise.cancelled():
            self.future.cancel()


class _Packed:
    """An object whose arrays are pickled with it, so that the copies have memory of their own.

    Dask places them at any position of a buffer, and numba compiles kernels again for arrays that
    are not aligned.
    """

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        from distributed.protocol.pickle import dumps

        return _unpacked, (dumps(self.content),)


def _unpacked(pickled: bytes) -> _Packed:
    from distributed.protocol.pickle import loads

    return _Packed(loads(pickled))


def _on_worker(function: Callable[..., Any], shared: _Packed, arguments: _Packed) -> Any:
    """Call a function with all threads of the worker, which runs no other one meanwhile."""
    from distributed import get_worker

    worker = get_worker()
    with _busy.setdefault(worker.address, threading.Lock()), at_most_threads(worker.state.nthreads):
        return function(shared.content, *arguments.content)


def _checked(client: Any) -> Any:
    """Return the given or the current client."""
    distributed = _import()
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError as error:
            raise ClusterError(
                "there is no Dask client: make one before, by distributed.Client(address) for a "
                "cluster or distributed.Client() for the cores of this machine"
            ) from error
    if not isinstance(client, distributed.Client) or client.asynchronous:
        is_client = isinstance(client, distributed.Client)
        kind = "an asynchronous one" if is_client else f"a {type(client).__name__}"
        raise InvalidInputError(f"client is {kind}: give a synchronous distributed.Client")
    if client.status != "running":
        raise ClusterError(f"the Dask client is {client.status}: make a new one")
    return client


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to the scheduler at an address, within the context.

    Raises
    ------
    ClusterError
        If there is no scheduler at this address.
    """
    distributed = _import()
    try:
        client = distributed.Client(address, set_as_default=False, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"there is no scheduler of Dask at {address!r}: give its address as it prints it, such "
            "as tcp://host:8786"
        ) from error
    with client:
        yield client


def _import() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InvalidInputError(
            'a cluster needs the packages dask and distributed: pip install "twofold[distributed]"'
        ) from error
    return distributed
