"""`ClusterPairings`: pairings that the workers read, and that never pass through the client."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.arrays import Ids
from twofold._common.checks import check_choice
from twofold.data import Pairings
from twofold.data.csr import Duplicates, build_csr
from twofold.data.vocabulary import Vocabulary
from twofold.distributed.blocks import Division, divided, joined, part_of
from twofold.distributed.operations import Layout, number_of_blocks
from twofold.distributed.residents import Homes
from twofold.exceptions import InvalidInputError
from twofold.objective import Objective, Problem
from twofold.objective.biases import Axis
from twofold.objective.problem import side_of
from twofold.objective.side import Margin, Side
from twofold.objective.terms import Terms
from twofold.solvers.operations import AXES

__all__ = ["ClusterPairings"]

Array = NDArray[Any]
Handle = Any
_NO_IDS: Ids = np.empty(0, np.int64)
_ENTRY_BYTES = 28  # of a pair with a value or a weight in a side


class ClusterPairings:
    """Pairings in parts, each of which a worker of a Dask cluster reads.

    The pairs go from worker to worker, and only ids and counts come to the client. Ids are in
    ascending order, so that the positions are those of one reader for all.

    Parameters
    ----------
    readers : sequence of callable
        Each returns the `Pairings` of a part, and is called by a worker without arguments: for
        instance ``functools.partial(read_parquet, path)``, or ``partial(read_sql, url, query=...)``
        with a range of ids in the query. A part may be read more than once, if a worker ends.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair of several parts becomes; see `Pairings.from_arrays`. The readers apply their
        own setting to each part first.

    Attributes
    ----------
    row_ids, col_ids : ndarray
        The ids of rows and columns, once a solver has read the pairs.

    Raises
    ------
    InvalidInputError
        If there are no readers, or one of them cannot be called.

    Examples
    --------
    >>> from functools import partial
    >>> from twofold.distributed import ClusterPairings
    >>> from twofold.io import read_parquet
    >>> ClusterPairings([partial(read_parquet, f"pairs-{n}.parquet") for n in range(4)])
    <ClusterPairings of 4 parts>
    """

    row_ids: Ids
    col_ids: Ids

    def __init__(
        self, readers: Sequence[Callable[[], Pairings]], duplicates: Duplicates = "keep-one"
    ) -> None:
        check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
        self.readers, self.duplicates = list(readers), duplicates
        if not self.readers or not all(map(callable, self.readers)):
            raise InvalidInputError(
                "readers must be functions without arguments that return Pairings: give one for "
                "each part, such as functools.partial(read_parquet, path)"
            )

    def __repr__(self) -> str:
        """Return the number of parts."""
        return f"<ClusterPairings of {len(self.readers)} parts>"

    def layout(
        self, cluster: Homes, objective: Objective, n_columns: int, width: int
    ) -> "PairsLayout":
        """Read the pairs; return their problem on the workers, see `Layout.of_problem`.

        Raises
        ------
        InvalidInputError
            If the objective has centers, or biases without a mean: they need all pairs.
        """
        if objective.has_centers or (objective.biases and objective.mean is None):
            raise InvalidInputError(
                "an objective with centers, or with biases and without mean=, needs the pairs in "
                "one process: give a matrix instead of ClusterPairings"
            )
        coded = self._coded(cluster)
        counts = self._counts(cluster, coded)
        n_blocks = number_of_blocks(cluster, _ENTRY_BYTES * int(counts.sum()), self.shape, width)
        first = self._first_blocks(cluster, coded, objective, counts, n_blocks)
        del coded  # so that the workers keep it no longer than they need it
        return _Shuffle(cluster, objective, first, self.shape).layout(n_columns, n_blocks, width)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns, once a solver has read the pairs."""
        return len(self.row_ids), len(self.col_ids)

    def _coded(self, cluster: Homes) -> list[tuple[Handle, str]]:
        """Read the parts; return their pairs by position, and the workers that have them."""
        homes = cluster.homes(len(self.readers))
        parts = [
            cluster.call(_read, home=home, reader=reader)
            for reader, home in zip(self.readers, homes, strict=True)
        ]
        ids = [cluster.call(_ids, part, home=home) for part, home in zip(parts, homes, strict=True)]
        unions = _Union(), _Union()
        for n in range(len(ids)):  # one part at a time, which bounds the memory
            (own,) = cluster.values([ids[n]])
            ids[n] = None
            for union, part_ids in zip(unions, own, strict=True):
                union.add(part_ids)
        row_ids, col_ids = (union.ids() for union in unions)
        if not len(col_ids):
            raise InvalidInputError("no part of the ClusterPairings has a pair: check the readers")
        self.row_ids, self.col_ids = row_ids, col_ids
        known = Vocabulary(self.row_ids, "row"), Vocabulary(self.col_ids, "column")
        sent = {home: cluster.placed([known], home)[0] for home in dict.fromkeys(homes)}
        return [
            (cluster.call(_by_position, part, sent[home], home=home), home)
            for part, home in zip(parts, homes, strict=True)
        ]

    def _counts(self, cluster: Homes, coded: list[tuple[Handle, str]]) -> NDArray[np.int64]:
        """Return the number of pairs of each row, repeated ones included."""
        n = self.shape[0]
        parts = [cluster.call(_counts, one, home=home, n=n) for one, home in coded]
        return _summed(cluster, parts, n)

    def _first_blocks(
        self,
        cluster: Homes,
        coded: list[tuple[Handle, str]],
        objective: Objective,
        counts: NDArray[np.int64],
        n_blocks: int,
    ) -> list["_Rows"]:
        """Return the rows of the problem in blocks of similar numbers of pairs."""
        total = np.concatenate([[0], np.cumsum(counts)])
        inner = np.searchsorted(total, np.arange(1, n_blocks) * total[-1] // n_blocks)
        bounds = np.unique([0, *inner, counts.size])
        homes = cluster.homes(bounds.size - 1)
        blocks = []
        for (low, high), home in zip(pairwise(bounds.tolist()), homes, strict=True):
            pieces = [
                cluster.call(_pairs_of, one, home=source, low=low, high=high)
                for one, source in coded
            ]
            side = cluster.call(
                _rows_of_problem, *pieces, home=home, objective=objective, low=low, high=high,
                n_cols=self.shape[1], duplicates=self.duplicates,
            )  # fmt: skip
            blocks.append(_Rows(side, home, low, high))
        return blocks


@dataclass(frozen=True)
class _Rows:
    """The rows ``low`` to ``high`` of a problem as a `Side` on a worker."""

    side: Handle
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
    """

    layout: Layout
    fingerprint: str


@dataclass(frozen=True, eq=False)
class _Shuffle:
    """From blocks of rows to blocks of both sides, whose bounds are those of tasks."""

    cluster: Homes
    objective: Objective
    first: list[_Rows]
    shape: tuple[int, int]

    def layout(self, n_columns: int, n_blocks: int, width: int) -> PairsLayout:
        """Return the problem on the workers."""
        divisions = {
            axis: divided(_margin(counts), n_blocks, width) for axis, counts in self._counts()
        }
        homes = {axis: self.cluster.homes(divisions[axis].n_blocks) for axis in AXES}
        sides: dict[Axis, list[Handle]] = {
            "row": self._rows(divisions["row"], homes["row"]),
            "col": self._cols(divisions["col"], homes["col"]),
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
        return PairsLayout(layout, self._fingerprint(divisions["row"], sides["row"], homes["row"]))

    def _counts(self) -> list[tuple[Axis, Array]]:
        """Return the number of entries of each row and of each column."""
        call, n_cols = self.cluster.call, self.shape[1]
        rows, cols = (
            [call(count, one.side, home=one.home, n=n_cols) for one in self.first]
            for count in (_counts_of, _col_counts_of)
        )
        of_rows = np.concatenate(self.cluster.values(rows))
        return [("row", of_rows), ("col", _summed(self.cluster, cols, n_cols))]

    def _rows(self, division: Division, homes: list[str]) -> list[Handle]:
        """Return the rows of each block."""
        sides = []
        for rows, home in zip(division.slices(), homes, strict=True):
            pieces = [
                self.cluster.call(
                    _rows_between, one.side, home=one.home,
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
                _columns, one.side, home=one.home, objective=self.objective, low=one.low,
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


def _summed(cluster: Homes, parts: list[Handle], n: int) -> NDArray[np.int64]:
    """Return the sum of arrays of the workers, of which one is here at a time."""
    total = np.zeros(n, np.int64)
    for part in parts:
        total += cluster.values([part])[0]
    return total


def _margin(counts: NDArray[np.int64]) -> Margin:
    return Margin(counts, np.empty(0), np.empty(0))


class _Union:
    """The different ids of several parts."""

    def __init__(self) -> None:
        self.integers: Ids = _NO_IDS
        self.texts: set[str] = set()

    def add(self, ids: Ids) -> None:
        """Add the ids of a part."""
        if ids.dtype == object:
            self.texts.update(ids.tolist())
        elif ids.size:
            self.integers = np.union1d(self.integers, ids)
        if self.texts and self.integers.size:
            raise InvalidInputError(
                "the ids of one part are integers and those of another are text: give "
                'id_type="text" to all readers'
            )

    def ids(self) -> Ids:
        """Return them in ascending order."""
        return np.array(sorted(self.texts), dtype=object) if self.texts else self.integers


# On the workers


def _read(reader: Callable[[], Pairings], threads: int) -> Pairings:
    part = reader()
    if not isinstance(part, Pairings):
        raise InvalidInputError(f"a reader returned a {type(part).__name__}: return Pairings")
    return part


def _ids(part: Pairings, threads: int) -> tuple[Ids, Ids]:
    return part.row_ids, part.col_ids


def _by_position(
    part: Pairings, known: tuple[Vocabulary, Vocabulary], threads: int
) -> dict[str, Array]:
    """Return the pairs of a part as parallel arrays of positions in all ids, and of numbers."""
    matrix = part.matrix
    own = part.row_ids, part.col_ids
    rows, cols = (
        vocabulary.find(ids).astype(np.int32) for vocabulary, ids in zip(known, own, strict=True)
    )
    pairs = {
        "row": np.repeat(rows, np.diff(matrix.indptr)),
        "col": cols[matrix.indices],
    }
    if (matrix.data != 1.0).any():
        pairs["value"] = matrix.data
    if part.weights is not None:
        pairs["weight"] = part.weights
    return pairs


def _counts(pairs: dict[str, Array], n: int, threads: int) -> NDArray[np.int64]:
    return np.bincount(pairs["row"], minlength=n)


def _pairs_of(pairs: dict[str, Array], low: int, high: int, threads: int) -> dict[str, Array]:
    chosen = (pairs["row"] >= low) & (pairs["row"] < high)
    return {name: array[chosen] for name, array in pairs.items()}


def _rows_of_problem(
    *pieces: dict[str, Array], objective: Terms, low: int, high: int, n_cols: int,
    duplicates: Duplicates, threads: int,
) -> Side:  # fmt: skip
    """Return the rows of the problem of some pairs, as `Problem.of` makes them."""
    names = dict.fromkeys(name for piece in pieces for name in piece)
    pairs = {
        name: np.concatenate([piece.get(name, np.ones(piece["row"].size)) for piece in pieces])
        for name in names
    }
    numbers: dict[str, Array] = {name: pairs[name] for name in ("value", "weight") if name in pairs}
    ids = np.arange(high - low), np.arange(n_cols)
    try:
        matrix, beside = build_csr(pairs["row"] - low, pairs["col"], numbers, *ids, duplicates)
        return Problem.of(objective, matrix, beside.get("weights")).rows
    except InvalidInputError as error:
        raise InvalidInputError(
            f"{error} (the row is a position in row_ids[{low}:{high}] of the ClusterPairings, and "
            "the column one in col_ids)"
        ) from error


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
    whole = joined(list(pieces))
    n = pieces[0].n
    col = np.concatenate([np.repeat(np.arange(n), piece.counts) for piece in pieces])
    order = np.argsort(col, kind="stable")
    entries = whole.entries
    sorted_parts = {
        name: getattr(entries, name)[order] if getattr(entries, name).size else entries.targets[:0]
        for name in ("targets", "weights", "excluded")
    }
    indptr = np.concatenate([[0], np.cumsum(np.bincount(col, minlength=n))])
    entries = entries._replace(indptr=indptr, indices=entries.indices[order], **sorted_parts)
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
