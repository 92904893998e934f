"""`read_parts`: from readers of parts to blocks of rows on the workers."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.arrays import Ids
from twofold.data import Pairings
from twofold.data.csr import Duplicates, EntryError, build_csr
from twofold.data.vocabulary import Vocabulary
from twofold.distributed.layout import number_of_blocks
from twofold.distributed.residents import Handle, Homes
from twofold.distributed.shuffle import Rows, summed
from twofold.exceptions import InvalidInputError
from twofold.objective import Problem
from twofold.objective.side import Side
from twofold.objective.terms import Terms

__all__ = ["Pairs", "PairsBlock", "read_parts", "rows_of_problem"]

Array = NDArray[Any]
_ENTRY_BYTES = 28  # of a pair, with what `build_csr` needs
_NO_IDS: Ids = np.empty(0, np.int64)


class PositionError(EntryError):
    """An `EntryError` whose row and column are positions in the ids of all pairs."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs in blocks of rows on the workers.

    Parameters
    ----------
    row_ids, col_ids : ndarray
        In ascending order.
    n_pairs : int
        Number of pairs, repeated ones included.
    blocks : list of Rows
        Each block as a `PairsBlock`.
    """

    row_ids: Ids
    col_ids: Ids
    n_pairs: int
    blocks: list[Rows]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return self.row_ids.size, self.col_ids.size

    @contextmanager
    def ids_in_errors(self) -> Iterator[None]:
        """Raise the error of an entry with the ids of its row and column."""
        try:
            yield
        except PositionError as error:
            ids = self.row_ids.item(error.row), self.col_ids.item(error.col)
            raise EntryError(error.parts, *ids) from None


def read_parts(
    cluster: Homes, readers: list[Callable[[], Pairings]], duplicates: Duplicates
) -> Pairs:
    """Read the parts; return their pairs in blocks of rows of similar numbers of pairs."""
    homes = cluster.homes(len(readers))
    parts = deque(
        cluster.call(_read, home=home, reader=reader)
        for reader, home in zip(readers, homes, strict=True)
    )
    row_ids, col_ids = _all_ids(cluster, parts, homes)
    if not len(col_ids):
        raise InvalidInputError("no part of the ClusterPairings has a pair: check the readers")
    known = Vocabulary(row_ids, "row"), Vocabulary(col_ids, "column")
    sent = {home: cluster.placed([known], home)[0] for home in dict.fromkeys(homes)}
    coded = [  # The workers keep a part no longer than they need it.
        (cluster.call(_by_position, parts.popleft(), sent[home], home=home), home) for home in homes
    ]
    shape = row_ids.size, col_ids.size
    counted = [cluster.call(_counts, part, home=home, n=shape[0]) for part, home in coded]
    counts = summed(cluster, counted, shape[0])
    n_pairs = int(counts.sum())
    n_blocks = number_of_blocks(cluster, _ENTRY_BYTES * n_pairs, shape, 0)
    blocks = _blocks(cluster, coded, _bounds(counts, n_blocks), shape[1], duplicates)
    return Pairs(row_ids, col_ids, n_pairs, blocks)


def _all_ids(cluster: Homes, parts: deque[Handle], homes: list[str]) -> tuple[Ids, Ids]:
    """Return the ids of all parts in ascending order."""
    ids = deque(
        cluster.call(_ids, part, home=home) for part, home in zip(parts, homes, strict=True)
    )
    unions = _Union(), _Union()
    while ids:  # one part at a time, which bounds the memory
        (own,) = cluster.values([ids.popleft()])
        for union, part_ids in zip(unions, own, strict=True):
            union.add(part_ids)
    return unions[0].ids(), unions[1].ids()


def _bounds(counts: NDArray[np.int64], n_blocks: int) -> list[int]:
    """Return the first row of each block, and the number of rows."""
    total = np.concatenate([[0], np.cumsum(counts)])
    inner = np.searchsorted(total, np.arange(1, n_blocks) * total[-1] // n_blocks)
    return [int(bound) for bound in np.unique([0, *inner, counts.size])]


def _blocks(
    cluster: Homes,
    coded: list[tuple[Handle, str]],
    bounds: list[int],
    n_cols: int,
    duplicates: Duplicates,
) -> list[Rows]:
    """Send the pairs of each block of rows to one worker."""
    blocks = []
    homes = cluster.homes(len(bounds) - 1)
    for (low, high), home in zip(pairwise(bounds), homes, strict=True):
        pieces = [
            cluster.call(_pairs_of, part, home=source, low=low, high=high) for part, source in coded
        ]
        block = cluster.call(
            _pairs_block, *pieces, home=home, low=low, high=high, n_cols=n_cols,
            duplicates=duplicates,
        )  # fmt: skip
        blocks.append(Rows(block, home, low, high))
    return blocks


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


class PairsBlock(NamedTuple):
    """Some rows of the pairs, each pair once."""

    matrix: sparse.csr_array
    weights: NDArray[np.float64] | None


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


def _pairs_block(
    *pieces: dict[str, Array], low: int, high: int, n_cols: int, duplicates: Duplicates,
    threads: int,
) -> PairsBlock:  # fmt: skip
    """Return the pairs of rows in the form that one reader of all pairs makes."""
    names = dict.fromkeys(name for piece in pieces for name in piece)
    pairs = {
        name: np.concatenate([piece.get(name, np.ones(piece["row"].size)) for piece in pieces])
        for name in names
    }
    numbers: dict[str, Array] = {name: pairs[name] for name in ("value", "weight") if name in pairs}
    ids = np.arange(high - low), np.arange(n_cols)
    with _positions_from(low):
        matrix, beside = build_csr(pairs["row"] - low, pairs["col"], numbers, *ids, duplicates)
    return PairsBlock(matrix, beside.get("weights"))


def rows_of_problem(block: PairsBlock, objective: Terms, low: int, threads: int) -> Side:
    """Return the rows of the problem, the first of which has the position ``low``."""
    with _positions_from(low):
        return Problem.of(objective, block.matrix, block.weights).rows


@contextmanager
def _positions_from(low: int) -> Iterator[None]:
    """Raise the error of an entry with the position of its row among all rows."""
    try:
        yield
    except EntryError as error:
        raise PositionError(error.parts, error.row + low, error.col) from None
