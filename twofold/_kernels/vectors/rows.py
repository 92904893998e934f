"""Gathers and products of listed rows of a matrix, eight at a time, and prefetching of rows.

The number of columns is a multiple of 8.
"""

from typing import Any

from numba.core import cgutils

from twofold._kernels.vectors.matrix import TILE, Array, Matrix, machine_code

_LINE = 64  # bytes of a cache line


def _row_indices(ids: Matrix, first: Any) -> list[Any]:
    """Return the elements of ids[first:first+8]."""
    return [ids.builder.sext(ids.item((first, r)), first.type) for r in range(TILE)]


def _gather_transposed(
    Y: Matrix, ids: Matrix, first: Any, h: Matrix, factor: Matrix, T: Matrix
) -> None:
    builder, rows = Y.builder, _row_indices(ids, first)
    lefts = range(0, TILE, Y.lanes)
    factors = [factor.load((first, left)) for left in lefts]
    with Y.loop(0, Y.width) as f:
        scale = h.load(f)
        for left, row_factor in zip(lefts, factors, strict=True):
            selected = rows[left : left + Y.lanes]
            columns = Y.transpose([builder.fmul(Y.load(row, f), scale) for row in selected])
            for down, column in enumerate(columns):
                T.store(builder.fmul(column, row_factor), (f, down), (first, left))


@machine_code(_gather_transposed)
def gather_transposed(Y: Array, ids: Array, first: int, h: Array, factor: Array, T: Array) -> None:
    """Set T[:k, e] = factor[e] * h * Y[ids[e]] for e in first:first+8, with Y of k columns."""
    e = slice(first, first + TILE)
    T[: Y.shape[1], e] = factor[e] * (Y[ids[e]] * h).T


def _gather_scaled(
    Y: Matrix, ids: Matrix, first: Any, h: Matrix, factor: Matrix, T: Matrix, top: Any,
    weight: Matrix, total: Matrix,
) -> None:  # fmt: skip
    rows, half = _row_indices(ids, first), TILE // 2
    for top_row in range(0, TILE, half):  # The multiples of four rows fit into the registers.
        at = range(top_row, top_row + half)
        factors, weights = (
            {r: Y.broadcast(array.item(r)) for r in at} for array in (factor, weight)
        )
        with Y.loop(0, Y.width) as f:
            scale, weighted = h.load(f), total.load(f)
            for r in at:
                value = Y.builder.fmul(Y.load(rows[r], f), scale)
                T.store(Y.builder.fmul(value, factors[r]), (top, r), f)
                weighted = Y.multiply_add(value, weights[r], weighted)
            total.store(weighted, f)


@machine_code(_gather_scaled)
def gather_scaled(
    Y: Array, ids: Array, first: int, h: Array, factor: Array, T: Array, top: int, weight: Array,
    total: Array,
) -> None:  # fmt: skip
    """Set T[top + r, :k] = factor[r] z and add weight[r] z to ``total``, for the eight rows z.

    Row r is z = h * Y[ids[first + r]], and Y has k columns.
    """
    Z = Y[ids[first : first + TILE]] * h
    T[top : top + TILE, : Y.shape[1]] = factor[:TILE, None] * Z
    total += weight[:TILE] @ Z


def _dots(Y: Matrix, rows: list[Any], x: Matrix) -> list[Any]:
    """Return y.x of eight rows y as vectors in the dtype of x."""
    sums = x.new_sums(TILE)
    with x.loop(0, Y.width) as f:
        values = x.load(f)
        for row, total in zip(rows, sums, strict=True):
            x.add_product(total, Y.load_as(x, row, f), values)
    return [x.lane_sums(sums[left : left + x.lanes]) for left in range(0, TILE, x.lanes)]


def _dot_rows(Y: Matrix, ids: Matrix, first: Any, x: Matrix, out: Matrix, at: Any) -> None:
    for n, dots in enumerate(_dots(Y, _row_indices(ids, first), x)):
        out.store(out.cast(dots), (at, n * x.lanes))


@machine_code(_dot_rows)
def dot_rows(Y: Array, ids: Array, first: int, x: Array, out: Array, at: int) -> None:
    """Set out[at:at+8] = Y[ids[first:first+8]] x, in the dtype of x, which may exceed Y's."""
    out[at : at + TILE] = Y[ids[first : first + TILE]] @ x[: Y.shape[1]]


