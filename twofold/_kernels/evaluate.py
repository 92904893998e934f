"""The parts of the objective and its gradient, over the stored entries of a CSR side.

Per-entry arrays (targets, weights, first) may have length 1, read with step 0: a constant.
"""

import numpy as np
from numba import prange

from twofold._kernels.formulas import (
    loss_derivative,
    loss_value,
    penalty_derivative,
    penalty_value,
)
from twofold._kernels.jit import jit, parallel_jit
from twofold._kernels.simd import TILE, add_rows, dot_rows, prefetch_row

_AHEAD = 16  # entries by which rows are asked for before they are needed

__all__ = ["count_columns", "gradient_rows", "penalty_sum", "stored_sums"]


@jit
def count_columns(indices, weights, counts, summed):
    """Add up entries and weights by column."""
    step = min(weights.size - 1, 1)
    for e in range(indices.size):
        counts[indices[e]] += 1
        summed[indices[e]] += weights[e * step]


@parallel_jit
def stored_sums(bounds, indptr, indices, targets, weights, first, code, parameter, address, P, Q):
    """Sum over stored entries of w l(r, p.q), and of (p.q)^2 once per distinct cell.

    ``bounds`` splits the rows into chunks; row ``c`` of the result belongs to chunk ``c``.
    """
    k = P.shape[1]
    step_t, step_w, step_f = (
        min(targets.size - 1, 1),
        min(weights.size - 1, 1),
        min(first.size - 1, 1),
    )
    sums = np.zeros((bounds.size - 1, 2))
    for chunk in prange(bounds.size - 1):
        loss = 0.0
        square = 0.0
        for u in range(bounds[chunk], bounds[chunk + 1]):
            for e in range(indptr[u], indptr[u + 1]):
                i = indices[e]
                x = 0.0
                for f in range(k):
                    x += np.float64(P[u, f]) * np.float64(Q[i, f])
                loss += weights[e * step_w] * loss_value(
                    code, parameter, address, targets[e * step_t], x
                )
                square += first[e * step_f] * (x * x)
        sums[chunk, 0] = loss
        sums[chunk, 1] = square
    return sums


@parallel_jit
def penalty_sum(bounds, scale, code, address, P):
    """Sum over rows of s_u sum_f phi(p_uf), one partial sum for each chunk of rows."""
    k = P.shape[1]
    step = min(scale.size - 1, 1)
    sums = np.zeros(bounds.size - 1)
    for chunk in prange(bounds.size - 1):
        total = 0.0
        for u in range(bounds[chunk], bounds[chunk + 1]):
            row = 0.0
            for f in range(k):
                row += penalty_value(code, address, np.float64(P[u, f]))
            total += scale[u * step] * row
        sums[chunk] = total
    return sums


@parallel_jit
def gradient_rows(
    bounds,
    indptr,
    indices,
    targets,
    weights,
    first,
    missing_weight,
    loss_code,
    parameter,
    loss_address,
    scale,
    penalty_code,
    penalty_address,
    P,
    Q,
    out,
):
    """Add to ``out`` the gradient by each row of P; by Q it is the same call on the other side.

    sum_e [w l'(r, x) - 2 missing_weight first x] q_i + scale_u phi'(p_u), with x = p_u . q_i. Q is
    padded with columns of zeros to a multiple of 8.
    """
    k, width = P.shape[1], Q.shape[1]
    step_t, step_w, step_f = (
        min(targets.size - 1, 1),
        min(weights.size - 1, 1),
        min(first.size - 1, 1),
    )
    step_s = min(scale.size - 1, 1)
    real = out.dtype.type
    for chunk in prange(bounds.size - 1):
        p, total = np.zeros(width, P.dtype), np.zeros(width, P.dtype)
        ids, left = np.zeros(TILE, indices.dtype), np.zeros(TILE, P.dtype)
        end = indptr[bounds[chunk + 1]]
        for u in range(bounds[chunk], bounds[chunk + 1]):
            for f in range(k):
                p[f] = P[u, f]
            for f in range(width):
                total[f] = 0.0
            for e in range(indptr[u], indptr[u + 1], TILE):
                m = min(indptr[u + 1] - e, TILE)
                for r in range(TILE):
                    ids[r] = indices[e + min(r, m - 1)]
                for r in range(min(e + _AHEAD, end), min(e + _AHEAD + m, end)):
                    prefetch_row(Q, indices[r])
                dot_rows(Q, ids, 0, p, left)
                for r in range(m):
                    x = np.float64(left[r])
                    slope = weights[(e + r) * step_w] * loss_derivative(
                        loss_code, parameter, loss_address, targets[(e + r) * step_t], x
                    )
                    left[r] = real(slope - 2.0 * missing_weight * first[(e + r) * step_f] * x)
                for r in range(m, TILE):
                    left[r] = 0.0
                add_rows(Q, ids, 0, left, total)
            for f in range(k):
                out[u, f] += total[f]
            s = scale[u * step_s]
            if s != 0.0:
                for f in range(k):
                    out[u, f] += real(
                        s * penalty_derivative(penalty_code, penalty_address, np.float64(P[u, f]))
                    )
