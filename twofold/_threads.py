"""Threads: how many there are, and one parallel region at a time.

numba's ``workqueue`` layer aborts the process when two Python threads enter it at once, and a BLAS
that starts its own threads inside a parallel kernel makes it many times slower. `parallel` holds
one lock, sets the number of numba threads, limits BLAS to one thread, and restores all of it.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numba
import numpy as np
import scipy.linalg  # noqa: F401 - loads the BLAS that numba calls, so that it is limited too
from threadpoolctl import ThreadpoolController

from twofold.exceptions import InvalidInputError

__all__ = ["available_threads", "check_n_threads", "parallel"]

_LOCK = threading.RLock()


@cache
def available_threads() -> int:
    """Threads this process may use: CPU affinity and the container's quota, at least 1."""
    limit = int(numba.config.NUMBA_NUM_THREADS)
    if hasattr(os, "sched_getaffinity"):
        limit = min(limit, len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            limit = min(limit, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup v2 on this system
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


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _start_threads() -> None:
    """Load numba's threads; with OpenMP, ones that sleep while they wait.

    By default they spin, which makes small problems a hundred times slower as soon as the machine
    does something else. OpenMP reads its variables when it is loaded, so they are put back.
    """
    name = "OMP_WAIT_POLICY"
    set_by_user = name in os.environ
    os.environ.setdefault(name, "passive")
    try:
        numba.get_num_threads()
    finally:
        if not set_by_user:
            del os.environ[name]


@contextmanager
def parallel(n_threads: int | None = None) -> Iterator[int]:
    """Run parallel kernels inside: ``n_threads`` numba threads, one BLAS thread, one caller."""
    n = check_n_threads(n_threads)
    with _LOCK:
        _start_threads()
        before = numba.get_num_threads()
        numba.set_num_threads(n)
        try:
            with _controller().limit(limits=1, user_api="blas"):
                yield n
        finally:
            numba.set_num_threads(before)


def _new_lock_after_fork() -> None:
    global _LOCK
    _LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock_after_fork)
