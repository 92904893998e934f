"""Decorators that compile kernels, and the time spent on compiling."""

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

# Without nnan and ninf, with which np.isnan would return False.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}

_OPTIONS = {
    "nopython": True,
    "boundscheck": None,  # set by NUMBA_BOUNDSCHECK
    "nogil": True,
    "error_model": "numpy",
    "fastmath": FASTMATH,
    "no_cfunc_wrapper": True,
}


class Kernel(CPUDispatcher):
    """A compiled function that is called from Python and stored in the disk cache."""

    def __init__(self, function: Any, targetoptions: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=targetoptions)
        self._cache = KernelCache(function)


def _decorator(cls: type[CPUDispatcher], **options: Any) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        return function if numba.config.DISABLE_JIT else cls(function, _OPTIONS | options)

    return decorate


kernel = _decorator(Kernel)
# _nrt=False omits reference counting for every array in the arguments, which makes these functions
# two to six times faster. They cannot create arrays.
device = _decorator(DeviceFunction, no_cpython_wrapper=True, _nrt=False)
# Inlined, because passing named tuples takes longer than the body of a small function.
inlined = _decorator(DeviceFunction, no_cpython_wrapper=True, _nrt=False, forceinline=True)


class _Clock(event.Listener, threading.local):
    """Seconds for which each thread has held or waited for numba's compiler lock."""

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
if hasattr(os, "register_at_fork"):  # Otherwise a forked child could inherit a locked compiler.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def compile_seconds() -> float:
    """Return the seconds this thread has spent on compiling or loading kernels.

    They include waiting for the compiler lock and compiling a user's own formulas.
    """
    return _CLOCK.seconds
