"""Figures of a comparison for the page, the Markdown tables and the plot."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median

from benchmarks.compare.problems import PROBLEMS
from benchmarks.compare.store import Run

TARGETS = (0.01, 0.001, 0.0001)
"""Relative gaps to the best value; the time to the first one is the main figure."""
NEAR = 0.01
"""Relative distance from the best metric, whose time is shown."""


@dataclass(frozen=True)
class Row:
    """Figures of one solver on one task: medians over seeds and repeats."""

    solver: str
    n_threads: int
    status: str
    note: str
    arrivals: tuple[float | None, ...]
    """Seconds to each of `TARGETS`, or None if it was not reached."""
    metric_s: float | None
    """Seconds until the metric was within `NEAR` of the best one of all runs, or None."""
    gap: float | None
    """Relative gap to the best value at the end."""
    total: float | None
    metric: float | None
    epoch_s: float | None
    pairs_per_s: float | None
    wall: float | None
    """Time of the run with set-up and the solver's own evaluations, without scoring."""
    start_up: float | None
    """Time of importing and of compiling or loading kernels, excluded from all other times."""
    peak_mb: float | None
    noise: float | None
    """(largest - smallest) / median of epoch_s over repeats and seeds; None for one run."""
    speedup: float | None
    """Ratio of the time of an epoch with one thread to this one, if measured."""

    @property
    def ran(self) -> bool:
        """Whether there is a curve."""
        return self.total is not None


@dataclass(frozen=True)
class Summary:
    """One task: its best value and a row for each solver."""

    data: str
    problem: str
    n_factors: int
    text: str
    best: float
    known: bool
    """Whether the best value is the computed optimum instead of the lowest of the runs."""
    metric_name: str
    rows: list[Row]

    @property
    def name(self) -> str:
        """A title."""
        return f"{short(self.data)}, {self.problem}, n_factors={self.n_factors}"


def summaries(runs: Iterable[Run]) -> Iterator[Summary]:
    """Yield the summaries of runs in the order of `Store.runs`."""
    for (data, problem, n_factors), group in groupby(runs, key=lambda run: run.task):
        of_task = list(group)
        optimum = next((run.optimum for run in of_task if run.optimum is not None), None)
        best = lowest(of_task) if optimum is None else optimum
        single = {
            run.solver: epoch_seconds(run) for run in of_task if run.n_threads == 1 and run.points
        }
        metric = _best_metric(of_task)
        rows = [
            _row(list(same), best, metric, single)
            for _, same in groupby(of_task, key=lambda run: (run.solver, run.n_threads))
        ]
        # Sorted by time to the main target, then by final gap; failed runs are last.
        rows.sort(key=lambda row: (
            not row.ran, row.arrivals[0] is None, row.arrivals[0] or 0.0, row.gap or 0.0,
        ))  # fmt: skip
        yield Summary(
            data, problem, n_factors, PROBLEMS[problem].text if problem in PROBLEMS else "", best,
            optimum is not None, next((run.metric_name for run in of_task if run.metric_name), ""),
            rows,
        )  # fmt: skip


def short(data: str) -> str:
    """Return the last part of a URL or path, without its suffix."""
    return Path(data).stem


def lowest(runs: list[Run]) -> float:
    """Return the lowest objective of the valid runs of a task."""
    return min(
        (point[2] for run in runs if run.status != "wrong" for point in run.points),
        default=float("nan"),
    )


def time_to(run: Run, target: float) -> float | None:
    """Return the seconds until a run was at or below the target, or None."""
    return next((seconds for _, seconds, total, _ in run.points if total <= target), None)


def epoch_seconds(run: Run) -> float | None:
    """Return the median seconds of an epoch, or the mean of the longest fit for refits."""
    epoch, seconds = run.points[-1][:2] if run.points else (0, 0.0)
    if epoch > 0 and (run.wall is None or len(run.points) == 1):
        return seconds / epoch
    steps = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in zip(run.points, run.points[1:], strict=False)
    ]
    return median(steps) if steps else None


def _best(run: Run, best: float) -> float:
    """Return the optimum of the run, whose columns are its own, or the best of all runs."""
    return best if run.optimum is None else run.optimum


def _best_metric(runs: list[Run]) -> float:
    """Return the best metric of the valid runs of a task."""
    found = [point[3] for run in runs if run.status != "wrong" for point in run.points]
    best = min if any(run.metric_name == "RMSE" for run in runs) else max
    return best(found, default=float("nan"))


def time_to_metric(run: Run, best: float) -> float | None:
    """Return the seconds until the metric of a run was within `NEAR` of the best, or None."""
    near = [abs(metric - best) <= NEAR * best for _, _, _, metric in run.points]
    return run.points[near.index(True)][1] if True in near else None


