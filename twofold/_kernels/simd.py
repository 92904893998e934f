"""Vector instructions where the compiler does not find them: 8 x 8 tiles held in registers.

numba turns a loop over the contiguous axis into vector code, but it never keeps a tile of sums in
registers while it walks along the other axis, which is what makes A'A and Cholesky fast: measured
95 GFLOP/s on a core where twelve dot products written out reach 50, and 20 instead of 6 for the
factorisation of a 64 x 64 matrix. So these tiles are written as LLVM vectors. They are the only
place where that is done; each says in numpy what it computes, and that is also what runs when
numba is switched off (``NUMBA_DISABLE_JIT=1``).

Matrices are C-contiguous float32 or float64; sizes are padded to multiples of `TILE`.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = [
    "TILE",
    "add_tile",
    "factor_tile",
    "next_task",
    "prefetch_row",
    "solve_tile",
    "subtract_tile",
    "transpose_tile",
]

TILE = 8
_BYTES = 32  # of a vector: AVX2; other machines split it or leave half of theirs empty


class _Matrix:
    """LLVM code for a 2-d array: addresses, vector loads and stores."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder, self.data = builder, array.data
        self.width = cgutils.unpack_tuple(builder, array.shape, 2)[1]
        self.element = context.get_data_type(kind.dtype)
        self.size = kind.dtype.bitwidth // 8
        self.lanes = _BYTES // self.size
        self.vector = ir.VectorType(self.element, self.lanes)
        self.parts = TILE // self.lanes
        """Vectors in a row of a tile."""

    def address(self, row: Any, col: Any, down: int = 0, right: int = 0) -> Any:
        b = self.builder
        row = b.add(row, ir.Constant(row.type, down))
        col = b.add(col, ir.Constant(col.type, right))
        return b.gep(self.data, [b.add(b.mul(row, self.width), col)])

    def load(self, *place: Any) -> Any:
        at = self.builder.bitcast(self.address(*place), ir.PointerType(self.vector))
        return self.builder.load(at, align=self.size)

    def store(self, value: Any, *place: Any) -> None:
        at = self.builder.bitcast(self.address(*place), ir.PointerType(self.vector))
        self.builder.store(value, at, align=self.size)

    def spread(self, number: Any) -> Any:
        """Put a number into every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
        return self.shuffle(one, undefined, [0] * self.lanes)

    def shuffle(self, one: Any, other: Any, lanes: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), lanes)
        return self.builder.shuffle_vector(one, other, mask)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c, in one rounding where the processor can."""
        name = f"llvm.fmuladd.v{self.lanes}f{8 * self.size}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [a, b, c])


def _tile_product(sign: int) -> Any:
    @intrinsic
    def tile(typing_context, C, A, m, i, j):
        signature = types.void(C, A, types.intp, types.intp, types.intp)

        def generate(context, builder, signature, arguments):
            c = _Matrix(context, builder, signature.args[0], arguments[0])
            a = _Matrix(context, builder, signature.args[1], arguments[1])
            rows = TILE // a.parts  # eight sums, whatever the type: sixteen would not fit
            for top in range(0, TILE, rows):
                _rows_of_tile(builder, c, a, arguments[2:], top, rows, sign)
            return context.get_dummy_value()

        return signature, generate

    return tile


