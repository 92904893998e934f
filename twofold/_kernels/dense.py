"""Small dense linear algebra inside kernels: A'A, Cholesky, triangular solves.

All by 8 x 8 tiles (see `simd`): sizes are multiples of 8, upper triangles are used, and what is
below the diagonal tiles is left alone. Columns to the right of the matrix are right-hand sides that
are carried along.
"""

from twofold._kernels.jit import jit
from twofold._kernels.simd import (
    TILE,
    add_tile,
    factor_tile,
    solve_tile,
    subtract_tile,
    transpose_tile,
)

__all__ = ["add_products", "cholesky", "padded", "solve_transposed", "solve_upper", "transpose"]


@jit
def padded(n):
    """Return the next multiple of 8."""
    return (n + TILE - 1) // TILE * TILE


@jit
def add_products(A, m, n, U):
    """Add A'A to the upper triangle of U, for the first m rows and n columns of A."""
    for i in range(0, n, TILE):
        for j in range(i, n, TILE):
            add_tile(U, A, m, i, j)


@jit
def transpose(A, m, n, B):
    """Set B[:n, :m] = A[:m, :n]'."""
    for i in range(0, m, TILE):
        for j in range(0, n, TILE):
            transpose_tile(A, i, j, B)


@jit
def cholesky(U, inverse, n, n_columns, smallest):
    """Replace the upper triangle of U[:n, :n] by R with R'R = it; False if a pivot is too small.

    ``inverse`` becomes 1 / the diagonal of R, and the columns from n to n_columns of U become
    those of R'^-1 U. A pivot must be > smallest. Left-looking (Golub & Van Loan, section 4.2.6).
    """
    for i in range(0, n, TILE):
        for j in range(i, n_columns, TILE):
            subtract_tile(U, U, i, i, j)
        if not factor_tile(U, inverse, i) > smallest:
            return False
        for j in range(i + TILE, n_columns, TILE):
            solve_tile(U, inverse, i, j)
    return True


@jit
def solve_upper(R, inverse, n, x):
    """Replace x[:n] by R^-1 x, with R and inverse of `cholesky`."""
    for i in range(n - TILE, -1, -TILE):
        # Eight rows at once: one row's sum has to wait for itself, eight do not.
        r0, r1, r2, r3 = R[i], R[i + 1], R[i + 2], R[i + 3]
        r4, r5, r6, r7 = R[i + 4], R[i + 5], R[i + 6], R[i + 7]
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = x.dtype.type(0.0)
        for f in range(i + TILE, n):
            value = x[f]
            s0 += r0[f] * value
            s1 += r1[f] * value
            s2 += r2[f] * value
            s3 += r3[f] * value
            s4 += r4[f] * value
            s5 += r5[f] * value
            s6 += r6[f] * value
            s7 += r7[f] * value
        x[i] -= s0
        x[i + 1] -= s1
        x[i + 2] -= s2
        x[i + 3] -= s3
        x[i + 4] -= s4
        x[i + 5] -= s5
        x[i + 6] -= s6
        x[i + 7] -= s7
        for r in range(i + TILE - 1, i - 1, -1):
            value = x[r] * inverse[r]
            x[r] = value
            for s in range(i, r):
                x[s] -= R[s, r] * value


@jit
def solve_transposed(R, inverse, n, x):
    """Replace x[:n] by R'^-1 x, with R and inverse of `cholesky`."""
    for i in range(n):
        row = R[i]
        value = x[i] * inverse[i]
        x[i] = value
        for f in range(i + 1, n):
            x[f] -= value * row[f]
