"""How long the first result takes: of a new process, and of one new playlist.

    python -m benchmarks.start_up cold [--beside FOLDER] [--repeats 3]
    python -m benchmarks.start_up warm [--beside FOLDER] [--repeats 3]
    python -m benchmarks.start_up fold-in [--columns 20000 200000] [--calls 300]
    python -m benchmarks.start_up busy [--columns 20000] [--calls 300]

``cold`` is the CPU time (user and system) of the first `ALS.solve` in a new process with an empty
NUMBA_CACHE_DIR; ``warm`` is the seconds of import and first solve in a process that finds the
kernels on disk, less those of the same solve repeated there. Both take another checkout to run in
turn with this one. ``fold-in`` is the milliseconds of `FactorModel.fold_in` for one new playlist of
20 tracks; ``busy`` is the same in eight threads, alone and while another thread trains.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import twofold
from benchmarks.machine import child_environment, machine
from twofold import L2, FactorModel, Objective, Pairings
from twofold.datasets import make_playlists
from twofold.solvers import ALS

_OBJECTIVE = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
_N_FACTORS = 64
_N_THREADS = 8  # that fold playlists in at once, in `busy`
_LENGTH = 20  # tracks of a new playlist

# Of public names only, so that it runs with other versions too.
_CHILD = """
import json, resource, time
started = time.perf_counter()
import numpy as np
from scipy import sparse
import twofold
from twofold.solvers import ALS
imported = time.perf_counter() - started

def cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

objective = twofold.Objective(regularizer=twofold.L2(1.0), unobserved_weight=0.1)
matrix = sparse.random_array((2000, 1000), density=0.02, rng=0, format="csr")
before, spent, used = cpu_seconds(), [], []
for _ in range(4):
    started = time.perf_counter()
    ALS(n_factors=64, rng=0).solve(objective, matrix)
    spent.append(time.perf_counter() - started)
    used.append(cpu_seconds())