def _rows_of_tile(
    builder: Any, c: _Matrix, a: _Matrix, arguments: Any, top: int, rows: int, sign: int
) -> None:
    """Generate C[i + top:, j:] += sign sum_p A[p, i + top:]' A[p, j:] for some rows of a tile."""
    m, i, j = arguments
    zero, index = ir.Constant(a.vector, [0.0] * a.lanes), m.type
    places = [(r, v) for r in range(rows) for v in range(a.parts)]
    before = builder.block
    body, after = (builder.append_basic_block(name) for name in ("tile.sum", "tile.store"))
    builder.cbranch(builder.icmp_signed(">", m, ir.Constant(index, 0)), body, after)
    builder.position_at_end(body)
    p = builder.phi(index)
    sums = {place: builder.phi(a.vector) for place in places}
    right = [a.load(p, j, 0, v * a.lanes) for v in range(a.parts)]
    new = {}
    for r in range(rows):
        left = a.spread(builder.load(a.address(p, i, 0, top + r)))
        for v in range(a.parts):
            new[r, v] = a.multiply_add(left, right[v], sums[r, v])
    following = builder.add(p, ir.Constant(index, 1))
    p.add_incoming(ir.Constant(index, 0), before)
    p.add_incoming(following, body)
    for place in places:
        sums[place].add_incoming(zero, before)
        sums[place].add_incoming(new[place], body)
    builder.cbranch(builder.icmp_signed("<", following, m), body, after)
    builder.position_at_end(after)
    totals = {}
    for place in places:
        totals[place] = builder.phi(a.vector)
        totals[place].add_incoming(zero, before)
        totals[place].add_incoming(new[place], body)
    combine = builder.fadd if sign > 0 else builder.fsub
    for r, v in places:
        at = (i, j, top + r, v * a.lanes)
        c.store(combine(c.load(*at), totals[r, v]), *at)


@intrinsic
def _factor_tile(typing_context, U, inverse, i):
    signature = U.dtype(U, inverse, types.intp)

    def generate(context, builder, signature, arguments):
        u = _Matrix(context, builder, signature.args[0], arguments[0])
        inverses = context.make_array(signature.args[1])(context, builder, arguments[1])
        i = arguments[2]
        one = ir.Constant(u.element, 1.0)
        root = builder.module.declare_intrinsic("llvm.sqrt", [u.element])
        rows = [[u.load(i, i, r, v * u.lanes) for v in range(u.parts)] for r in range(TILE)]
        smallest = None
        for r in range(TILE):
            v, lane = divmod(r, u.lanes)
            pivot = builder.extract_element(rows[r][v], ir.Constant(ir.IntType(32), lane))
            # A nan stays: it is not >=, and makes every later pivot nan.
            smallest = pivot if smallest is None else builder.select(
                builder.fcmp_ordered(">=", pivot, smallest), smallest, pivot
            )  # fmt: skip
            inverted = builder.fdiv(one, builder.call(root, [pivot]))
            at = builder.gep(inverses.data, [builder.add(i, ir.Constant(i.type, r))])
            builder.store(inverted, at)
            scale = u.spread(inverted)
            rows[r] = [builder.fmul(part, scale) for part in rows[r]]
            for part in range(u.parts):
                u.store(rows[r][part], i, i, r, part * u.lanes)
            for s in range(r + 1, TILE):
                v, lane = divmod(s, u.lanes)
                factor = builder.fneg(u.shuffle(rows[r][v], rows[r][v], [lane] * u.lanes))
                rows[s] = [
                    u.multiply_add(factor, mine, own)
                    for mine, own in zip(rows[r], rows[s], strict=True)
                ]
        return smallest

    return signature, generate


