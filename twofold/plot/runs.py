"""Pictures of runs: the objective over the epochs and over the seconds."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_choice, check_flags, check_real
from twofold.exceptions import InvalidInputError
from twofold.plot.figures import COLOURS, axes_for
from twofold.plot.inputs import Run, check_attributes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PANELS", "convergence", "draw_history"]

PANELS = ("epoch", "seconds")
_STYLES: dict[str, dict[str, Any]] = {
    "total": {"color": "black", "linewidth": 2.0, "marker": "o", "markersize": 3.5},
    "loss": {"color": COLOURS[0]},
    "unobserved": {"color": COLOURS[1]},
    "penalty": {"color": COLOURS[2]},
}
_DASHES = ("-", "--", ":")


def convergence(
    solutions: Run | Mapping[str, Run],
    ax: "Axes | None" = None,
    *,
    over: Literal["epoch", "seconds"] = "epoch",
    gap: bool = True,
    best: float | None = None,
) -> "Axes":
    """Draw how runs approach the best objective, on a logarithmic scale.

    The gap after t epochs is (F_t - F_best) / |F_best|, with F_t the total objective. Without
    `best`, F_best is the least value of all these runs. The run that has it reaches a gap of 0,
    which a logarithmic scale does not have, and is drawn to the point before; so the last points
    before it are lower than they are with the minimum of a longer run as `best`.

    Parameters
    ----------
    solutions : Solution, or mapping of str to these
        One run, or several by name. Runs of different objectives cannot be compared.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.
    over : {"epoch", "seconds"}, default "epoch"
        What the horizontal axis has. Seconds are those of preparation and epochs, without
        evaluations and compilation.
    gap : bool, default True
        Draw the gap; otherwise the total objective.
    best : float, optional
        F_best, not 0.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidInputError
        If there is no run, no value can be drawn, an argument has another type or is out of range,
        or matplotlib is not installed.

    Examples
    --------
    >>> from twofold import Objective, plot
    >>> from twofold.datasets import make_playlists
    >>> from twofold.solvers import ALS, GD
    >>> R = make_playlists(100, 50).pairings.matrix
    >>> objective = Objective(unobserved_weight=0.1)
    >>> solvers = {"ALS": ALS(n_factors=4, rng=0), "GD": GD(n_factors=4, rng=0)}
    >>> runs = {name: solver.solve(objective, R) for name, solver in solvers.items()}
    >>> ax = plot.convergence(runs, over="seconds")
    >>> [line.get_label() for line in ax.get_lines()]
    ['ALS', 'GD']
    """
    runs = _named(solutions)
    check_choice(over, "over", PANELS)
    check_flags(gap=gap)
    totals = {name: np.array([each.total for each in run.history]) for name, run in runs.items()}
    if gap:
        best = _best(totals, best)
        totals = {name: (total - best) / abs(best) for name, total in totals.items()}
    heights = {name: _positive(total) for name, total in totals.items()}
    if all(np.isnan(height).all() for height in heights.values()):
        raise InvalidInputError(
            "no value is above 0, as a logarithmic scale needs: give runs of several epochs, or a "
            "lower best"
        )
    ax = axes_for(ax)
    styles = cycle([(colour, dash) for dash in _DASHES for colour in COLOURS])
    for (name, height), (colour, dash) in zip(heights.items(), styles, strict=False):
        places = [getattr(record, over) for record in runs[name].history]
        ax.plot(places, height, dash, color=colour, marker="o", markersize=3.5, label=name)
    ylabel = "gap to the best objective" if gap else "objective"
    title = f"Best objective {best:.6g}" if gap else ""
    ax.set(yscale="log", xlabel=over, ylabel=ylabel, title=title)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def _named(solutions: Run | Mapping[str, Run]) -> Mapping[str, Run]:
    """Return runs by name."""
    if not isinstance(solutions, Mapping):
        check_attributes(solutions, "solutions", ("solver", "history"), "a Solution, or a dict")
        return {solutions.solver: solutions}
    if not solutions:
        raise InvalidInputError("solutions is empty: give at least one Solution by its name")
    for name, run in solutions.items():
        check_attributes(run, f"solutions[{name!r}]", ("history",), "a Solution")
    return solutions


def _best(totals: Mapping[str, NDArray[Any]], best: float | None) -> float:
    if best is None:
        values = np.concatenate([*totals.values()])
        best = float(np.min(values, initial=np.inf, where=np.isfinite(values)))
    check_real(best, "best")
    if not best:
        raise InvalidInputError("best is 0, to which there is no relative gap: use gap=False")
    return best


def _positive(values: NDArray[Any]) -> NDArray[Any]:
    """Return nan for values that a logarithmic scale does not have."""
    return np.where(np.isfinite(values) & (values > 0.0), values, np.nan)


def draw_history(history: Sequence[Any], axes: list[Any]) -> None:
    """Draw the total and its parts over each of `PANELS`, one in each of the axes."""
    for ax, panel in zip(axes, PANELS, strict=False):
        places = [getattr(record, panel) for record in history]
        for name, style in _STYLES.items():
            values = _positive(np.array([getattr(record, name) for record in history]))
            if not np.isnan(values).all():
                ax.plot(places, values, label=name, **style)
        ax.set_yscale("log")
        ax.set_xlabel(panel)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("objective")
    above = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}  # inside it would cover lines
    axes[0].legend(fontsize="small", ncols=2, frameon=False, **above)
