"""`Side`: the stored entries of a matrix by rows or by columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property, state_of
from twofold._kernels.aligned import empty_aligned
from twofold._kernels.arguments import Entries

__all__ = ["CHUNK", "Margin", "Part", "Side", "balanced_bounds", "task_stride"]

CHUNK = 1 << 15
"""Entries in one task of a reduction; changing it changes the rounding of results."""

_BLOCK = 1 << 12  # rows whose order is free; a megabyte of 64 factors
_PART = 16 * _BLOCK  # rows that are solved together

Array = NDArray[Any]
_EMPTY = np.empty(0)
_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Part:
    """The tasks of a part of the rows of a problem, which are some of those of all rows.

    Parameters
    ----------
    bounds : ndarray of int64, shape (n_tasks_of_part + 1,)
        Their bounds, from 0 to the number of rows of the part.
    n_tasks : int
        Number of tasks of all rows.
    first : int
        Number of the first one of these tasks.
    """

    bounds: NDArray[np.int64]
    n_tasks: int
    first: int


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
    multiplicity : ndarray of float64, shape (n,), or (0,) if all are 1
        Number of rows of the data that each row stands for; see `MergedProblem`.
    positions : ndarray of int64, shape (n,), or (0,) if they are 0, 1, 2, ...
        Position in the data of the first of these rows.
    part : Part, optional
        The tasks of these rows, if they are a part of the rows of a problem.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.objective import Problem
    >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
    >>> margin = problem.col_margin
    >>> margin.n, margin.counts.tolist(), margin.summed_weights.tolist()
    (3, [1, 2, 1], [1.0, 2.0, 1.0])
    >>> margin.n_of([0, 1]), margin.position(1), margin.n_original
    (2, 1, 3)
    """

    counts: NDArray[np.int64]
    summed_weights: NDArray[np.float64]
    scale: NDArray[np.float64]
    multiplicity: NDArray[np.float64] = field(default_factory=lambda: _EMPTY, kw_only=True)
    positions: NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS, kw_only=True)
    part: "Part | None" = field(default=None, kw_only=True)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed on request."""
        return state_of(self)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.counts.size

    @property
    def n_original(self) -> int:
        """Number of rows of the data."""
        return self.n_of(slice(None))

    def n_of(self, rows: Any) -> int:
        """Return the number of rows of the data that some rows stand for.

        Parameters
        ----------
        rows : slice or array_like of int
            Positions of rows.

        Returns
        -------
        int
        """
        multiplicity = self.multiplicity if self.multiplicity.size else np.ones(self.n)
        return int(multiplicity[rows].sum())

    def position(self, row: int) -> int:
        """Return the position of a row in the data.

        Parameters
        ----------
        row : int
            A position among these rows.

        Returns
        -------
        int
        """
        return int(self.positions[row]) if self.positions.size else int(row)

    @property
    def penalty_weights(self) -> NDArray[np.float64]:
        """Weights of phi(p_u) in the objective, shape (n,): lam s_u times the multiplicity."""
        return self.scale * self.multiplicity if self.multiplicity.size else self.scale

    @cached_property
    def solve_order(self) -> NDArray[np.int64]:
        """Rows with entries, shape (n_with_entries,), in the order in which they are solved.

        Blocks of rows ascend, so that arrays in files are read and written in order. Within a
        block the longest rows are first, because rows of one length share their whitening.
        """
        if self.n == 1:
            return np.flatnonzero(self.counts)
        longest = self.counts.max(initial=0)
        # Integers of at most 16 bits are sorted by their digits, in a tenth of the time.
        keys = (longest - self.counts).astype(np.min_scalar_type(longest))
        rows = np.concatenate(
            [
                low + np.argsort(keys[low : low + _BLOCK], kind="stable")
                for low in range(0, max(self.n, 1), _BLOCK)
            ]
        )
        found: NDArray[np.int64] = rows[self.counts[rows] > 0].astype(np.int64, copy=False)
        return found

    @cached_property
    def solve_parts(self) -> list[tuple[slice, NDArray[np.int64]]]:
        """Ranges of rows and the part of `solve_order` in each, shape (n_with_entries,)."""
        if self.n <= _PART:
            return [(slice(None), self.solve_order)]
        ranges = [slice(low, low + _PART) for low in range(0, self.n, _PART)]
        ends = np.cumsum([np.count_nonzero(self.counts[rows]) for rows in ranges])
        return list(zip(ranges, np.split(self.solve_order, ends[:-1]), strict=True))

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """Bounds of ranges of rows of similar cost, the tasks of sums, shape (n_tasks + 1,)."""
        if self.part is not None:
            return self.part.bounds
        return balanced_bounds(self.counts + 8, CHUNK)

    def coarse_bounds(self, width: int) -> NDArray[np.int64]:
        """Return bounds of fewer tasks, for sums of matrices of shape (width, width).

        Parameters
        ----------
        width : int
            Number of rows and columns of each matrix.

        Returns
        -------
        ndarray of int64
            Some of `bounds`, with the first and the last one.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> from twofold.objective import Problem
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> problem.rows.coarse_bounds(8).tolist()
        [0, 2]
        """
        return np.append(self.bounds[: -1 : self._stride(width)], self.bounds[-1])

    def first_coarse_task(self, width: int) -> int:
        """Return the number of the first task of `coarse_bounds` among those of all rows.

        Parameters
        ----------
        width : int
            As for `coarse_bounds`.

        Returns
        -------
        int
            0, if these are all rows of the problem.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> from twofold.objective import Problem
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> problem.rows.first_coarse_task(8)
        0
        """
        return 0 if self.part is None else self.part.first // self._stride(width)

    def _stride(self, width: int) -> int:
        n_tasks = self.bounds.size - 1 if self.part is None else self.part.n_tasks
        return task_stride(n_tasks, width)


@dataclass(frozen=True, eq=False)
class Side(Margin):
    """The stored entries by rows (CSR) or, for the other side, by columns (CSC).

    The parameters that are not listed are those of `Margin`.

    Parameters
    ----------
    entries : Entries
        The arrays ``indptr``, ``indices``, ``targets`` and ``weights`` of the kernels; targets and
        weights are empty if all of them are 1.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.objective import Problem
    >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
    >>> problem.rows.entries.indices.tolist(), problem.cols.entries.indices.tolist()
    ([0, 1, 1, 2], [0, 0, 1, 1])
    >>> problem.rows.subset(np.array([0, 3])).entries.indices.tolist()
    [0, 2]
    >>> problem.rows.with_targets(np.arange(4.0)).entries.targets.tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    entries: Entries

    @property
    def excluded(self) -> NDArray[np.float64] | float:
        """Weights that the unobserved term excludes, shape (n_entries,), or that of all entries."""
        entries = self.entries
        return entries.excluded if entries.excluded.size else float(entries.missing_weight)

    def subset(self, chosen: NDArray[np.int64]) -> "Side":
        """Return the side with only the entries at the chosen positions, which are ascending.

        Parameters
        ----------
        chosen : ndarray of int64, shape (n_chosen,)
            Positions of entries, ascending.

        Returns
        -------
        Side
        """
        own = self.entries
        entries_of_subset = select_entries(own, chosen)
        indptr = np.searchsorted(chosen, own.indptr).astype(np.int64)
        entries = entries_of_subset._replace(indptr=indptr, indices=own.indices[chosen])
        return replace(self, counts=np.diff(indptr), entries=entries)

    def with_targets(self, targets: NDArray[np.float64]) -> "Side":
        """Return the side with other targets, shape (n_entries,).

        Parameters
        ----------
        targets : ndarray of float64, shape (n_entries,)
            The target of each entry.

        Returns
        -------
        Side
        """
        return replace(self, entries=self.entries._replace(targets=targets))


