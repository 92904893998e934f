"""`Side`: the stored entries of a matrix read by rows, or by columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold._kernels.arguments import Entries

__all__ = ["CHUNK", "Margin", "Side", "balanced_bounds"]

CHUNK = 1 << 15
"""Work of one task of a reduction, in entries: part of the bits of a result."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Margin:
    """What is known of one side of a problem without its entries.

    Parameters
    ----------
    counts : ndarray of int64, shape (n,)
        Stored entries of each row.
    summed_weights : ndarray of float64, shape (n,)
        n_u.
    scale : ndarray of float64, shape (n,)
        lam s_u.
    """

    counts: NDArray[np.int64]
    summed_weights: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.counts.size

    @cached_property
    def longest_first(self) -> NDArray[np.int64]:
        """Rows with entries, those with most entries first."""
        rows = np.argsort(-self.counts, kind="stable")
        return rows[: np.count_nonzero(self.counts)].astype(np.int64, copy=False)

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """Fixed ranges of rows of about equal work: the tasks of reductions and row loops."""
        return balanced_bounds(self.counts + 8, CHUNK)


@dataclass(frozen=True, eq=False)
class Side(Margin):
    """The stored entries by rows (CSR); the same class read by columns (CSC) is the other side."""

    entries: Entries

    def subset(self, chosen: NDArray[np.int64]) -> "Side":
        """Return the side with only the chosen entries (ascending positions)."""
        own = self.entries
        picked = pick(own, chosen)
        indptr = np.searchsorted(chosen, own.indptr).astype(np.int64)
        entries = picked._replace(indptr=indptr, indices=own.indices[chosen])
        return replace(self, counts=np.diff(indptr), entries=entries)

    def with_targets(self, targets: NDArray[np.float64]) -> "Side":
        """Return the side with other targets, shape (n_entries,)."""
        return replace(self, entries=self.entries._replace(targets=targets))


def pick(entries: Entries, chosen: NDArray[np.int64]) -> Entries:
    """Return entries whose per-entry arrays, but for the indices, are those at some positions."""
    parts = (entries.targets, entries.weights, entries.repeats)
    targets, weights, repeats = (part[chosen] if part.size else part for part in parts)
    return entries._replace(targets=targets, weights=weights, repeats=repeats)


def balanced_bounds(work: Array | Sequence[int], per_task: int) -> NDArray[np.int64]:
    """Split rows into contiguous tasks of about ``per_task`` work: positions, first 0, last n."""
    work = np.asarray(work, np.int64)
    n_tasks = min(-(-int(work.sum()) // per_task), work.size)
    if n_tasks <= 1:
        return np.array([0, work.size], np.int64)
    total = np.concatenate([[0], np.cumsum(work)])
    inner = np.searchsorted(total, np.arange(1, n_tasks) * total[-1] // n_tasks)
    return np.unique(np.concatenate([[0], inner, [total.size - 1]])).astype(np.int64)
