"""A picture of a history: the objective over the epochs and over the seconds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from twofold.solvers.result import Record

__all__ = ["PANELS", "draw_history"]

PANELS = ("epoch", "seconds")
_STYLES: dict[str, dict[str, Any]] = {
    "total": {"color": "black", "linewidth": 2.0, "marker": "o", "markersize": 3.5},
    "loss": {"color": "tab:blue"},
    "unobserved": {"color": "tab:orange"},
    "penalty": {"color": "tab:green"},
}


def draw_history(history: Sequence["Record"], axes: list[Any]) -> None:
    """Draw the total and its parts over each of `PANELS`, one in each of the axes."""
    for ax, panel in zip(axes, PANELS, strict=False):
        places = [getattr(record, panel) for record in history]
        for name, style in _STYLES.items():
            values = np.array([getattr(record, name) for record in history])
            values[~(np.isfinite(values) & (values > 0.0))] = np.nan  # for the logarithm
            if not np.isnan(values).all():
                ax.plot(places, values, label=name, **style)
        ax.set_yscale("log")
        ax.set_xlabel(panel)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("objective")
    above = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}  # inside it would cover lines
    axes[0].legend(fontsize="small", ncols=2, frameon=False, **above)