def _shared_median(times: list[float | None], run: Run) -> float | None:
    """Return the median if every time is known and the runs are valid, otherwise None."""
    known = [seconds for seconds in times if seconds is not None]
    return median(known) if run.status != "wrong" and len(known) == len(times) else None


def _row(runs: list[Run], best: float, best_metric: float, single: dict[str, float | None]) -> Row:
    first = runs[0]
    bad = next((run for run in runs if run.status != "finished"), first)
    # The reason of a failure; reaching the budget is not one.
    note = bad.message if bad.status == "finished" else f"{bad.status}: {bad.message}".strip(": ")
    drawn = [run for run in runs if run.points and run.points[-1][0] > 0]
    if not drawn:
        none = (None,) * len(TARGETS)
        return Row(first.solver, first.n_threads, bad.status, note, none, *[None] * 11)
    goals = [_best(run, best) for run in drawn]
    arrivals = tuple(
        _shared_median(
            [time_to(run, goal + gap * abs(goal)) for run, goal in zip(drawn, goals, strict=True)],
            bad,
        )
        for gap in TARGETS
    )
    total = median(run.points[-1][2] for run in drawn)
    seconds = [each for each in map(epoch_seconds, drawn) if each]
    epoch_s = median(seconds) if seconds else None
    alone = single.get(first.solver)
    return Row(
        first.solver, first.n_threads, bad.status, note, arrivals,
        metric_s=_shared_median([time_to_metric(run, best_metric) for run in drawn], bad),
        gap=median(run.points[-1][2] / _best(run, best) - 1.0 for run in drawn),
        total=total,
        metric=median(run.points[-1][3] for run in drawn),
        epoch_s=epoch_s,
        pairs_per_s=first.n_pairs / epoch_s if epoch_s and first.n_pairs else None,
        wall=_median(run.wall for run in drawn),
        start_up=_median(run.start_up for run in drawn),
        peak_mb=_median(run.peak_mb for run in drawn),
        noise=(max(seconds) - min(seconds)) / epoch_s if epoch_s and len(seconds) > 1 else None,
        speedup=alone / epoch_s if alone and epoch_s and first.n_threads > 1 else None,
    )  # fmt: skip


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def markdown(runs: Iterable[Run]) -> str:
    """Return one table for each task; failed solvers have a row with the reason."""
    lines: list[str] = []
    for summary in summaries(runs):
        kind = "optimum" if summary.known else "best reached"
        lines += [
            f"**{summary.name}**: {summary.text} ({kind} {summary.best:.6g})",
            "",
            "| solver | threads | "
            + " | ".join(f"s to {1 + gap:g} x best" for gap in TARGETS)
            + f" | s to {summary.metric_name} within {NEAR:.0%} | gap at the end | s an epoch "
            f"| M pairs/s | start-up, s | {summary.metric_name} | MB | note |",
            "|---" * (10 + len(TARGETS)) + "|",
        ]
        lines += ["| " + " | ".join(_cells(row)) + " |" for row in summary.rows]
        lines.append("")
    return "\n".join(lines)


def glance(runs: Iterable[Run], names: Iterable[str]) -> str:
    """Return one table of all tasks: seconds to the main target, the fastest in bold."""
    tasks = list(summaries(runs))
    lines = [
        f"| s to {1 + TARGETS[0]:g} x best | " + " | ".join(
            f"{short(task.data)}: {task.problem}" for task in tasks
        ) + " |",
        "|---" * (len(tasks) + 1) + "|",
    ]  # fmt: skip
    for name in names:
        cells = []
        for task in tasks:
            times = [row.arrivals[0] for row in task.rows if row.arrivals[0] is not None]
            row = max(
                (row for row in task.rows if row.solver == name),
                key=lambda row: row.n_threads, default=None,
            )  # fmt: skip
            if row is None:
                cells.append("")
            elif row.arrivals[0] is None:
                cells.append("not reached" if row.status == "finished" else row.status)
            else:
                text = f"{row.arrivals[0]:.3g}"
                cells.append(f"**{text}**" if row.arrivals[0] == min(times) else text)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    note = row.note.replace("|", "\\|")
    if not row.ran:
        return [row.solver, str(row.n_threads), *[""] * (7 + len(TARGETS)), note]
    shown = "disqualified" if row.status == "wrong" else "not reached"
    return [
        row.solver,
        str(row.n_threads),
        *(shown if arrival is None else f"{arrival:.3g}" for arrival in row.arrivals),
        "" if row.metric_s is None else f"{row.metric_s:.3g}",
        f"{row.gap:.1e}",
        "" if row.epoch_s is None else f"{row.epoch_s:.3g}",
        "" if row.pairs_per_s is None else f"{row.pairs_per_s / 1e6:.3g}",
        "" if row.start_up is None else f"{row.start_up:.2f}",
        f"{row.metric:.3f}",
        "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        note,
    ]
