"""The plot: for each task, the gap to the best value against seconds, on log scales."""

from itertools import groupby
from pathlib import Path

from benchmarks.compare.store import Run
from benchmarks.compare.summary import short, summaries
from twofold.plot.figures import COLOURS

_DASHES = ("-", "--", ":")  # if colours repeat
_CEILING = 1e2  # limit of the axis, because diverging runs would compress the other curves
_FLOOR = 1e-5  # smaller gaps are drawn here, because they are rounding errors


def write_figure(runs: list[Run], names: list[str], *paths: Path) -> None:
    """Write the plot to files (.svg or .png); ``names`` are the solvers in order."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    curves = [run for run in runs if len(run.points) > 1 and run.status != "wrong"]
    tasks = [summary for summary in summaries(runs) if not summary.known]
    several = len({summary.n_factors for summary in tasks}) > 1
    columns = min(2, max(1, len(tasks)))
    lines = -(-len(tasks) // columns) or 1
    figure, axes = plt.subplots(
        lines, columns, figsize=(5.0 * columns, 2.6 * lines + 0.9), squeeze=False
    )
    shown = {}
    for panel, summary in zip(axes.flat, tasks, strict=False):
        task = (summary.data, summary.problem, summary.n_factors)
        for (solver, _), same in groupby(
            (run for run in curves if run.task == task), key=lambda run: (run.solver, run.n_threads)
        ):
            index = names.index(solver)
            most = _CEILING * summary.best + summary.best
            points = [point for point in next(same).points if point[0] > 0 and point[2] < most]
            (shown[solver],) = panel.plot(
                [point[1] for point in points],
                [max(point[2] / summary.best - 1.0, _FLOOR) for point in points],
                color=COLOURS[index % len(COLOURS)],
                linestyle=_DASHES[index // len(COLOURS) % len(_DASHES)],
                linewidth=2.4 if solver.startswith("twofold") else 1.4,
                marker="o", markersize=2.5,
            )  # fmt: skip
        panel.set(xscale="log", yscale="log", xlabel="seconds", ylabel="gap to the best")
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        factors = f", k = {summary.n_factors}" if several else ""
        panel.set_title(f"{short(summary.data)}: {summary.problem}{factors}", fontsize=10)
        panel.grid(color="#e4e7eb", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in list(axes.flat)[len(tasks) :]:
        panel.set_visible(False)
    listed = [name for name in names if name in shown]
    figure.legend(
        [shown[name] for name in listed], listed, loc="lower center",
        ncols=min(5, max(1, len(listed))), fontsize=9, frameon=False,
    )  # fmt: skip
    figure.tight_layout(rect=(0, 0.9 / (2.6 * lines + 0.9) if shown else 0, 1, 1))
    for path in paths:
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
