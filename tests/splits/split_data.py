"""Pairings for the tests of splits."""

import numpy as np
from scipy import sparse

from twofold.data.pairings import Pairings


def make_pairings(lengths, n_cols=40):
    """Rows of the given lengths; every stored value is different."""
    rng = np.random.default_rng(3)
    cols = [np.sort(rng.choice(n_cols, size=n, replace=False)) for n in lengths]
    indices = np.concatenate([*cols, np.empty(0, dtype=np.int64)]).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    matrix = sparse.csr_array(
        (np.arange(1.0, indices.size + 1), indices, indptr), shape=(len(lengths), n_cols)
    )
    return Pairings(matrix, 100 + np.arange(len(lengths)), np.arange(n_cols))


def entries(pairings):
    """The stored entries as a set of (row, column, value)."""
    coo = pairings.matrix.tocoo()
    return set(zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True))
