"""Compare solvers and packages on one objective.

``python -m benchmarks run`` measures the runs that are missing in the results file, each in a
separate process, and writes the page, the tables and the plot; ``report`` only writes them.
``publish`` puts the figures into README.md and docs/: the first --data and --n-factors are those of
the plot and the main tables.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from benchmarks.compare.entries import Entry, all_entries
from benchmarks.compare.page import order, write_page
from benchmarks.compare.problems import DEFAULT_PROBLEMS, PROBLEMS, SIZES, check_data
from benchmarks.compare.regression import compare
from benchmarks.compare.store import NOTHING, Store
from benchmarks.compare.summary import glance, markdown
from benchmarks.machine import child_environment, machine

ROOT = Path(__file__).parents[1]


def run(chosen: argparse.Namespace, entries: dict[str, Entry]) -> None:
    """Run the requests that are missing in the results file, and store each result."""
    requests = list(_requests(chosen, entries))
    with Store(chosen.results) as store:
        todo = [request for request in requests if not store.has(request)]
        print(f"{len(todo)} runs to do, {len(requests) - len(todo)} are stored.", flush=True)
        for number, request in enumerate(todo, start=1):
            text = "{solver} on {data}, {problem}, n_factors={n_factors}, {n_threads} threads"
            print(f"[{number}/{len(todo)}] {text.format(**request)}", end=" ", flush=True)
            answer = _in_a_process(request, chosen.timeout)
            store.add(request, answer, machine())
            text = f"-> {answer['status']} {answer['message']}".rstrip()
            if answer["points"]:
                epoch, seconds, total, _ = answer["points"][-1]
                text += f" {total:.6g} after {epoch} epochs in {seconds:.3g} s"
            print(text, flush=True)


def _requests(chosen: argparse.Namespace, entries: dict[str, Entry]) -> list[dict[str, object]]:
    """Return all requests; repeats are the outermost loop, so that they are spread over time."""
    return [
        {
            "solver": name, "data": data, "problem": problem, "n_factors": n_factors,
            "n_threads": n_threads, "max_epochs": chosen.epochs, "budget": chosen.budget,
            "seed": seed, "repeat": repeat,
            "entries": str(chosen.entries.resolve()) if chosen.entries else None,
        }
        for repeat, seed, data, problem, n_factors, n_threads, name in itertools.product(
            range(chosen.repeats), range(chosen.seeds), chosen.data, chosen.problem,
            chosen.n_factors, chosen.n_threads, chosen.solver or entries,
        )
        if entries[name].solves(problem)
    ]  # fmt: skip


def _in_a_process(request: dict[str, object], timeout: float) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.compare.worker", json.dumps(request)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False,
            env=child_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {**NOTHING, "status": "failed", "message": f"no result after {timeout:g} s"}
    try:
        answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        message = f"the process exited with {done.returncode}: {reason}"
        return {**NOTHING, "status": "failed", "message": message}
    return answer


def report(chosen: argparse.Namespace, entries: dict[str, Entry]) -> None:
    """Print the tables; write them, the page and the plot."""
    with Store(chosen.results) as store:
        runs = store.runs()
    tables = f"{glance(runs, order(runs, entries))}\n{markdown(runs)}"
    print("\n" + tables)
    page, table = (chosen.output.with_suffix(suffix) for suffix in (".html", ".md"))
    table.write_text(tables + f"\n{machine()}\n", encoding="utf-8")
    write_page(runs, entries, page)
    written = [page, table]
    try:
        from benchmarks.compare.figure import write_figure

        plots = [chosen.output.with_suffix(suffix) for suffix in (".svg", ".png")]
        write_figure(runs, order(runs, entries), *plots)
        written += plots
    except ImportError as error:
        print(f"No plot was written, because {error.name} is not installed.")
    print("Written: " + ", ".join(map(str, written)))


def _publish(chosen: argparse.Namespace, entries: dict[str, Entry]) -> None:
    """Put the figures of the results file into README.md and docs/."""
    from benchmarks.compare.publish import publish

    with Store(chosen.results) as store:
        runs = store.runs()
    written = publish(runs, order(runs, entries), chosen.data, chosen.n_factors[0], ROOT)
    print("Written: " + ", ".join(map(str, written)))


def guard(old: Path, new: Path) -> bool:
    """Print regressions relative to an older file; return whether there are any."""
    with Store(old) as old_store, Store(new) as new_store:
        findings = compare(old_store.runs(), new_store.runs())
    for finding in findings:
        print(f"{finding.what}: {finding.text}")
    bad = [finding for finding in findings if finding.what != "unknown"]
    if not findings:
        print(f"No regression relative to {old} exceeds the noise.")
    return bool(bad)


class _Parser(argparse.ArgumentParser):
    """A parser with one-line errors."""

    def error(self, message: str) -> NoReturn:
        """Print the message; exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def _options() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="problems:\n" + "\n".join(
            f"  {name:<13} {problem.text}" for name, problem in PROBLEMS.items()
        ),
    )  # fmt: skip
    option = parser.add_argument
    # fmt: off
    option("command", choices=["run", "report", "publish"])
    option("--data", nargs="+", default=["small"], metavar="DATA",
           help=f"{', '.join(SIZES)} (generated), an SQLAlchemy URL with a table "
           "pairings(pid, tid), or a .npz file")
    option("--problem", nargs="+", default=DEFAULT_PROBLEMS, choices=PROBLEMS, metavar="PROBLEM",
           help="all but unpenalised by default, see below")
    option("--solver", nargs="+", metavar="NAME", help="all by default")
    option("--entries", type=Path, metavar="FILE", help="a Python file that defines ENTRIES")
    option("--n-factors", nargs="+", type=_positive, default=[64], metavar="K")
    option("--n-threads", nargs="+", type=_positive, default=[2], metavar="N",
           help="number of threads of every solver")
    option("--seeds", type=_positive, default=1, metavar="N", help="number of initial factors")
    option("--repeats", type=_positive, default=1, metavar="N",
           help="repetitions of each run, to measure the noise")
    option("--epochs", type=_positive, default=15, metavar="N", help="maximum epochs of each run")
    option("--budget", type=float, default=15.0, metavar="S",
           help="seconds after which a run stops at the end of the epoch")
    option("--timeout", type=float, default=900.0, metavar="S",
           help="seconds after which a run is terminated and counts as failed")
    option("--results", type=Path, default=Path("benchmarks.db"), metavar="FILE",
           help="runs in this file are not repeated")
    option("--output", type=Path, default=Path("benchmarks"), metavar="NAME",
           help="NAME.html, .md, .svg and .png are written")
    option("--compare", type=Path, metavar="OLD.db",
           help="print regressions relative to an older file; exit with 1 if there are any")
    # fmt: on
    return parser  # fmt: skip


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not >= 1")
    return number


