"""Messages about the compilation of kernels: a line on a terminal, or a log record."""

import contextlib
import logging
import shutil
import sys
import time
from typing import Any

from numba.core import event

from twofold._kernels.cache import cache_folder

_LOGGER = logging.getLogger("twofold")
_NUMBA_LOGGER = logging.getLogger("numba")


class Announcer(event.Listener):
    """Reports the compilation of kernels, but neither a user's own functions nor cache loads.

    On a terminal, one line of stderr is rewritten in place and erased at the end; elsewhere, the
    logger "twofold" receives records at INFO. A level above INFO of that logger disables both.
    numba compiles one function at a time, so no lock is needed.
    """

    def __init__(self, kernel_type: Any) -> None:
        self._kernel_type = kernel_type
        self._n_compiled = 0
        self._start = 0.0
        self._numba_level = logging.NOTSET

    def on_start(self, event: Any) -> None:
        """Report that a kernel is being compiled."""
        dispatcher = event.data["dispatcher"]
        if not isinstance(dispatcher, self._kernel_type):
            return
        name, frequency = dispatcher.__name__, "once on this machine"
        if not cache_folder():
            frequency = "in every process"
        self._start = time.perf_counter()
        self._silence_numba()
        if not _on_terminal():
            _LOGGER.info("compiling %s, %s", name, frequency)
        _write_status(f"compiling kernels, {frequency}: {self._n_compiled} so far ({name})")

    def on_end(self, event: Any) -> None:
        """Count the kernel and erase the line."""
        dispatcher = event.data["dispatcher"]
        if not isinstance(dispatcher, self._kernel_type):
            return
        self._n_compiled += 1
        _NUMBA_LOGGER.setLevel(self._numba_level)
        _write_status("")
        if not _on_terminal():
            seconds = time.perf_counter() - self._start
            _LOGGER.info("compiled %s in %.1f s", dispatcher.__name__, seconds)

    def _silence_numba(self) -> None:
        """Suppress numba's thousands of DEBUG records, unless the user has set the level."""
        self._numba_level = _NUMBA_LOGGER.level
        if self._numba_level == logging.NOTSET:
            _NUMBA_LOGGER.setLevel(logging.INFO)


def _on_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # no stderr, or a closed one
        return False


def _write_status(text: str) -> None:
    """Overwrite the line on the terminal."""
    if _on_terminal() and _LOGGER.level <= logging.INFO:
        width = shutil.get_terminal_size().columns - 1
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r{text[:width]:{width}}\r{text[:width]}")
            sys.stderr.flush()