@intrinsic
def _solve_tile(typing_context, U, inverse, i, j):
    signature = types.void(U, inverse, types.intp, types.intp)

    def generate(context, builder, signature, arguments):
        u = _Matrix(context, builder, signature.args[0], arguments[0])
        inverses = context.make_array(signature.args[1])(context, builder, arguments[1])
        i, j = arguments[2:]
        for v in range(u.parts):
            solved: list[Any] = []
            for r in range(TILE):
                row = u.load(i, j, r, v * u.lanes)
                for s in range(r):
                    factor = u.spread(builder.fneg(builder.load(u.address(i, i, s, r))))
                    row = u.multiply_add(factor, solved[s], row)
                at = builder.gep(inverses.data, [builder.add(i, ir.Constant(i.type, r))])
                solved.append(builder.fmul(row, u.spread(builder.load(at))))
                u.store(solved[r], i, j, r, v * u.lanes)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _transpose_tile(typing_context, A, i, j, B):
    signature = types.void(A, types.intp, types.intp, B)

    def generate(context, builder, signature, arguments):
        a = _Matrix(context, builder, signature.args[0], arguments[0])
        b = _Matrix(context, builder, signature.args[3], arguments[3])
        i, j = arguments[1:3]
        for top in range(0, TILE, a.lanes):
            for left in range(0, TILE, a.lanes):
                rows = [a.load(i, j, top + r, left) for r in range(a.lanes)]
                step = 1
                while step < a.lanes:  # swap bit by bit: the off-diagonal halves change places
                    for r in range(a.lanes):
                        if not r & step:
                            one, other = rows[r], rows[r + step]
                            low = [
                                lane if not lane & step else a.lanes + lane - step
                                for lane in range(a.lanes)
                            ]
                            high = [
                                lane + step if not lane & step else a.lanes + lane
                                for lane in range(a.lanes)
                            ]
                            rows[r] = a.shuffle(one, other, low)
                            rows[r + step] = a.shuffle(one, other, high)
                    step *= 2
                for r in range(a.lanes):
                    b.store(rows[r], j, i, left + r, top)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _prefetch_row(typing_context, A, i):
    signature = types.void(A, types.intp)

    def generate(context, builder, signature, arguments):
        a = _Matrix(context, builder, signature.args[0], arguments[0])
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        how = [ir.Constant(number, value) for value in (0, 3, 1)]  # read, keep, data
        zero = ir.Constant(arguments[1].type, 0)
        step = ir.Constant(arguments[1].type, 64 // a.size)
        with cgutils.for_range_slice(builder, zero, a.width, step) as (col, _):
            at = builder.bitcast(a.address(arguments[1], col), byte)
            builder.call(function, [at, *how])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _next_task(typing_context, counter):
    signature = types.int64(counter)

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        one = ir.Constant(ir.IntType(64), 1)
        return builder.atomic_rmw("add", array.data, one, "monotonic")

    return signature, generate


# -- what they compute -------------------------------------------------------------------------


def add_tile(C: Any, A: Any, m: int, i: int, j: int) -> None:
    """C[i:i+8, j:j+8] += A[:m, i:i+8]' A[:m, j:j+8]."""
    C[i : i + TILE, j : j + TILE] += A[:m, i : i + TILE].T @ A[:m, j : j + TILE]


def subtract_tile(C: Any, A: Any, m: int, i: int, j: int) -> None:
    """C[i:i+8, j:j+8] -= A[:m, i:i+8]' A[:m, j:j+8]; C may be A."""
    C[i : i + TILE, j : j + TILE] -= A[:m, i : i + TILE].T @ A[:m, j : j + TILE]


def factor_tile(U: Any, inverse: Any, i: int) -> Any:
    """Replace the upper triangle of U[i:i+8, i:i+8] by R with R'R = it.

    1 / the diagonal of R goes to inverse[i:i+8]. Returns the smallest pivot (nan if one was).
    What is below the diagonal is destroyed.
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


def solve_tile(U: Any, inverse: Any, i: int, j: int) -> None:
    """Replace U[i:i+8, j:j+8] by X with R'X = it, R and inverse as `factor_tile` made them."""
    for r in range(i, i + TILE):
        for s in range(i, r):
            U[r, j : j + TILE] -= U[s, r] * U[s, j : j + TILE]
        U[r, j : j + TILE] *= inverse[r]


def transpose_tile(A: Any, i: int, j: int, B: Any) -> None:
    """B[j:j+8, i:i+8] = A[i:i+8, j:j+8]'."""
    B[j : j + TILE, i : i + TILE] = A[i : i + TILE, j : j + TILE].T


def prefetch_row(A: Any, i: int) -> None:
    """Ask for a row of A to be brought into the cache; changes nothing."""


def next_task(counter: Any) -> int:
    """Return counter[0] (int64) and add 1 to it: each number once, to one thread."""
    counter[0] += 1
    return int(counter[0]) - 1


if not numba.config.DISABLE_JIT:
    add_tile, subtract_tile = _tile_product(1), _tile_product(-1)
    factor_tile, solve_tile = _factor_tile, _solve_tile
    transpose_tile, prefetch_row, next_task = _transpose_tile, _prefetch_row, _next_task
