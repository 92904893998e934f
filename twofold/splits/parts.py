"""The results of splits, and the steps that several splits share."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.checks import check_whole, seed_of
from twofold.data.csr import build_csr
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError

__all__ = ["PairSplit", "RowSplit", "Unknown", "canonical", "order_of", "pair_split", "ranks"]

_BLOCK = 1 << 14  # entries that are sorted at a time


class Unknown(NamedTuple):
    """Columns and pairs of a part that a model of the training part does not have.

    Attributes
    ----------
    n_cols : int
        Number of columns that have a pair in the part, but none in the training part.
    n_pairs : int
        Number of pairs with these columns.

    Examples
    --------
    >>> from twofold import split_pairs
    >>> split = split_pairs(Pairings.from_arrays([5] * 10, range(10)), fraction=0.3)
    >>> split.unknown
    Unknown(n_cols=3, n_pairs=3)
    """

    n_cols: int
    n_pairs: int


def _unknown(train: Pairings, part: Pairings) -> Unknown:
    known = part.align(train)
    return Unknown(known.n_dropped_cols, known.n_dropped_pairs)


class RowSplit(NamedTuple):
    """Three sets of rows that have no row in common.

    Attributes
    ----------
    train : Pairings
        The rows to train on, with the columns that have a pair in them.
    validation, test : Pairings
        The other rows, with all columns.

    Examples
    --------
    >>> from twofold import split_rows
    >>> from twofold.datasets import make_playlists
    >>> split = split_rows(make_playlists(20, 50, n_groups=2).pairings, rng=0)
    >>> split.train.shape[0], split.validation.shape[0], split.test.shape[0]
    (14, 3, 3)
    >>> split.unknown["test"].n_cols
    0
    """

    train: Pairings
    validation: Pairings
    test: Pairings

    @property
    def unknown(self) -> dict[str, Unknown]:
        """What a model of the training rows does not have, of ``"validation"`` and ``"test"``."""
        parts = {"validation": self.validation, "test": self.test}
        return {name: _unknown(self.train, part) for name, part in parts.items()}

    def __repr__(self) -> str:
        """Return the size of each part, and what of it is unknown to the training rows."""
        parts = [f"train {self.train.shape[0]} rows x {self.train.shape[1]} columns"]
        for name, (n_cols, n_pairs) in self.unknown.items():
            part = getattr(self, name)
            parts.append(
                f"{name} {part.shape[0]} rows, {part.n_pairs} pairs "
                f"({n_pairs} with {n_cols} columns not in train)"
            )
        return f"<{type(self).__name__}: {'; '.join(parts)}>"


class PairSplit(NamedTuple):
    """Two sets of pairs that have no pair in common, with the same rows and the same columns.

    Attributes
    ----------
    seen : Pairings
        The pairs that are given.
    heldout : Pairings
        The pairs to predict.

    Examples
    --------
    >>> from twofold import split_pairs
    >>> split = split_pairs(Pairings.from_arrays([5] * 10, range(10)), fraction=0.3)
    >>> split
    <PairSplit: 1 rows x 10 columns, 7 pairs seen, 3 held out (3 with 3 columns not seen)>
    >>> split.train.shape
    (1, 7)
    """

    seen: Pairings
    heldout: Pairings

    @property
    def train(self) -> Pairings:
        """`seen` without the columns that have no pair in it, for a model that is trained on it."""
        return self.seen.drop_empty_cols()

    def limit_seen(self, n: int, *, rng: int | np.random.Generator | None = 11) -> "PairSplit":
        """Return the split with at most n seen pairs of each row, drawn at random.

        The held-out pairs stay the same, so that scores for different n can be compared. For the
        same seed, the pairs of a smaller n are among those of a larger one.

        Parameters
        ----------
        n : int
            Seen pairs of each row, >= 0. A row with fewer keeps all of them.
        rng : int, numpy.random.Generator or None, default 11
            Seed of the random choice. None draws a new one from the operating system.

        Returns
        -------
        PairSplit

        Raises
        ------
        InvalidInputError
            If an argument is out of range.

        Examples
        --------
        >>> from twofold import Pairings, split_pairs
        >>> split = split_pairs(Pairings.from_arrays([5] * 10, range(10)), fraction=0.3)
        >>> limited = split.limit_seen(2)
        >>> limited.seen.n_pairs, limited.heldout.n_pairs
        (2, 3)
        """
        check_whole(n, "n", 0)
        seen, _ = canonical(self.seen)
        draws = np.random.default_rng(seed_of(rng)).random(seen.n_pairs)
        return PairSplit(_entries(seen, ranks(seen.matrix, draws) < n), self.heldout)

    @property
    def unknown(self) -> Unknown:
        """What a model of `train` does not have of the held-out columns and pairs."""
        return _unknown(self.train, self.heldout)

    def __repr__(self) -> str:
        """Return the number of pairs, and how many held-out ones have columns that are not seen."""
        (n_rows, n_cols), unknown = self.seen.shape, self.unknown
        return (
            f"<{type(self).__name__}: {n_rows} rows x {n_cols} columns, {self.seen.n_pairs} pairs "
            f"seen, {self.heldout.n_pairs} held out ({unknown.n_pairs} with {unknown.n_cols} "
            "columns not seen)>"
        )


def canonical(pairings: Pairings, order: NDArray[Any] | None = None) -> tuple[Pairings, Any]:
    """Return pairings with one entry for each pair, columns ascending, and the order of these.

    Repeated entries become one, with the sum of their values and the sum of their weights, and the
    latest of their times and of their orders.
    """
    check_pairings(pairings)
    matrix = pairings.matrix
    if matrix.has_canonical_format:
        return pairings, order
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    ids = (pairings.row_ids, pairings.col_ids)
    numbers = {"value": matrix.data} | {name[:-1]: each for name, each in pairings.beside.items()}
    if order is not None:
        _, latest = build_csr(rows, matrix.indices, {"time": order}, *ids, "count")
        order = latest["times"]
    merged, beside = build_csr(rows, matrix.indices, numbers, *ids, "count")
    return Pairings(merged, *ids, weights=beside.get("weights"), times=beside.get("times")), order


def order_of(pairings: Pairings, order: Any) -> NDArray[Any]:
    """Return a number or a time for each entry, from an argument ``order`` of a public function."""
    check_pairings(pairings)
    if isinstance(order, str) and order == "times":
        if pairings.times is None:
            raise InvalidInputError(
                "the pairings have no times to order them by: read them with a time "
                '(read_sql(time=...), read_mpd(positions=True)), or give order="values" or an array'
            )
        return pairings.times
    array = np.asarray(
        pairings.matrix.data if isinstance(order, str) and order == "values" else order
    )
    if array.dtype.kind not in "iufM" or array.shape != (pairings.n_pairs,):
        what = repr(order) if isinstance(order, str) else f"{array.dtype} of shape {array.shape}"
        raise InvalidInputError(
            f'order is {what}: give "times", "values", or a number or time for each of the '
            f"{pairings.n_pairs} pairs"
        )
    missing = array != array  # NaN and NaT
    if missing.any():
        entry = int(np.argmax(missing))
        raise InvalidInputError(f"order[{entry}] is {array[entry]}: give a number for each pair")
    return array


def ranks(matrix: sparse.csr_array, keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the rank of each entry in its row, from 0, by key and then by column position."""
    indptr = matrix.indptr
    found = np.empty(keys.size, dtype=np.int64)
    # Blocks of rows are sorted one by one, because sorting is slow beyond the size of the cache.
    starts = np.searchsorted(indptr, np.arange(0, keys.size, _BLOCK))
    bounds = np.unique([*starts, matrix.shape[0]])
    for low, high in pairwise(bounds):
        entries = slice(indptr[low], indptr[high])
        lengths = np.diff(indptr[low : high + 1])
        rows = np.repeat(np.arange(lengths.size), lengths)
        first = np.repeat(indptr[low:high] - indptr[low], lengths)
        ordered = np.lexsort((keys[entries], rows))  # a stable sort
        found[entries][ordered] = np.arange(rows.size) - first
    return found


def pair_split(pairings: Pairings, is_heldout: NDArray[np.bool_]) -> PairSplit:
    """Split pairings by a mask over their entries."""
    return PairSplit(_entries(pairings, ~is_heldout), _entries(pairings, is_heldout))


def _entries(pairings: Pairings, kept: NDArray[np.bool_]) -> Pairings:
    """Return some of the entries, with all rows and all columns."""
    matrix = pairings.matrix
    indptr = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    part = sparse.csr_array((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)
    beside = {name: numbers[kept] for name, numbers in pairings.beside.items()}
    return Pairings(part, pairings.row_ids, pairings.col_ids, **beside)
