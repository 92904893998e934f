"""Vector instructions where the compiler does not find them: tiles in registers, rows, prefetching.

numba turns a loop over the contiguous axis into vector code, but it never keeps a tile of sums in
registers while it walks along the other axis, which is what makes A'A and Cholesky fast: measured
95 GFLOP/s on a core where twelve dot products written out reach 50, and 20 instead of 6 for the
factorisation of a 64 x 64 matrix. So these tiles are written as LLVM vectors. They are the only
place where that is done; each says in numpy what it computes, and that is also what runs when
numba is switched off (``NUMBA_DISABLE_JIT=1``).

In this order: `_Matrix`, what all of them use; products and factorisation of tiles; rows that a
list names; the two rows of a pair, for SGD; prefetching and tasks; what each computes, in numpy.

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
    "add_pair",
    "add_rows",
    "add_tile",
    "dot_rows",
    "factor_tile",
    "gather_transposed",
    "next_task",
    "pair_dots",
    "pair_move",
    "prefetch_at",
    "prefetch_row",
    "set_pair",
    "set_tile",
    "solve_back",
    "solve_tile",
    "subtract_pair",
    "subtract_tile",
]

TILE = 8
# Rows of the array of what is known about four pairs: first one for all, then one for each side.
DOT, SLOPE, SQUARE, RIDGE, SUM, RATE, KEEP, MOVE, KNOWN = 0, 1, 2, 4, 6, 8, 10, 12, 14
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

    def load_from(self, data: Any, first: Any, further: int = 0) -> Any:
        """Load a vector of a 1-d array of the same type."""
        b = self.builder
        at = b.gep(data, [b.add(first, ir.Constant(first.type, further))])
        return b.load(b.bitcast(at, ir.PointerType(self.vector)), align=self.size)

    def transposed(self, rows: list[Any]) -> list[Any]:
        """Transpose as many vectors as there are lanes."""
        step = 1
        while step < self.lanes:  # swap bit by bit: the off-diagonal halves change places
            low = [
                lane if not lane & step else lane - step + self.lanes for lane in range(self.lanes)
            ]
            high = [at + step for at in low]
            for r in range(self.lanes):
                if not r & step:
                    one, other = rows[r], rows[r + step]
                    rows[r] = self.shuffle(one, other, low)
                    rows[r + step] = self.shuffle(one, other, high)
            step *= 2
        return rows

    def total(self, value: Any) -> Any:
        """Return the sum over the lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        step = self.lanes // 2
        while step:
            lanes = [(lane + step) % self.lanes for lane in range(self.lanes)]
            value = self.builder.fadd(value, self.shuffle(value, undefined, lanes))
            step //= 2
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    def four_totals(self, values: list[Any]) -> Any:
        """Return the sums over the lanes of four vectors, as a vector of four."""
        b = self.builder
        if self.lanes == 4:
            one, two, three, four = self.transposed(values)
            return b.fadd(b.fadd(one, two), b.fadd(three, four))
        # Neighbours are added twice, which leaves both halves with a part of all four.
        even = [0, 2, 8, 10, 4, 6, 12, 14]
        odd = [lane + 1 for lane in even]
        while len(values) > 1:
            values = [
                b.fadd(self.shuffle(x, y, even), self.shuffle(x, y, odd))
                for x, y in zip(values[::2], values[1::2], strict=True)
            ]
        number = ir.IntType(32)
        low, high = (
            b.shuffle_vector(*values, *values, ir.Constant(ir.VectorType(number, 4), half))
            for half in ([0, 1, 2, 3], [4, 5, 6, 7])
        )
        return b.fadd(low, high)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c, in one rounding where the processor can."""
        name = f"llvm.fmuladd.v{self.lanes}f{8 * self.size}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [a, b, c])


def _tile_product(mode: str, n_tiles: int = 1) -> Any:
    """Make C = A'A ("set"), C += A'A or C -= A'A for a tile, or for two neighbours in one go."""

    @intrinsic
    def product(typing_context, C, A, m, i, j):
        signature = types.void(C, A, types.intp, types.intp, types.intp)

        def generate(context, builder, signature, arguments):
            c = _Matrix(context, builder, signature.args[0], arguments[0])
            a = _Matrix(context, builder, signature.args[1], arguments[1])
            across = min(2, n_tiles * a.parts)  # 4 x 2 vectors need fewer loads than 8 x 1
            rows = TILE // across  # eight sums in all: sixteen would not fit into the registers
            for right in range(0, n_tiles * a.parts, across):
                for top in range(0, TILE, rows):
                    places = [(top + r, right + v) for r in range(rows) for v in range(across)]
                    _sum_products(builder, c, a, arguments[2:], places, mode)
            return context.get_dummy_value()

        return signature, generate

    return product


