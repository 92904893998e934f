"""Slices of the Million Playlist Dataset read by several processes, in the order of the files.

The processes are started as programs of their own and answer through pipes. `multiprocessing` would
run the caller's script once more in each of them, which goes wrong in a script without
``if __name__ == "__main__"``, and would leave them behind when this process is killed; these end
with the pipe. Worker k of n takes files k, k + n, ... and has at most one slice waiting, so memory
is bounded however slow the reader is.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from twofold._common.checks import check_whole
from twofold.io.mpd_slices import Numbers, Slice, parse_slice

__all__ = ["count_workers", "read_slices"]

_SMALL = 30_000_000
"""Bytes that are read in this process sooner than others have started."""

_PROGRAM = "from twofold.io.mpd_slices import serve; serve()"
_PIPE = 1 << 20

_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
"""glibc keeps the memory of one slice for the next: page faults were a fifth of the time."""


def count_workers(n_workers: int | None, files: Sequence[Path]) -> int:
    """Return how many processes to use: by the size of the input if the caller does not say.

    Raises
    ------
    InvalidInputError
        If `n_workers` is not a whole number from 1.
    """
    if n_workers is not None:
        check_whole(n_workers, "n_workers", 1)
    else:
        affinity = getattr(os, "sched_getaffinity", None)
        n_workers = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
        if sum(map(_json_bytes, files)) < _SMALL:
            n_workers = 1
    # A program that was frozen into one file is not an interpreter that could be started.
    can_start = bool(sys.executable) and not getattr(sys, "frozen", False)
    return min(n_workers, len(files)) if can_start else 1


def _json_bytes(file: Path) -> int:
    """Estimate how much there is to parse: gzip makes slices about six times smaller."""
    try:
        return file.stat().st_size * (6 if file.suffix == ".gz" else 1)
    except OSError:
        return 0  # explained when it is read


def read_slices(
    files: Sequence[Path], n_workers: int, numbers: Numbers, *, helping: bool = True, **options: Any
) -> Generator[Slice, None, None]:
    """Yield `parse_slice` of each file, in order; the options are its own.

    This process is one of the workers, unless it is not helping because it has other things to do;
    a single worker is always this process. Close the generator to end the others at once.
    """
    workers: list[_Worker | None] = []
    try:
        for first in range(n_workers):
            if first == 0 and (helping or n_workers == 1):
                workers.append(None)
                continue
            worker = _Worker()
            workers.append(worker)
            worker.send((files[first::n_workers], options))
        for number, file in enumerate(files):
            turn = workers[number % n_workers]
            slice_ = None if turn is None else turn.receive(numbers)
            # What a worker could not do is done here: the error, if any, is then the same.
            yield parse_slice(file, numbers, **options) if slice_ is None else slice_
    finally:
        started = [worker for worker in workers if worker is not None]
        for worker in started:
            worker.process.kill()
        for worker in started:
            worker.process.__exit__(None, None, None)  # closes the pipes and waits


class _Worker:
    """A process that runs `serve`."""

    def __init__(self) -> None:
        # -P and the path: the same modules as here, and none of the folder one happens to be in.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=_PIPE,
            pipesize=_PIPE,
            env={**_KEEP_MEMORY, **os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
        )
        self.places = np.empty(0, dtype=np.intc)
        """By the worker's own number of a track: the number it has here."""

    def send(self, work: Any) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):  # it has ended already, which is found when receiving
            pickle.dump(work, self.process.stdin)
        with suppress(OSError):
            self.process.stdin.close()

    def receive(self, numbers: Numbers) -> Slice | None:
        """Return the next slice, with tracks numbered as here; None if the worker has ended."""
        assert self.process.stdout is not None
        try:
            slice_: Slice = pickle.load(self.process.stdout)
        except Exception:  # it failed, was killed, or something else was printed
            self.process.stdout.close()  # what may come would belong to other files
            return None
        start = numbers.next
        places = np.fromiter(map(numbers.__getitem__, slice_.tracks["uri"]), dtype=np.intc)
        new = np.flatnonzero(places >= start).tolist()
        self.places = np.concatenate([self.places[: slice_.start], places])
        return slice_._replace(
            tracks={name: [column[i] for i in new] for name, column in slice_.tracks.items()},
            start=start,
            codes=self.places[np.asarray(slice_.codes)],
        )
