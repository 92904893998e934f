"""`Cluster`: the only module that calls Dask.

The other modules give it functions and arguments. An adapter to another engine has the methods of
`Cluster`.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from twofold._kernels.threads import at_most_threads
from twofold.distributed.packed import Packed
from twofold.exceptions import ClusterError, InvalidInputError

__all__ = [
    "Cluster",
    "Task",
    "all_threads",
    "connected",
    "ended_error",
    "no_scheduler_error",
]

_IN_FLIGHT = 4  # tasks for each worker that are submitted before their results are used
_MOST_ATTEMPTS = 3  # of a task whose shared object is lost with all workers that have it
_CONNECT_SECONDS = 10
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

    Examples
    --------
    With a cluster in the threads of this process:

    >>> from operator import add, mul
    >>> from distributed import Client
    >>> with Client(processes=False, dashboard_address=None) as client:
    ...     cluster = Cluster(client)
    ...     task = cluster.submit(add, 2, 3)
    ...     print([ended.result() for ended in cluster.finished([task])])
    ...     print(list(cluster.each(mul, 10, [(1,), (2,)])))
    [5]
    [10, 20]
    """

    def __init__(self, client: Any = None) -> None:
        self.client = _checked(client)
        self._sent: dict[int, tuple[Any, Any]] = {}  # with the object, so that its id stays its own

    @property
    def is_open(self) -> bool:
        """Whether the client is connected."""
        return bool(self.client.status == "running")

    @property
    def n_workers(self) -> int:
        """Number of workers at the moment."""
        with _reaching_scheduler():
            return len(self.client.nthreads())

    def submit(self, function: Callable[..., Any], shared: Any, /, *arguments: Any) -> "Task":
        """Compute ``function(shared, *arguments)`` on a worker.

        Parameters
        ----------
        function : callable
            A function of a module that the workers have.
        shared : object
            Sent to each worker before the first task, and not with each one. It must not change.
        *arguments
            Sent with the task.

        Returns
        -------
        Task
        """
        return Task(self, function, shared, arguments)

    def each(
        self, function: Callable[..., Any], shared: Any, tasks: Iterable[tuple[Any, ...]]
    ) -> Iterator[Any]:
        """Yield ``function(shared, *task)`` of each task, in their order.

        The tasks are taken as the workers need them, so that the memory is that of a few.

        Parameters
        ----------
        function, shared
            As for `submit`.
        tasks : iterable of tuple
            The further arguments of each task.

        Yields
        ------
        object
            The result of each task.
        """
        begun: deque[Task] = deque()
        try:
            for task in tasks:
                while len(begun) >= _IN_FLIGHT * max(self.n_workers, 1):
                    yield begun.popleft().result()
                begun.append(self.submit(function, shared, *task))
            while begun:
                yield begun.popleft().result()
        finally:
            for left in begun:
                left.cancel()

    def finished(self, tasks: "Iterable[Task]") -> "list[Task]":
        """Wait until a task has a result or an error; return all that have.

        Parameters
        ----------
        tasks : iterable of Task
            Results of `submit`, at least one.

        Returns
        -------
        list of Task
        """
        from distributed import CancelledError, wait

        tasks = list(tasks)
        while True:
            with suppress(CancelledError), self.client.as_current():
                wait([task.future for task in tasks], return_when="FIRST_COMPLETED")
            found = [task for task in tasks if task.has_ended()]
            if found:
                return found

    def sent(self, shared: Any) -> Any:
        """Return the object on the workers, sent to all of them if it is not there.

        Parameters
        ----------
        shared : object
            As for `submit`.

        Returns
        -------
        distributed.Future
            An argument for tasks, which get the object in a `Packed`.

        Examples
        --------
        >>> from distributed import Client
        >>> with Client(processes=False, dashboard_address=None) as client:
        ...     print(Cluster(client).sent([1, 2]).result().content)
        [1, 2]
        """
        _, handle = self._sent.get(id(shared), (None, None))
        if handle is None or handle.status != "finished":
            handle = self._sent_to_all(Packed(shared))
            self._sent[id(shared)] = shared, handle
        return handle

    def _sent_to_all(self, packed: "Packed") -> Any:
        """Send an object to all workers; return its handle."""
        for _ in range(_MOST_ATTEMPTS):
            with self.reaching_workers(), suppress(KeyError):  # of a worker that ends meanwhile
                (handle,) = self.client.scatter([packed], broadcast=True, hash=False)
                return handle
        raise ended_error()

    @contextmanager
    def reaching_workers(self) -> Iterator[None]:
        """Within this context manager, raise the errors of the cluster as `ClusterError`.

        Yields
        ------
        None

        Raises
        ------
        ClusterError
            If the scheduler has ended, or has no workers.

        Examples
        --------
        >>> from distributed import Client
        >>> with Client(processes=False, dashboard_address=None) as client:
        ...     with Cluster(client).reaching_workers():
        ...         print(client.submit(abs, -3).result())
        3
        """
        from distributed import TimeoutError

        with _reaching_scheduler():
            try:
                yield
            except TimeoutError as error:
                if not self.is_open:
                    raise
                raise ClusterError(
                    f"the cluster of {self.client.scheduler.address} has no workers: start some, "
                    "for instance by cluster.scale(2) or the command dask worker"
                ) from error