def _sum_products(
    builder: Any, c: _Matrix, a: _Matrix, arguments: Any, places: list[tuple[int, int]], mode: str
) -> None:
    """Generate the sum over p of A[p, i + row] A[p, j + vector] for (row, vector) of a tile."""
    m, i, j = arguments
    zero, index = ir.Constant(a.vector, [0.0] * a.lanes), m.type
    before = builder.block
    body, after = (builder.append_basic_block(name) for name in ("tile.sum", "tile.store"))
    builder.cbranch(builder.icmp_signed(">", m, ir.Constant(index, 0)), body, after)
    builder.position_at_end(body)
    p = builder.phi(index)
    sums = {place: builder.phi(a.vector) for place in places}
    right = {v: a.load(p, j, 0, v * a.lanes) for v in sorted({v for _, v in places})}
    left = {
        r: a.spread(builder.load(a.address(p, i, 0, r))) for r in sorted({r for r, _ in places})
    }
    new = {(r, v): a.multiply_add(left[r], right[v], sums[r, v]) for r, v in places}
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
    for r, v in places:
        at = (i, j, r, v * a.lanes)
        value = totals[r, v]
        if mode != "set":
            combine = builder.fadd if mode == "add" else builder.fsub
            value = combine(c.load(*at), value)
        c.store(value, *at)


# -- factorisation and substitution of tiles ----------------------------------------------------


