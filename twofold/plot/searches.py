"""Pictures of a search: the score over one field, and over two."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import InvalidInputError
from twofold.plot.figures import COLOURS, axes_for
from twofold.plot.inputs import Searched, check_attributes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_trials", "grid"]

_FEW = 6  # different numbers that all get a label
_DECADE = 10.0  # values that span more than this are drawn on a logarithmic axis
_MOST_TEXTS = 100  # cells that have their number


def grid(
    result: Searched, x: str | None = None, y: str | None = None, ax: "Axes | None" = None
) -> "Axes":
    """Draw the score over two fields of a search as a heat map.

    A cell has the score of the best trial with its two values: if more than two fields vary, that
    over all others. Cells without a trial that succeeded are grey, and the best cell has a frame.
    The trial of the solver and the objective as given is a cell only if its values are those of
    another trial.

    Parameters
    ----------
    result : SearchResult
        What `search` or `grid_search` returned.
    x, y : str, optional
        Names of the fields, such as "n_factors". Default: the first ones that vary.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidInputError
        If fewer than two fields vary, a field does not vary, no trial succeeded, an argument has
        another type, or matplotlib is not installed.

    Examples
    --------
    >>> from twofold import Balanced, plot, split_rows
    >>> from twofold.datasets import make_playlists
    >>> from twofold.solvers import ALS
    >>> from twofold.tuning import grid_search
    >>> parts = split_rows(make_playlists(200, 100).pairings)
    >>> fields = {"n_factors": [2, 4], "ratio": [1.0, 10.0]}
    >>> solver = ALS(max_epochs=2, rng=0)
    >>> ax = plot.grid(grid_search(solver, Balanced(), parts.train, parts.validation, fields))
    >>> ax.get_xlabel(), [label.get_text() for label in ax.get_yticklabels()]
    ('n_factors', ['1', '10'])
    """
    wanted = "the SearchResult of a search"
    check_attributes(result, "result", ("names", "best", "score_name"), wanted)
    x, y = _fields(result.names, x, y)
    best, values = result.best, _Cells(result, x, y)
    ax = axes_for(ax)
    colours = "viridis" if result.higher_is_better else "viridis_r"
    image = ax.imshow(values.scores, origin="lower", aspect="auto", cmap=colours)
    image.set_cmap(image.get_cmap().with_extremes(bad="0.85"))
    if values.scores.size <= _MOST_TEXTS:
        for (row, col), score in np.ndenumerate(values.scores):
            share: Any = image.norm(score)  # of the range of the colours
            is_dark = share < 0.6 if result.higher_is_better else share > 0.4
            colour = "white" if is_dark and not np.isnan(score) else "black"
            text = "none" if np.isnan(score) else f"{score:.3g}"
            ax.text(col, row, text, ha="center", va="center", color=colour)
    place = values.place_of(best)
    if place is not None:
        ax.add_patch(_frame(*place))
    ax.set_xticks(range(len(values.xs)), values.xs)
    ax.set_yticks(range(len(values.ys)), values.ys)
    ax.set(xlabel=x, ylabel=y, title=f"Best {result.score_name}: {best.score:.4g}")
    ax.figure.colorbar(image, ax=ax, label=_score_label(result))
    return ax


def _fields(names: list[str], x: Any, y: Any) -> tuple[str, str]:
    """Return the two fields of the axes."""
    for name, field in (("x", x), ("y", y)):
        if field is not None and field not in names:
            raise InvalidInputError(
                f"{name} is {field!r}: it must be a field that varies, one of {', '.join(names)}"
            )
    free = [name for name in names if name not in (x, y)]
    fields = [free.pop(0) if field is None and free else field for field in (x, y)]
    if None in fields or fields[0] == fields[1]:
        raise InvalidInputError(
            f"a grid needs two different fields that vary, and there are {', '.join(names)}: "
            "result.plot() draws each field by itself"
        )
    return fields[0], fields[1]


class _Cells:
    """The best score for each pair of values of two fields."""

    def __init__(self, result: Searched, x: str, y: str) -> None:
        self._names = (x, y)
        trials = [trial for trial in result if trial.number] or [*result]
        self.xs, self.ys = (
            _labels(trial.parameters[name] for trial in trials if name in trial.parameters)
            for name in (x, y)
        )
        self.scores: NDArray[Any] = np.full((len(self.ys), len(self.xs)), np.nan)
        for trial in result:  # best first
            place = self.place_of(trial)
            if place is not None and np.isnan(self.scores[place]):
                self.scores[place] = trial.score

    def place_of(self, trial: Any) -> tuple[int, int] | None:
        """Return the row and the column of a trial, or None if it has no cell."""
        x, y = (_label(trial.parameters.get(name)) for name in self._names)
        if x not in self.xs or y not in self.ys:
            return None
        return self.ys.index(y), self.xs.index(x)


def _label(value: Any) -> str:
    """Return a text for a value, with all digits of a number that differs without them."""
    short = f"{value:g}" if _is_number(value) else str(value)
    return repr(value) if _is_number(value) and float(short) != value else short


def _labels(values: Iterable[Any]) -> list[str]:
    """Return the labels of different values, numbers in ascending order and before others."""
    unique = {_label(value): value for value in values}
    return sorted(
        unique, key=lambda label: (
            (0, unique[label], "") if _is_number(unique[label]) else (1, 0.0, label)
        ),
    )  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _frame(row: int, col: int) -> Any:
    """Return the frame of a cell."""
    from matplotlib.patches import Rectangle

    place = (col - 0.5, row - 0.5)
    return Rectangle(
        place, 1.0, 1.0, fill=False, edgecolor=COLOURS[1], linewidth=3.0, clip_on=False
    )


def _score_label(result: Searched) -> str:
    return f"{result.score_name} ({'higher' if result.higher_is_better else 'lower'} is better)"


def draw_trials(result: Searched, axes: list[Any]) -> None:
    """Draw the score of every trial over each field that varies, one in each of the axes."""
    shown = [trial for trial in result if np.isfinite(trial.score)]
    for ax, name in zip(axes, result.names, strict=False):
        trials = [trial for trial in shown if name in trial.parameters]
        places = _places(ax, [trial.parameters[name] for trial in trials])
        scores = [trial.score for trial in trials]
        ax.scatter(places, scores, s=18, color=COLOURS[0], alpha=0.7, label="trial")
        for number, marker, color, label in (
            (0, "D", "black", "default"),
            (result.best.number, "*", COLOURS[1], "best"),
        ):
            at = [i for i, trial in enumerate(trials) if trial.number == number]
            points = [places[i] for i in at], [scores[i] for i in at]
            ax.scatter(*points, s=90, facecolors="none", edgecolors=color, marker=marker,
                       linewidths=1.5, label=label)  # fmt: skip
        ax.set_xlabel(name)
    axes[0].set_ylabel(_score_label(result))
    axes[0].legend(fontsize="small")


def _places(ax: Any, values: list[Any]) -> list[float]:
    """Return where values are drawn: numbers at their values, others at equal distances."""
    if all(map(_is_number, values)):
        numbers = [float(value) for value in values]
        if min(numbers, default=0.0) > 0 and max(numbers) >= _DECADE * min(numbers):
            ax.set_xscale("log")
        if len(set(numbers)) <= _FEW:
            ax.set_xticks(sorted(set(numbers)), [f"{number:g}" for number in sorted(set(numbers))])
            ax.minorticks_off()
        return numbers
    texts = [str(value) for value in values]
    labels = sorted(set(texts))
    ax.set_xticks(range(len(labels)), labels)
    return [float(labels.index(text)) for text in texts]
