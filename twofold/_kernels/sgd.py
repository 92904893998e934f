"""Stochastic gradient descent over blocks without common rows and columns."""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.arguments import center_of, center_row
from twofold._kernels.formulas import (
    SQUARED,
    loss_derivative,
    penalty_derivative,
    penalty_proximal,
)
from twofold._kernels.jit import device, inlined, kernel
from twofold._kernels.vectors.pairs import (
    DECAY,
    DOT,
    N_STATS,
    RATE,
    RIDGE,
    SLOPE,
    SQUARE,
    STEP,
    SUM,
    pair_adagrad,
    pair_dots,
    pair_update,
)
from twofold._kernels.vectors.rows import prefetch_at, prefetch_row
from twofold._kernels.vectors.tasks import atomic_add, next_task

__all__ = [
    "CHUNK", "RUN", "Blocks", "Order", "Sums", "count_pairs", "pack", "sgd_epoch", "unpack",
    "write_blocks",
]  # fmt: skip

RUN = 16
"""Length of a run of consecutive pairs, mostly of one row, for locality in the cache."""
CHUNK = 1024
"""Number of rows in a task of `pack` and `unpack`."""
_N_LANES = 4  # interleaved runs, because the pairs within a run depend on each other


class Blocks(NamedTuple):
    """Stored entries in the order of the blocks; rows and columns are numbered in that order."""

    start: Any
    """First entry of each of the n_blocks x n_blocks blocks, int64."""
    rows: Any
    cols: Any
    targets: Any
    """Of length 0 if every target is 1."""
    weights: Any
    """Of length 0 if every weight is 1."""
    row_decay: Any
    """For each row, the share of the regulariser's scale that one update applies."""
    col_decay: Any


class Order(NamedTuple):
    """Order of the updates in an epoch."""

    rounds: Any
    """Round t updates the blocks (r, (r + rounds[t]) % n_blocks)."""
    starts: Any
    """First run of each block."""
    strides: Any
    """The t-th run of a block is (start + t stride) % n_runs; stride and n_runs are coprime."""


class Sums(NamedTuple):
    """Sums of mean squared slopes for AdaGrad."""

    rows: Any
    cols: Any
    adagrad: bool
    """If False, the rate is constant and the sums are not used."""


class Lanes(NamedTuple):
    """Working memory of one thread: the pairs that are updated together."""

    current: Any
    """First pair of the run of each lane; ``upcoming`` is that of the next run."""
    upcoming: Any
    pair: Any
    u: Any
    i: Any
    stats: Any
    """Statistics of the pairs; see `vectors.pairs`."""
    old_p: Any
    old_q: Any


@kernel
def count_pairs(indptr, indices, row_block, col_block, n_blocks, counts):
    """Add the number of pairs of each block to ``counts``."""
    for u in range(row_block.size):
        first = np.int64(row_block[u]) * n_blocks
        for e in range(indptr[u], indptr[u + 1]):
            counts[first + col_block[indices[e]]] += 1


@kernel
def write_blocks(
    entries, row_block, col_block, row_number, col_number, n_blocks, start, blocks, positions
):
    """Write the pairs to ``blocks``, sorted by block and then by row.

    ``start`` contains the first position of each block and is advanced to the end of the block. If
    ``positions`` is not empty, it is set to the index of each pair in ``entries``.
    """
    for u in range(row_block.size):
        first = np.int64(row_block[u]) * n_blocks
        for e in range(entries.indptr[u], entries.indptr[u + 1]):
            i = entries.indices[e]
            block = first + col_block[i]
            position = start[block]
            start[block] += 1
            blocks.rows[position] = row_number[u]
            blocks.cols[position] = col_number[i]
            if positions.size:
                positions[position] = e


@kernel
def pack(counter, n_tasks, factors, order, packed):
    """Set packed[j] = factors[order[j]], padded with zeros."""
    k = factors.shape[1]
    task = next_task(counter)
    while task < n_tasks:
        for j in range(task * CHUNK, min((task + 1) * CHUNK, order.size)):
            for f in range(packed.shape[1]):
                packed[j, f] = factors[order[j], f] if f < k else 0.0
        task = next_task(counter)


@kernel
def unpack(counter, n_tasks, packed, order, factors):
    """Set factors[order[j]] = packed[j]."""
    task = next_task(counter)
    while task < n_tasks:
        for j in range(task * CHUNK, min((task + 1) * CHUNK, order.size)):
            for f in range(factors.shape[1]):
                factors[order[j], f] = packed[j, f]
        task = next_task(counter)


