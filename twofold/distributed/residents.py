"""`Homes`: a cluster whose workers keep objects between tasks."""

import ctypes
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, NamedTuple, Self, TypeVar
from uuid import uuid4
from weakref import ref

import numpy as np

from twofold._kernels.aligned import aligned_copy
from twofold._kernels.reused import ReusedMemory, memory_of
from twofold._kernels.threads import available_threads
from twofold.distributed.engine import Cluster, all_threads, ended_error, no_scheduler_error
from twofold.distributed.packed import Packed
from twofold.exceptions import ClusterError

__all__ = ["MOST_ATTEMPTS", "Handle", "Homes", "Inline", "Item", "LostError", "only_reads"]

MOST_ATTEMPTS = 5  # of what workers that end may interrupt
F = TypeVar("F", bound=Callable[..., Any])
_WORKER_SECONDS = 30  # to wait for a worker
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc, mallopt(3)
_KEPT_BYTES, _LARGEST_KEPT = 1 << 28, 1 << 25  # the latter is the largest that glibc accepts
_READING: set[Callable[..., Any]] = set()
_KEY = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")  # of an object
_LOST = "the cluster lost data with a worker that ended"
_PROCESS = uuid4().hex, os.getpid()  # in a fork of this process, only the first one is the same


@dataclass(eq=False)
class Handle:
    """An object of a worker, which keeps it while there is the handle.

    Parameters
    ----------
    key : str
        The name of the object.
    future : distributed.Future, optional
        None until the call that makes the object is sent to the scheduler.
    ended : list
        Gets the future at the end of the handle.
    """

    key: str
    future: Any = None
    ended: list[Any] = field(default_factory=list)

    def __del__(self) -> None:
        self.ended.append(self.future)


class Item(NamedTuple):
    """One of the objects of a task that returns a tuple, an argument of `Homes.call`.

    The objects of a tuple are sent together, because a message costs some milliseconds.
    """

    handle: Handle
    number: int


@dataclass(frozen=True)
class Inline:
    """The value ``function(*arguments, threads=threads, **options)``, an argument of `Homes.call`.

    It is computed by the task that uses it, because a task costs some milliseconds. Its arguments
    are like those of `Homes.call`.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


class _Object(NamedTuple):
    """The next one of the objects that a task gets in order, or an item of it."""

    number: int | None = None

    def of(self, value: Any) -> Any:
        """Return the object that is meant."""
        return value if self.number is None else value[self.number]


class _Value(NamedTuple):
    """An argument that is sent with the task."""

    value: Any


class _Made(NamedTuple):
    """What a task computes: an argument, or its result."""

    function: Callable[..., Any]
    arguments: list["_Object | _Value | _Made"]
    options: dict[str, Any]

    @classmethod
    def of(cls, one: Inline, objects: list[Handle]) -> Self:
        """Return what to compute, and append the handles of its objects."""
        arguments = list[_Object | _Value | _Made]()
        for part in one.arguments:
            if isinstance(part, Inline):
                arguments.append(cls.of(part, objects))
            elif isinstance(part, Handle):
                objects.append(part)
                arguments.append(_Object())
            elif isinstance(part, Item):
                objects.append(part.handle)
                arguments.append(_Object(part.number))
            else:
                arguments.append(_Value(part))
        return cls(one.function, arguments, one.options)

    def result(self, objects: Iterator[Any], threads: int) -> Any:
        """Return the result for the objects, in order."""
        owned = _unpacked if self.function in _READING else _owned

        def argument(one: _Object | _Value | _Made) -> Any:
            if isinstance(one, _Made):
                return one.result(objects, threads)
            return owned(one.of(next(objects))) if isinstance(one, _Object) else one.value

        arguments = [argument(one) for one in self.arguments]
        return self.function(*arguments, threads=threads, **self.options)


class _Call(NamedTuple):
    """A task that is not yet sent to the scheduler."""

    handle: "ref[Handle]"
    home: str
    function: Callable[..., Any]
    objects: tuple[Handle, ...]


class _Graph(dict[str, Any]):
    """Tasks by their keys.

    Dask identifies every graph by a hash of all its functions and arguments. That of this class is
    a number instead, because no two graphs are the same, and the hash takes several milliseconds.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


@cache
def _register_graphs() -> None:
    from dask.base import normalize_token

    normalize_token.register(_Graph, lambda graph: ("twofold-graph", uuid4().hex))