def _check(chosen: argparse.Namespace) -> dict[str, Entry]:
    """Return the entries; raise ValueError if an argument is invalid."""
    entries = all_entries(chosen.entries)
    for name in chosen.solver or ():
        if name not in entries:
            raise ValueError(f"--solver: there is no {name!r}: choose from {', '.join(entries)}")
    if chosen.compare is not None and not chosen.compare.exists():
        raise ValueError(f"--compare {chosen.compare}: there is no such file")
    if chosen.command != "run":
        if not chosen.results.exists():
            raise ValueError(f"there is no file {chosen.results}: use run first")
        return entries
    for data in chosen.data:
        try:
            check_data(data)
        except ValueError as error:
            raise ValueError(f"--data: {error}") from None
    if not any(entries[name].solves(problem)
               for name in chosen.solver or entries for problem in chosen.problem):  # fmt: skip
        raise ValueError(
            "none of these solvers (--solver) supports any of these problems (--problem)"
        )
    return entries


def main() -> None:
    """Run the command line."""
    parser = _options()
    chosen = parser.parse_args()
    try:
        entries = _check(chosen)
        if chosen.command == "publish":
            _publish(chosen, entries)
            return
    except ValueError as error:
        parser.error(str(error))
    try:
        if chosen.command == "run":
            run(chosen, entries)
    except KeyboardInterrupt:
        print("\nInterrupted. The finished runs are stored; repeat the command to continue.")
        sys.exit(130)
    report(chosen, entries)
    if chosen.compare is not None and guard(chosen.compare, chosen.results):
        sys.exit(1)


if __name__ == "__main__":
    main()
