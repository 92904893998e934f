"""Row solves with all factors >= 0: coordinate descent on the normal equations."""

import numpy as np
from numba import prange

from twofold._kernels.dense import add_products, padded
from twofold._kernels.jit import parallel_jit
from twofold._kernels.simd import next_task

__all__ = ["solve_rows_nonnegative"]

_PANEL = 128  # entries gathered at a time
_ENOUGH = 1e-7  # change of the largest factor, relative, at which a row has settled
_MAX_SWEEPS = 200


@parallel_jit
def solve_rows_nonnegative(
    n_workers, counter, rows, bounds, indptr, indices, c, b, G, ridge, Q, start, out
):
    """Minimise p'(G + mu I + sum_k c_k q_k q_k')p - 2 sum_k b_k q_k . p over p >= 0, row by row.

    One factor after the other is set to its best value >= 0, until none moves (Franc, Hlavac &
    Navara 2005), in float64 and from ``start``, so the objective never increases. A factor whose
    second derivative is not > 0 stays as it is.
    """
    k = Q.shape[1]
    kp = padded(k)
    step_c, step_b, step_r = min(c.size - 1, 1), min(b.size - 1, 1), min(ridge.size - 1, 1)
    for _worker in prange(n_workers):
        Z = np.zeros((_PANEL, kp))
        U = np.zeros((kp, kp))
        negative = np.zeros((kp, kp))
        slope = np.zeros(k)  # half the gradient
        p = np.zeros(k)
        task = next_task(counter)
        while task < bounds.size - 1:
            for place in range(bounds[task], bounds[task + 1]):
                u = rows[place]
                for f in range(kp):
                    for g in range(kp):
                        U[f, g] = 0.0
                        negative[f, g] = 0.0
                for f in range(k):
                    slope[f] = 0.0
                    p[f] = max(np.float64(start[u, f]), 0.0)
                for sign in (1.0, -1.0):
                    m = 0
                    for e in range(indptr[u], indptr[u + 1]):
                        weight = sign * c[e * step_c]
                        root = np.sqrt(max(weight, 0.0))
                        for f in range(k):
                            value = np.float64(Q[indices[e], f])
                            Z[m, f] = root * value
                            if sign > 0.0:
                                slope[f] -= b[e * step_b] * value
                        if weight > 0.0:
                            m += 1
                        if m == _PANEL or (e == indptr[u + 1] - 1 and m):
                            add_products(Z, m, kp, U if sign > 0.0 else negative)
                            m = 0
                for f in range(k):
                    for g in range(f, k):
                        value = U[f, g] - negative[f, g] + G[f, g]
                        U[f, g] = value
                        U[g, f] = value
                    U[f, f] += ridge[u * step_r]
                for f in range(k):
                    for g in range(k):
                        slope[f] += U[f, g] * p[g]
                for _sweep in range(_MAX_SWEEPS):
                    largest = change = 0.0
                    for f in range(k):
                        if not U[f, f] > 0.0:
                            continue
                        move = max(p[f] - slope[f] / U[f, f], 0.0) - p[f]
                        p[f] += move
                        change = max(change, abs(move))
                        largest = max(largest, p[f])
                        if move != 0.0:
                            for g in range(k):
                                slope[g] += move * U[f, g]
                    if change <= _ENOUGH * largest:
                        break
                for f in range(k):
                    out[u, f] = p[f]
            task = next_task(counter)
