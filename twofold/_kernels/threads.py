"""Number of threads, and the execution of kernels by several threads.

A kernel is a serial function that releases the GIL. Its work is divided into tasks, and every
thread takes the next task from a shared counter until none is left. The result therefore depends
on the division into tasks, but not on the threads. The calling thread takes part, and idle threads
of a pool join it, so a call never waits for another one.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numba
import numpy as np
import scipy.linalg  # noqa: F401 - loads the BLAS of scipy before its threads are limited
from threadpoolctl import ThreadpoolController

from twofold.exceptions import InvalidInputError

T = TypeVar("T")
_LEAST_WORK = 1 << 17  # multiply-adds of memory-bound kernels that repay the start of a thread
_compiled: set[tuple[Any, ...]] = set()
_blas_limit = threading.RLock()  # held while BLAS is limited; a fork waits for it
_this_thread = threading.local()
_most_threads: ContextVar[int | None] = ContextVar("most_threads", default=None)


def available_threads() -> int:
    """Return how many threads CPU affinity, the container's quota and `at_most_threads` allow."""
    limit = _most_threads.get()
    return _threads_of_process() if limit is None else min(limit, _threads_of_process())


@contextmanager
def at_most_threads(limit: int) -> Iterator[None]:
    """Limit the threads of every call in this context to ``limit``, whatever its ``n_threads``."""
    token = _most_threads.set(limit)
    try:
        yield
    finally:
        _most_threads.reset(token)


