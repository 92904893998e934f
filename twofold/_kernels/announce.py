"""Says that kernels are being compiled: a line on a terminal, or a record of a logger."""

import contextlib
import logging
import shutil
import sys
import time
from typing import Any

from numba.core import event

from twofold._kernels.cache import cache_folder

__all__ = ["Announcer"]

_LOGGER = logging.getLogger("twofold")
_NUMBA_LOGGER = logging.getLogger("numba")


class Announcer(event.Listener):
    """Announces compilations, but not those of a user's own functions, nor loading from disk.

    On a terminal it is one line of stderr, rewritten in place and erased at the end; elsewhere, a
    record of the logger "twofold" at INFO. A level above INFO of that logger switches off both.
    numba runs one compilation at a time, so this needs no lock.
    """

    def __init__(self, ours: Any) -> None:
        self._ours = ours
        self._depth = 0
        self._n_compiled = 0
        self._n_before = 0
        self._start = 0.0
        self._numba_level = logging.NOTSET

    def on_start(self, event: Any) -> None:
        """Announce a function; the functions that it calls are compiled inside."""
        dispatcher = event.data["dispatcher"]
        if not isinstance(dispatcher, self._ours):
            return
        name = dispatcher.py_func.__name__
        where = "once on this machine" if cache_folder() else "in every process"
        if self._depth == 0:
            self._start, self._n_before = time.perf_counter(), self._n_compiled
            self._silence_numba()
            if not _on_terminal():
                _LOGGER.info("compiling %s, %s", name, where)
        self._depth += 1
        _rewrite(f"compiling kernels, {where}: {self._n_compiled} so far ({name})")

    def on_end(self, event: Any) -> None:
        """Count the function; erase the line after the outermost one."""
        dispatcher = event.data["dispatcher"]
        if not isinstance(dispatcher, self._ours):
            return
        self._depth -= 1
        self._n_compiled += 1
        if self._depth:
            return
        _NUMBA_LOGGER.setLevel(self._numba_level)
        _rewrite("")
        if not _on_terminal():
            name, seconds = dispatcher.py_func.__name__, time.perf_counter() - self._start
            n_kernels = self._n_compiled - self._n_before
            _LOGGER.info("compiled %s in %.1f s, %d kernels in all", name, seconds, n_kernels)

    def _silence_numba(self) -> None:
        """Drop numba's thousands of DEBUG records, unless the user has set the level."""
        self._numba_level = _NUMBA_LOGGER.level
        if self._numba_level == logging.NOTSET:
            _NUMBA_LOGGER.setLevel(logging.INFO)


def _on_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # no stderr, or a closed one
        return False


def _rewrite(text: str) -> None:
    """Replace the line on the terminal."""
    if _on_terminal() and _LOGGER.level <= logging.INFO:
        width = shutil.get_terminal_size().columns - 1
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\r{text[:width]:{width}}\r{text[:width]}")
            sys.stderr.flush()
