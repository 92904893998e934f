"""`Side`: the stored entries of a matrix by rows or by columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold._kernels.arguments import Entries

__all__ = ["CHUNK", "Margin", "Side", "balanced_bounds"]

CHUNK = 1 << 15
"""Entries in one task of a reduction; changing it changes the rounding of results."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Margin:
    """Counts and penalties of the rows or columns of a problem, without the entries.

    Parameters
    ----------
    counts : ndarray of int64, shape (n,)
        Number of stored entries of each row.
    summed_weights : ndarray of float64, shape (n,)
        n_u, the sum of the weights of each row.
    scale : ndarray of float64, shape (n,)
        lam s_u of each row.
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
        """Rows with entries, in descending order of the number of entries."""
        if self.n == 1:
            return np.flatnonzero(self.counts)
        rows = np.argsort(-self.counts, kind="stable")
        return rows[: np.count_nonzero(self.counts)].astype(np.int64, copy=False)

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """Bounds of fixed ranges of rows of similar cost, the tasks of reductions."""
        return balanced_bounds(self.counts + 8, CHUNK)


@dataclass(frozen=True, eq=False)
class Side(Margin):
    """The stored entries by rows (CSR) or, for the other side, by columns (CSC)."""

    entries: Entries

    def subset(self, chosen: NDArray[np.int64]) -> "Side":
        """Return the side with only the entries at the chosen positions, which are ascending."""
        own = self.entries
        entries_of_subset = select_entries(own, chosen)
        indptr = np.searchsorted(chosen, own.indptr).astype(np.int64)
        entries = entries_of_subset._replace(indptr=indptr, indices=own.indices[chosen])
        return replace(self, counts=np.diff(indptr), entries=entries)

    def with_targets(self, targets: NDArray[np.float64]) -> "Side":
        """Return the side with other targets, shape (n_entries,)."""
        return replace(self, entries=self.entries._replace(targets=targets))


def select_entries(entries: Entries, chosen: NDArray[np.int64]) -> Entries:
    """Return entries with the targets, weights and repeats at the chosen positions only."""
    parts = (entries.targets, entries.weights, entries.repeats)
    targets, weights, repeats = (part[chosen] if part.size else part for part in parts)
    return entries._replace(targets=targets, weights=weights, repeats=repeats)


def balanced_bounds(work: Array | Sequence[int], per_task: int) -> NDArray[np.int64]:
    """Return the bounds, from 0 to n, of contiguous tasks of about ``per_task`` work."""
    work = np.asarray(work, np.int64)
    n_tasks = min(-(-int(work.sum()) // per_task), work.size)
    if n_tasks <= 1:
        return np.array([0, work.size], np.int64)
    total = np.concatenate([[0], np.cumsum(work)])
    inner = np.searchsorted(total, np.arange(1, n_tasks) * total[-1] // n_tasks)
    return np.unique(np.concatenate([[0], inner, [total.size - 1]])).astype(np.int64)
