"""Stochastic gradient descent over blocks that share no row and no column."""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.formulas import (
    SQUARED,
    loss_derivative,
    penalty_derivative,
    penalty_step,
)
from twofold._kernels.jit import device, inlined, kernel
from twofold._kernels.vectors.pairs import (
    DOT,
    KEEP,
    MOVE,
    N_STATS,
    RATE,
    RIDGE,
    SLOPE,
    SUM,
    pair_dots,
    pair_move,
    pair_steps,
)
from twofold._kernels.vectors.rows import prefetch_at, prefetch_row
from twofold._kernels.vectors.tasks import atomic_add, next_task

__all__ = [
    "CHUNK", "RUN", "Blocks", "Order", "Sums", "count_pairs", "deal", "pack", "sgd_epoch", "unpack",
]  # fmt: skip

RUN = 16
"""Neighbouring pairs (of one row, mostly) that are visited near each other, for the cache."""
CHUNK = 1024
"""Rows in a task of `pack` and `unpack`."""
_ABREAST = 4  # runs visited side by side: the pairs of one run depend on each other


class Blocks(NamedTuple):
    """The stored entries, block by block; rows and columns are numbered in that order."""

    start: Any
    """Where each of the n_blocks x n_blocks blocks begins, int64."""
    rows: Any
    cols: Any
    targets: Any
    """Empty: every target is 1."""
    weights: Any
    """Empty: every weight is 1."""
    row_decay: Any
    """The share of the regulariser's scale that one visit applies, for each row."""
    col_decay: Any


class Order(NamedTuple):
    """The order of an epoch."""

    rounds: Any
    """Round t visits the blocks (r, (r + rounds[t]) % n_blocks)."""
    starts: Any
    """The first run of each block."""
    strides: Any
    """Turn t of a block is run (start + t stride) % n_runs; both have no common factor."""


class Sums(NamedTuple):
    """The sums of mean squared slopes of AdaGrad."""

    rows: Any
    cols: Any
    adapts: bool
    """False: the rate is constant, and the sums are not used."""


class Lanes(NamedTuple):
    """Working memory of one thread: the pairs that are visited at once."""

    now: Any
    """Where the run of each lane begins."""
    coming: Any
    pair: Any
    u: Any
    i: Any
    stats: Any
    """Statistics of the pairs, see `vectors.pairs`."""
    old_p: Any
    old_q: Any


@kernel
def count_pairs(indptr, indices, row_block, col_block, n_blocks, counts):
    """Add up the pairs of each block."""
    for u in range(row_block.size):
        first = np.int64(row_block[u]) * n_blocks
        for e in range(indptr[u], indptr[u + 1]):
            counts[first + col_block[indices[e]]] += 1


@kernel
def deal(entries, row_block, col_block, row_number, col_number, n_blocks, start, blocks, places):
    """Write the pairs block by block, and by row inside; ``start`` is where each block begins.

    ``places`` becomes where each pair came from, if it has room; ``start`` where each block ends.
    """
    for u in range(row_block.size):
        first = np.int64(row_block[u]) * n_blocks
        for e in range(entries.indptr[u], entries.indptr[u + 1]):
            i = entries.indices[e]
            block = first + col_block[i]
            place = start[block]
            start[block] += 1
            blocks.rows[place] = row_number[u]
            blocks.cols[place] = col_number[i]
            if places.size:
                places[place] = e


@kernel
def pack(counter, n_tasks, factors, order, packed):
    """Set packed[j] = factors[order[j]], followed by zeros."""
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
    counter, n_tasks, blocks, order, loss, penalty, rate, sums, n_factors, done, P, Q
):  # fmt: skip
    """Visit every pair once: a task is a block, taken round by round.

    A block waits until those of the round before that share its rows or its columns are finished,
    which ``done`` (zeros, shape (2, n_blocks)) counts; they have been taken already, so it never
    waits for ever. Which thread visits a block does not matter to its result. P and Q are padded
    with zeros to whole cache lines.
    """
    n_blocks = order.rounds.size
    s = Lanes(
        np.zeros(_ABREAST, np.int64), np.zeros(_ABREAST, np.int64), np.zeros(_ABREAST, np.uint64),
        np.zeros(_ABREAST, np.uint64), np.zeros(_ABREAST, np.uint64),
        np.zeros((N_STATS, _ABREAST), P.dtype), np.zeros(n_factors, P.dtype),
        np.zeros(n_factors, P.dtype),
    )  # fmt: skip
    for lane in range(_ABREAST):
        s.stats[RATE, lane] = s.stats[RATE + 1, lane] = rate
    task = next_task(counter)
    while task < n_tasks:
        t, r = task // n_blocks, task % n_blocks
        c = (r + order.rounds[t]) % n_blocks
        while atomic_add(done, r, 0) < t or atomic_add(done, n_blocks + c, 0) < t:
            pass
        _visit_block(r * n_blocks + c, blocks, order, loss, penalty, rate, sums, s, P, Q)
        atomic_add(done, r, 1)
        atomic_add(done, n_blocks + c, 1)
        task = next_task(counter)


