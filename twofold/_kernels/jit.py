"""How kernels are compiled: the two decorators, and the time that compiling takes."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event
from numba.core.registry import CPUDispatcher

from twofold._kernels.announce import Announcer
from twofold._kernels.cache import KernelCache

__all__ = ["FASTMATH", "compile_seconds", "device", "inlined", "kernel"]

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
    """A compiled function, called from Python."""

    def enable_caching(self) -> None:
        """Use twofold's disk cache."""
        self._cache = KernelCache(self.py_func)


class DeviceFunction(Kernel):
    """A compiled function without a wrapper for Python, called from other kernels only."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise: without the wrapper, the call would end the process."""
        raise TypeError(f"{self.__name__} is a device function: only kernels can call it")


def _decorator(kind: type[Kernel], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        if numba.config.DISABLE_JIT:
            return function
        dispatcher = kind(function, targetoptions=_OPTIONS | options)
        dispatcher.enable_caching()
        return dispatcher

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


def compile_seconds() -> float:
    """Return the seconds this thread has spent so far on compiling, or loading, kernels.

    Waiting for another thread that compiles counts too, and so does a user's own formula.
    """
    return _CLOCK.seconds