class Task:
    """A task of a cluster, begun again if the object that it shares with others is lost.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    function, shared, arguments
        As for `Cluster.submit`.
    """

    def __init__(
        self, cluster: Cluster, function: Callable[..., Any], shared: Any, arguments: Any
    ) -> None:
        self.cluster, self.shared = cluster, shared
        self.function, self.arguments = function, Packed(arguments)
        self.n_attempts = 0
        self._begin()

    def _begin(self) -> None:
        self.n_attempts += 1
        handle, client = self.cluster.sent(self.shared), self.cluster.client
        key = f"{self.function.__name__}-{uuid4()}"  # the name that the dashboard shows
        with _reaching_scheduler():
            self.future = client.submit(_on_worker, self.function, handle, self.arguments, key=key)

    def begin_again(self) -> None:
        """Begin a task again that was lost; ClusterError if this cannot help."""
        if not self.cluster.is_open:
            raise no_scheduler_error()
        if self.n_attempts == _MOST_ATTEMPTS:
            raise ended_error()
        self._begin()

    def has_ended(self) -> bool:
        """Return whether `result` does not wait; begin a task again that was lost."""
        if self.future.status in ("cancelled", "lost"):
            try:
                self.begin_again()
            except ClusterError:
                return True  # `result` raises it
        return self.future.status in ("finished", "error")

    def result(self) -> Any:
        """Wait for the result; raise the error of the function as it is."""
        from distributed import CancelledError, KilledWorker

        while True:
            try:
                return self.future.result()
            except KilledWorker as error:
                raise ended_error() from error
            except CancelledError:
                self.begin_again()

    def cancel(self) -> None:
        """Cancel the task if it has not begun."""
        self.future.cancel()


def ended_error() -> ClusterError:
    """Return the error of a task that ends every worker that gets it."""
    return ClusterError(
        "all workers that were given one task ended, perhaps because it needs more memory than "
        "they have: their logs say more"
    )


def no_scheduler_error() -> ClusterError:
    """Return the error of a client that is not connected."""
    return ClusterError(
        "the scheduler ended or the client was closed: repeat the call with a new client"
    )


@contextmanager
def _reaching_scheduler() -> Iterator[None]:
    """Raise `no_scheduler_error` for what Dask raises if the scheduler ended."""
    from distributed.client import ClosedClientError

    try:
        yield
    except (OSError, ClosedClientError) as error:
        raise no_scheduler_error() from error


def _on_worker(function: Callable[..., Any], shared: Packed, arguments: Packed) -> Any:
    with all_threads():
        return function(shared.content, *arguments.content)


@contextmanager
def all_threads() -> Iterator[int]:
    """Use the threads of the worker, and no more, and run nothing else on it meanwhile."""
    from distributed import get_worker

    worker = get_worker()
    n_threads = worker.state.nthreads
    with _busy.setdefault(worker.address, threading.Lock()), at_most_threads(n_threads):
        yield n_threads


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
    """Connect to the scheduler at an address within the context, in which the client is current.

    Raises
    ------
    ClusterError
        If there is no scheduler at this address.
    """
    distributed = _import()
    try:
        # A client that fails closes itself later, in any thread, and can block other clients then.
        asyncio.run(_reach(address))
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"there is no scheduler of Dask at {address!r}: give its address as it prints it, such "
            "as tcp://host:8786"
        ) from error
    with distributed.Client(address, set_as_default=False) as client, client.as_current():
        yield client


async def _reach(address: str) -> None:
    """Open and close a connection."""
    from distributed import Security
    from distributed.comm import connect

    options = Security().get_connection_args("client")
    await (await connect(address, timeout=_CONNECT_SECONDS, **options)).close()


def _import() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InvalidInputError(
            'a cluster needs the packages dask and distributed: pip install "twofold[distributed]"'
        ) from error
    return distributed