@cache
def _threads_of_process() -> int:
    limit = int(numba.config.NUMBA_NUM_THREADS)
    if hasattr(os, "sched_getaffinity"):
        limit = min(limit, len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            limit = min(limit, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # No cgroup v2 on this system.
    return max(1, limit)


def check_n_threads(n_threads: int | None) -> int:
    """Return the number of threads to use, at most `available_threads`; all of them for None."""
    if n_threads is None:
        return available_threads()
    is_integer = isinstance(n_threads, int | np.integer) and not isinstance(n_threads, bool)
    if not is_integer or n_threads < 1:
        raise InvalidInputError(
            f"n_threads is {n_threads!r}: give a whole number >= 1, or None for all threads"
        )
    return min(int(n_threads), available_threads())


def useful_threads(work: int, n_threads: int) -> int:
    """Return the number of threads for a kernel with one multiply-add for each of some numbers."""
    return max(1, min(n_threads, work // _LEAST_WORK))


def run(kernel: Callable[..., object], n_tasks: int, n_threads: int, *arguments: Any) -> None:
    """Call ``kernel(counter, n_tasks, *arguments)`` in up to ``n_threads`` threads.

    The kernel gets its tasks from `next_task(counter)` until they reach ``n_tasks``.
    """
    counter = np.zeros(1, np.int64)
    n_helpers = min(n_threads, n_tasks) - 1
    if n_helpers < 1 or numba.config.DISABLE_JIT:
        kernel(counter, n_tasks, *arguments)
        return
    types = (kernel, *_argument_types(arguments))
    if types not in _compiled:  # Compile in one thread; the others would wait for the lock.
        kernel(counter, 0, *arguments)
        counter[0] = 0
        _compiled.add(types)
    helpers = [_Call(kernel, (counter, n_tasks, *arguments)) for _ in range(n_helpers)]
    try:
        for helper in helpers:
            _helpers.submit(helper)
        kernel(counter, n_tasks, *arguments)
    finally:  # After an interrupt, too, the helpers stop at their next task.
        counter[0] = n_tasks
        started = [helper for helper in helpers if not helper.withdraw()]
        for helper in started:
            helper.wait()
    for helper in started:
        helper.result()


def with_one_blas_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Return ``function(*arguments)``, computed with BLAS limited to one thread.

    Idle BLAS threads spin and keep the cores busy. The limit applies to the whole process, so a
    dedicated thread makes all these calls: they never overlap, and an interrupt of the calling
    thread cannot leave the limit in place. A limit that another library sets meanwhile is kept.
    """
    if getattr(_this_thread, "has_limited_blas", False):
        return function(*arguments)
    if sys.is_finalizing():  # All other threads have ended, perhaps with the lock.
        return _with_limited_blas(function, arguments)
    within = copy_context().run  # within the `at_most_threads` of the caller
    call = _Call(within, (_with_blas_lock, function, arguments))
    try:
        if not _blas_caller.submit(call):
            return _with_blas_lock(function, arguments)
        return call.result()
    finally:  # After an interrupt, too, the limit is removed before this returns.
        if not call.withdraw():
            call.wait()


class _Call(Generic[T]):
    """A call that a thread of a pool makes, unless it is withdrawn before."""

    def __init__(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        self._function, self._arguments = function, arguments
        self._claim, self._running = threading.Lock(), threading.Lock()
        self._running.acquire()
        self._value: list[T] = []
        self._error: BaseException | None = None

    def make(self) -> None:
        """Make the call, unless it is withdrawn."""
        if self.withdraw():
            try:
                self._value.append(self._function(*self._arguments))
            except BaseException as error:
                self._error = error
            finally:
                self._running.release()

    def withdraw(self) -> bool:
        """Return whether the call had not begun; no thread makes it any more."""
        return self._claim.acquire(blocking=False)

    def wait(self) -> None:
        """Wait until a call that has begun ends."""
        with self._running:
            pass

    def result(self) -> T:
        """Return the value of the call, or raise its error."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._value[0]


class _Pool:
    """Threads that make calls, in half the time of a `ThreadPoolExecutor`.

    They start with the first call. They are daemons: the caller waits for every call, so that none
    is left at the exit.
    """

    def __init__(self, n_threads: Callable[[], int], name: str) -> None:
        self._n_threads, self._name = n_threads, name
        self.discard_threads()

    def discard_threads(self) -> None:
        """Begin again without threads, as in a forked child, where those of the parent are not."""
        self._calls: SimpleQueue[_Call[Any]] = SimpleQueue()
        self._starting = threading.Lock()
        self._n_started = 0

    def submit(self, call: _Call[Any]) -> bool:
        """Return whether a thread will make the call; at the exit there may be no threads."""
        if sys.is_finalizing():
            return False
        try:
            self._start()
        except RuntimeError:
            return False
        self._calls.put(call)
        return True

    def _start(self) -> None:
        n_threads = self._n_threads()
        if self._n_started < n_threads:
            with self._starting:
                while self._n_started < n_threads:
                    threading.Thread(target=self._work, name=self._name, daemon=True).start()
                    self._n_started += 1

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            call.make()
            del call  # and its arrays


def _with_blas_lock(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    with _blas_limit:
        return _with_limited_blas(function, arguments)


def _with_limited_blas(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    libraries = [(library, library.num_threads) for library in _blas_libraries()]
    try:
        _this_thread.has_limited_blas = True
        for library, n_threads in libraries:
            if n_threads != 1:
                library.set_num_threads(1)
        return function(*arguments)
    finally:
        _this_thread.has_limited_blas = False
        for library, n_threads in libraries:
            if library.num_threads == 1 and n_threads != 1:
                library.set_num_threads(n_threads)


@cache
def _blas_libraries() -> list[Any]:
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


_helpers = _Pool(lambda: max(1, _threads_of_process() - 1), "twofold")
_blas_caller = _Pool(lambda: 1, "twofold-blas")


def _argument_types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the dtypes of the arguments, which determine the compiled signature."""
    return tuple(
        _argument_types(argument)
        if isinstance(argument, tuple)
        else getattr(argument, "dtype", None)
        for argument in arguments
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.discard_threads)
    os.register_at_fork(after_in_child=_blas_caller.discard_threads)
    # A child forked while BLAS is limited would keep the limit.
    os.register_at_fork(
        before=_blas_limit.acquire,
        after_in_parent=_blas_limit.release,
        after_in_child=_blas_limit.release,
    )
