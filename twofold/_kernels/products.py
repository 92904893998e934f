"""Dense products of tall thin matrices, in fixed chunks: the same bits at any thread count."""

import numpy as np
from numba import prange

from twofold._kernels.jit import parallel_jit

__all__ = ["gramian", "rows_times_square", "times_square"]

_PANEL = 1024  # rows converted and multiplied at a time: a panel of rank 64 fits in the cache


@parallel_jit
def gramian(factors, n_chunks):
    """F'F in float64; ``n_chunks`` partial sums are added in order."""
    n, k = factors.shape
    partial = np.zeros((n_chunks, k, k))
    for chunk in prange(n_chunks):
        start = n * chunk // n_chunks
        stop = n * (chunk + 1) // n_chunks
        for low in range(start, stop, _PANEL):
            panel = factors[low : min(low + _PANEL, stop)].astype(np.float64)
            partial[chunk] += np.dot(panel.T, panel)
    total = np.zeros((k, k))
    for chunk in range(n_chunks):
        total += partial[chunk]
    return total


@parallel_jit
def times_square(factors, square):
    """F M for a k x k matrix M: computed in the dtype of M, rounded to that of F."""
    n = factors.shape[0]
    out = np.empty((n, square.shape[1]), dtype=factors.dtype)
    n_chunks = (n + _PANEL - 1) // _PANEL
    for chunk in prange(n_chunks):
        low = chunk * _PANEL
        high = min(low + _PANEL, n)
        out[low:high] = np.dot(factors[low:high].astype(square.dtype), square)
    return out


@parallel_jit
def rows_times_square(factors, rows, square, out):
    """Set out[rows] = F[rows] M as `times_square` does, but in the dtype of out at the end."""
    n_chunks = (rows.size + _PANEL - 1) // _PANEL
    for chunk in prange(n_chunks):
        low = chunk * _PANEL
        high = min(low + _PANEL, rows.size)
        panel = np.empty((high - low, factors.shape[1]), square.dtype)
        for place in range(low, high):
            panel[place - low] = factors[rows[place]]
        product = np.dot(panel, square)
        for place in range(low, high):
            out[rows[place]] = product[place - low]