print(json.dumps({
    "file": twofold.__file__, "imported": imported, "first": spent[0],
    "again": float(np.median(spent[1:])), "cpu_solve": used[0] - before, "cpu_process": used[0],
}))
"""


def cold(beside: Path | None, repeats: int) -> None:
    """Print CPU seconds of the first solve of a process that has to compile."""
    found: dict[Path, list[tuple[float, ...]]] = {folder: [] for folder in _checkouts(beside)}
    with tempfile.TemporaryDirectory() as bytecode:
        for folder in found:
            _run_child(folder, Path(bytecode), "import twofold.solvers")
        for _ in range(repeats):
            for folder, rows in found.items():
                with tempfile.TemporaryDirectory() as kernels:
                    said = _measured(folder, Path(bytecode), Path(kernels))
                rows.append((said["cpu_solve"], said["cpu_process"]))
    _print_medians(["CPU s of the first solve", "of the process until then"], found)


def warm(beside: Path | None, repeats: int) -> None:
    """Print seconds of import and first solve, with compiled kernels on disk."""
    found: dict[Path, list[tuple[float, ...]]] = {folder: [] for folder in _checkouts(beside)}
    with tempfile.TemporaryDirectory() as name:
        # All checkouts share the folder: each one's kernels have a folder of their own there.
        for folder in found:
            _measured(folder, Path(name), Path(name))
        for _ in range(repeats):
            for folder, rows in found.items():
                said = _measured(folder, Path(name), Path(name))
                extra = said["imported"] + said["first"] - said["again"]
                rows.append((extra, said["imported"], said["first"], said["again"]))
    _print_medians(["s of start-up", "import", "first solve", "the same again"], found)


def _checkouts(beside: Path | None) -> list[Path]:
    folders = [Path(twofold.__file__).parents[1]]
    return folders if beside is None else [*folders, beside.resolve()]


def _measured(folder: Path, bytecode: Path, kernels: Path) -> dict[str, float]:
    said = json.loads(_run_child(folder, bytecode, _CHILD, kernels).splitlines()[-1])
    if not Path(said.pop("file")).is_relative_to(folder):
        raise SystemExit(f"{folder}: there is no package twofold in this folder")
    return said


def _run_child(folder: Path, bytecode: Path, code: str, kernels: Path | None = None) -> str:
    """Run code with the twofold of a folder; Python's own compiling is kept out of the time."""
    environment = child_environment(
        PYTHONPATH=str(folder),
        PYTHONPYCACHEPREFIX=str(bytecode),
        PYTHONDONTWRITEBYTECODE="",
        NUMBA_CACHE_DIR=str(kernels or bytecode),
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=bytecode, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{folder}: {(done.stderr.strip() or 'it failed').splitlines()[-1]}")
    return done.stdout


def _print_medians(titles: list[str], found: dict[Path, list[tuple[float, ...]]]) -> None:
    """Print a row for each checkout, and the ratio of the first column to that of the other."""
    print(f"\n| checkout | {' | '.join(titles)} | smallest to largest |")
    print("|---" * (len(titles) + 2) + "|")
    firsts = []
    for folder, rows in found.items():
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        firsts.append(medians[0])
        least, most = min(row[0] for row in rows), max(row[0] for row in rows)
        cells = " | ".join(f"{value:.3f}" for value in medians)
        print(f"| {folder} | {cells} | {least:.3f} to {most:.3f} |")
    print(f"\nMedians of {len(rows)} processes each.")
    if len(firsts) == 2:
        print(f"{titles[0]}: {firsts[0] / firsts[1]:.2f} times that of the other checkout.")


def fold_in(columns: list[int], n_playlists: int, n_calls: int) -> None:
    """Print milliseconds of one new playlist, one thread."""
    print("\n| columns | median ms | 99th percentile | slowest |")
    print("|---" * 4 + "|")
    for n_cols in columns:
        model, new = _fitted(n_cols, n_playlists), _new_playlists(n_cols, n_calls)
        print(f"| {n_cols:,} | {_shown(_call_milliseconds(model, new))} |", flush=True)
    print(f"\n{n_calls} playlists of {_LENGTH} tracks, one by one; k = {_N_FACTORS}, one thread.")


def busy(columns: list[int], n_playlists: int, n_calls: int) -> None:
    """Print milliseconds of one new playlist in eight threads, alone and beside training."""
    print("\n| columns | | median ms | 99th percentile | slowest |")
    print("|---" * 5 + "|")
    for n_cols in columns:
        model, new = _fitted(n_cols, n_playlists), _new_playlists(n_cols, n_calls)
        quiet = _milliseconds_of_threads(model, new)
        with _training(model.pairings):
            beside = _milliseconds_of_threads(model, new)
        print(f"| {n_cols:,} | no training | {_shown(quiet)} |")
        print(f"| {n_cols:,} | beside training | {_shown(beside)} |")
        print(f"| {n_cols:,} | ratio | {_shown(beside, quiet)} |", flush=True)
    print(f"\n{n_calls} playlists of {_LENGTH} tracks in each of {_N_THREADS} threads.")


def _fitted(n_cols: int, n_playlists: int) -> FactorModel:
    pairings = make_playlists(
        n_playlists, n_cols, n_groups=max(4, n_cols // 500), mean_length=40, rng=0
    ).pairings
    solver = ALS(n_factors=_N_FACTORS, max_epochs=1, rng=0, n_threads=1)
    return FactorModel(_OBJECTIVE, solver).fit(pairings)


def _new_playlists(n_cols: int, n: int) -> list[Pairings]:
    rng = np.random.default_rng(1)
    return [
        Pairings.from_arrays(
            np.full(_LENGTH, playlist), 1 + rng.choice(n_cols, _LENGTH, replace=False)
        )
        for playlist in range(n)
    ]


def _call_milliseconds(model: FactorModel, playlists: list[Pairings]) -> list[float]:
    """Time `fold_in` for each playlist, after three calls that prepare the columns."""
    for pairings in playlists[:3]:
        model.fold_in(pairings)
    spent = []
    for pairings in playlists:
        started = time.perf_counter()
        model.fold_in(pairings)
        spent.append(1e3 * (time.perf_counter() - started))
    return spent


def _milliseconds_of_threads(model: FactorModel, playlists: list[Pairings]) -> list[float]:
    with ThreadPoolExecutor(_N_THREADS) as pool:
        jobs = [pool.submit(_call_milliseconds, model, playlists) for _ in range(_N_THREADS)]
        return [spent for job in jobs for spent in job.result()]


@contextmanager
def _training(pairings: Pairings) -> Iterator[None]:
    """Train in another thread of this process, with all threads, from its second epoch on."""
    begun, ended = threading.Event(), threading.Event()

    def watch(epoch: int, _: object) -> bool:
        if epoch > 0:
            begun.set()
        return ended.is_set()

    solver = ALS(n_factors=_N_FACTORS, max_epochs=1_000_000, rng=0)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(solver.solve, _OBJECTIVE, pairings.matrix, None, watch)
        job.add_done_callback(lambda _: begun.set())
        begun.wait()
        try:
            yield
        finally:
            ended.set()
        job.result()


def _shown(spent: Sequence[float], base: Sequence[float] | None = None) -> str:
    """Return median, 99th percentile and maximum, or their ratios to those of others."""
    values = np.percentile(spent, [50, 99, 100])
    if base is not None:
        values = values / np.percentile(base, [50, 99, 100])
    return " | ".join(f"{value:.3f}" for value in values)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start_up", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="what", required=True)
    for name, function in (("cold", cold), ("warm", warm)):
        command = commands.add_parser(name, help=function.__doc__)
        command.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout")
        command.add_argument("--repeats", type=int, default=3, metavar="N", help="processes each")
    for name, function, columns in (
        ("fold-in", fold_in, [20_000, 200_000]), ("busy", busy, [20_000]),
    ):  # fmt: skip
        command = commands.add_parser(name, help=function.__doc__)
        command.add_argument("--columns", type=int, nargs="+", default=columns, metavar="N")
        command.add_argument("--playlists", type=int, default=20_000, metavar="N", help="trained")
        command.add_argument("--calls", type=int, default=300, metavar="N")
    chosen = parser.parse_args()
    print(machine())
    if chosen.what in ("cold", "warm"):
        (cold if chosen.what == "cold" else warm)(chosen.beside, chosen.repeats)
    else:
        function = fold_in if chosen.what == "fold-in" else busy
        function(chosen.columns, chosen.playlists, chosen.calls)


if __name__ == "__main__":
    main()
