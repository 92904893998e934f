"""One machine, more than memory: `ALS(array_folder=...)` beside ALS in memory.

    python -m benchmarks.beyond_memory make pairs.npz
    python -m benchmarks.beyond_memory fit pairs.npz
    python -m benchmarks.beyond_memory fit pairs.npz --array-folder FOLDER [--limit 1500]
        [--checkpoint FILE]

``make`` writes generated playlists of the size of the Million Playlist Dataset. ``fit`` prints the
seconds of each epoch, the bytes that it read from the disk and made the system write beside the
formulas of docs/efficiency.md, and the peak of anonymous memory (Linux). The page cache is not in
that peak. To limit both, run the command in a control group, for example by
``systemd-run --scope -p MemoryMax=1500000000``.
"""

import argparse
import re
import resource
import threading
import time
from pathlib import Path
from typing import Any
from zlib import crc32

from benchmarks.machine import machine
from twofold import L2, Objective, Pairings
from twofold.datasets import make_playlists
from twofold.objective import Problem
from twofold.solvers import ALS, Solution, State

_OBJECTIVE = Objective(regularizer=L2(1.0), unobserved_weight=0.1)


class AnonymousPeak(threading.Thread):
    """Follows the anonymous memory of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0.0
        self.start()

    def run(self) -> None:
        """Read the size, in MB, twenty times a second."""
        status = Path("/proc/self/status")
        while True:
            found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text())
            self.peak = max(self.peak, int(found[1]) / 1000 if found else float("nan"))
            time.sleep(0.05)


def disk_bytes() -> tuple[int, int]:
    """Return the bytes that this process has read from the disk, and those it made dirty."""
    lines = Path("/proc/self/io").read_text().splitlines()
    numbers = dict(line.split(": ") for line in lines)
    return int(numbers["read_bytes"]), int(numbers["write_bytes"])


def most_traffic(problem: Problem, state: State) -> tuple[int, int]:
    """Return the formulas of docs/efficiency.md for the bytes that an epoch reads and writes."""
    rows, cols = state.point.rows.nbytes, state.point.cols.nbytes
    entries = sum(part.nbytes for part in problem.rows.entries[1:5])
    return 9 * rows + 14 * cols + 3 * entries, 3 * (rows + cols)


def make(path: Path, n_playlists: int, n_tracks: int) -> None:
    """Write generated playlists, of 66 tracks on average."""
    pairings = make_playlists(n_playlists, n_tracks, mean_length=70.0, rng=0).pairings
    pairings.save(path)
    print(pairings)


def fit(path: Path, solver: ALS, checkpoint: Path | None) -> None:
    """Print the figures of a fit, which continues from the checkpoint if there is one."""
    memory, epochs, bounds = AnonymousPeak(), [], []

    def step(problem: Problem, state: State) -> State:
        before, started, used = disk_bytes(), time.perf_counter(), time.process_time()
        new = ALS.step(solver, problem, state)
        seconds = time.perf_counter() - started, time.process_time() - used
        moved = [after - old for after, old in zip(disk_bytes(), before, strict=True)]
        epochs.append((*seconds, *moved))
        bounds.append(most_traffic(problem, state))
        return new

    solver.step = step  # type: ignore[method-assign]
    pairings, started = Pairings.open(path), time.perf_counter()
    is_resumed = checkpoint is not None and checkpoint.exists()
    init = Solution.load(checkpoint, mmap=True) if is_resumed else None
    solution = solver.solve(_OBJECTIVE, pairings.matrix, init, checkpoint=checkpoint)
    seconds = time.perf_counter() - started
    digests = [f"{crc32(factors):x}" for factors in (solution.row_factors, solution.col_factors)]
    print(f"{pairings}: {seconds:.1f} s, objective {solution.objective_value!r}, {digests}")
    print("| epoch | s | CPU s | GB read, at most | GB written, formula |\n|---|---|---|---|---|")
    first = solution.n_epochs - len(epochs) + 1
    for number, ((spent, used, *moved), most) in enumerate(zip(epochs, bounds, strict=True), first):
        cells = [f"{a / 1e9:.2f}, {b / 1e9:.2f}" for a, b in zip(moved, most, strict=True)]
        print(f"| {number} | {spent:.2f} | {used:.2f} | {' | '.join(cells)} |")
    print(f"peak of anonymous memory {memory.peak:,.0f} MB; {machine()}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.beyond_memory", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    option = parser.add_argument
    option("command", choices=["make", "fit"])
    option("pairs", type=Path, metavar="PAIRS.npz")
    option("--playlists", type=int, default=1_000_000)
    option("--tracks", type=int, default=2_262_292)
    option("--array-folder", metavar="FOLDER")
    option("--n-factors", type=int, default=64, metavar="K")
    option("--epochs", type=int, default=2)
    option("--threads", type=int, default=2)
    option("--checkpoint", type=Path, metavar="FILE", help="of which a run continues")
    option("--limit", type=float, metavar="MB", help="of the private memory, RLIMIT_DATA")
    chosen = parser.parse_args()
    if chosen.command == "make":
        make(chosen.pairs, chosen.playlists, chosen.tracks)
        return
    if chosen.limit:
        n_bytes = int(chosen.limit * 1e6)
        resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))
    names: dict[str, Any] = {"array_folder": chosen.array_folder, "n_threads": chosen.threads}
    names |= {"n_factors": chosen.n_factors, "max_epochs": chosen.epochs}
    fit(chosen.pairs, ALS(rng=0, **names), chosen.checkpoint)


if __name__ == "__main__":
    main()
