"""Normal equations of a row in float64, for the routes without whitening."""

import numpy as np

from twofold._kernels.arguments import curvature, linear
from twofold._kernels.dense import add_products
from twofold._kernels.jit import device

PANEL = 128
"""Number of entries gathered at a time, which is the number of rows of Z."""


@device
def set_normal_equations(u, entries, Q, G, Z, negative, A, b):
    """Set the upper triangle of A = G + mu I + sum_e c_e q_e q_e', and b = sum_e b_e q_e.

    The products of entries with c < 0 are summed in ``negative`` and then subtracted. Rows and
    columns of A beyond those of G are zero. Returns the largest diagonal element of A before the
    subtraction, which determines the size of the rounding errors.
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
    """Add sum |c_e| q_e q_e' over the entries with this sign of c to A; add b_e q_e if sign > 0."""
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
