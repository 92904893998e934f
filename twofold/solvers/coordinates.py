"""Coordinates of the factors in which the Gramian of the columns is diagonal."""

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

__all__ = ["Coordinates", "coordinates"]

Matrix = NDArray[np.float64]

# In the coordinates of a Cholesky factorisation, rounding errors of a row may be multiplied by the
# root of the condition number of G + mu I. This bound of it keeps them below the errors of a row.
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
    factorisation G + mu I = L L' gives V = (2 mu)^1/2 L^-T and S = mu I in a tenth of the time.

    Parameters
    ----------
    gram : ndarray of float64, shape (k, k)
        G, symmetric and positive semidefinite.
    ridge : float, optional
        The ridge mu of all rows; None if they have different ones. It is used unless the condition
        number of G + mu I may be large.

    Returns
    -------
    Coordinates
    """
    if ridge and _is_well_conditioned(gram, ridge):
        return _of_triangle(gram, ridge)
    eigenvalues, vectors = np.linalg.eigh(gram)
    return Coordinates(np.maximum(eigenvalues, 0.0), vectors, vectors)


def _is_well_conditioned(gram: Matrix, ridge: float) -> bool:
    """Return whether (|G|_F + mu) / mu, a bound of the condition number, is small enough."""
    limit = _MAX_CONDITION - 1.0
    # Without the first comparison, the norm might overflow.
    return bool(gram.max() < limit * ridge and np.linalg.norm(gram / ridge) < limit)


def _of_triangle(gram: Matrix, ridge: float) -> Coordinates:
    k, root = len(gram), np.sqrt(2.0 * ridge)
    L = np.linalg.cholesky(gram + ridge * np.identity(k))
    inverse: Any = scipy.linalg.solve_triangular(
        L, root * np.identity(k), lower=True, check_finite=False
    )
    return Coordinates(np.full(k, ridge), np.ascontiguousarray(inverse.T), L / root)
