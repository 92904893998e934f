"""How kernels are compiled: the decorators, and the time that compiling takes."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher

from twofold._kernels.announce import Announcer
from twofold._kernels.cache import KernelCache
from twofold._kernels.device import DeviceFunction

# Not all of fastmath, which assumes that NaN and infinity do not occur, and isnan answers False.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

_OPTIONS = {
    "nopython": True,
    "boundscheck": None,  # as NUMBA_BOUNDSCHECK says
    "nogil": True,
    "error_model": "numpy",
    "fastmath": FASTMATH,
    "no_cfunc_wrapper": True,
}


class Kernel(CPUDispatcher):
    """A function that is called from Python, in twofold's disk cache."""

    def __init__(self, function: Any, targetoptions: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=targetoptions)
        self._cache = KernelCache(function)


def _decorator(kind: type[CPUDispatcher], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        return function if numba.config.DISABLE_JIT else kind(function, _OPTIONS | options)

    return decorate


kernel = _decorator(Kernel)
# Without `_nrt` there is no counting of references to arrays, at each call and for each field of a
# named tuple: two to six times faster here. Such a function cannot make arrays.
device = _decorator(DeviceFunction, no_cpython_wrapper=True, _nrt=False)
# Copied into its callers: passing named tuples would take longer than what a small function does.
inlined = _decorator(DeviceFunction, no_cpython_wrapper=True, _nrt=False, forceinline=True)


class _Clock(event.Listener, threading.local):
    """Seconds that each thread holds or waits for numba's compiler lock."""

    depth = 0
    start = 0.0
    seconds = 0.0

    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.start = time.perf_counter()
        self.depth += 1

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.perf_counter() - self.start


_CLOCK = _Clock()
event.register("numba:compiler_lock", _CLOCK)
event.register("numba:compile", Announcer(Kernel))
if hasattr(os, "register_at_fork"):  # A forked child must be able to compile.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def compile_seconds() -> float:
    """Return the seconds this thread has spent so far on compiling, or loading, kernels.

    Waiting for another thread that compiles counts too, and so does a user's own formula.
    """
    return _CLOCK.seconds
