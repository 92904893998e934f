"""Dense linear algebra inside kernels, by 8 x 8 tiles: products, Cholesky, triangular solves.

Sizes are multiples of 8 (see `padded`). Of symmetric and triangular matrices only the tiles on and
above the diagonal are read and written. Right-hand sides are the columns to the right of a matrix.
"""

import numpy as np

from twofold._kernels.jit import device
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.sums import square_sum
from twofold._kernels.vectors.tiles import (
    add_tiles,
    factor_tile,
    set_tiles,
    solve_back,
    solve_forward,
    solve_tiles,
    subtract_tiles,
)


@device
def padded(n):
    """Return n rounded up to a multiple of 8."""
    return (n + TILE - 1) // TILE * TILE


@device
def padded_leading_dim(n):
    """Return the leading dimension of a matrix with n columns: an odd multiple of 8, >= n + 8.

    With a large power of two, the rows of a column of tiles would map to few cache sets.
    """
    tiles = (n + TILE - 1) // TILE
    return TILE * (tiles + 1 + tiles % 2)


@device
def set_products_row(A, m, n, i, U):
    """Set U[i:i+8, i:n] = (A'A)[i:i+8, i:n], for the first m rows of A."""
    set_tiles(U, i, A, A, m, i, i, n)


@device
def add_products_row(A, m, n, i, U):
    """Add (A'A)[i:i+8, i:n] to U[i:i+8, i:n], for the first m rows of A."""
    add_tiles(U, i, A, A, m, i, i, n)


@device
def add_products(A, m, n, U):
    """Add A'A to the upper triangle of U, for the first m rows and n columns of A."""
    for i in range(0, n, TILE):
        add_products_row(A, m, n, i, U)


@device
def symmetric_norm(U, n):
    """Return the Frobenius norm of the symmetric matrix U[:n, :n]."""
    total = 0.0
    for i in range(0, n, TILE):
        total += square_sum(U, i, i, i + TILE) + 2.0 * square_sum(U, i, i + TILE, n)
    return np.sqrt(total)


@device
def cholesky(U, inverse, n, n_columns, smallest):
    """Replace the upper triangle of U[:n, :n] by R with R'R = U.

    Sets ``inverse`` to 1 / diag(R), the elements below the diagonal of each tile on the diagonal to
    the inverse of the transposed tile, and U[:n, n:n_columns] to R'^-1 U[:n, n:n_columns]. Returns
    False if a pivot is <= smallest. Left-looking (Golub & Van Loan, section 4.2.6).
    """
    for i in range(0, n, TILE):
        if i > 0:
            subtract_tiles(U, i, U, U, i, i, i, n_columns)
        if not factor_tile(U, inverse, i) > smallest:
            return False
        solve_tiles(U, inverse, i, i + TILE, n_columns)
    return True


@device
def solve_upper(R, inverse, n, x):
    """Replace x[:n] by R^-1 x, with R and ``inverse`` from `cholesky`."""
    for i in range(n - TILE, -1, -TILE):
        solve_back(R, inverse, i, n, x)


@device
def solve_transposed(R, inverse, n, x):
    """Replace x[:n] by R'^-1 x, with R and ``inverse`` from `cholesky`."""
    for i in range(0, n, TILE):
        solve_forward(R, inverse, i, n, x)
