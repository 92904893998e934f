"""The normal equations of a row in float64, for the routes that do not whiten."""

import numpy as np

from twofold._kernels.arguments import curvature, linear
from twofold._kernels.dense import add_products
from twofold._kernels.jit import device

PANEL = 128
"""Entries gathered at a time: rows of the working memory Z."""


@device
def set_normal_equations(u, entries, Q, G, Z, negative, A, b):
    """Set the upper triangle of A = G + mu I + sum_e c_e q_e q_e', and b = sum_e b_e q_e.

    Products of entries with c < 0 are summed apart, in ``negative``. Rows and columns of A beyond
    those of G are zero. Returns the largest element of A before anything is subtracted: rounding
    errors are of this size.
    """
    k, kp = G.shape[0], A.shape[0]
    for f in range(kp):
        b[f] = 0.0
        for g in range(f, kp):
            A[f, g] = negative[f, g] = 0.0
    for f in range(k):
        for g in range(f, k):
            A[f, g] = G[f, g]
        A[f, f] += entries.scale[u]
    _add_entries(u, 1.0, entries, Q, Z, A, b)
    largest = 0.0
    for f in range(k):
        largest = max(largest, A[f, f])
    _add_entries(u, -1.0, entries, Q, Z, negative, b)
    for f in range(k):
        for g in range(f, k):
            A[f, g] -= negative[f, g]
    return largest


@device
def _add_entries(u, sign, entries, Q, Z, A, b):
    """Add sum |c_e| q_e q_e' over the entries with this sign of c to A, and b_e q_e to b once."""
    kp = b.size
    m = 0
    last = entries.indptr[u + 1] - 1
    for e in range(entries.indptr[u], last + 1):
        c, term = sign * curvature(entries, e), linear(entries, e)
        root = np.sqrt(max(c, 0.0))
        for f in range(kp):
            value = np.float64(Q[entries.indices[e], f])
            Z[m, f] = root * value
            if sign > 0.0:
                b[f] += term * value
        if c > 0.0:
            m += 1
        if m == PANEL or e == last:
            add_products(Z, m, kp, A)
            m = 0
