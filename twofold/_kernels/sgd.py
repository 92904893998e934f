"""Stochastic gradient descent over blocks that share no row and no column."""

import numpy as np
from numba import prange

from twofold._kernels.formulas import (
    SQUARED,
    loss_derivative,
    penalty_derivative,
    penalty_proximal,
)
from twofold._kernels.jit import jit, parallel_jit
from twofold._kernels.simd import (
    DOT,
    KEEP,
    KNOWN,
    MOVE,
    RATE,
    RIDGE,
    SLOPE,
    SUM,
    pair_dots,
    pair_move,
    pair_steps,
    prefetch_at,
    prefetch_row,
)

__all__ = ["ADAGRAD", "PLAIN", "RUN", "count_pairs", "deal", "pack", "sgd_epoch", "unpack"]

PLAIN, ADAGRAD = 0, 1
RUN = 16  # neighbouring pairs (of one row, mostly) visited near each other, for the cache
_CHUNK = 1024  # rows packed at a time
_ABREAST = 4  # runs visited side by side: the pairs of one run have to wait for each other


@jit
def count_pairs(indptr, indices, row_block, col_block, n_blocks, counts):
    """Add up the pairs of each block."""
    for u in range(row_block.size):
        first = np.int64(row_block[u]) * n_blocks
        for e in range(indptr[u], indptr[u + 1]):
            counts[first + col_block[indices[e]]] += 1


@jit
def deal(
    indptr, indices, row_block, col_block, row_number, col_number, n_blocks, start, pair_rows,
    pair_cols, places,
):  # fmt: skip
    """Write the pairs block by block, and by row inside; ``start`` holds where each block begins.

    ``places`` becomes where each pair came from, if it has room; ``start`` where each block ends.
    """
    for u in range(row_block.size):
        first = np.int64(row_block[u]) * n_blocks
        for e in range(indptr[u], indptr[u + 1]):
            block = first + col_block[indices[e]]
            place = start[block]
            start[block] += 1
            pair_rows[place] = row_number[u]
            pair_cols[place] = col_number[indices[e]]
            if places.size:
                places[place] = e


@parallel_jit
def pack(factors, order, packed):
    """Set packed[j] = factors[order[j]], followed by zeros."""
    k = factors.shape[1]
    n_chunks = (order.size + _CHUNK - 1) // _CHUNK
    for chunk in prange(n_chunks):
        for j in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, order.size)):
            packed[j, :k] = factors[order[j]]
            packed[j, k:] = 0.0


@parallel_jit
def unpack(packed, order, factors):
    """Set factors[order[j]] = packed[j]."""
    k = factors.shape[1]
    n_chunks = (order.size + _CHUNK - 1) // _CHUNK
    for chunk in prange(n_chunks):
        for j in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, order.size)):
            factors[order[j]] = packed[j, :k]


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
    n_factors,
    row_sums,
    col_sums,
    P,
    Q,
):
    """Visit every pair once: ``n_blocks`` rounds of ``n_blocks`` blocks, each round in parallel.

    Block (r, c) holds the pairs ``block_start[r * n_blocks + c]`` onwards; round t runs the blocks
    (r, (r + rounds[t]) % n_blocks). Which thread runs a block does not matter to its result. P and
    Q are padded with zeros to whole cache lines.
    """
    for t in range(n_blocks):
        for r in prange(n_blocks):
            block = r * n_blocks + (r + rounds[t]) % n_blocks
            _visit_block(
                block_start[block], block_start[block + 1], starts[block], strides[block],
                pair_rows, pair_cols, targets, weights, loss_code, parameter, loss_address,
                row_decay, col_decay, penalty_code, penalty_address, smooth, rule, rate, n_factors,
                row_sums, col_sums, P, Q,
            )  # fmt: skip


