"""Threads: how many there are, and the one way to run a kernel on several of them.

A kernel is a serial function that releases the GIL. Its work is a number of tasks; every thread
that runs it takes the next task from a shared counter until there is none left, so that the bits of
a result depend on how the work is divided into tasks and never on the threads. The calling thread
works too, and helpers from a pool join in as far as they are free: a call never waits for another
one, and calls of different threads share nothing.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import scipy.linalg  # noqa: F401 - loads the BLAS of scipy, so that it is limited too
from threadpoolctl import ThreadpoolController

from twofold.exceptions import InvalidInputError

T = TypeVar("T")
_compiled: set[tuple[Any, ...]] = set()


@cache
def available_threads() -> int:
    """Threads that this process may use: CPU affinity and the container's quota, at least 1."""
    limit = int(numba.config.NUMBA_NUM_THREADS)
    if hasattr(os, "sched_getaffinity"):
        limit = min(limit, len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            limit = min(limit, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # There is no cgroup v2 on this system.
    return max(1, limit)


def check_n_threads(n_threads: int | None) -> int:
    """Return the number of threads to use: all for None, never more than there are."""
    if n_threads is None:
        return available_threads()
    whole = isinstance(n_threads, int | np.integer) and not isinstance(n_threads, bool)
    if not whole or n_threads < 1:
        raise InvalidInputError(
            f"n_threads={n_threads!r}: give a whole number from 1, or None for all threads"
        )
    return min(int(n_threads), available_threads())


def run(kernel: Callable[..., object], n_tasks: int, n_threads: int, *arguments: Any) -> None:
    """Call ``kernel(counter, n_tasks, *arguments)`` in up to ``n_threads`` threads at once.

    The kernel takes tasks by `next_task(counter)` while they are below ``n_tasks``.
    """
    counter = np.zeros(1, np.int64)
    n_helpers = min(n_threads, n_tasks) - 1
    if n_helpers < 1 or numba.config.DISABLE_JIT:
        kernel(counter, n_tasks, *arguments)
        return
    types = (kernel, *_types(arguments))
    if types not in _compiled:  # One thread compiles; the others would only wait for it.
        kernel(counter, 0, *arguments)
        counter[0] = 0
        _compiled.add(types)
    call = (kernel, counter, n_tasks, *arguments)
    helpers = [helper for _ in range(n_helpers) if (helper := _submitted(_helpers(), *call))]
    try:
        kernel(counter, n_tasks, *arguments)
    finally:  # Also after an interrupt: the helpers stop at their next task.
        counter[0] = n_tasks
        started = [helper for helper in helpers if not helper.cancel()]
        wait(started)
    for helper in started:
        helper.result()


def with_one_blas_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Return ``function(*arguments)``, computed while BLAS is limited to one thread.

    BLAS threads that wait for work keep the cores busy. The limit belongs to the whole process, so
    all these calls are made by one thread of their own: they never overlap, and an interrupt of the
    calling thread cannot leave the limit behind. What another library set meanwhile is kept.
    """
    call = _submitted(_blas_caller(), _limited, function, arguments)
    if call is None:
        return _limited(function, arguments)
    try:
        return call.result()
    finally:  # Also after an interrupt, the limit is gone when this returns.
        if not call.cancel():
            wait([call])


def _submitted(
    pool: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any
) -> Future[T] | None:
    """Submit a call; None where no thread can start any more, as the interpreter is ending."""
    try:
        return pool.submit(function, *arguments)
    except RuntimeError:
        return None


def _limited(function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    libraries = [(library, library.num_threads) for library in _blas_libraries()]
    for library, n_threads in libraries:
        if n_threads != 1:
            library.set_num_threads(1)
    try:
        return function(*arguments)
    finally:
        for library, n_threads in libraries:
            if library.num_threads == 1 and n_threads != 1:
                library.set_num_threads(n_threads)


@cache
def _blas_libraries() -> list[Any]:
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


@cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, available_threads() - 1), "twofold")


@cache
def _blas_caller() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "twofold-blas")


def _types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what decides for which types a kernel is compiled."""
    return tuple(
        _types(argument) if isinstance(argument, tuple) else getattr(argument, "dtype", None)
        for argument in arguments
    )


def _forget_threads() -> None:
    """Forget the pools of the parent process: their threads do not exist in a forked child."""
    _helpers.cache_clear()
    _blas_caller.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
