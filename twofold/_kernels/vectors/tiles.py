"""Products, factorisation and triangular solves of tiles, with sums in registers."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from twofold._kernels.vectors.matrix import TILE, Array, Matrix, machine_code

# -- products -------------------------------------------------------------------------------------


def _products(mode: str, from_rows: bool = False) -> Callable[..., None]:
    """Return the generator of C = A'B ("set"), C += A'B ("add") or C -= A'B ("subtract").

    With ``from_rows``, A replaces A', and the sums begin at ``first``. The columns are divided into
    steps of three, two and one vectors, where 2 + 2 is preferred to 3 + 1.
    """

    def generate(C, row, A, B, m, i, j, n, first=0):
        builder = B.builder
        offset = cgutils.alloca_once_value(builder, j)
        widths = [(B.max_lanes, 3), (B.max_lanes, 2), (B.max_lanes, 1), (TILE, 1)]
        for lanes, n_vectors in widths if B.max_lanes > TILE else widths[:3]:
            right = B.with_lanes(lanes)
            condition, body, end = (
                builder.append_basic_block(f"tiles.{name}") for name in ("while", "do", "end")
            )
            builder.branch(condition)
            builder.position_at_end(condition)
            col = builder.load(offset)
            rest, step = builder.sub(n, col), lanes * n_vectors
            fits = builder.icmp_signed(">=", rest, B.index(step))
            if n_vectors == 3:
                two_and_two = builder.icmp_signed("==", rest, B.index(4 * lanes))
                fits = builder.and_(fits, builder.not_(two_and_two))
            builder.cbranch(fits, body, end)
            builder.position_at_end(body)
            # The sums fit into 16 registers of 32 bytes, or into 32 registers of 64 bytes.
            height = TILE if TILE * n_vectors <= 3 * B.n_bytes // 8 else TILE // 2
            for top in range(0, TILE, height):
                sums = _sum_products(
                    A, right, first, m, (i, top), col, height, n_vectors, from_rows
                )
                for (r, v), value in sums.items():
                    at = (row, top + r), (col, v * lanes)
                    if mode != "set":
                        combine = builder.fadd if mode == "add" else builder.fsub
                        value = combine(C.with_lanes(lanes).load(*at), value)
                    C.store(C.cast(value), *at)
            builder.store(B.index((col, step)), offset)
            builder.branch(condition)
            builder.position_at_end(end)

    return generate


def _sum_products(
    A: Matrix, B: Matrix, first: Any, m: Any, i: Any, j: Any, height: int, n_vectors: int,
    from_rows: bool,
) -> dict[tuple[int, int], Any]:  # fmt: skip
    """Generate the sum over first <= p < m of A[p, i + r] B[p, j + vector v] for each (r, v).

    With ``from_rows``, it is A[i + r, p].
    """
    builder, zero, first = B.builder, B.constant(0.0), B.index(first)
    before = builder.block
    body, after = (builder.append_basic_block(name) for name in ("tile.sum", "tile.store"))
    builder.cbranch(builder.icmp_signed(">", m, first), body, after)
    builder.position_at_end(body)
    p = builder.phi(m.type)
    positions = [(r, v) for r in range(height) for v in range(n_vectors)]
    sums = {position: builder.phi(B.vector) for position in positions}
    right = [B.load(p, (j, v * B.lanes)) for v in range(n_vectors)]
    rows = [B.index((B.index(i), r)) for r in range(height)]
    left = [B.broadcast(A.item(row, p) if from_rows else A.item(p, row)) for row in rows]
    new = {(r, v): B.multiply_add(left[r], right[v], sums[r, v]) for r, v in positions}
    next_p = B.index((p, 1))
    p.add_incoming(first, before)
    p.add_incoming(next_p, body)
    builder.cbranch(builder.icmp_signed("<", next_p, m), body, after)
    builder.position_at_end(after)
    totals = {position: builder.phi(B.vector) for position in positions}
    for position in positions:
        for phi in (sums[position], totals[position]):
            phi.add_incoming(zero, before)
            phi.add_incoming(new[position], body)
    return totals


def _sum_of_outer_products(A: Array, B: Array) -> Array:
    """Return A'B, summed in the order of the rows."""
    total = np.zeros((A.shape[1], B.shape[1]), B.dtype)
    for a, b in zip(A, B, strict=True):
        total += np.outer(a, b)
    return total


@machine_code(_products("set"))
def set_tiles(C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int) -> None:
    """C[row:row+8, j:n] = A[:m, i:i+8]' B[:m, j:n], each element summed in ascending order."""
    C[row : row + TILE, j:n] = _sum_of_outer_products(A[:m, i : i + TILE], B[:m, j:n])


@machine_code(_products("add"))
def add_tiles(C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int) -> None:
    """C[row:row+8, j:n] += A[:m, i:i+8]' B[:m, j:n]."""
    C[row : row + TILE, j:n] += _sum_of_outer_products(A[:m, i : i + TILE], B[:m, j:n])


@machine_code(_products("subtract"))
def subtract_tiles(C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int) -> None:
    """C[row:row+8, j:n] -= A[:m, i:i+8]' B[:m, j:n]; C may be A or B if row >= m."""
    C[row : row + TILE, j:n] -= _sum_of_outer_products(A[:m, i : i + TILE], B[:m, j:n])


