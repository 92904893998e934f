"""Figures of stored runs in README.md and docs/benchmarks.md, and the plot docs/benchmarks.svg."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.compare.figure import write_figure
from benchmarks.compare.store import Run
from benchmarks.compare.summary import Row, Summary, glance, markdown, short, summaries

PACKAGES = ("twofold", "implicit", "irspack", "cmfrec", "lenskit")
COLUMNS = {
    "all cells": "all", "missing cells": "missing", "observed pairs": "observed",
    "ratings": "ratings", "new, all": "fold-all", "new, missing": "fold-missing",
}  # fmt: skip
"""Those of the table in README.md, and their problems."""
FASTEST = ("twofold ALS", "irspack CG", "implicit CG")
"""Solvers of the table of other data, for the first two problems."""
_BOTH = ("all", "missing")


def publish(
    runs: Sequence[Run], names: list[str], data: Sequence[str], n_factors: int, root: Path
) -> list[Path]:
    """Write the figures into the files of a clone, and return their paths.

    The first of ``data``, with ``n_factors``, is that of the plot, the main tables and README.md.
    """
    main = [run for run in runs if (run.data, run.n_factors) == (data[0], n_factors)]
    if not main:
        raise ValueError(f"there are no runs of {data[0]} with n_factors={n_factors}")
    names = [name for name in names if name in {run.solver for run in main}]
    machine = max(run.machine for run in main)
    pages = {root / "docs/benchmarks.md": {
        r"^\| s to 1\.01 x best \|.*?^twofold \d.*?$":
            f"{glance(main, names)}\n{markdown(main)}\n{machine}",
        r"^\| data \| factors \|.*?(?=\n\n)": "\n".join(_other_data(runs, data)),
    }, root / "README.md": {
        r"^\| \| all cells \|.*?(?=\n\n)": "\n".join(_packages(main)),
        r"find [\d to]+%(?=\s+of\s+the\s+hidden)": f"find {_recall(main, 'all')}%",
        r"[\d to]+%(?=\s+without\s+it)": f" {_recall(main, 'observed')}%",
    }}  # fmt: skip
    for path, changes in pages.items():
        text = path.read_text("utf-8")
        for pattern, new in changes.items():
            text, count = re.subn(pattern, lambda _, new=new: new, text, flags=re.M | re.S)
            if count != 1:
                raise ValueError(f"{path} has {count} places for {pattern!r}, not one")
        path.write_text(text, "utf-8")
    plot = root / "docs/benchmarks.svg"
    write_figure(main, names, plot)
    return [*pages, plot]


def _packages(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the table of the fastest variant of each package; the fastest of all is in bold."""
    yield f"| | {' | '.join(COLUMNS)} |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    tasks = {summary.problem: summary for summary in summaries(runs)}
    for package in PACKAGES:
        cells = (_fastest(tasks.get(problem), package) for problem in COLUMNS.values())
        yield f"| {package} | {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def _fastest(task: Summary | None, package: str) -> str:
    rows = [] if task is None else task.rows
    own = [row for row in rows if row.solver.startswith(package)]
    times = [row.arrivals[0] for row in own if row.arrivals[0] is not None]
    if not times:
        reasons = {"not reached" if row.status == "finished" else row.status for row in own}
        return max(reasons, default="") if reasons <= {"not reached", "diverged"} else ""
    text = f"{min(times):.3g}"
    is_first = min(times) == min(row.arrivals[0] for row in rows if row.arrivals[0] is not None)
    return f"**{text}**" if is_first else text


def _recall(runs: Sequence[Run], problem: str) -> str:
    """Return Recall@20 of the solvers of twofold in whole percent, as one number or a range."""
    (task,) = (summary for summary in summaries(runs) if summary.problem == problem)
    found = [
        round(100 * round(row.metric, 3))
        for row in task.rows
        if row.solver.startswith("twofold") and row.metric is not None
    ]
    return " to ".join(map(str, sorted({min(found), max(found)})))


def _other_data(runs: Sequence[Run], data: Sequence[str]) -> Iterator[str]:
    yield (
        "| data | factors | problem | package | to 1.01 x best | to 1.001 x best "
        "| to 1.0001 x best | s an epoch |"
    )
    yield "|---" * 8 + "|"
    tasks = [task for task in summaries(runs) if task.data in data and task.problem in _BOTH]
    for task in sorted(tasks, key=lambda task: (data.index(task.data), task.n_factors)):
        rows = {row.solver: row for row in task.rows if row.ran}
        for solver in FASTEST:
            if solver in rows:
                cells = [short(task.data), str(task.n_factors), task.problem, solver]
                yield f"| {' | '.join([*cells, *_times(rows[solver])])} |"


def _times(row: Row) -> Iterator[str]:
    for arrival in row.arrivals:
        yield "not reached" if arrival is None else f"{arrival:.3g}"
    yield "" if row.epoch_s is None else f"{row.epoch_s:.3g}"