@kernel
def sgd_epoch(
    counter, n_tasks, blocks, order, loss, penalties, rate, sums, n_factors, n_finished, P, Q
):  # fmt: skip
    """Update every pair once; a task is a block, in the order of the rounds.

    A block starts when the blocks of earlier rounds with the same rows or columns are finished,
    which ``n_finished`` (zeros, shape (2 n_blocks,)) counts. Their tasks were taken earlier, so
    there is no deadlock, and the result does not depend on the threads. P and Q are padded with
    zeros to whole cache lines.
    """
    n_blocks = order.rounds.size
    s = Lanes(
        np.zeros(_N_LANES, np.int64), np.zeros(_N_LANES, np.int64), np.zeros(_N_LANES, np.uint64),
        np.zeros(_N_LANES, np.uint64), np.zeros(_N_LANES, np.uint64),
        np.zeros((N_STATS, _N_LANES), P.dtype), np.zeros(n_factors, P.dtype),
        np.zeros(n_factors, P.dtype),
    )  # fmt: skip
    for lane in range(_N_LANES):
        s.stats[RATE, lane] = s.stats[RATE + 1, lane] = rate
    task = next_task(counter)
    while task < n_tasks:
        t, r = task // n_blocks, task % n_blocks
        c = (r + order.rounds[t]) % n_blocks
        while atomic_add(n_finished, r, 0) < t or atomic_add(n_finished, n_blocks + c, 0) < t:
            pass
        _update_block(r * n_blocks + c, blocks, order, loss, penalties, rate, sums, s, P, Q)
        atomic_add(n_finished, r, 1)
        atomic_add(n_finished, n_blocks + c, 1)
        task = next_task(counter)


@device
def _update_block(block, blocks, order, loss, penalties, rate, sums, s, P, Q):
    """Update the pairs of a block, `_N_LANES` runs at a time.

    The rows of P and Q for later pairs are prefetched. Pairs without a common row or column are
    independent and are updated together, for speed; other pairs are updated one after the other.
    """
    low, high = blocks.start[block], blocks.start[block + 1]
    if low == high:
        return
    n_runs = (high - low + RUN - 1) // RUN
    for run in range(-_N_LANES, n_runs, _N_LANES):
        _advance_runs(run, n_runs, low, high, order.starts[block], order.strides[block], blocks, s)
        for j in range(RUN):
            _prefetch_rows(j, high, blocks, s, P, Q)
            independent = _set_lanes(j, low, high, blocks, s)
            count = _N_LANES if independent else 1
            for first in range(0, _N_LANES, count):
                if s.current[first] + j < high:
                    _update_lanes(first, count, blocks, loss, penalties, rate, sums, s, P, Q)


@inlined
def _advance_runs(run, n_runs, low, high, start, stride, blocks, s):
    """Set ``current`` and ``upcoming``, or the end of the block; prefetch the pairs after these."""
    for lane in range(_N_LANES):
        s.current[lane] = s.upcoming[lane] if run >= 0 and run + lane < n_runs else high
        position = run + _N_LANES + lane
        s.upcoming[lane] = high
        if position < n_runs:
            s.upcoming[lane] = low + (start + position * stride) % n_runs * RUN
        position += _N_LANES
        if position < n_runs:
            first = low + (start + position * stride) % n_runs * RUN
            _prefetch_pair(first, blocks)
            _prefetch_pair(min(first + RUN, high) - 1, blocks)


@inlined
def _prefetch_pair(e, blocks):
    prefetch_at(blocks.rows, e)
    prefetch_at(blocks.cols, e)
    if blocks.targets.size:
        prefetch_at(blocks.targets, e)
    if blocks.weights.size:
        prefetch_at(blocks.weights, e)


@inlined
def _prefetch_rows(j, high, blocks, s, P, Q):
    for lane in range(_N_LANES):
        e = s.upcoming[lane] + j
        if e < high:
            prefetch_row(Q, blocks.cols[e])
            if j == 0 or blocks.rows[e] != blocks.rows[e - 1]:
                prefetch_row(P, blocks.rows[e])


@inlined
def _set_lanes(j, low, high, blocks, s):
    """Set the pair of each lane; return whether the pairs are independent."""
    independent = True
    for lane in range(_N_LANES):
        e = s.current[lane] + j
        independent &= e < high
        s.pair[lane] = np.uint64(e if e < high else low)  # Pairs from high on are not updated.
        s.u[lane], s.i[lane] = blocks.rows[s.pair[lane]], blocks.cols[s.pair[lane]]
    for lane in range(1, _N_LANES):
        for other in range(lane):
            independent &= (s.u[lane] != s.u[other]) & (s.i[lane] != s.i[other])
    return independent


