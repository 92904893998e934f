"""Updates of SGD for a pair (u, i); dot products and AdaGrad rates for four pairs at a time."""

from typing import Any

import numpy as np

from twofold._kernels.vectors.matrix import TILE, Array, Matrix, machine_code

_N_PAIRS = 4

# Rows of the array ``stats``, which has a column for each of the four pairs: the dot product
# P[u].Q[i] and the derivative of the loss, followed by two rows, for P[u] and for Q[i], for each of
# the squared length, the ridge, the sum of squared slopes, the learning rate, and the arguments
# ``decay`` and ``step`` of `pair_update`.
DOT, SLOPE, SQUARE, RIDGE, SUM, RATE, DECAY, STEP, N_STATS = 0, 1, 2, 4, 6, 8, 10, 12, 14


def _pair_dots(P: Matrix, rows: Matrix, Q: Matrix, cols: Matrix, stats: Matrix) -> None:
    numbers = [(rows.item(e), cols.item(e)) for e in range(_N_PAIRS)]
    dots, squares_p, squares_q = (P.new_sums(_N_PAIRS) for _ in range(3))
    with P.loop(0, P.width) as f:
        for e, (u, i) in enumerate(numbers):
            p, q = P.load(u, f), Q.load(i, f)
            P.add_product(dots[e], p, q)
            P.add_product(squares_p[e], p, p)
            P.add_product(squares_q[e], q, q)
    for row, sums in ((DOT, dots), (SQUARE, squares_p), (SQUARE + 1, squares_q)):
        stats.store(_four_lane_sums(P, sums), row, 0)


def _four_lane_sums(P: Matrix, sums: list[Any]) -> Any:
    """Return the sum over the lanes of each of four variables as a vector of length 4."""
    builder = P.builder
    if P.lanes == _N_PAIRS:
        return P.lane_sums(sums)
    values = [builder.load(one) for one in sums]
    # After two pairwise additions, each half of the vector contains a part of all four sums.
    even = [0, 2, 8, 10, 4, 6, 12, 14]
    odd = [lane + 1 for lane in even]
    while len(values) > 1:
        values = [
            builder.fadd(P.shuffle(x, y, even), P.shuffle(x, y, odd))
            for x, y in zip(values[::2], values[1::2], strict=True)
        ]
    halves = [P.shuffle(values[0], values[0], half) for half in ([0, 1, 2, 3], [4, 5, 6, 7])]
    return builder.fadd(*halves)


@machine_code(_pair_dots)
def pair_dots(P: Array, rows: Array, Q: Array, cols: Array, stats: Array) -> None:
    """Set the rows DOT and SQUARE of ``stats`` to P[u].Q[i], P[u].P[u] and Q[i].Q[i]."""
    p, q = P[rows], Q[cols]
    stats[DOT], stats[SQUARE], stats[SQUARE + 1] = (p * q).sum(1), (p * p).sum(1), (q * q).sum(1)


def _pair_update(
    P: Matrix, u: Any, decay_p: Any, step_p: Any, Q: Matrix, i: Any, decay_q: Any, step_q: Any
) -> None:
    P, Q = P.with_lanes(2 * TILE), Q.with_lanes(2 * TILE)
    decay_p, step_p, decay_q, step_q = (
        P.broadcast(one) for one in (decay_p, step_p, decay_q, step_q)
    )
    with P.loop(0, P.width) as f:
        p, q = P.load(u, f), Q.load(i, f)
        P.store(P.multiply_add(step_p, q, P.builder.fmul(decay_p, p)), u, f)
        Q.store(Q.multiply_add(step_q, p, P.builder.fmul(decay_q, q)), i, f)


@machine_code(_pair_update)
def pair_update(
    P: Array, u: int, decay_p: float, step_p: float, Q: Array, i: int, decay_q: float, step_q: float
) -> None:
    """Set P[u] = decay_p P[u] + step_p Q[i] and Q[i] = decay_q Q[i] + step_q P[u] simultaneously.

    The size of a row is a multiple of 64 bytes.
    """
    p, q = P[u].copy(), Q[i].copy()
    P[u], Q[i] = decay_p * p + step_p * q, decay_q * q + step_q * p


def _pair_adagrad(stats: Matrix, rate: Any, size: Any) -> None:
    S, b = stats.with_lanes(_N_PAIRS), stats.builder
    zero, one, rate, size = S.constant(0.0), S.constant(1.0), S.broadcast(rate), S.broadcast(size)
    g = S.load(SLOPE, 0)
    cross = b.fmul(b.fadd(g, g), S.load(DOT, 0))
    for own, other in ((0, 1), (1, 0)):
        ridge = S.load(RIDGE + own, 0)
        square = b.fadd(cross, b.fmul(ridge, S.load(SQUARE + own, 0)))
        square = b.fadd(b.fmul(b.fmul(g, g), S.load(SQUARE + other, 0)), b.fmul(ridge, square))
        mean = b.fdiv(square, size)
        positive = b.select(b.fcmp_ordered(">", mean, zero), mean, zero)
        total = b.fadd(S.load(SUM + own, 0), positive)
        row_rate = b.fdiv(rate, S.square_root(total))
        S.store(total, SUM + own, 0)
        S.store(row_rate, RATE + own, 0)
        decay = b.fdiv(one, b.fadd(one, b.fmul(row_rate, ridge)))
        S.store(decay, DECAY + own, 0)
        S.store(b.fmul(decay, b.fsub(zero, b.fmul(row_rate, g))), STEP + own, 0)


@machine_code(_pair_adagrad)
def pair_adagrad(stats: Array, rate: float, size: float) -> None:
    """Set the rows SUM, RATE, DECAY and STEP of ``stats`` by AdaGrad, with one rate for each row.

    The mean square of a row's gradient over its ``size`` factors is added to its SUM:
    |g q + ridge p|^2 = g^2 |q|^2 + ridge (2 g p.q + ridge |p|^2), for g = SLOPE. The ridge is
    applied by its proximal step, p = (p - rate g q) / (1 + rate ridge), which cannot overshoot.
    """
    g, dot = stats[SLOPE], stats[DOT]
    for own, other in ((0, 1), (1, 0)):
        ridge = stats[RIDGE + own]
        square = g * g * stats[SQUARE + other] + ridge * (2 * g * dot + ridge * stats[SQUARE + own])
        stats[SUM + own] += np.maximum(square / size, 0)
        stats[RATE + own] = rate / np.sqrt(stats[SUM + own])
        stats[DECAY + own] = 1 / (1 + stats[RATE + own] * ridge)
        stats[STEP + own] = -stats[RATE + own] * g * stats[DECAY + own]
