"""Blocks of rows, whose number follows from the sizes."""

import numpy as np
from numpy.typing import NDArray

from twofold.objective.side import balanced_bounds

__all__ = ["row_bounds"]

_BLOCK_BYTES = 4 << 20  # so that sending takes less time than the work, and tasks stay small
_ENTRY_BYTES = 16  # an index and a value, perhaps with a weight


def row_bounds(counts: NDArray[np.integer], row_bytes: int) -> NDArray[np.int64]:
    """Return the bounds of blocks of rows of about 4 MB, from 0 to the number of rows.

    They do not depend on the workers, so that a repeated call has the same blocks.

    Parameters
    ----------
    counts : ndarray of int, shape (n_rows,)
        Number of entries of each row.
    row_bytes : int
        Bytes of a row without its entries, for instance those of its factors.
    """
    sizes = counts.astype(np.int64) * _ENTRY_BYTES + row_bytes
    return balanced_bounds(sizes, _BLOCK_BYTES)
