"""Products, factorisation and triangular solves of tiles, with sums in registers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from twofold._kernels.vectors.matrix import TILE, Array, Matrix, machine_code, widest_vector

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


@machine_code(_products("set"), widest_vector)
def set_tiles(C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int) -> None:
    """C[row:row+8, j:n] = A[:m, i:i+8]' B[:m, j:n], each element summed in ascending order."""
    C[row : row + TILE, j:n] = _sum_of_outer_products(A[:m, i : i + TILE], B[:m, j:n])


@machine_code(_products("add"), widest_vector)
def add_tiles(C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int) -> None:
    """C[row:row+8, j:n] += A[:m, i:i+8]' B[:m, j:n]."""
    C[row : row + TILE, j:n] += _sum_of_outer_products(A[:m, i : i + TILE], B[:m, j:n])


@machine_code(_products("subtract"), widest_vector)
def subtract_tiles(C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int) -> None:
    """C[row:row+8, j:n] -= A[:m, i:i+8]' B[:m, j:n]; C may be A or B if row >= m."""
    C[row : row + TILE, j:n] -= _sum_of_outer_products(A[:m, i : i + TILE], B[:m, j:n])


@machine_code(_products("set", from_rows=True), widest_vector)
def set_tiles_from_rows(
    C: Array, row: int, A: Array, B: Array, m: int, i: int, j: int, n: int, first: int
) -> None:
    """C[row:row+8, j:n] = A[i:i+8, first:m] B[first:m, j:n], in the dtype of A and B."""
    left, right = A[i : i + TILE, first:m].T, B[first:m, j:n]
    C[row : row + TILE, j:n] = _sum_of_outer_products(left, right)


# -- factorisation and substitution ---------------------------------------------------------------


