"""Cholesky factor of one matrix and its inverse."""

from twofold._kernels.dense import cholesky
from twofold._kernels.jit import kernel


@kernel
def factor_and_invert(counter, n_tasks, U, inverse, n, is_definite):
    """Replace U[:n, :n] by R with R'R = U[:n, :n], and the identity in U[:n, n:2n] by R'^-1.

    Of R only the tiles on and above the diagonal are valid. ``is_definite[0]`` is set to whether
    all pivots are positive; otherwise the rest is not valid. The counter is ignored.
    """
    is_definite[0] = cholesky(U, inverse, n, 2 * n, 0.0)