@inlined
def _update_lanes(first, count, blocks, loss, penalties, rate, sums, s, P, Q):
    """Update the pairs of the lanes first:first+count, all from the old factors."""
    stats = s.stats
    pair_dots(P, s.u, Q, s.i, stats)
    _set_slopes(blocks, loss, penalties, s)
    if sums.adagrad:
        if penalties.rows.fixed >= 0:
            _subtract_biases(penalties, s, P, Q)
        for lane in range(_N_LANES):
            stats[SUM, lane] = sums.rows[s.u[lane]]
            stats[SUM + 1, lane] = sums.cols[s.i[lane]]
        pair_adagrad(stats, rate, P.dtype.type(s.old_p.size))
        for lane in range(first, first + count):
            sums.rows[s.u[lane]] = stats[SUM, lane]
            sums.cols[s.i[lane]] = stats[SUM + 1, lane]
    else:
        one = P.dtype.type(1.0)
        for lane in range(_N_LANES):
            stats[DECAY, lane] = one - rate * stats[RIDGE, lane]
            stats[DECAY + 1, lane] = one - rate * stats[RIDGE + 1, lane]
            stats[STEP, lane] = stats[STEP + 1, lane] = -rate * stats[SLOPE, lane]
    for lane in range(first, first + count):
        _update_pair(lane, blocks, penalties, s, P, Q)


@inlined
def _set_slopes(blocks, loss, penalties, s):
    stats = s.stats
    real = stats.dtype.type
    for lane in range(_N_LANES):
        e, x = s.pair[lane], stats[DOT, lane]
        r = blocks.targets[e] if blocks.targets.size else real(1.0)
        if loss.code == SQUARED:
            g = real(2.0) * (x - r)
        else:
            g = real(loss_derivative(loss, np.float64(r), np.float64(x)))
        stats[SLOPE, lane] = g * blocks.weights[e] if blocks.weights.size else g
        if penalties.rows.code == 0:
            stats[RIDGE, lane] = real(2.0) * blocks.row_decay[s.u[lane]]
            stats[RIDGE + 1, lane] = real(2.0) * blocks.col_decay[s.i[lane]]


@inlined
def _update_pair(lane, blocks, penalties, s, P, Q):
    p, q, stats = s.u[lane], s.i[lane], s.stats
    quadratic = penalties.rows.code == 0
    if not quadratic:
        for f in range(s.old_p.size):
            s.old_p[f], s.old_q[f] = P[p, f], Q[q, f]
    pair_update(
        P, p, stats[DECAY, lane], stats[STEP, lane],
        Q, q, stats[DECAY + 1, lane], stats[STEP + 1, lane],
    )  # fmt: skip
    if not quadratic:
        rates = stats[RATE, lane] * blocks.row_decay[p], stats[RATE + 1, lane] * blocks.col_decay[q]
        _apply_penalty(P, p, s.old_p, rates[0], penalties.rows)
        _apply_penalty(Q, q, s.old_q, rates[1], penalties.cols)
    if penalties.rows.center.size:
        _apply_center(P, p, stats[DECAY, lane], s.old_p.size, penalties.rows)
    if penalties.cols.center.size:
        _apply_center(Q, q, stats[DECAY + 1, lane], s.old_q.size, penalties.cols)


@device
def _apply_penalty(P, u, old, step, penalty):
    """Apply the penalty's part of a gradient step from ``old``, or its proximal step."""
    step = np.float64(step)
    for f in range(old.size):
        center = center_of(penalty, u, f)
        moved = np.float64(P[u, f])
        if penalty.smooth:
            P[u, f] = moved - step * penalty_derivative(penalty, np.float64(old[f]) - center)
        else:
            P[u, f] = center + penalty_proximal(penalty, moved - center, step)


@device
def _apply_center(P, u, decay, n_factors, penalty):
    """Add the part of the center to the decay of a quadratic penalty; restore the constant."""
    if penalty.code == 0:
        c, share = center_row(penalty, u), 1.0 - decay
        for f in range(penalty.first, n_factors):
            P[u, f] += share * penalty.center[c, f]
    if penalty.fixed >= 0:
        P[u, penalty.fixed] = 1.0


@device
def _subtract_biases(penalties, s, P, Q):
    """Subtract from the statistics what the biases contribute, for AdaGrad.

    A bias has no part in the gradient of the other side, whose constant it is multiplied by.
    """
    for lane in range(_N_LANES):
        b = P[s.u[lane], penalties.cols.fixed]  # The bias stands where the other side has ones.
        c = Q[s.i[lane], penalties.rows.fixed]
        s.stats[DOT, lane] -= b + c
        s.stats[SQUARE, lane] -= b * b
        s.stats[SQUARE + 1, lane] -= c * c