@jit
def _visit_block(
    low, high, start, stride, pair_rows, pair_cols, targets, weights, loss_code, parameter,
    loss_address, row_decay, col_decay, penalty_code, penalty_address, smooth, rule, rate,
    n_factors, row_sums, col_sums, P, Q,
):  # fmt: skip
    """Visit the pairs of a block, some runs of neighbours abreast.

    Turn t is run (start + t stride) % n_runs, and stride has no factor in common with n_runs, so
    every run has one turn. Rows and pairs of the turns to come are asked for meanwhile. Pairs of
    different rows and columns do not touch what the others read, so they are visited at once, for
    speed; where they share one they come one after the other, and the result is the same.
    """
    if low == high:
        return
    n_runs = (high - low + RUN - 1) // RUN
    step_t = np.uint64(min(targets.size - 1, 1))  # an unsigned index needs no look at its sign
    step_w = np.uint64(min(weights.size - 1, 1))
    quadratic = penalty_code == 0
    real = P.dtype.type
    one, two, size = real(1.0), real(2.0), real(n_factors)
    rate = real(rate)
    old_p, old_q = np.empty(n_factors, P.dtype), np.empty(n_factors, P.dtype)
    now, coming = np.empty(_ABREAST, np.int64), np.empty(_ABREAST, np.int64)
    pair = np.empty(_ABREAST, np.uint64)
    u, i = np.empty(_ABREAST, np.uint64), np.empty(_ABREAST, np.uint64)
    known = np.zeros((KNOWN, _ABREAST), P.dtype)
    known[RATE : RATE + 2] = rate
    for turn in range(-_ABREAST, n_runs, _ABREAST):
        for lane in range(_ABREAST):
            now[lane] = coming[lane] if turn >= 0 and turn + lane < n_runs else high
            following = turn + _ABREAST + lane
            coming[lane] = high
            if following < n_runs:
                coming[lane] = low + (start + following * stride) % n_runs * RUN
            following += _ABREAST
            if following < n_runs:
                first = low + (start + following * stride) % n_runs * RUN
                for e in (first, min(first + RUN, high) - 1):
                    prefetch_at(pair_rows, e)
                    prefetch_at(pair_cols, e)
                    prefetch_at(targets, np.uint64(e) * step_t)
                    prefetch_at(weights, np.uint64(e) * step_w)
        for j in range(RUN):
            at_once = True
            for lane in range(_ABREAST):
                e = coming[lane] + j
                if e < high:
                    prefetch_row(Q, pair_cols[e])
                    if j == 0 or pair_rows[e] != pair_rows[e - 1]:
                        prefetch_row(P, pair_rows[e])
            for lane in range(_ABREAST):
                e = now[lane] + j
                at_once &= e < high
                pair[lane] = np.uint64(e if e < high else low)  # then nothing is done with it
                u[lane], i[lane] = pair_rows[pair[lane]], pair_cols[pair[lane]]
            for lane in range(1, _ABREAST):
                for other in range(lane):
                    at_once &= (u[lane] != u[other]) & (i[lane] != i[other])
            count = _ABREAST if at_once else 1
            for first in range(0, _ABREAST, count):
                if now[first] + j >= high:
                    continue
                pair_dots(P, u, Q, i, known)
                for lane in range(_ABREAST):
                    e, x = pair[lane], known[DOT, lane]
                    if loss_code == SQUARED:
                        g = two * (x - targets[e * step_t])
                    else:
                        g = real(
                            loss_derivative(
                                loss_code, parameter, loss_address, np.float64(targets[e * step_t]),
                                np.float64(x),
                            )
                        )  # fmt: skip
                    known[SLOPE, lane] = g * weights[e * step_w]
                    if quadratic:
                        known[RIDGE, lane] = two * row_decay[u[lane]]
                        known[RIDGE + 1, lane] = two * col_decay[i[lane]]
                if rule == ADAGRAD:
                    for lane in range(_ABREAST):
                        known[SUM, lane] = row_sums[u[lane]]
                        known[SUM + 1, lane] = col_sums[i[lane]]
                    pair_steps(known, rate, size)
                    for lane in range(first, first + count):
                        row_sums[u[lane]] = known[SUM, lane]
                        col_sums[i[lane]] = known[SUM + 1, lane]
                else:
                    for lane in range(_ABREAST):
                        known[KEEP, lane] = one - rate * known[RIDGE, lane]
                        known[KEEP + 1, lane] = one - rate * known[RIDGE + 1, lane]
                        known[MOVE, lane] = known[MOVE + 1, lane] = -rate * known[SLOPE, lane]
                for lane in range(first, first + count):
                    p, q = u[lane], i[lane]
                    if not quadratic:
                        for f in range(n_factors):
                            old_p[f], old_q[f] = P[p, f], Q[q, f]
                    pair_move(
                        P, p, known[KEEP, lane], known[MOVE, lane],
                        Q, q, known[KEEP + 1, lane], known[MOVE + 1, lane],
                    )  # fmt: skip
                    if not quadratic:
                        step_p = known[RATE, lane] * row_decay[p]
                        step_q = known[RATE + 1, lane] * col_decay[q]
                        _penalise(P, p, old_p, step_p, penalty_code, penalty_address, smooth)
                        _penalise(Q, q, old_q, step_q, penalty_code, penalty_address, smooth)


@jit
def _penalise(P, u, old, step, code, address, smooth):
    """Take the penalty's part of a step that began at ``old``, or its proximal step."""
    real = P.dtype.type
    for f in range(old.size):
        if smooth:
            P[u, f] -= real(step * penalty_derivative(code, address, np.float64(old[f])))
        else:
            P[u, f] = real(penalty_proximal(code, address, np.float64(P[u, f]), np.float64(step)))
