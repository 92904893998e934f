"""``python -m benchmarks run`` compares solvers; ``... report`` writes the page again."""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.compare.entries import all_entries
from benchmarks.compare.page import write_page
from benchmarks.compare.problems import OBJECTIVES, SIZES
from benchmarks.compare.store import Store
from benchmarks.compare.table import markdown
from benchmarks.spine import machine


def run(chosen: argparse.Namespace) -> None:
    """Run what is not in the results file yet, each in a process of its own."""
    entries = all_entries(chosen.entries)
    wanted = chosen.solver or list(entries)
    for name in wanted:
        if name not in entries:
            raise SystemExit(f"there is no solver {name!r}: there are {', '.join(entries)}")
    combinations = itertools.product(
        chosen.data, chosen.objective, chosen.n_factors, range(chosen.seeds), wanted
    )
    with Store(chosen.results) as store:
        for data, objective, n_factors, seed, solver in combinations:
            request = {
                "data": data, "objective": objective, "n_factors": n_factors, "seed": seed,
                "solver": solver, "max_epochs": chosen.epochs, "n_threads": chosen.n_threads,
                "entries": str(chosen.entries) if chosen.entries else None,
            }  # fmt: skip
            if store.has(request):
                continue
            print(f"{solver} on {data}, {objective}, n_factors={n_factors}, seed={seed}", end=" ")
            sys.stdout.flush()
            answer = _in_a_process(request, chosen.timeout)
            store.add(request, answer, f"{machine()}; solvers use {chosen.n_threads}")
            last = answer["points"][-1] if answer["points"] else None
            print(f"-> {answer['status']} {answer['message']}" + (
                f" {last[2]:.6g} in {last[1]:.2f} s" if last else ""
            ))  # fmt: skip
    report(chosen)


def _in_a_process(request: dict[str, object], timeout: float) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.compare.worker", json.dumps(request)]
    nothing = {"points": [], "peak_mb": None, "status": "failed"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {**nothing, "message": f"it did not finish in {timeout:g} s"}
    try:
        answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {**nothing, "message": f"the process ended with {done.returncode}: {reason}"}
    return answer


def report(chosen: argparse.Namespace) -> None:
    """Print the tables and write the page."""
    with Store(chosen.results) as store:
        runs = store.runs()
    print("\n" + markdown(runs))
    write_page(runs, chosen.page)
    print(f"The page is {chosen.page}.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("command", choices=["run", "report"])
    parser.add_argument(
        "--data", nargs="+", default=["small"],
        help=f"{', '.join(SIZES)}, an SQLAlchemy URL or a .npz file",
    )  # fmt: skip
    parser.add_argument("--objective", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--solver", nargs="+", help="names; all by default")
    parser.add_argument("--entries", type=Path, help="a Python file with ENTRIES of your own")
    parser.add_argument("--n-factors", nargs="+", type=int, default=[64])
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--n-threads", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one run")
    parser.add_argument("--results", type=Path, default=Path("benchmarks.db"))
    parser.add_argument("--page", type=Path, default=Path("benchmarks.html"))
    chosen = parser.parse_args()
    (run if chosen.command == "run" else report)(chosen)


if __name__ == "__main__":
    main()
