"""The comparison as a Markdown table: time to a target that is the same for every solver."""

from itertools import groupby
from statistics import median

from benchmarks.compare.store import Run

EPSILON = 0.01


def best_of(runs: list[Run]) -> float:
    """Return the lowest objective that any run of a problem reached."""
    return min(
        (point[2] for run in runs if run.status != "wrong" for point in run.points),
        default=float("nan"),
    )


def time_to(run: Run, target: float) -> float | None:
    """Return the seconds after which a run was at or below the target, None if never."""
    return next((seconds for _, seconds, total, _ in run.points if total <= target), None)


def markdown(runs: list[Run]) -> str:
    """Return one table for each problem; a solver that failed is a row with its reason."""
    lines: list[str] = []
    for problem, group in groupby(runs, key=lambda run: run.problem):
        of_problem = list(group)
        best = best_of(of_problem)
        data, objective, n_factors = problem
        lines += [
            f"**{data}, objective {objective!r}, n_factors={n_factors}** (best {best:.6g})",
            "",
            f"| solver | s to {1 + EPSILON:g} x best | s an epoch | objective | Recall@20 | note |",
            "|---|---|---|---|---|---|",
        ]
        for solver, same in groupby(of_problem, key=lambda run: run.solver):
            lines.append(_row(solver, list(same), best))
        lines.append("")
    return "\n".join(lines)


def _row(solver: str, runs: list[Run], best: float) -> str:
    drawn = [run for run in runs if len(run.points) > 1]
    if not drawn:
        return f"| {solver} | | | | | {runs[0].status}: {runs[0].message} |"
    arrivals = [time_to(run, (1 + EPSILON) * best) for run in drawn]
    arrived = [seconds for seconds in arrivals if seconds is not None]
    shown = f"{median(arrived):.2f}" if len(arrived) == len(arrivals) else "not reached"
    if runs[0].status == "wrong":
        shown = "disqualified"
    epoch = median(run.points[-1][1] / run.points[-1][0] for run in drawn)
    total = median(run.points[-1][2] for run in drawn)
    metric = median(run.points[-1][3] for run in drawn)
    note = "" if runs[0].status == "finished" else f"{runs[0].status}: {runs[0].message}"
    return f"| {solver} | {shown} | {epoch:.3f} | {total:.6g} | {metric:.3f} | {note} |"
