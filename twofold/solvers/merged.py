"""`MergedProblem`: a problem in which equal rows, and equal columns, are solved only once."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import entries
from twofold._kernels.aligned import empty_aligned
from twofold.objective import Point, Problem
from twofold.objective.side import Margin, Side, empty_entries

__all__ = ["MergedProblem"]

Array = NDArray[Any]
_LONGEST = 8  # entries of a row that is compared with others: longer ones are rarely equal
_LEAST_SHARE = 0.1  # of the rows and columns, which merging must save


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of equal rows of a side.

    Parameters
    ----------
    first : ndarray of int64, shape (n_groups,)
        The first row of each group, ascending.
    group : ndarray of int64, shape (n,)
        The group of each row.
    """

    first: NDArray[np.int64]
    group: NDArray[np.int64]

    @classmethod
    def of(cls, side: Side) -> Self:
        """Find the rows with the same entries, targets and weights, of at most 8 entries.

        Rows are sorted by a hash of their entries and compared with the row before them.
        """
        first_equal = np.arange(side.n)
        for length in range(1, _LONGEST + 1):
            rows = np.flatnonzero(side.counts == length)
            if rows.size > 1:
                keys = _keys(side, rows, length)
                order = np.argsort(_hashes(keys), kind="stable")
                same = np.all([key[order[1:]] == key[order[:-1]] for key in keys], axis=0)
                starts = np.flatnonzero(np.concatenate([[True], ~same]))
                # The sort is stable, so the first row of a run is the first one of its group.
                sizes = np.diff(np.append(starts, rows.size))
                first_equal[rows[order]] = np.repeat(rows[order[starts]], sizes)
        is_first = first_equal == np.arange(side.n)
        return cls(np.flatnonzero(is_first), (np.cumsum(is_first) - 1)[first_equal])

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Number of rows of each group."""
        return np.bincount(self.group, minlength=self.first.size).astype(np.float64)


def _hashes(keys: list[Array]) -> NDArray[np.uint64]:
    """Return 64 bits for each row of keys, equal for equal rows."""
    hashes = np.zeros(keys[0].size, np.uint64)
    for key in keys:
        bits = key.view(np.uint64) if key.dtype == np.float64 else key.astype(np.uint64)
        hashes = (hashes ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
    return hashes


def _keys(side: Side, rows: NDArray[np.int64], length: int) -> list[Array]:
    """Return the columns, targets, weights and excluded weights of rows with so many entries."""
    own, keys = side.entries, []
    for offset in range(length):
        chosen = own.indptr[rows] + offset
        parts = (own.indices, own.targets, own.weights, own.excluded)
        keys += [part[chosen] for part in parts if part.size]
    return keys


@dataclass(frozen=True, eq=False)
class MergedProblem(Problem):
    """A problem in which equal rows are one row with a multiplicity, and equal columns, too.

    Rows with the same entries have the same solution p_u. With m_u the number of rows that row u
    stands for, and m_i that of column i, the objective is

        sum m_u m_i w l(r, p_u . q_i) + a0 sum_U m_u m_i (p_u . q_i)^2
            + lam (sum m_u s_u phi(p_u) + sum m_i s_i phi(q_i)).

    The equations of row u contain m_i, but not m_u. This is exact: its minima are those of the
    original problem at which equal rows have equal factors, as they have after every half-step.

    Parameters
    ----------
    rows : Side
        The entries by row, whose weights contain m_i.
    merged_cols : Side
        The entries by column, whose weights contain m_u.
    groups : tuple of Groups
        Those of rows and columns.
    """

    merged_cols: Side
    groups: tuple[Groups, Groups]

    @classmethod
    def reduced(cls, problem: Problem) -> Problem:
        """Return the problem with merged rows and columns, or itself if that saves little."""
        sides = (problem.rows, problem.cols)
        n_short = sum(np.count_nonzero(_is_short(side)) for side in sides)
        if n_short < _LEAST_SHARE * sum(problem.shape):
            return problem
        groups = [Groups.of(side) for side in sides]
        n_left = sum(one.first.size for one in groups)
        if n_left > (1.0 - _LEAST_SHARE) * sum(problem.shape):
            return problem
        own, other = groups
        rows, cols = _merged_side(sides[0], own, other), _merged_side(sides[1], other, own)
        shape = (own.first.size, other.first.size)
        return cls(problem.objective, shape, rows, cols, (own, other))

    @property
    def cols(self) -> Side:
        """The entries by column."""
        return self.merged_cols

    @property
    def col_margin(self) -> Margin:
        """The columns without their entries."""
        return self.cols

    def restricted(self, P: Array, Q: Array) -> tuple[Array, Array]:
        """Return the factors of the first row and column of each group."""
        return P[self.groups[0].first], Q[self.groups[1].first]

    def original_factors(self, point: Point) -> tuple[Array, Array]:
        """Return the factors of all rows and columns."""
        P, Q = super().original_factors(point)
        rows, cols = self.groups
        return _repeated(P, rows), _repeated(Q, cols)


def _repeated(factors: Array, groups: Groups) -> Array:
    """Return the factors of the group of each row."""
    out = empty_aligned((groups.group.size, factors.shape[1]), factors.dtype)
    # Other modes fill a temporary copy first.
    return factors.take(groups.group, axis=0, out=out, mode="clip")


def _is_short(side: Side) -> NDArray[np.bool_]:
    return np.asarray((side.counts > 0) & (side.counts <= _LONGEST))


def _merged_side(side: Side, own: Groups, other: Groups) -> Side:
    """Return the side with the first row of each group, over the first columns."""
    given, first, scale = side.entries, own.first, side.scale[own.first]
    columns = (given, first, other.first, other.group)
    counts = np.zeros(first.size, np.int64)
    entries.count_merged(*columns, counts)
    merged = empty_entries(given, np.concatenate([[0], np.cumsum(counts)]))
    if other.first.size < other.group.size:
        shape = merged.indices.shape
        merged = merged._replace(weights=empty_aligned(shape, np.float64))
        if given.missing_weight:
            merged = merged._replace(excluded=empty_aligned(shape, np.float64))
    entries.merge(*columns, other.sizes, merged)
    return replace(
        side,
        counts=counts,
        summed_weights=side.summed_weights[first],
        scale=scale,
        multiplicity=own.sizes if first.size < side.n else side.multiplicity,
        positions=first,
        entries=merged._replace(scale=scale),
    )