def _factor_tile(U: Matrix, inverse: Matrix, i: Any) -> Any:
    builder, one, zero = U.builder, ir.Constant(U.element, 1.0), ir.Constant(U.element, 0.0)
    lefts = range(0, TILE, U.lanes)
    rows = [[U.load((i, r), (i, left)) for left in lefts] for r in range(TILE)]
    diagonal = [U.constant(0.0) for left in lefts]
    pivot = U.lane(rows[0][0], 0)
    for r in range(TILE):  # L D L', so that square roots do not delay the next step.
        v, lane = divmod(r, U.lanes)
        diagonal[v] = U.with_lane(diagonal[v], lane, pivot)
        scale = builder.fneg(builder.fdiv(one, pivot))
        if r + 1 < TILE:  # The next pivot need not wait for the rest of its row.
            w, next_lane = divmod(r + 1, U.lanes)
            factor = U.lane(rows[r][w], next_lane)
            last = U.lane(rows[r + 1][w], next_lane)
            pivot = U.multiply_add(factor, builder.fmul(factor, scale), last)
        scale = U.broadcast(scale)
        # The same operations turn the identity into L^-1, whose columns replace those of zeros.
        rows[r][v] = U.with_lane(rows[r][v], lane, one)
        scaled = [builder.fmul(part, scale) for part in rows[r]]
        for s in range(r + 1, TILE):
            factor = U.broadcast_lane(rows[r][s // U.lanes], s % U.lanes)
            rows[s][v] = U.with_lane(rows[s][v], lane, zero)
            rows[s] = [
                U.multiply_add(factor, *parts) for parts in zip(scaled, rows[s], strict=True)
            ]
    roots = [U.square_root(part) for part in diagonal]
    inverted = [builder.fdiv(U.constant(1.0), part) for part in roots]
    for left, part in zip(lefts, inverted, strict=True):
        inverse.store(part, (i, left))
    pivots = [U.lane(diagonal[r // U.lanes], r % U.lanes) for r in range(TILE)]
    smallest = pivots[0]
    for r in range(TILE):
        # A nan is selected, because it is not >= smallest, and makes all later pivots nan.
        larger = builder.fcmp_ordered(">=", pivots[r], smallest)
        smallest = builder.select(larger, smallest, pivots[r])
        v, lane = divmod(r, U.lanes)
        factor = U.broadcast_lane(inverted[v], lane)
        rows[r] = [builder.fmul(part, factor) for part in rows[r]]
        rows[r][v] = U.with_lane(rows[r][v], lane, U.lane(roots[v], lane))
        for left, part in zip(lefts, rows[r], strict=True):
            U.store(part, (i, r), (i, left))
    return smallest


@machine_code(_factor_tile)
def factor_tile(U: Array, inverse: Array, i: int) -> float:
    """Replace the upper triangle of the tile M = U[i:i+8, i:i+8] by R with R'R = M.

    Sets inverse[i:i+8] to 1 / diag(R), and the elements below the diagonal to those of R'^-1.
    Returns the smallest pivot, or nan if a pivot is nan.
    """
    tile = U[i : i + TILE, i : i + TILE]
    pivots = []
    with np.errstate(all="ignore"):
        for r in range(TILE):
            pivots.append(tile[r, r])
            root = np.sqrt(tile[r, r])
            inverse[i + r] = 1.0 / root
            tile[r, r] = 1.0
            tile[r] *= inverse[i + r]
            for s in range(r + 1, TILE):
                factor, tile[s, r] = tile[r, s], 0.0
                tile[s] -= factor * tile[r]
            tile[r, r] = root
    return np.min(pivots)


def _solve_tiles(U: Matrix, inverse: Matrix, i: Any, j: Any, n: Any) -> None:
    with U.loop(j, n) as col:
        solved: list[Any] = []
        for r in range(TILE):
            row = U.load((i, r), col)
            for s in range(r):
                factor = U.broadcast(U.builder.fneg(U.item((i, s), (i, r))))
                row = U.multiply_add(factor, solved[s], row)
            solved.append(U.builder.fmul(row, U.broadcast(inverse.item((i, r)))))
            U.store(solved[r], (i, r), col)


@machine_code(_solve_tiles)
def solve_tiles(U: Array, inverse: Array, i: int, j: int, n: int) -> None:
    """Replace B = U[i:i+8, j:n] by R'^-1 B, with R and ``inverse`` from `factor_tile`.

    This is a substitution. A product with R'^-1 has larger errors if R is ill-conditioned.
    """
    for r in range(i, i + TILE):
        for s in range(i, r):
            U[r, j:n] -= U[s, r] * U[s, j:n]
        U[r, j:n] *= inverse[r]


def _inverse_tile(U: Array, inverse: Array, i: int) -> Array:
    """Return R'^-1 from `factor_tile`."""
    below = np.tril(U[i : i + TILE, i : i + TILE], -1)
    return below + np.diag(inverse[i : i + TILE])


def _inverse_rows(U: Matrix, inverse: Matrix, i: Any) -> list[list[Any]]:
    """Return the rows of R'^-1 from `factor_tile`, as vectors."""
    rows = []
    for r in range(TILE):
        parts = []
        for left in range(0, TILE, U.lanes):
            lanes = range(left, left + U.lanes)
            below = [lane if left + lane < r else lane + U.lanes for lane in range(U.lanes)]
            part = U.shuffle(U.load((i, r), (i, left)), U.constant(0.0), below)
            if r in lanes:
                part = U.with_lane(part, r - left, inverse.item((i, r)))
            parts.append(part)
        rows.append(parts)
    return rows


def _solve_back(U: Matrix, inverse: Matrix, i: Any, n: Any, x: Matrix) -> None:
    builder, lefts = U.builder, range(0, TILE, U.lanes)
    sums = U.new_sums(TILE)
    with U.loop((i, TILE), n) as f:
        values = x.load(f)
        for r, total in enumerate(sums):
            U.add_product(total, U.load((i, r), f), values)
    rest = [
        builder.fsub(x.load((i, left)), U.lane_sums(sums[left : left + U.lanes])) for left in lefts
    ]
    inverse_rows = _inverse_rows(U, inverse, i)
    for v, left in enumerate(lefts):
        totals = [U.constant(0.0)] * 2  # Two sums, so that an addition need not wait for the last.
        for r in range(left, TILE):
            factor = U.broadcast_lane(rest[r // U.lanes], r % U.lanes)
            totals[r % 2] = U.multiply_add(factor, inverse_rows[r][v], totals[r % 2])
        x.store(builder.fadd(*totals), (i, left))


@machine_code(_solve_back)
def solve_back(U: Array, inverse: Array, i: int, n: int, x: Array) -> None:
    """Replace x[i:i+8] by R^-1 (x[i:i+8] - U[i:i+8, i+8:n] x[i+8:n]).

    R^-1 and ``inverse`` are from `factor_tile`.
    """
    rest = x[i : i + TILE] - U[i : i + TILE, i + TILE : n] @ x[i + TILE : n]
    x[i : i + TILE] = _inverse_tile(U, inverse, i).T @ rest


def _solve_forward(U: Matrix, inverse: Matrix, i: Any, n: Any, x: Matrix) -> None:
    builder, lefts = U.builder, range(0, TILE, U.lanes)
    right = [x.load((i, left)) for left in lefts]
    sums = U.new_sums(TILE)
    for parts, total in zip(_inverse_rows(U, inverse, i), sums, strict=True):
        for part, values in zip(parts, right, strict=True):
            U.add_product(total, part, values)
    solved = [U.lane_sums(sums[left : left + U.lanes]) for left in lefts]
    for left, part in zip(lefts, solved, strict=True):
        x.store(part, (i, left))
    factors = [
        U.broadcast_lane(builder.fneg(part), lane) for part in solved for lane in range(U.lanes)
    ]
    with U.loop((i, TILE), n) as f:
        totals = [x.load(f), U.constant(0.0)]
        for r, factor in enumerate(factors):
            totals[r % 2] = U.multiply_add(factor, U.load((i, r), f), totals[r % 2])
        x.store(builder.fadd(*totals), f)


@machine_code(_solve_forward)
def solve_forward(U: Array, inverse: Array, i: int, n: int, x: Array) -> None:
    """Replace x[i:i+8] by y = R'^-1 x[i:i+8], and subtract U[i:i+8, i+8:n]' y from x[i+8:n].

    R'^-1 and ``inverse`` are from `factor_tile`.
    """
    x[i : i + TILE] = _inverse_tile(U, inverse, i) @ x[i : i + TILE]
    x[i + TILE : n] -= x[i : i + TILE] @ U[i : i + TILE, i + TILE : n]