@intrinsic
def _factor_tile(typing_context, U, inverse, i):
    signature = U.dtype(U, inverse, types.intp)

    def generate(context, builder, signature, arguments):
        u = _Matrix(context, builder, signature.args[0], arguments[0])
        inverses = context.make_array(signature.args[1])(context, builder, arguments[1])
        i = arguments[2]
        one, number = ir.Constant(u.element, 1.0), ir.IntType(32)
        root = builder.module.declare_intrinsic("llvm.sqrt", [u.element])
        rows = [[u.load(i, i, r, v * u.lanes) for v in range(u.parts)] for r in range(TILE)]
        pivots = []
        for r in range(TILE):  # L D L' first: a step waits for a division, not for a root as well
            v, lane = divmod(r, u.lanes)
            pivots.append(builder.extract_element(rows[r][v], ir.Constant(number, lane)))
            scale = u.spread(builder.fneg(builder.fdiv(one, pivots[r])))
            scaled = [builder.fmul(part, scale) for part in rows[r]]
            for s in range(r + 1, TILE):
                v, lane = divmod(s, u.lanes)
                factor = u.shuffle(rows[r][v], rows[r][v], [lane] * u.lanes)
                rows[s] = [
                    u.multiply_add(factor, mine, own)
                    for mine, own in zip(scaled, rows[s], strict=True)
                ]
        smallest = pivots[0]
        for r in range(TILE):
            # A nan stays: it is not >=, and makes every later pivot nan.
            smallest = builder.select(
                builder.fcmp_ordered(">=", pivots[r], smallest), smallest, pivots[r]
            )
            inverted = builder.fdiv(one, builder.call(root, [pivots[r]]))
            at = builder.gep(inverses.data, [builder.add(i, ir.Constant(i.type, r))])
            builder.store(inverted, at)
            scale = u.spread(inverted)
            for part in range(u.parts):
                u.store(builder.fmul(rows[r][part], scale), i, i, r, part * u.lanes)
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
def _gather_transposed(typing_context, Y, ids, first, h, factor, T):
    signature = types.void(Y, ids, types.intp, h, factor, T)

    def generate(context, builder, signature, arguments):
        y = _Matrix(context, builder, signature.args[0], arguments[0])
        t = _Matrix(context, builder, signature.args[5], arguments[5])
        h, factor = (
            context.make_array(signature.args[n])(context, builder, arguments[n]).data
            for n in (3, 4)
        )
        first = arguments[2]
        row, zero = _listed_rows(context, builder, signature, arguments)
        factors = [y.load_from(factor, first, v * y.lanes) for v in range(y.parts)]
        step = ir.Constant(first.type, y.lanes)
        with cgutils.for_range_slice(builder, zero, y.width, step) as (f, _):
            scale = y.load_from(h, f)
            for part in range(y.parts):
                rows = row[part * y.lanes : (part + 1) * y.lanes]
                columns = y.transposed([builder.fmul(y.load(r, f), scale) for r in rows])
                for down, column in enumerate(columns):
                    scaled = builder.fmul(column, factors[part])
                    t.store(scaled, f, first, down, part * y.lanes)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _solve_back(typing_context, U, inverse, i, n, x):
    signature = types.void(U, inverse, types.intp, types.intp, x)

    def generate(context, builder, signature, arguments):
        u = _Matrix(context, builder, signature.args[0], arguments[0])
        inverses = context.make_array(signature.args[1])(context, builder, arguments[1]).data
        i, n = arguments[2:4]
        x = context.make_array(signature.args[4])(context, builder, arguments[4]).data
        number = ir.IntType(32)
        zero = ir.Constant(u.vector, [0.0] * u.lanes)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(TILE)]
        first = builder.add(i, ir.Constant(i.type, TILE))
        step = ir.Constant(i.type, u.lanes)
        with cgutils.for_range_slice(builder, first, n, step) as (f, _):
            values = u.load_from(x, f)
            for r in range(TILE):
                total = u.multiply_add(u.load(i, f, r), values, builder.load(sums[r]))
                builder.store(total, sums[r])
        solved = []
        for v in range(u.parts):
            parts = [builder.load(total) for total in sums[v * u.lanes : (v + 1) * u.lanes]]
            total = zero
            for column in u.transposed(parts):
                total = builder.fadd(total, column)
            solved.append(builder.fsub(u.load_from(x, i, v * u.lanes), total))
        columns = [
            u.transposed([u.load(i, i, top + r, left) for r in range(u.lanes)])
            for left in range(0, TILE, u.lanes)
            for top in range(0, TILE, u.lanes)
        ]
        for s in range(TILE - 1, -1, -1):
            v, lane = divmod(s, u.lanes)
            one = builder.extract_element(solved[v], ir.Constant(number, lane))
            at = builder.add(i, ir.Constant(i.type, s))
            value = builder.fmul(one, builder.load(builder.gep(inverses, [at])))
            builder.store(value, builder.gep(x, [at]))
            factor = u.spread(builder.fneg(value))
            for part in range(v + 1):  # below the diagonal is nonsense, where all is done already
                column = columns[v * u.parts + part][lane]
                solved[part] = u.multiply_add(column, factor, solved[part])
        return context.get_dummy_value()

    return signature, generate


# -- rows that a list names ---------------------------------------------------------------------


@intrinsic
def _dot_rows(typing_context, Y, ids, first, x, out):
    signature = types.void(Y, ids, types.intp, x, out)

    def generate(context, builder, signature, arguments):
        y = _Matrix(context, builder, signature.args[0], arguments[0])
        x, out = (
            context.make_array(signature.args[n])(context, builder, arguments[n]).data
            for n in (3, 4)
        )
        rows, zero = _listed_rows(context, builder, signature, arguments)
        sums = [
            cgutils.alloca_once_value(builder, ir.Constant(y.vector, [0.0] * y.lanes)) for _ in rows
        ]
        with cgutils.for_range_slice(builder, zero, y.width, ir.Constant(zero.type, y.lanes)) as (
            f,
            _,
        ):
            value = y.load_from(x, f)
            for row, total in zip(rows, sums, strict=True):
                builder.store(y.multiply_add(y.load(row, f), value, builder.load(total)), total)
        for v in range(y.parts):
            total, *more = y.transposed(
                [builder.load(one) for one in sums[v * y.lanes : (v + 1) * y.lanes]]
            )
            for column in more:
                total = builder.fadd(total, column)
            at = builder.gep(out, [ir.Constant(zero.type, v * y.lanes)])
            builder.store(total, builder.bitcast(at, ir.PointerType(y.vector)), align=y.size)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _add_rows(typing_context, Y, ids, first, factor, out):
    signature = types.void(Y, ids, types.intp, factor, out)

    def generate(context, builder, signature, arguments):
        y = _Matrix(context, builder, signature.args[0], arguments[0])
        factor, out = (
            context.make_array(signature.args[n])(context, builder, arguments[n]).data
            for n in (3, 4)
        )
        rows, zero = _listed_rows(context, builder, signature, arguments)
        factors = [
            y.spread(builder.load(builder.gep(factor, [ir.Constant(zero.type, r)])))
            for r in range(TILE)
        ]
        with cgutils.for_range_slice(builder, zero, y.width, ir.Constant(zero.type, y.lanes)) as (
            f,
            _,
        ):
            total = y.load_from(out, f)
            for row, scale in zip(rows, factors, strict=True):
                total = y.multiply_add(y.load(row, f), scale, total)
            at = builder.bitcast(builder.gep(out, [f]), ir.PointerType(y.vector))
            builder.store(total, at, align=y.size)
        return context.get_dummy_value()

    return signature, generate


