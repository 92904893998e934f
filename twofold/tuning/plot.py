"""A picture of a search: the score over each field that varies."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from twofold.tuning.result import SearchResult

__all__ = ["draw"]

_FEW = 6  # different numbers that all get a label
_DECADE = 10.0  # values that span more than this are drawn on a logarithmic axis


def draw(result: "SearchResult", axes: list[Any]) -> None:
    """Draw the score of every trial over each field that varies, one in each of the axes."""
    shown = [trial for trial in result if np.isfinite(trial.score)]
    for ax, name in zip(axes, result.names, strict=False):
        trials = [trial for trial in shown if name in trial.parameters]
        places = _places(ax, [trial.parameters[name] for trial in trials])
        scores = [trial.score for trial in trials]
        ax.scatter(places, scores, s=18, color="tab:blue", alpha=0.7, label="trial")
        for number, marker, color, label in (
            (0, "D", "black", "default"),
            (result.best.number, "*", "tab:red", "best"),
        ):
            at = [i for i, trial in enumerate(trials) if trial.number == number]
            points = [places[i] for i in at], [scores[i] for i in at]
            ax.scatter(*points, s=90, facecolors="none", edgecolors=color, marker=marker,
                       linewidths=1.5, label=label)  # fmt: skip
        ax.set_xlabel(name)
    axes[0].set_ylabel(f"{result.score_name} ({'higher' if result.higher_is_better else 'lower'} "
                       "is better)")  # fmt: skip
    axes[0].legend(fontsize="small")


def _places(ax: Any, values: list[Any]) -> list[float]:
    """Return where values are drawn: numbers at their values, others at equal distances."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
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
