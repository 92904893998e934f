"""The time to the first result of a new process.

    python -m benchmarks.start_up cold [--beside FOLDER] [--repeats 3]
    python -m benchmarks.start_up warm [--beside FOLDER] [--repeats 3]

``cold`` is the CPU time (user and system) of the first `ALS.solve` in a new process with an empty
NUMBA_CACHE_DIR. ``warm`` is the time of the import and the first solve in a process with cached
kernels, minus the time of repeating that solve. Both can alternate with another checkout.

This is not a pytest benchmark, because every measurement needs a new process, and another checkout
needs another import path.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import twofold
from benchmarks.machine import child_environment, machine

# Uses public names only, so that it also runs with other versions.
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
matrix = sparse.random_array((2000, 1000), density=0.02, random_state=0, format="csr")
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
    """Print the CPU seconds of the first solve of a process without cached kernels."""
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
    """Print the seconds of the import and the first solve with cached kernels."""
    found: dict[Path, list[tuple[float, ...]]] = {folder: [] for folder in _checkouts(beside)}
    with tempfile.TemporaryDirectory() as name:
        # Checkouts can share the folder, because their kernels are in different subfolders.
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
    """Run code with the twofold of a folder and with compiled bytecode."""
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
    """Print a row for each checkout, and the ratio of their first columns."""
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


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.start_up", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", choices=["cold", "warm"])
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="another checkout")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="processes each")
    chosen = parser.parse_args()
    print(machine())
    (cold if chosen.what == "cold" else warm)(chosen.beside, chosen.repeats)


if __name__ == "__main__":
    main()
