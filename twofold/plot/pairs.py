"""Pictures of a data set: the lengths of its rows and the popularity of its columns."""

from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError
from twofold.plot.figures import COLOURS, axes_for, plain_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["popularity", "row_lengths"]

_BINS = 20  # of a histogram, if lengths were not whole numbers
_LINE: dict[str, Any] = {"color": COLOURS[1], "linestyle": "--", "linewidth": 1.5}


def row_lengths(pairings: Pairings, ax: "Axes | None" = None) -> "Axes":
    """Draw a histogram of the numbers of pairs of the rows.

    The length of row u is n_u, its number of stored pairs. The bins are intervals of whole numbers
    whose widths grow in proportion to the length, so that the long tail of most data sets is
    visible. A line marks the median. Rows without a pair are counted in the title only.

    Parameters
    ----------
    pairings : Pairings
        The data set.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidInputError
        If there are no pairs, an argument has another type, or matplotlib is not installed.

    Examples
    --------
    >>> from twofold import Pairings, plot
    >>> ax = plot.row_lengths(Pairings.from_arrays([1, 1, 2], [7, 8, 7]))
    >>> ax.get_xlabel(), ax.get_title()
    ('pairs of a row', '2 rows, median 1.5 pairs')
    """
    lengths = np.diff(_with_pairs(pairings).matrix.indptr)
    ax = axes_for(ax)
    from matplotlib.ticker import MaxNLocator

    stored = lengths[lengths > 0]
    ends = _ends(int(stored.min()), int(stored.max()))
    ax.hist(stored, bins=ends, color=COLOURS[0], edgecolor="white", linewidth=0.5)
    median = float(np.median(stored))
    ax.axvline(median, **_LINE, label=f"median {median:g}")
    n_empty = lengths.size - stored.size
    empty = f", {n_empty:,} more without a pair" if n_empty else ""
    ax.set(
        xscale="log", xlabel="pairs of a row", ylabel="rows", xlim=(ends[0], ends[-1]),
        title=f"{stored.size:,} rows, median {median:g} pairs{empty}",
    )  # fmt: skip
    plain_numbers(ax.xaxis)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend()
    return ax


def popularity(pairings: Pairings, ax: "Axes | None" = None) -> "Axes":
    """Draw the number of pairs of each column against its rank, on logarithmic scales.

    The column of rank 1 has the most pairs. A power law is a straight line. A line marks the least
    rank r such that the columns of ranks 1 to r have at least half of all pairs, and the title has
    r as a share of the columns with a pair.

    Parameters
    ----------
    pairings : Pairings
        The data set.
    ax : matplotlib.axes.Axes, optional
        Where to draw. Default: the axes of a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidInputError
        If there are no pairs, an argument has another type, or matplotlib is not installed.

    Examples
    --------
    >>> from twofold import Pairings, plot
    >>> ax = plot.popularity(Pairings.from_arrays([1, 2, 3, 3], [7, 7, 7, 8]))
    >>> ax.get_lines()[0].get_ydata()
    array([3, 1])
    """
    matrix = _with_pairs(pairings).matrix
    counts = np.sort(np.bincount(matrix.indices[: matrix.nnz]))[::-1]
    counts = counts[counts > 0]
    ax = axes_for(ax)
    ranks = np.arange(1, counts.size + 1)
    # Few points get markers, as a line of one point is invisible.
    ax.plot(ranks, counts, color=COLOURS[0], linewidth=2.0, marker="o" if ranks.size < 30 else "")
    shares = np.cumsum(counts) / counts.sum()
    half = int(np.searchsorted(shares, 0.5)) + 1
    percent = 100.0 * half / counts.size
    ax.axvline(half, **_LINE, label=f"half of the pairs: rank {half:,}")
    title = f"Half of the pairs: {percent:.3g}% of {counts.size:,} columns"
    ax.set(xscale="log", yscale="log", title=title)
    ax.set(xlabel="rank of the column", ylabel="pairs of the column")
    plain_numbers(ax.xaxis)
    plain_numbers(ax.yaxis)
    ax.legend(frameon=False)
    return ax


def _ends(low: int, high: int) -> list[float]:
    """Return the ends of bins, halves of odd numbers, whose widths do not decrease."""
    growth = ((high + 1.0) / low) ** (1.0 / _BINS) - 1.0
    ends = [low - 0.5]
    while ends[-1] < high:
        ends.append(ends[-1] + max(1, round(growth * ends[-1])))
    return ends


def _with_pairs(pairings: Pairings) -> Pairings:
    check_pairings(pairings)
    if not pairings.n_pairs:
        raise InvalidInputError("there are no pairs: nothing can be drawn of them")
    return pairings