class LostError(ClusterError):
    """Something that workers had is lost, and can be made again."""


class Homes(Cluster):
    """A cluster whose workers keep objects while the client has their handles.

    What was on a worker that ended is lost, and with it what is computed from it.

    Raises
    ------
    ClusterError
        As `Cluster`, and in a task of a worker, which would wait for itself.
    """

    def __init__(self, client: Any = None) -> None:
        super().__init__(client)
        self._calls: dict[str, _Call] = {}
        self._ended: list[Any] = []  # futures, which are released after the next calls are sent
        from distributed import get_worker

        with suppress(ValueError):  # outside of a task
            get_worker()
            raise ClusterError("DaskALS cannot run in a task of a worker: use ALS there")

    def addresses(self) -> list[str]:
        """Return the addresses of the workers, in alphabetical order.

        Raises
        ------
        ClusterError
            If there is no scheduler, or no worker, within half a minute, or the client is closed.
        """
        self._wait_for_scheduler()
        with self.reaching_workers():
            self.client.wait_for_workers(1, timeout=_WORKER_SECONDS)
            return sorted(self.client.nthreads())

    def _wait_for_scheduler(self) -> None:
        """Wait while the client connects again to a scheduler that was started anew."""
        end = time.monotonic() + _WORKER_SECONDS
        while self.client.status == "connecting" and time.monotonic() < end:
            time.sleep(0.1)
        if not self.is_open:
            raise no_scheduler_error()

    def _check(self) -> None:
        """Raise LostError unless the client is connected."""
        if not self.is_open:
            raise LostError("the client lost its scheduler, which had the handles of all objects")

    def homes(self, n: int) -> list[str]:
        """Return the addresses of workers for n objects, the same number for each worker."""
        addresses = self.addresses()
        return [addresses[number % len(addresses)] for number in range(n)]

    def memory_limits(self) -> list[int]:
        """Return the bytes of memory that each worker may use; 0 if that is not limited."""
        self.addresses()
        with self.reaching_workers():
            workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return [int(one["memory_limit"] or 0) for one in workers.values()]

    def placed(self, objects: Sequence[Any], home: str) -> list[Handle]:
        """Send objects to a worker; return their handles.

        Raises
        ------
        LostError
            If the worker has ended.
        """
        packed = [one if isinstance(one, np.ndarray) else Packed(one) for one in objects]
        self._check()
        try:
            with _losses():
                futures = self.client.scatter(packed, workers=[home], hash=False)
        except (KeyError, OSError, TimeoutError) as error:  # the scheduler lacks the worker
            raise LostError(f"the worker {home} has ended") from error
        return [Handle(future.key, future, self._ended) for future in futures]

    def call(self, function: Callable[..., Any], *handles: Any, home: str, **others: Any) -> Handle:
        """Compute ``function(*objects, threads=threads, **others)``; return its handle.

        ``handles`` are those of the objects, `Item`, `Inline`, or small objects themselves. It runs
        on the worker ``home`` while there is one, and its result stays there. The calls are sent to
        the scheduler together, once the value of one of them is needed.
        """
        objects = list[Handle]()
        made = _Made.of(Inline(function, handles, others), objects)
        key = f"{function.__name__}-{uuid4()}"  # the name that the dashboard shows; see _KEY
        handle = Handle(key, ended=self._ended)
        whole = partial(_on_home, _PROCESS, made)
        self._calls[handle.key] = _Call(ref(handle), home, whole, tuple(objects))
        return handle

    def _send_calls(self) -> None:
        """Send the calls to the scheduler; those that no handle needs are left out.

        What is not needed any more is released afterwards, because a client sends no more than one
        message in 10 ms, and the calls are urgent.
        """
        self._check()
        calls, self._calls = self._calls, {}
        kept = [handle for call in calls.values() if (handle := call.handle()) is not None]
        if kept:
            self._send(calls, kept)
        self._ended.clear()

    def _send(self, calls: dict[str, _Call], kept: list[Handle]) -> None:
        """Send calls as one graph, and set the futures of the handles that are kept."""
        import dask
        from distributed.utils_comm import WrappedKey

        _register_graphs()
        graph = _Graph(
            {
                key: (call.function, *(WrappedKey(one.key) for one in call.objects))
                for key, call in calls.items()
            }
        )
        workers = {key: [call.home] for key, call in calls.items()}
        priorities = _priorities(calls)
        with (
            _losses(),
            dask.annotate(
                workers=workers.__getitem__, allow_other_workers=True,
                priority=priorities.__getitem__,
            ),
        ):  # fmt: skip
            futures = self.client.get(
                graph, [one.key for one in kept], sync=False, fifo_timeout="0s"
            )
        for handle, future in zip(kept, futures, strict=True):
            handle.future = future

    def values(self, handles: Sequence[Handle]) -> list[Any]:
        """Return the objects of handles.

        Raises
        ------
        LostError
            If they, or what they are computed from, were lost with a worker.
        ClusterError
            If there is no worker to compute them.
        """
        from distributed import TimeoutError, wait

        self._send_calls()
        futures = [one.future for one in handles]
        with _losses():
            while True:
                try:
                    wait(futures, timeout=_WORKER_SECONDS)
                    break
                except TimeoutError:
                    self.addresses()
            return [_unpacked(one) for one in self.client.gather(futures)]

    def errors(self, handles: Sequence[Handle]) -> list[BaseException]:
        """Wait for the objects of handles; return the errors of those that have one, in order."""
        from distributed import wait

        self._send_calls()
        futures = [one.future for one in handles]
        with _losses():
            wait(futures)
            return [one.exception() for one in futures if one.status == "error"]


