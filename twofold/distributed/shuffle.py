"""`Shuffle`: the problem of pairs that the workers have in blocks of rows."""

import hashlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold.distributed.blocks import Division, both_divided, joined, part_of
from twofold.distributed.layout import Layout
from twofold.distributed.residents import Handle, Homes
from twofold.objective import Objective, Problem
from twofold.objective.biases import Axis
from twofold.objective.problem import side_of
from twofold.objective.side import Margin, Side
from twofold.objective.terms import Terms
from twofold.solvers.operations import AXES

__all__ = ["PairsLayout", "Rows", "Shuffle", "summed"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """The rows ``low`` to ``high`` of all pairs, as an object on a worker."""

    handle: Handle
    home: str
    low: int
    high: int


@dataclass(frozen=True, eq=False)
class PairsLayout:
    """A layout with what a run needs of its problem.

    Parameters
    ----------
    layout : Layout
    fingerprint : str
        Hash of the objective and the pairs, whatever the number of blocks.
    col_counts : ndarray of int64, shape (n_cols,)
        Number of rows that have a pair with each column.
    """

    layout: Layout
    fingerprint: str
    col_counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shuffle:
    """From blocks of rows to blocks of both sides, whose bounds are those of tasks.

    Parameters
    ----------
    cluster : Homes
    objective : Objective
    first : list of Rows
        Each block as a `Side`. The list is emptied.
    shape : tuple of int
        Number of rows and of columns.
    """

    cluster: Homes
    objective: Objective
    first: list[Rows]
    shape: tuple[int, int]

    def layout(self, n_columns: int, n_blocks: int, width: int) -> PairsLayout:
        """Return the problem on the workers."""
        counts = self._counts()
        margins = {axis: _margin(counts[axis]) for axis in AXES}
        divisions = both_divided(margins, n_blocks, width)
        homes = self.cluster.homes(divisions["row"].n_blocks)
        sides: dict[Axis, list[Handle]] = {
            "row": self._rows(divisions["row"], homes),
            "col": self._cols(divisions["col"], homes),
        }
        # Without centers the penalty is the same for all rows, and any matrix has it.
        problem = Problem.of(self.objective, sparse.csr_array((1, 1)))
        penalties = dict(zip(AXES, problem.penalties(n_columns), strict=True))
        layout = Layout(
            self.objective,
            problem.mean,
            divisions,
            homes,
            sides,
            {axis: [penalties[axis]] * divisions[axis].n_blocks for axis in AXES},
            dict(zip(AXES, self.shape, strict=True)),
        )
        self.first.clear()  # so that the workers keep it no longer than they need it
        fingerprint = self._fingerprint(divisions["row"], sides["row"], homes)
        return PairsLayout(layout, fingerprint, counts["col"])

    def _counts(self) -> dict[Axis, Array]:
        """Return the number of entries of each row and of each column."""
        call, n_cols = self.cluster.call, self.shape[1]
        rows, cols = (
            [call(count, one.handle, home=one.home, n=n_cols) for one in self.first]
            for count in (_counts_of, _col_counts_of)
        )
        of_rows = np.concatenate(self.cluster.values(rows))
        return {"row": of_rows, "col": summed(self.cluster, cols, n_cols)}

    def _rows(self, division: Division, homes: list[str]) -> list[Handle]:
        """Return the rows of each block."""
        sides = []
        for rows, home in zip(division.slices(), homes, strict=True):
            pieces = [
                self.cluster.call(
                    _rows_between, one.handle, home=one.home,
                    low=max(rows.start - one.low, 0), high=min(rows.stop, one.high) - one.low,
                )
                for one in self.first
                if one.low < rows.stop and rows.start < one.high
            ]  # fmt: skip
            sides.append(self.cluster.call(_joined_rows, *pieces, home=home, first=int(rows.start)))
        return sides

    def _cols(self, division: Division, homes: list[str]) -> list[Handle]:
        """Return the columns of each block."""
        by_col = [
            self.cluster.call(
                _columns, one.handle, home=one.home, objective=self.objective, low=one.low,
                n_cols=self.shape[1],
            )
            for one in self.first
        ]  # fmt: skip
        sides = []
        for cols, home in zip(division.slices(), homes, strict=True):
            pieces = [
                self.cluster.call(
                    _rows_between, side, home=one.home, low=int(cols.start), high=int(cols.stop)
                )
                for side, one in zip(by_col, self.first, strict=True)
            ]
            sides.append(
                self.cluster.call(
                    _merged_columns, *pieces, home=home, objective=self.objective,
                    first=int(cols.start), n_rows=self.shape[0],
                )
            )  # fmt: skip
        return sides

    def _fingerprint(self, division: Division, sides: list[Handle], homes: list[str]) -> str:
        digests = self.cluster.values(
            [
                self.cluster.call(_digests, side, home=home, bounds=division.part(n).bounds)
                for n, (side, home) in enumerate(zip(sides, homes, strict=True))
            ]
        )
        digest = hashlib.blake2b(f"{self.objective!r} {self.shape}".encode(), digest_size=16)
        for part in digests:
            digest.update(part)
        return digest.hexdigest()


def summed(cluster: Homes, parts: list[Handle], n: int) -> NDArray[np.int64]:
    """Return the sum of arrays of the workers, of which one is here at a time."""
    total = np.zeros(n, np.int64)
    for part in parts:
        total += cluster.values([part])[0]
    return total


def _margin(counts: NDArray[np.int64]) -> Margin:
    return Margin(counts, np.empty(0), np.empty(0))


# On the workers


def _counts_of(side: Side, n: int, threads: int) -> NDArray[np.int64]:
    return side.counts


def _col_counts_of(side: Side, n: int, threads: int) -> NDArray[np.int64]:
    return np.bincount(side.entries.indices, minlength=n)


def _rows_between(side: Side, low: int, high: int, threads: int) -> Side:
    return part_of(side, slice(low, high))


def _joined_rows(*pieces: Side, first: int, threads: int) -> Side:
    return _placed_at(joined(list(pieces)), first)


def _placed_at(side: Side, first: int) -> Side:
    return replace(side, positions=np.arange(first, first + side.n))


def _columns(side: Side, objective: Terms, low: int, n_cols: int, threads: int) -> Side:
    """Return the columns of some rows, whose first one is ``low``."""
    cols = Problem(objective, (side.n, n_cols), side).cols
    entries = cols.entries._replace(indices=cols.entries.indices + np.int32(low))
    return replace(cols, entries=entries)


def _merged_columns(*pieces: Side, objective: Terms, first: int, n_rows: int, threads: int) -> Side:
    """Return columns whose entries are in several pieces, in the order of the rows."""
    counts = np.sum([piece.counts for piece in pieces], axis=0)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    merged: dict[str, Any] = {}
    ends = indptr[:-1].copy()  # of what is merged already of each column
    for piece in pieces:
        own = piece.entries
        places = np.repeat(ends - own.indptr[:-1], piece.counts) + np.arange(own.indices.size)
        for name in ("indices", "targets", "weights", "excluded"):
            array = getattr(own, name)
            if array.size:
                whole = merged.setdefault(name, np.empty(indptr[-1], array.dtype))
                whole[places] = array
        ends += piece.counts
    entries = pieces[0].entries._replace(indptr=indptr, **merged)
    return _placed_at(side_of(objective, entries, n_rows), first)


def _digests(side: Side, bounds: NDArray[np.int64], threads: int) -> bytes:
    """Return a digest of the entries of each task."""
    digests = []
    ends = side.entries.indptr[bounds]
    for rows, (low, high) in zip(pairwise(bounds), pairwise(ends), strict=True):
        digest = hashlib.blake2b(digest_size=16)
        digest.update(np.ascontiguousarray(side.counts[rows[0] : rows[1]]).data)
        for array in (side.entries.indices, side.entries.targets, side.entries.weights):
            if array.size:
                digest.update(np.ascontiguousarray(array[low:high]).data)
        digests.append(digest.digest())
    return b"".join(digests)