def _listed_rows(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return the eight numbers ids[first:first+8], and the number 0."""
    ids = context.make_array(signature.args[1])(context, builder, arguments[1]).data
    first = arguments[2]
    places = [builder.add(first, ir.Constant(first.type, r)) for r in range(TILE)]
    rows = [builder.sext(builder.load(builder.gep(ids, [at])), first.type) for at in places]
    return rows, ir.Constant(first.type, 0)


# -- the two rows of a pair ---------------------------------------------------------------------


@intrinsic
def _pair_dots(typing_context, P, rows, Q, cols, known):
    signature = types.void(P, rows, Q, cols, known)

    def generate(context, builder, signature, arguments):
        p = _Matrix(context, builder, signature.args[0], arguments[0])
        q = _Matrix(context, builder, signature.args[2], arguments[2])
        out = _Matrix(context, builder, signature.args[4], arguments[4])
        numbers = []
        for n in (1, 3):
            array = context.make_array(signature.args[n])(context, builder, arguments[n])
            places = [builder.gep(array.data, [ir.Constant(ir.IntType(64), e)]) for e in range(4)]
            numbers.append([builder.load(place) for place in places])
        zero = ir.Constant(p.vector, [0.0] * p.lanes)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(4)] for _ in range(3)]
        start = ir.Constant(ir.IntType(64), 0)
        with cgutils.for_range_slice(builder, start, p.width, ir.Constant(start.type, p.lanes)) as (
            f,
            _,
        ):
            for e, (u, i) in enumerate(zip(*numbers, strict=True)):
                one, other = p.load(u, f), q.load(i, f)
                for into, (left, right) in zip(
                    sums, ((one, other), (one, one), (other, other)), strict=True
                ):
                    total = p.multiply_add(left, right, builder.load(into[e]))
                    builder.store(total, into[e])
        for row, kind in zip((DOT, SQUARE, SQUARE + 1), sums, strict=True):
            total = p.four_totals([builder.load(one) for one in kind])
            at = out.address(ir.Constant(start.type, row), start)
            builder.store(total, builder.bitcast(at, ir.PointerType(total.type)), align=p.size)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _pair_move(typing_context, P, u, keep_p, move_p, Q, i, keep_q, move_q):
    number = P.dtype
    signature = types.void(P, types.intp, number, number, Q, types.intp, number, number)

    def generate(context, builder, signature, arguments):
        p = _Matrix(context, builder, signature.args[0], arguments[0])
        q = _Matrix(context, builder, signature.args[4], arguments[4])
        u, i = arguments[1], arguments[5]
        keep_p, move_p, keep_q, move_q = (p.spread(arguments[n]) for n in (2, 3, 6, 7))
        with cgutils.for_range_slice(
            builder, ir.Constant(u.type, 0), p.width, ir.Constant(u.type, p.lanes)
        ) as (f, _):
            one, other = p.load(u, f), q.load(i, f)
            new = p.multiply_add(move_p, other, builder.fmul(keep_p, one))
            p.store(new, u, f)
            new = q.multiply_add(move_q, one, builder.fmul(keep_q, other))
            q.store(new, i, f)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _pair_steps(typing_context, known, rate, size):
    signature = types.void(known, known.dtype, known.dtype)

    def generate(context, builder, signature, arguments):
        b, array = builder, _Matrix(context, builder, signature.args[0], arguments[0])
        four = ir.VectorType(array.element, 4)
        place = ir.IntType(64)

        def address(row):
            at = array.address(ir.Constant(place, row), ir.Constant(place, 0))
            return b.bitcast(at, ir.PointerType(four))

        def get(row):
            return b.load(address(row), align=array.size)

        def spread(number):
            undefined = ir.Constant(four, ir.Undefined)
            one = b.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
            mask = ir.Constant(ir.VectorType(ir.IntType(32), 4), [0] * 4)
            return b.shuffle_vector(one, undefined, mask)

        root_kind = ir.FunctionType(four, [four])
        root = cgutils.get_or_insert_function(b.module, root_kind, f"llvm.sqrt.v4f{8 * array.size}")
        zero, one = (ir.Constant(four, [number] * 4) for number in (0.0, 1.0))
        rate, size = spread(arguments[1]), spread(arguments[2])
        g = get(SLOPE)
        cross = b.fmul(b.fadd(g, g), get(DOT))
        for own, other in ((0, 1), (1, 0)):
            ridge = get(RIDGE + own)
            step = b.fadd(cross, b.fmul(ridge, get(SQUARE + own)))
            step = b.fadd(b.fmul(b.fmul(g, g), get(SQUARE + other)), b.fmul(ridge, step))
            step = b.fdiv(step, size)
            total = b.fadd(get(SUM + own), b.select(b.fcmp_ordered(">", step, zero), step, zero))
            its_rate = b.fdiv(rate, b.call(root, [total]))
            for row, value in (
                (SUM, total), (RATE, its_rate), (KEEP, b.fsub(one, b.fmul(its_rate, ridge))),
                (MOVE, b.fsub(zero, b.fmul(its_rate, g))),
            ):  # fmt: skip
                b.store(value, address(row + own), align=array.size)
        return context.get_dummy_value()

    return signature, generate


# -- prefetching and tasks ----------------------------------------------------------------------


def _prefetch(builder: Any, at: Any) -> None:
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    how = [ir.Constant(number, value) for value in (0, 2, 1)]  # read, into the second cache, data
    builder.call(function, [builder.bitcast(at, byte), *how])


@intrinsic
def _prefetch_row(typing_context, A, i):
    signature = types.void(A, types.intp)

    def generate(context, builder, signature, arguments):
        a = _Matrix(context, builder, signature.args[0], arguments[0])
        zero = ir.Constant(arguments[1].type, 0)
        step = ir.Constant(arguments[1].type, 64 // a.size)
        with cgutils.for_range_slice(builder, zero, a.width, step) as (col, _):
            _prefetch(builder, a.address(arguments[1], col))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _prefetch_at(typing_context, a, i):
    signature = types.void(a, types.intp)

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        _prefetch(builder, builder.gep(array.data, [arguments[1]]))
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


def set_tile(C: Any, A: Any, m: int, i: int, j: int, width: int = TILE) -> None:
    """C[i:i+8, j:j+8] = A[:m, i:i+8]' A[:m, j:j+8]."""
    C[i : i + TILE, j : j + width] = A[:m, i : i + TILE].T @ A[:m, j : j + width]


def add_tile(C: Any, A: Any, m: int, i: int, j: int, width: int = TILE) -> None:
    """C[i:i+8, j:j+8] += A[:m, i:i+8]' A[:m, j:j+8]."""
    C[i : i + TILE, j : j + width] += A[:m, i : i + TILE].T @ A[:m, j : j + width]


def subtract_tile(C: Any, A: Any, m: int, i: int, j: int, width: int = TILE) -> None:
    """C[i:i+8, j:j+8] -= A[:m, i:i+8]' A[:m, j:j+8]; C may be A."""
    C[i : i + TILE, j : j + width] -= A[:m, i : i + TILE].T @ A[:m, j : j + width]


def set_pair(C: Any, A: Any, m: int, i: int, j: int) -> None:
    """As `set_tile`, for j:j+16."""
    set_tile(C, A, m, i, j, 2 * TILE)


def add_pair(C: Any, A: Any, m: int, i: int, j: int) -> None:
    """As `add_tile`, for j:j+16."""
    add_tile(C, A, m, i, j, 2 * TILE)


def subtract_pair(C: Any, A: Any, m: int, i: int, j: int) -> None:
    """As `subtract_tile`, for j:j+16."""
    subtract_tile(C, A, m, i, j, 2 * TILE)


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


def solve_back(U: Any, inverse: Any, i: int, n: int, x: Any) -> None:
    """Replace x[i:i+8] by R^-1 (it - U[i:i+8, i+8:n] x[i+8:n]), R and inverse of `factor_tile`."""
    x[i : i + TILE] -= U[i : i + TILE, i + TILE : n] @ x[i + TILE : n]
    for s in range(i + TILE - 1, i - 1, -1):
        x[s] *= inverse[s]
        x[i:s] -= U[i:s, s] * x[s]


def gather_transposed(Y: Any, ids: Any, first: int, h: Any, factor: Any, T: Any) -> None:
    """T[:k, e] = factor[e] * h * Y[ids[e]] for the k columns of Y and e in first:first+8."""
    e = slice(first, first + TILE)
    T[: Y.shape[1], e] = factor[e] * (Y[ids[e]] * h).T


def dot_rows(Y: Any, ids: Any, first: int, x: Any, out: Any) -> None:
    """out[:8] = Y[ids[first:first+8]] x; Y has a multiple of 8 columns."""
    out[:TILE] = Y[ids[first : first + TILE]] @ x[: Y.shape[1]]


def add_rows(Y: Any, ids: Any, first: int, factor: Any, out: Any) -> None:
    """Out += factor[:8] Y[ids[first:first+8]]; Y has a multiple of 8 columns."""
    out[: Y.shape[1]] += factor[:TILE] @ Y[ids[first : first + TILE]]


def pair_dots(P: Any, rows: Any, Q: Any, cols: Any, known: Any) -> None:
    """Find P[u].Q[i], P[u].P[u] and Q[i].Q[i] for four pairs; as wide as `pair_move` asks for."""
    p, q = P[rows], Q[cols]
    known[DOT], known[SQUARE], known[SQUARE + 1] = (p * q).sum(1), (p * p).sum(1), (q * q).sum(1)


def pair_move(
    P: Any, u: int, keep_p: Any, move_p: Any, Q: Any, i: int, keep_q: Any, move_q: Any
) -> None:
    """P[u] = keep_p P[u] + move_p Q[i] and Q[i] = keep_q Q[i] + move_q P[u], both from the old.

    The rows are whole cache lines: multiples of 64 bytes.
    """
    p, q = P[u].copy(), Q[i].copy()
    P[u], Q[i] = keep_p * p + move_p * q, keep_q * q + move_q * p


def pair_steps(known: Any, rate: Any, size: Any) -> None:
    """Take the steps of AdaGrad for four pairs, from what is known about them.

    The mean square of each row's slope is added to its sum, by which the rate is divided:
    |g q + ridge p|^2 = g^2 |q|^2 + ridge (2 g p.q + ridge |p|^2). Then how much of a row is kept,
    and how much of the other one is added.
    """
    g, dot = known[SLOPE], known[DOT]
    for own, other in ((0, 1), (1, 0)):
        ridge = known[RIDGE + own]
        square = g * g * known[SQUARE + other] + ridge * (2 * g * dot + ridge * known[SQUARE + own])
        known[SUM + own] += np.maximum(square / size, 0)
        known[RATE + own] = rate / np.sqrt(known[SUM + own])
        known[KEEP + own] = 1 - known[RATE + own] * ridge
        known[MOVE + own] = -known[RATE + own] * g


def prefetch_row(A: Any, i: int) -> None:
    """Ask for a row of A to be brought into the cache; changes nothing."""


def prefetch_at(a: Any, i: int) -> None:
    """Ask for a[i] to be brought into the cache; changes nothing."""


def next_task(counter: Any) -> int:
    """Return counter[0] (int64) and add 1 to it: each number once, to one thread."""
    counter[0] += 1
    return int(counter[0]) - 1


if not numba.config.DISABLE_JIT:
    set_tile, set_pair = _tile_product("set"), _tile_product("set", 2)
    add_tile, add_pair = _tile_product("add"), _tile_product("add", 2)
    subtract_tile, subtract_pair = _tile_product("subtract"), _tile_product("subtract", 2)
    factor_tile, solve_tile, solve_back = _factor_tile, _solve_tile, _solve_back
    dot_rows, add_rows = _dot_rows, _add_rows
    gather_transposed, next_task = _gather_transposed, _next_task
    pair_dots, pair_move, pair_steps = _pair_dots, _pair_move, _pair_steps
    prefetch_at, prefetch_row = _prefetch_at, _prefetch_row
