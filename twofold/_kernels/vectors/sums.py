"""Sums of squares and products, in several lanes, so that additions do not wait for each other."""

import functools
from typing import Any

import numpy as np

from twofold._kernels.vectors.matrix import TILE, Array, Matrix, machine_code


def _dot(x: Matrix, y: Matrix) -> Any:
    wide = x.in_double()
    sums = wide.new_sums(TILE // wide.lanes)
    with x.loop(0, x.width, TILE) as f:
        for n, total in enumerate(sums):
            at = f, n * wide.lanes
            wide.add_product(total, x.load_as(wide, at), y.load_as(wide, at))
    total = functools.reduce(x.builder.fadd, (x.builder.load(one) for one in sums))
    lanes = [wide.lane(total, lane) for lane in range(wide.lanes)]
    return functools.reduce(x.builder.fadd, lanes)


@machine_code(_dot)
def dot(x: Array, y: Array) -> np.float64:
    """Return x.y in float64; the lengths are a multiple of 8."""
    return np.dot(x.astype(np.float64), y.astype(np.float64))


def _square_sum(U: Matrix, i: Any, j: Any, n: Any) -> Any:
    sums = U.new_sums(TILE)
    with U.loop(j, n) as f:
        for r, total in enumerate(sums):
            values = U.load((i, r), f)
            U.add_product(total, values, values)
    totals = [U.lane_sums(sums[left : left + U.lanes]) for left in range(0, TILE, U.lanes)]
    lanes = [U.lane(total, lane) for total in totals for lane in range(U.lanes)]
    return functools.reduce(U.builder.fadd, lanes)


@machine_code(_square_sum)
def square_sum(U: Array, i: int, j: int, n: int) -> float:
    """Return the sum of the squares of U[i:i+8, j:n]."""
    return np.sum(U[i : i + TILE, j:n] ** 2)