def select_entries(entries: Entries, chosen: NDArray[np.int64]) -> Entries:
    """Return entries with the targets and weights at the chosen positions only."""
    parts = (entries.targets, entries.weights, entries.excluded)
    targets, weights, excluded = (part[chosen] if part.size else part for part in parts)
    return entries._replace(targets=targets, weights=weights, excluded=excluded)


def task_stride(n_tasks: int, width: int) -> int:
    """Return how many tasks of a reduction are one for sums of matrices of shape (width, width).

    It is a power of two, with which at most 128 MB of matrices are left, and 128 of them where
    there are fewer than 8192 tasks.
    """
    most = min(max(128, n_tasks // 64), 1024, max((1 << 24) // (width * width), 1))
    return 1 << (-(-n_tasks // most) - 1).bit_length() if n_tasks > most else 1


def empty_entries(like: Entries, indptr: NDArray[np.int64]) -> Entries:
    """Return uninitialised entries with an index pointer, and the kinds of numbers of others."""
    n = int(indptr[-1])
    parts = (like.targets, like.weights, like.excluded)
    targets, weights, excluded = (
        empty_aligned((n,), np.float64) if part.size else part for part in parts
    )
    return like._replace(
        indptr=indptr, indices=empty_aligned((n,), np.int32), targets=targets, weights=weights,
        excluded=excluded,
    )  # fmt: skip


def balanced_bounds(work: Array | Sequence[int], per_task: int) -> NDArray[np.int64]:
    """Return the bounds, from 0 to n, of contiguous tasks of about ``per_task`` work."""
    work = np.asarray(work, np.int64)
    n_tasks = min(-(-int(work.sum()) // per_task), work.size)
    if n_tasks <= 1:
        return np.array([0, work.size], np.int64)
    total = np.concatenate([[0], np.cumsum(work)])
    inner = np.searchsorted(total, np.arange(1, n_tasks) * total[-1] // n_tasks)
    return np.unique(np.concatenate([[0], inner, [total.size - 1]])).astype(np.int64)