def _add_rows(Y: Matrix, ids: Matrix, first: Any, factor: Matrix, at: Any, out: Matrix) -> None:
    factors = [out.broadcast(factor.item((at, r))) for r in range(TILE)]
    rows = _row_indices(ids, first)
    with out.loop(0, Y.width) as f:
        total = out.load(f)
        for row, multiple in zip(rows, factors, strict=True):
            total = out.multiply_add(Y.load_as(out, row, f), multiple, total)
        out.store(total, f)


@machine_code(_add_rows)
def add_rows(Y: Array, ids: Array, first: int, factor: Array, at: int, out: Array) -> None:
    """Add factor[at:at+8] Y[ids[first:first+8]] to ``out``, in the dtype of these two arrays."""
    out[: Y.shape[1]] += factor[at : at + TILE] @ Y[ids[first : first + TILE]]


def _set_normal_terms(
    Y: Matrix, ids: Matrix, first: Any, x: Matrix, b: Matrix, c: Matrix, dots: Matrix, terms: Matrix
) -> None:
    for n, values in enumerate(_dots(Y, _row_indices(ids, first), x)):
        at = x.index((first, n * x.lanes))
        dots.store(dots.cast(values), at)
        weights = x.builder.fneg(c.load_as(x, at))
        terms.store(x.multiply_add(weights, values, b.load_as(x, at)), at)


@machine_code(_set_normal_terms)
def set_normal_terms(
    Y: Array, ids: Array, first: int, x: Array, b: Array, c: Array, dots: Array, terms: Array
) -> None:
    """Set dots[e] to Y[ids[e]] x and terms[e] to b[e] - c[e] dots[e] for e in first:first+8.

    The sums are in the dtype of x and ``terms``, which may exceed that of Y.
    """
    e = slice(first, first + TILE)
    products = Y[ids[e]] @ x[: Y.shape[1]]
    dots[e], terms[e] = products, b[e] - c[e] * products


def _add_scaled_rows(
    Y: Matrix, ids: Matrix, scale: Matrix, order: Matrix, low: Any, high: Any, out: Matrix
) -> None:
    builder, done = Y.builder, Y.index(0)
    for tiles in (4, 1):  # Four tiles of columns at a time, then one.
        columns = tiles * TILE
        n = builder.sdiv(builder.sub(Y.width, done), Y.index(columns))
        end = builder.add(done, builder.mul(n, Y.index(columns)))
        lefts = range(0, columns, out.lanes)
        with out.loop(done, end, columns) as f:
            sums = [cgutils.alloca_once_value(builder, out.constant(0.0)) for left in lefts]
            for left, total in zip(lefts, sums, strict=True):
                builder.store(out.load((f, left)), total)
            with out.loop(low, high, 1) as e:
                row = builder.sext(ids.item(e), e.type)
                factor = out.broadcast(scale.item(builder.sext(order.item(e), e.type)))
                for left, total in zip(lefts, sums, strict=True):
                    out.add_product(total, Y.load_as(out, row, (f, left)), factor)
            for left, total in zip(lefts, sums, strict=True):
                out.store(builder.load(total), (f, left))
        done = end


@machine_code(_add_scaled_rows)
def add_scaled_rows(
    Y: Array, ids: Array, scale: Array, order: Array, low: int, high: int, out: Array
) -> None:
    """Add scale[order[e]] Y[ids[e]] to ``out`` for e in low:high, in the dtype of ``out``."""
    out[: Y.shape[1]] += scale[order[low:high]] @ Y[ids[low:high]]


def _prefetch_row(A: Matrix, i: Any) -> None:
    with A.loop(0, A.width, _LINE // A.itemsize) as col:
        A.prefetch(i, col)


@machine_code(_prefetch_row)
def prefetch_row(A: Array, i: int) -> None:
    """Prefetch the row A[i] into the cache."""


def _prefetch_at(a: Matrix, i: Any) -> None:
    a.prefetch(i)


@machine_code(_prefetch_at)
def prefetch_at(a: Array, i: int) -> None:
    """Prefetch the element a[i] into the cache."""