@machine_code(_products("set", from_rows=True))
def set_tiles_from_rows(
    C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int, first: int
) -> None:
    """C[row:row+8, j:n] = A[i:i+8, first:m] B[first:m, j:n], in the dtype of A and B."""
    left, right = A[i : i + TILE, first:m].T, B[first:m, j:n]
    C[row : row + TILE, j:n] = _sum_of_outer_products(left, right)


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


# -- factorisation and substitution ---------------------------------------------------------------


def _factor_tile(U: Matrix, inverse: Matrix, i: Any) -> Any:
    builder, one = U.builder, ir.Constant(U.element, 1.0)
    lefts = range(0, TILE, U.lanes)
    rows = [[U.load((i, r), (i, left)) for left in lefts] for r in range(TILE)]
    pivots = []
    for r in range(TILE):  # L D L', so that square roots do not delay the next step.
        v, lane = divmod(r, U.lanes)
        pivots.append(U.lane(rows[r][v], lane))
        scale = U.broadcast(builder.fneg(builder.fdiv(one, pivots[r])))
        scaled = [builder.fmul(part, scale) for part in rows[r]]
        for s in range(r + 1, TILE):
            v, lane = divmod(s, U.lanes)
            factor = U.shuffle(rows[r][v], rows[r][v], [lane] * U.lanes)
            rows[s] = [
                U.multiply_add(factor, *parts) for parts in zip(scaled, rows[s], strict=True)
            ]
    smallest = pivots[0]
    for r in range(TILE):
        # A nan is selected, because it is not >= smallest, and makes all later pivots nan.
        larger = builder.fcmp_ordered(">=", pivots[r], smallest)
        smallest = builder.select(larger, smallest, pivots[r])
        inverted = builder.fdiv(one, U.square_root(pivots[r]))
        inverse.store(inverted, (i, r))
        for left, part in zip(lefts, rows[r], strict=True):
            U.store(builder.fmul(part, U.broadcast(inverted)), (i, r), (i, left))
    return smallest


@machine_code(_factor_tile)
def factor_tile(U: Array, inverse: Array, i: int) -> float:
    """Replace the upper triangle of the tile M = U[i:i+8, i:i+8] by R with R'R = M.

    Sets inverse[i:i+8] to 1 / diag(R). Returns the smallest pivot, or nan if a pivot is nan. The
    elements below the diagonal are overwritten.
    """
    tile = U[i : i + TILE, i : i + TILE]
    pivots = []
    with np.errstate(all="ignore"):
        for r in range(TILE):
            pivots.append(tile[r, r])
            inverse[i + r] = 1.0 / np.sqrt(tile[r, r])
            tile[r] *= inverse[i + r]
            for s in range(r + 1, TILE):
                tile[s] -= tile[r, s] * tile[r]
    return np.min(pivots)


def _solve_tile(U: Matrix, inverse: Matrix, i: Any, j: Any) -> None:
    for left in range(0, TILE, U.lanes):
        solved: list[Any] = []
        for r in range(TILE):
            row = U.load((i, r), (j, left))
            for s in range(r):
                factor = U.broadcast(U.builder.fneg(U.item((i, s), (i, r))))
                row = U.multiply_add(factor, solved[s], row)
            solved.append(U.builder.fmul(row, U.broadcast(inverse.item((i, r)))))
            U.store(solved[r], (i, r), (j, left))


@machine_code(_solve_tile)
def solve_tile(U: Array, inverse: Array, i: int, j: int) -> None:
    """Replace B = U[i:i+8, j:j+8] by R'^-1 B, with R and ``inverse`` from `factor_tile`."""
    for r in range(i, i + TILE):
        for s in range(i, r):
            U[r, j : j + TILE] -= U[s, r] * U[s, j : j + TILE]
        U[r, j : j + TILE] *= inverse[r]


def _solve_back(U: Matrix, inverse: Matrix, i: Any, n: Any, x: Matrix) -> None:
    builder, lefts = U.builder, range(0, TILE, U.lanes)
    sums = U.new_sums(TILE)
    with U.loop((i, TILE), n) as f:
        values = x.load(f)
        for r, total in enumerate(sums):
            U.add_product(total, U.load((i, r), f), values)
    solved = [
        builder.fsub(x.load((i, left)), U.lane_sums(sums[left : left + U.lanes])) for left in lefts
    ]
    columns = [
        U.transpose([U.load((i, top + r), (i, left)) for r in range(U.lanes)])
        for left in lefts
        for top in lefts
    ]
    for s in range(TILE - 1, -1, -1):
        v, lane = divmod(s, U.lanes)
        value = builder.fmul(U.lane(solved[v], lane), inverse.item((i, s)))
        x.store(value, (i, s))
        factor = U.broadcast(builder.fneg(value))
        for part in range(v + 1):  # Lanes below the diagonal are no longer used.
            column = columns[v * len(lefts) + part][lane]
            solved[part] = U.multiply_add(column, factor, solved[part])


@machine_code(_solve_back)
def solve_back(U: Array, inverse: Array, i: int, n: int, x: Array) -> None:
    """Replace x[i:i+8] by R^-1 (x[i:i+8] - U[i:i+8, i+8:n] x[i+8:n]).

    R and ``inverse`` are from `factor_tile`.
    """
    x[i : i + TILE] -= U[i : i + TILE, i + TILE : n] @ x[i + TILE : n]
    for s in range(i + TILE - 1, i - 1, -1):
        x[s] *= inverse[s]
        x[i:s] -= U[i:s, s] * x[s]