def only_reads(function: F) -> F:
    """Return a function after noting that its arrays may be read-only and not aligned."""
    _READING.add(function)
    return function


def _priorities(calls: dict[str, _Call]) -> dict[str, int]:
    """Return the priorities of calls: each is made when the first call that uses it is next.

    In the order in which they were created, all inputs of many calls would be in memory at once.
    """
    turns: dict[str, int] = {}
    for number, (key, call) in reversed(list(enumerate(calls.items()))):
        turn = turns.setdefault(key, number)
        for one in call.objects:
            turns[one.key] = min(turn, turns.get(one.key, turn))
    order = sorted(calls, key=turns.__getitem__)
    return {key: -number for number, key in enumerate(order)}


@contextmanager
def _losses() -> Iterator[None]:
    """Raise `LostError` for what Dask raises where data are lost."""
    from distributed import CancelledError, KilledWorker
    from distributed.client import ClosedClientError

    try:
        yield
    except (CancelledError, ClosedClientError) as error:
        raise LostError(_LOST) from error
    except KeyError as error:  # of a task whose input was lost while it began
        if not _KEY.search(str(error.args[0])):
            raise
        raise LostError(_LOST) from error
    except KilledWorker as error:
        raise ended_error() from error


def _packed(value: Any) -> Any:
    """Return a result as Dask gets it: arrays are sent without copies, tuples as their items."""
    if type(value) is tuple:
        return tuple(map(_packed, value))
    return value if isinstance(value, np.ndarray) else Packed(value)


def _unpacked(value: Any) -> Any:
    if type(value) is tuple:
        return tuple(map(_unpacked, value))
    return value.content if isinstance(value, Packed) else value


def _on_home(process: tuple[str, int], made: _Made, *objects: Any) -> Any:
    """Compute a result with the threads of the worker; ``process`` is the one of the client."""
    memory = _reused_memory() if process != (_PROCESS[0], os.getpid()) else None
    with all_threads(), memory_of(memory):
        result = made.result(iter(objects), available_threads())
    return _packed(result)


@cache
def _reused_memory() -> ReusedMemory:
    """Return memory for the arrays of tasks; let the allocator keep that of received arrays.

    Otherwise each array consists of new pages, which cost as much as several passes over it. Dask
    configures the allocator of glibc so that freed memory is returned at once. It keeps
    `_KEPT_BYTES` or somewhat more then, unless they are more than a sixteenth of the memory of the
    worker.
    """
    from distributed import get_worker

    limit = get_worker().memory_manager.memory_limit
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None and (not limit or limit >= 16 * _KEPT_BYTES):
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    return ReusedMemory(limit // 32 if limit else _KEPT_BYTES)


def _owned(value: Any) -> Any:
    """Return an object that kernels can use: arrays from another worker may be read-only."""
    value = _unpacked(value)
    if isinstance(value, np.ndarray) and not (value.flags.writeable and value.flags.aligned):
        return aligned_copy(value, value.dtype) if value.ndim == 2 else value.copy()
    return value
