"""Stochastic gradient descent over blocks that share no row and no column."""

import numpy as np
from numba import prange

from twofold._kernels.formulas import loss_derivative, penalty_derivative, penalty_proximal
from twofold._kernels.jit import jit, parallel_jit

__all__ = ["ADAGRAD", "RUN", "sgd_epoch"]

PLAIN, ADAGRAD = 0, 1
RUN = 16  # neighbouring pairs (of one row, mostly) visited in sequence, for the cache


@parallel_jit
def sgd_epoch(
    n_blocks,
    block_start,
    rounds,
    starts,
    strides,
    pair_rows,
    pair_cols,
    targets,
    weights,
    loss_code,
    parameter,
    loss_address,
    row_decay,
    col_decay,
    penalty_code,
    penalty_address,
    smooth,
    rule,
    rate,
    row_sums,
    col_sums,
    P,
    Q,
):
    """Visit every pair once: ``n_blocks`` rounds of ``n_blocks`` blocks, each round in parallel.

    Block (r, c) holds the pairs ``block_start[r * n_blocks + c]`` onwards; round t runs the blocks
    (r, (r + rounds[t]) % n_blocks). Which thread runs a block does not matter to its result.
    """
    for t in range(n_blocks):
        for r in prange(n_blocks):
            block = r * n_blocks + (r + rounds[t]) % n_blocks
            _visit_block(
                block_start[block], block_start[block + 1], starts[block], strides[block],
                pair_rows, pair_cols, targets, weights, loss_code, parameter, loss_address,
                row_decay, col_decay, penalty_code, penalty_address, smooth, rule, rate,
                row_sums, col_sums, P, Q,
            )  # fmt: skip


@jit
def _visit_block(
    low, high, start, stride, pair_rows, pair_cols, targets, weights, loss_code, parameter,
    loss_address, row_decay, col_decay, penalty_code, penalty_address, smooth, rule, rate,
    row_sums, col_sums, P, Q,
):  # fmt: skip
    n_runs = (high - low + RUN - 1) // RUN
    k = P.shape[1]
    step_t, step_w = min(targets.size - 1, 1), min(weights.size - 1, 1)
    real = P.dtype.type
    zero, one = real(0.0), real(1.0)
    run = start
    for _ in range(n_runs):
        # start and stride are coprime to n_runs, so every run is visited once.
        first = low + run * RUN
        run += stride
        if run >= n_runs:
            run -= n_runs
        for e in range(first, min(first + RUN, high)):
            u, i = pair_rows[e], pair_cols[e]
            p, q = P[u], Q[i]
            x = zero
            for f in range(k):
                x += p[f] * q[f]
            g = real(
                weights[e * step_w]
                * loss_derivative(
                    loss_code, parameter, loss_address, targets[e * step_t], np.float64(x)
                )
            )
            decay_p, decay_q = row_decay[u], col_decay[i]
            rate_p = rate_q = real(rate)
            quadratic = penalty_code == 0
            ridge_p = real(2.0) * decay_p if quadratic else zero
            ridge_q = real(2.0) * decay_q if quadratic else zero
            if rule == ADAGRAD:
                square_p = square_q = zero
                for f in range(k):
                    slope_p = g * q[f] + ridge_p * p[f]
                    slope_q = g * p[f] + ridge_q * q[f]
                    square_p += slope_p * slope_p
                    square_q += slope_q * slope_q
                row_sums[u] += square_p / real(k)
                col_sums[i] += square_q / real(k)
                rate_p /= np.sqrt(row_sums[u])
                rate_q /= np.sqrt(col_sums[i])
            keep_p, keep_q = one - rate_p * ridge_p, one - rate_q * ridge_q
            move_p, move_q = rate_p * g, rate_q * g
            for f in range(k):
                old_p, old_q = p[f], q[f]
                p[f] = keep_p * old_p - move_p * old_q
                q[f] = keep_q * old_q - move_q * old_p
            if not quadratic:
                _penalise(p, rate_p * decay_p, penalty_code, penalty_address, smooth)
                _penalise(q, rate_q * decay_q, penalty_code, penalty_address, smooth)


@jit
def _penalise(p, step, code, address, smooth):
    """Take a gradient or a proximal step of the penalty."""
    real = p.dtype.type
    for f in range(p.size):
        x = np.float64(p[f])
        if smooth:
            p[f] -= real(step * penalty_derivative(code, address, x))
        else:
            p[f] = real(penalty_proximal(code, address, x, np.float64(step)))
