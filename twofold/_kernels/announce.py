"""Says that kernels are being compiled: a line on a terminal, or a record of a logger."""

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
    """Announces kernels that are compiled, but not a user's own functions, nor loading from disk.

    On a terminal it is one line of stderr, rewritten in place and erased at the end; elsewhere, a
    record of the logger "twofold" at INFO. A level above INFO of that logger switches off both.
    numba runs one compilation at a time, so this needs no lock.
    """

    def __init__(self, ours: Any) -> None:
        self._ours = ours
        self._n_compiled = 0
        self._start = 0.0
        self._numba_level = logging.NOTSET

    def on_start(self, event: Any) -> None:
        """Announce a kernel."""
        dispatcher = event.data["dispatcher"]
        if not isinstance(dispatcher, self._ours):
            return
        name, where = dispatcher.__name__, "once on this machine"
        if not cache_folder():
            where = "in every process"
        self._start = time.perf_counter()
        self._silence_numba()
        if not _on_terminal():
            _LOGGER.info("compiling %s, %s", name, where)
        _rewrite(f"compiling kernels, {where}: {self._n_compiled} so far ({name})")

    def on_end(self, event: Any) -> None:
        """Count the kernel and erase the line."""
        dispatcher = event.data["dispatcher"]
        if not isinstance(dispatcher, self._ours):
            return
        self._n_compiled += 1
        _NUMBA_LOGGER.setLevel(self._numba_level)
        _rewrite("")
        if not _on_terminal():
            seconds = time.perf_counter() - self._start
            _LOGGER.info("compiled %s in %.1f s", dispatcher.__name__, seconds)

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
