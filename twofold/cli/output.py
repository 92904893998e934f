"""Output and interruption of the commands."""

import json
import logging
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from twofold.exceptions import InvalidInputError
from twofold.solvers import Solution

__all__ = [
    "EXPLAIN", "Report", "Stop", "check_folder", "history_lines", "solution_json",
    "stop_on_interrupt",
]  # fmt: skip

_PARTS = ("loss", "unobserved", "penalty", "total")
EXPLAIN = (
    "total = loss (how far predictions are from the stored pairs) + unobserved (how much is\n"
    "predicted where nothing is stored) + penalty (how large the factors are). Lower is better."
)


@dataclass(frozen=True)
class Report:
    """Prints the result of a command as text or as one JSON object.

    Parameters
    ----------
    json : bool, default False
        Print one JSON object instead of text.
    quiet : bool, default False
        Show no progress bars.
    """

    json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.quiet:
            logging.getLogger("twofold").setLevel(logging.WARNING)  # hides compilation messages

    @property
    def progress(self) -> bool:
        """Whether progress bars are shown."""
        return not self.quiet

    def show(self, text: str) -> None:
        """Print text, unless the output is JSON."""
        if not self.json:
            print(_printable(text))

    def show_lines(self, lines: Iterable[str]) -> None:
        """Print lines of text."""
        if not self.json:
            print(_printable("\n".join(lines)))

    def show_json(self, values: Mapping[str, Any]) -> None:
        """Print the JSON object; numbers that are not finite become null."""
        if self.json:
            print(json.dumps(_plain(values), allow_nan=False))


def _printable(text: str) -> str:
    """Replace the characters that standard output cannot encode, such as those of names."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def history_lines(solution: Solution) -> Iterator[str]:
    """Yield the history as a table."""
    yield f"{'epoch':>5}  {'seconds':>8}" + "".join(f"  {name:>13}" for name in _PARTS)
    for record in solution.history:
        yield (
            f"{record.epoch:>5}  {record.seconds:>8.3f}"
            + "".join(f"  {getattr(record, name):>13.6g}" for name in _PARTS)
        )


def solution_json(solution: Solution) -> dict[str, Any]:
    """Return the JSON fields of a solution."""
    return {
        "solver": solution.solver,
        "status": solution.status.value,
        "message": solution.message,
        "epochs": solution.n_epochs,
        "objective": solution.objective_value,
        "seconds": solution.history[-1].seconds,
        "history": [asdict(record) for record in solution.history],
    }


class Stop:
    """A callback that stops the solver after an interrupt."""

    requested = False

    def __call__(self, epoch: int, solution: Solution) -> bool:
        """Return whether an interrupt was requested."""
        return self.requested


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """Stop after the current epoch at the first Ctrl-C, and immediately at the second."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        sys.stderr.write("\nstopping after this epoch (Ctrl-C again to stop at once)\n")

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def check_folder(output: Path) -> None:
    """Raise if the folder of an output file does not exist or the file is a folder."""
    if not output.parent.is_dir():
        raise InvalidInputError(f"the folder {str(output.parent)!r} does not exist: create it")
    if output.is_dir():
        raise InvalidInputError(f"{str(output)!r} is a folder: give the name of a file")