@device
def _visit_block(block, blocks, order, loss, penalty, rate, sums, s, P, Q):
    """Visit the pairs of a block, some runs of neighbours side by side.

    Rows and pairs of later turns are prefetched. Pairs of different rows and columns do not change
    what the others read, so they are visited at once, for speed; where they share one they are
    visited one after the other, with the same result.
    """
    low, high = blocks.start[block], blocks.start[block + 1]
    if low == high:
        return
    n_runs = (high - low + RUN - 1) // RUN
    for turn in range(-_ABREAST, n_runs, _ABREAST):
        _look_ahead(turn, n_runs, low, high, order.starts[block], order.strides[block], blocks, s)
        for j in range(RUN):
            _prefetch_rows(j, high, blocks, s, P, Q)
            at_once = _set_lanes(j, low, high, blocks, s)
            count = _ABREAST if at_once else 1
            for first in range(0, _ABREAST, count):
                if s.now[first] + j < high:
                    _visit(first, count, blocks, loss, penalty, rate, sums, s, P, Q)


@inlined
def _look_ahead(turn, n_runs, low, high, start, stride, blocks, s):
    """Set where the runs of this turn and of the next begin; prefetch the pairs of the one after.

    A lane without a run begins at the end of the block.
    """
    for lane in range(_ABREAST):
        s.now[lane] = s.coming[lane] if turn >= 0 and turn + lane < n_runs else high
        following = turn + _ABREAST + lane
        s.coming[lane] = high
        if following < n_runs:
            s.coming[lane] = low + (start + following * stride) % n_runs * RUN
        following += _ABREAST
        if following < n_runs:
            first = low + (start + following * stride) % n_runs * RUN
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
    for lane in range(_ABREAST):
        e = s.coming[lane] + j
        if e < high:
            prefetch_row(Q, blocks.cols[e])
            if j == 0 or blocks.rows[e] != blocks.rows[e - 1]:
                prefetch_row(P, blocks.rows[e])


@inlined
def _set_lanes(j, low, high, blocks, s):
    """Set the pair of each lane; tell whether they can be visited at once."""
    at_once = True
    for lane in range(_ABREAST):
        e = s.now[lane] + j
        at_once &= e < high
        s.pair[lane] = np.uint64(e if e < high else low)  # Then nothing is done with it.
        s.u[lane], s.i[lane] = blocks.rows[s.pair[lane]], blocks.cols[s.pair[lane]]
    for lane in range(1, _ABREAST):
        for other in range(lane):
            at_once &= (s.u[lane] != s.u[other]) & (s.i[lane] != s.i[other])
    return at_once


@inlined
def _visit(first, count, blocks, loss, penalty, rate, sums, s, P, Q):
    """Take the steps of ``count`` pairs from lane ``first`` on, all from the old values."""
    stats = s.stats
    pair_dots(P, s.u, Q, s.i, stats)
    _set_slopes(blocks, loss, penalty, s)
    if sums.adapts:
        for lane in range(_ABREAST):
            stats[SUM, lane] = sums.rows[s.u[lane]]
            stats[SUM + 1, lane] = sums.cols[s.i[lane]]
        pair_steps(stats, rate, P.dtype.type(s.old_p.size))
        for lane in range(first, first + count):
            sums.rows[s.u[lane]] = stats[SUM, lane]
            sums.cols[s.i[lane]] = stats[SUM + 1, lane]
    else:
        one = P.dtype.type(1.0)
        for lane in range(_ABREAST):
            stats[KEEP, lane] = one - rate * stats[RIDGE, lane]
            stats[KEEP + 1, lane] = one - rate * stats[RIDGE + 1, lane]
            stats[MOVE, lane] = stats[MOVE + 1, lane] = -rate * stats[SLOPE, lane]
    for lane in range(first, first + count):
        _move(lane, blocks, penalty, s, P, Q)


@inlined
def _set_slopes(blocks, loss, penalty, s):
    stats = s.stats
    real = stats.dtype.type
    for lane in range(_ABREAST):
        e, x = s.pair[lane], stats[DOT, lane]
        r = blocks.targets[e] if blocks.targets.size else real(1.0)
        if loss.code == SQUARED:
            g = real(2.0) * (x - r)
        else:
            g = real(loss_derivative(loss, np.float64(r), np.float64(x)))
        stats[SLOPE, lane] = g * blocks.weights[e] if blocks.weights.size else g
        if penalty.code == 0:
            stats[RIDGE, lane] = real(2.0) * blocks.row_decay[s.u[lane]]
            stats[RIDGE + 1, lane] = real(2.0) * blocks.col_decay[s.i[lane]]


@inlined
def _move(lane, blocks, penalty, s, P, Q):
    p, q, stats = s.u[lane], s.i[lane], s.stats
    quadratic = penalty.code == 0
    if not quadratic:
        for f in range(s.old_p.size):
            s.old_p[f], s.old_q[f] = P[p, f], Q[q, f]
    pair_move(
        P, p, stats[KEEP, lane], stats[MOVE, lane],
        Q, q, stats[KEEP + 1, lane], stats[MOVE + 1, lane],
    )  # fmt: skip
    if not quadratic:
        _penalise(P, p, s.old_p, stats[RATE, lane] * blocks.row_decay[p], penalty)
        _penalise(Q, q, s.old_q, stats[RATE + 1, lane] * blocks.col_decay[q], penalty)


@device
def _penalise(P, u, old, step, penalty):
    """Take the penalty's part of a step that began at ``old``, or its proximal step."""
    step = np.float64(step)
    for f in range(old.size):
        moved = np.float64(P[u, f])
        if penalty.smooth:
            P[u, f] = moved - step * penalty_derivative(penalty, np.float64(old[f]))
        else:
            P[u, f] = penalty_step(penalty, moved, step)
