"""Coordinates of the factors in which the Gramian of the columns is diagonal."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.threads import run, with_one_blas_thread
from twofold._kernels.triangle import factor_and_invert
from twofold._kernels.vectors.matrix import TILE

__all__ = ["Coordinates", "cholesky", "coordinates"]

Matrix = NDArray[np.float64]

# Bound of the condition number of G + mu I for its Cholesky factorisation. The relative error of
# row factors is up to its root times that of their part of the objective.
_MAX_CONDITION = 256.0


class Coordinates(NamedTuple):
    """A matrix V with V' (G + mu I) V = S + mu I, where S is diagonal.

    Row factors p are V p^ in these coordinates, and columns q are V' q.
    """

    spectrum: Matrix
    """S, shape (k,)."""
    vectors: Matrix
    """V, shape (k, k)."""
    inverse: Matrix
    """V^-1', shape (k, k): row factors P are P V^-1' in the coordinates."""


def coordinates(gram: Matrix, ridge: float | None = None) -> Coordinates:
    """Return coordinates for a Gramian G.

    The eigendecomposition G = V S V' is right for any ridge mu. For a single one, the Cholesky
    factorisation G + mu I = L L' gives V = (2 mu)^1/2 L^-T and S = mu I in less time.

    Parameters
    ----------
    gram : ndarray of float64, shape (k, k)
        G, symmetric and positive semidefinite.
    ridge : float, optional
        The ridge mu of all rows, if it is the same. It is used if the condition number of G + mu I
        is moderate.

    Returns
    -------
    Coordinates
    """
    if ridge and _is_well_conditioned(gram, ridge):
        return _of_triangle(gram, ridge)
    eigenvalues, vectors = with_one_blas_thread(np.linalg.eigh, gram)
    return Coordinates(np.maximum(eigenvalues, 0.0), vectors, vectors)


def _is_well_conditioned(gram: Matrix, ridge: float) -> bool:
    """Return whether (|G|_F + mu) / mu, a bound of the condition number, is small enough."""
    limit = _MAX_CONDITION - 1.0
    # Without the first comparison, the squares might overflow. np.linalg.norm calls BLAS, which
    # wakes its threads for a few thousand elements.
    return bool(gram.max() < limit * ridge and np.square(gram / ridge).sum() < limit**2)


def _of_triangle(gram: Matrix, ridge: float) -> Coordinates:
    k, root = len(gram), np.sqrt(2.0 * ridge)
    L, inverse = cholesky(gram + ridge * np.identity(k))
    return Coordinates(np.full(k, ridge), root * inverse.T, L / root)


def cholesky(A: Matrix) -> tuple[Matrix, Matrix]:
    """Return L with L L' = A, and L^-1, for a symmetric matrix; nan if it is not definite.

    LAPACK takes longer, because it must be called in another thread.
    """
    k = len(A)
    width = k + -k % TILE
    U, is_definite = np.zeros((width, 2 * width + TILE)), np.zeros(1, np.bool_)
    U[:, :width] = U[:, width:-TILE] = np.identity(width)
    U[:k, :k] = A
    run(factor_and_invert, 1, 1, U, np.empty(width), width, is_definite)
    if not is_definite[0]:
        U[...] = np.nan
    return np.triu(U[:k, :k]).T, U[:k, width : width + k]
