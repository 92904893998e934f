"""Products with tall matrices in fixed chunks, bitwise independent of the thread count."""

import numpy as np

from twofold._kernels.arguments import linear
from twofold._kernels.dense import add_products, padded, padded_leading_dim
from twofold._kernels.jit import device, kernel
from twofold._kernels.rows import add_tile, prefetch_rows
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.tasks import next_task
from twofold._kernels.vectors.tiles import set_tiles_from_rows

GRAM_ROWS = 32
"""Number of rows that `gramian` converts and multiplies at a time."""
PRODUCT_ROWS = 64
"""Number of rows in a task of `multiply`."""
_STRIP = 24  # columns of a step of `set_tiles_from_rows`
_AHEAD = 16  # prefetch distance in entries


@kernel
def gramian(counter, n_tasks, bounds, factors, weights, partial):
    """Set partial[task] to F' diag(weights) F of the rows of a task, in float64.

    Without weights it is F'F.
    """
    k = factors.shape[1]
    kp = padded(k)
    panel = np.zeros((GRAM_ROWS, padded_leading_dim(kp)))
    task = next_task(counter)
    while task < n_tasks:
        stop = bounds[task + 1]
        for low in range(bounds[task], stop, GRAM_ROWS):
            m = min(GRAM_ROWS, stop - low)
            for e in range(m):
                root = np.sqrt(weights[low + e]) if weights.size else 1.0
                for f in range(k):
                    panel[e, f] = root * factors[low + e, f]
            add_products(panel, m, kp, partial[task])
        task = next_task(counter)


@kernel
def multiply(counter, n_tasks, factors, rows, B, out):
    """Set out[u] = F[u] B for the listed rows, or for all if the list is empty.

    The product is computed in the dtype of B and rounded to that of ``out``. The numbers of columns
    are multiples of 8. Each element is one chain of multiply-adds in the order of the columns of F,
    so it is bitwise independent of the other rows. Rows of zeros above and below the other elements
    of a strip of B are left out, which halves the work for a triangle.
    """
    k, n_cols = B.shape
    first, last = np.zeros((2, -(-n_cols // _STRIP)), np.int64)
    _find_filled_rows(B, first, last)
    n = rows.size if rows.size else factors.shape[0]
    strip = np.zeros((TILE, padded_leading_dim(k)), B.dtype)
    product = np.zeros((TILE, padded_leading_dim(n_cols)), B.dtype)
    task = next_task(counter)
    while task < n_tasks:
        for low in range(task * PRODUCT_ROWS, min((task + 1) * PRODUCT_ROWS, n), TILE):
            m = min(TILE, n - low)
            for e in range(m):
                u = rows[low + e] if rows.size else low + e
                for f in range(k):
                    strip[e, f] = factors[u, f]
            for s in range(first.size):
                col = s * _STRIP
                stop = min(col + _STRIP, n_cols)
                set_tiles_from_rows(product, 0, strip, B, last[s], 0, col, stop, first[s])
            for e in range(m):
                u = rows[low + e] if rows.size else low + e
                for f in range(n_cols):
                    out[u, f] = product[e, f]
        task = next_task(counter)


@device
def _find_filled_rows(B, first, last):
    """Set the first row that is not 0, and the one after the last, of each strip of columns."""
    for s in range(first.size):
        first[s], last[s] = 0, B.shape[0]
        while last[s] > 0 and _is_zero(B, last[s] - 1, s):
            last[s] -= 1
        while first[s] < last[s] and _is_zero(B, first[s], s):
            first[s] += 1


@device
def _is_zero(B, row, s):
    """Return whether a row of a strip of columns is 0."""
    is_zero = True
    for col in range(s * _STRIP, min((s + 1) * _STRIP, B.shape[1])):
        is_zero &= B[row, col] == 0.0
    return is_zero


@kernel
def multiply_sparse(counter, n_tasks, bounds, entries, scale, col_scale, X, out):
    """Set out = diag(scale) B diag(col_scale) X for the sparse matrix B of the entries w r.

    ``bounds`` are those of the tasks. The sums are computed in the dtype of X, in the order of the
    entries of a row.
    """
    total, ids = np.zeros(X.shape[1], X.dtype), np.zeros(TILE, np.int32)
    coefficients = np.zeros(TILE, X.dtype)
    task = next_task(counter)
    while task < n_tasks:
        end = entries.indptr[bounds[task + 1]]
        for u in range(bounds[task], bounds[task + 1]):
            total[:] = 0.0
            low, high = entries.indptr[u], entries.indptr[u + 1]
            for e in range(low, high, TILE):
                m = min(high - e, TILE)
                for r in range(TILE):
                    ids[r] = entries.indices[e + min(r, m - 1)]
                    factor = scale[u] * col_scale[ids[r]]
                    coefficients[r] = factor * linear(entries, e + r) if r < m else 0.0
                prefetch_rows(X, entries.indices, min(e + _AHEAD, end), min(e + _AHEAD + m, end))
                add_tile(X, entries, e, m, ids, coefficients, total)
            for f in range(X.shape[1]):
                out[u, f] = total[f]
        task = next_task(counter)


@kernel
def sketch_sparse(counter, n_tasks, bounds, entries, scale, col_scale, buckets, out):
    """Set out = diag(scale) B diag(col_scale) S, with the arguments of `multiply_sparse`.

    Row i of S has one element other than 0, a 1 in the column ``buckets[i]``.
    """
    task = next_task(counter)
    while task < n_tasks:
        for u in range(bounds[task], bounds[task + 1]):
            for f in range(out.shape[1]):
                out[u, f] = 0.0
            for e in range(entries.indptr[u], entries.indptr[u + 1]):
                i = entries.indices[e]
                out[u, buckets[i]] += scale[u] * col_scale[i] * linear(entries, e)
        task = next_task(counter)


@kernel
def extrapolate(counter, n_tasks, new, old, momentum, out):
    """Set out = new + momentum (new - old); a task is `PRODUCT_ROWS` rows."""
    task = next_task(counter)
    while task < n_tasks:
        for u in range(task * PRODUCT_ROWS, min((task + 1) * PRODUCT_ROWS, new.shape[0])):
            for f in range(new.shape[1]):
                out[u, f] = new[u, f] + momentum * (new[u, f] - old[u, f])
        task = next_task(counter)


@kernel
def scale_rows(counter, n_tasks, factors, scale, out):
    """Set out[u] = scale[u] F[u]; a task is `PRODUCT_ROWS` rows."""
    task = next_task(counter)
    while task < n_tasks:
        for u in range(task * PRODUCT_ROWS, min((task + 1) * PRODUCT_ROWS, out.shape[0])):
            for f in range(out.shape[1]):
                out[u, f] = scale[u] * factors[u, f]
        task = next_task(counter)


@kernel
def turning(counter, n_tasks, bounds, start, old, new, weights, sums):
    """Set sums[task] to <start - new, new - old> of the rows of a task, in float64.

    The rows are multiplied by the weights, if there are any.
    """
    task = next_task(counter)
    while task < n_tasks:
        total = 0.0
        for u in range(bounds[task], bounds[task + 1]):
            product = 0.0
            for f in range(new.shape[1]):
                move = np.float64(new[u, f] - old[u, f])
                product += np.float64(start[u, f] - new[u, f]) * move
            total += product * (weights[u] if weights.size else 1.0)
        sums[task] = total
        task = next_task(counter)
