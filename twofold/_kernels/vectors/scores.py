"""Scores of a strip of rows or columns, summed in the order of the factors, and their comparison.

The sums are those of `tiles.set_tiles_from_rows`: each is one chain of multiply-adds in ascending
order, so all of these primitives compute the same bits for the same two vectors.
"""

from typing import Any

from llvmlite import ir

from twofold._kernels.vectors.matrix import TILE, Array, Matrix, machine_code

STRIP = 3 * TILE
"""Number of scores in a row of scores: those that `tiles` keeps in registers for float32."""
_AHEAD = 3072  # prefetch distance in bytes, in the order of the memory
_LINE = 64  # bytes of a cache line


def _chain(x: Array, y: Array) -> Any:
    """Return x . y, summed in ascending order."""
    total = x.dtype.type(0.0)
    for one, other in zip(x, y, strict=True):
        total += one * other
    return total


def _columns(Y: Matrix, rows: list[Any], f: Any) -> list[Any]:
    """Return the vectors Y[rows, f + p] for p < lanes, for as many rows as lanes.

    Halves of vectors are loaded, because elements are moved faster within a half.
    """
    half = Y.lanes // 2
    short, columns = Y.with_lanes(half), []
    for left in (0, half):
        halves = [short.load(row, (f, left)) for row in rows]
        whole = list(range(Y.lanes))
        streams = [[Y.shuffle(*pair, whole)] for pair in zip(halves, halves[half:], strict=False)]
        size = 1
        while len(streams) > 1:  # Interleave groups of 1 and 2 elements.
            streams = [
                [_interleaved(Y, *pair, size, high) for pair in zip(*both, strict=True)
                 for high in (False, True)]
                for both in zip(streams[::2], streams[1::2], strict=True)
            ]  # fmt: skip
            size *= 2
        columns += streams[0]
    return columns


def _interleaved(Y: Matrix, one: Any, other: Any, size: int, high: bool) -> Any:
    """Interleave groups of elements of the low or high parts of the halves of two vectors."""
    half, lanes = Y.lanes // 2, []
    for start in (0, half):
        for group in range(start + half // 2 * high, start + half // 2 * (high + 1), size):
            own = list(range(group, group + size))
            lanes += own + [Y.lanes + lane for lane in own]
    return Y.shuffle(one, other, lanes)


def _set_scores(out: Matrix, row: Any, Y: Matrix, first: Any, x: Matrix) -> None:
    builder, lanes = Y.builder, Y.lanes
    whole = builder.sub(Y.width, builder.srem(Y.width, Y.index(lanes)))
    ahead, line = _AHEAD // Y.itemsize, _LINE // Y.itemsize
    for left in range(0, STRIP, lanes):
        rows, total = [(first, left + r) for r in range(lanes)], Y.new_sums(1)[0]
        with Y.loop(0, whole) as f:
            for p, column in enumerate(_columns(Y, rows, f)):
                Y.add_product(total, column, Y.broadcast(x.item((f, p))))
            done = builder.mul(f, Y.index(lanes))  # elements of these rows
            for start in range(ahead, ahead + lanes * lanes, line):
                Y.prefetch(rows[0], (done, start))
        with Y.loop(whole, Y.width, 1) as f:
            column = ir.Constant(Y.vector, ir.Undefined)
            for lane, row_of_Y in enumerate(rows):
                at = ir.Constant(ir.IntType(32), lane)
                column = builder.insert_element(column, Y.item(row_of_Y, f), at)
            Y.add_product(total, column, Y.broadcast(x.item(f)))
        out.store(builder.load(total), row, left)


@machine_code(_set_scores)
def set_scores(out: Array, row: int, Y: Array, first: int, x: Array) -> None:
    """Set out[row, :STRIP] = Y[first:first+STRIP] x, for any number of columns of Y.

    The rows of Y that follow are prefetched, because this is as fast as reading memory.
    """
    out[row, :STRIP] = [_chain(y, x) for y in Y[first : first + STRIP]]


def _dot(X: Matrix, u: Any, Y: Matrix, i: Any) -> Any:
    # Vectors of length 1, because LLVM would divide a loop over numbers into several sums.
    one, other = X.with_lanes(1), Y.with_lanes(1)
    total = one.new_sums(1)[0]
    with one.loop(0, one.width) as f:
        one.add_product(total, one.load(u, f), other.load(i, f))
    return one.lane(one.builder.load(total), 0)


@machine_code(_dot)
def dot(X: Array, u: int, Y: Array, i: int) -> float:
    """Return X[u] . Y[i]."""
    return float(_chain(X[u], Y[i]))


def _next_above(C: Matrix, row: Any, limits: Matrix, first: Any, j: Any) -> Any:
    builder, whole = C.builder, ir.IntType(64)
    mask = ir.Constant(whole, 1 << STRIP)
    for left in range(0, STRIP, C.lanes):
        is_above = builder.fcmp_ordered(">", C.load(row, left), limits.load((first, left)))
        bits = builder.zext(builder.bitcast(is_above, ir.IntType(C.lanes)), whole)
        mask = builder.or_(mask, builder.shl(bits, ir.Constant(whole, left)))
    mask = builder.and_(mask, builder.shl(ir.Constant(whole, -1), j))
    return builder.cttz(mask, ir.Constant(ir.IntType(1), 1))


@machine_code(_next_above)
def next_above(C: Array, row: int, limits: Array, first: int, j: int) -> int:
    """Return the first j' in j:STRIP with C[row, j'] > limits[first + j'], or STRIP.

    A nan is not above any limit.
    """
    while j < STRIP and not C[row, j] > limits[first + j]:
        j += 1
    return j
