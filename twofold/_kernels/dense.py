"""Small dense linear algebra inside kernels: A'A, Cholesky, triangular solves.

All by 8 x 8 tiles (see `simd`): sizes are multiples of 8, upper triangles are used, and what is
below the diagonal tiles is left alone. Columns to the right of the matrix are right-hand sides that
are carried along.
"""

from twofold._kernels.jit import jit
from twofold._kernels.simd import (
    TILE,
    add_pair,
    add_tile,
    factor_tile,
    set_pair,
    set_tile,
    solve_back,
    solve_tile,
    subtract_pair,
    subtract_tile,
)

__all__ = [
    "add_products",
    "add_products_row",
    "cholesky",
    "padded",
    "room",
    "set_products_row",
    "solve_transposed",
    "solve_upper",
]


@jit
def padded(n):
    """Return the next multiple of 8."""
    return (n + TILE - 1) // TILE * TILE


@jit
def room(n):
    """Return how wide a matrix of n columns is made: one column is not 4096 bytes / 2^i apart.

    Numbers that are a large power of two apart share few sets of the cache.
    """
    tiles = (n + TILE - 1) // TILE
    return TILE * (tiles + 1 + tiles % 2)


@jit
def set_products_row(A, m, n, i, U):
    """Set U[i:i+8] to A'A from its diagonal on, for the first m rows and n columns of A."""
    j = i
    if (n - i) // TILE % 2:
        set_tile(U, A, m, i, j)
        j += TILE
    while j < n:
        set_pair(U, A, m, i, j)
        j += 2 * TILE


@jit
def add_products_row(A, m, n, i, U):
    """Add to U[i:i+8] what `set_products_row` sets it to."""
    j = i
    if (n - i) // TILE % 2:
        add_tile(U, A, m, i, j)
        j += TILE
    while j < n:
        add_pair(U, A, m, i, j)
        j += 2 * TILE


@jit
def add_products(A, m, n, U):
    """Add A'A to the upper triangle of U, for the first m rows and n columns of A."""
    for i in range(0, n, TILE):
        add_products_row(A, m, n, i, U)


@jit
def cholesky(U, inverse, n, n_columns, smallest):
    """Replace the upper triangle of U[:n, :n] by R with R'R = it; False if a pivot is too small.

    ``inverse`` becomes 1 / the diagonal of R, and the columns from n to n_columns of U become
    those of R'^-1 U. A pivot must be > smallest. Left-looking (Golub & Van Loan, section 4.2.6).
    """
    for i in range(0, n, TILE):
        j = i
        if (n_columns - i) // TILE % 2:
            subtract_tile(U, U, i, i, j)
            j += TILE
        while j < n_columns:
            subtract_pair(U, U, i, i, j)
            j += 2 * TILE
        if not factor_tile(U, inverse, i) > smallest:
            return False
        for j in range(i + TILE, n_columns, TILE):
            solve_tile(U, inverse, i, j)
    return True


@jit
def solve_upper(R, inverse, n, x):
    """Replace x[:n] by R^-1 x, with R and inverse of `cholesky`."""
    for i in range(n - TILE, -1, -TILE):
        solve_back(R, inverse, i, n, x)


@jit
def solve_transposed(R, inverse, n, x):
    """Replace x[:n] by R'^-1 x, with R and inverse of `cholesky`."""
    for i in range(n):
        row = R[i]
        value = x[i] * inverse[i]
        x[i] = value
        for f in range(i + 1, n):
            x[f] -= value * row[f]
