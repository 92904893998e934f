"""When rankings are screened by bounds of the scores, and the columns prepared for it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.aligned import empty_aligned
from twofold._kernels.screen import MAX_FACTORS, STRIPS, Screen, quantise
from twofold._kernels.threads import check_n_threads, run
from twofold._kernels.vectors.scores import STRIP

__all__ = ["prepare_screen", "screen_pays"]

# Measured: below 1 MB the columns are in the cache; four rows by the screen take as long as by the
# tiles of `topn.top_of_strips`, which use one thread for so few rows.
_MIN_BYTES = 1 << 20
_MAX_ROWS = 4
_MIN_COLS = 16


def prepare_screen(col_factors: NDArray[Any], n_threads: int | None = None) -> Screen:
    """Return the columns in 8 bits with their error bounds, for `best_columns`.

    Parameters
    ----------
    col_factors : ndarray, shape (n_cols, k)
        Q, float32 or float64, with k <= `MAX_FACTORS`.
    n_threads : int, optional
        Default: all. The result does not depend on it.

    Returns
    -------
    Screen
        Arrays of k + 8 bytes for each column.
    """
    Q = np.ascontiguousarray(col_factors)
    n_strips = -(-len(Q) // STRIP)
    n_tasks = -(-n_strips // STRIPS)
    screen = Screen(
        empty_aligned((n_strips, -(-Q.shape[1] // 2) * 2 * STRIP), np.int8),
        empty_aligned((n_strips, STRIP), np.float32),
        empty_aligned((n_strips, STRIP), np.float32),
        np.zeros(n_tasks),
    )
    run(quantise, n_tasks, check_n_threads(n_threads), Q, screen)
    return screen


def screen_pays(
    n_rows: int, n: int, col_factors: NDArray[Any], n_threads: int | None = None
) -> bool:
    """Return whether the n best columns of some rows are found faster with a screen."""
    n_cols, k = col_factors.shape
    return (
        0 < n_rows <= _MAX_ROWS * check_n_threads(n_threads)
        and col_factors.nbytes >= _MIN_BYTES
        and _MIN_COLS * n <= n_cols
        and k <= MAX_FACTORS
    )
