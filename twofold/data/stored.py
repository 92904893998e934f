"""Pairings as the arrays and numbers of a file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold.data.csr import check_limit

if TYPE_CHECKING:
    from twofold.data.pairings import Pairings

__all__ = ["arguments_of", "parts_of"]


def parts_of(pairings: "Pairings") -> tuple[dict[str, NDArray[Any]], dict[str, int]]:
    """Return what files keep of pairings: arrays, and numbers by name."""
    matrix = pairings.matrix
    check_limit(matrix.shape)
    arrays = {
        "data": matrix.data[: matrix.nnz],
        "indices": matrix.indices[: matrix.nnz].astype(np.int32, copy=False),
        "indptr": matrix.indptr,
        "row_ids": pairings.row_ids,
        "col_ids": pairings.col_ids,
    }
    arrays |= pairings.beside
    names = ("n_dropped_pairs", "n_dropped_cols", "n_null_dropped")
    return arrays, {name: int(getattr(pairings, name)) for name in names}


def arguments_of(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, int]) -> dict[str, Any]:
    """Return the arguments of `Pairings`; an exception of any kind means that a file is damaged."""
    row_ids, col_ids = arrays["row_ids"], arrays["col_ids"]
    indices, indptr = arrays["indices"], arrays["indptr"]
    narrow = np.iinfo(np.int32)
    if indices.dtype == narrow.dtype and indptr.min() >= 0 and indptr.max() <= narrow.max:
        indptr = indptr.astype(narrow.dtype)  # otherwise scipy would copy the indices to int64
    parts: tuple[Any, ...] = (arrays["data"], indices, indptr)
    matrix = sparse.csr_array(parts, shape=(row_ids.size, col_ids.size))
    counts: dict[str, Any] = {name: int(count) for name, count in meta.items()}
    beside: dict[str, Any] = {name: arrays.get(name) for name in ("weights", "times")}
    return {"matrix": matrix, "row_ids": row_ids, "col_ids": col_ids} | beside | counts
