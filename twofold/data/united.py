"""Pairings united with later ones."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.arrays import Ids
from twofold.data.csr import check_limit
from twofold.data.pairings import Pairings
from twofold.data.vocabulary import Vocabulary

__all__ = ["United", "united"]


class United(NamedTuple):
    """The pairs of two pairings.

    Parameters
    ----------
    pairings : Pairings
        All pairs. The rows and columns of the old pairings keep their positions, and new ones
        follow in ascending order of their ids.
    rows, cols : ndarray of int64
        The positions of the rows and columns of the new pairings, in their order.
    n_replaced : int
        Number of old pairs that new ones replaced.
    """

    pairings: Pairings
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    n_replaced: int


def united(old: Pairings, new: Pairings) -> United:
    """Return all pairs of two pairings; a pair of both is that of the new ones.

    A weight that only one of them has is 1 for the pairs of the other. Times are kept if both have
    them in the same type.

    Raises
    ------
    InvalidInputError
        If the ids of one are integers and those of the other text.
    """
    row_ids, rows = _extended(old.row_ids, new.row_ids, "row")
    col_ids, cols = _extended(old.col_ids, new.col_ids, "column")
    shape = (row_ids.size, col_ids.size)
    check_limit(shape)
    given = np.repeat(rows, np.diff(new.matrix.indptr)), cols[new.matrix.indices]
    kept, n_replaced = _not_replaced(old, *given)
    of_old = np.repeat(np.arange(old.shape[0]), np.diff(old.matrix.indptr))[kept]
    of_row = np.concatenate([of_old, given[0]])
    indices = np.concatenate([old.matrix.indices[kept], given[1]])
    # Stable, so that repeated pairs keep their order; it merges sorted parts in linear time.
    order = np.argsort(of_row * shape[1] + indices, kind="stable")
    dtype = np.int32 if order.size < 2**31 else np.int64
    indptr = np.zeros(shape[0] + 1, dtype)
    np.cumsum(np.bincount(of_row, minlength=shape[0]), out=indptr[1:])
    stored = np.concatenate([old.matrix.data[kept], new.matrix.data])[order]
    matrix = sparse.csr_array((stored, indices[order].astype(dtype), indptr), shape=shape)
    beside: dict[str, Any] = {name: array[order] for name, array in _beside(old, new, kept).items()}
    return United(Pairings(matrix, row_ids, col_ids, **beside), rows, cols, n_replaced)


def _extended(known: Ids, given: Ids, name: str) -> tuple[Ids, NDArray[np.int64]]:
    """Return the known ids followed by the new ones, and the position of each given one."""
    positions = Vocabulary(known, name).find(given)
    new = np.flatnonzero(positions < 0)
    new = new[np.argsort(given[new])]
    positions[new] = known.size + np.arange(new.size)
    return (np.concatenate([known, given[new]]) if new.size else known), positions


def _not_replaced(
    old: Pairings, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> tuple[Any, int]:
    """Return which old entries are not those of given pairs, and the number of the others."""
    n_rows, n_cols = old.shape
    is_known = (rows < n_rows) & (cols < n_cols)
    if not is_known.any():
        return slice(None), 0
    rows, cols = rows[is_known], cols[is_known]
    has_given = np.zeros(n_rows, np.bool_)
    has_given[rows] = True
    lengths = np.diff(old.matrix.indptr)
    entries = np.flatnonzero(np.repeat(has_given, lengths))
    of_row = np.repeat(np.flatnonzero(has_given), lengths[has_given])
    is_given = np.isin(of_row * n_cols + old.matrix.indices[entries], rows * n_cols + cols)
    kept = np.ones(old.n_pairs, np.bool_)
    kept[entries[is_given]] = False
    return kept, int(np.count_nonzero(is_given))


def _beside(old: Pairings, new: Pairings, kept: Any) -> dict[str, Any]:
    """Return the weights and times of the kept pairs and the new ones."""
    beside: dict[str, Any] = {}
    if old.weights is not None or new.weights is not None:
        first, second = (
            np.ones(each.n_pairs) if each.weights is None else each.weights for each in (old, new)
        )
        beside["weights"] = np.concatenate([first[kept], second])
    if old.times is not None and new.times is not None and old.times.dtype == new.times.dtype:
        beside["times"] = np.concatenate([old.times[kept], new.times])
    return beside
