"""The triangle R with R'R = a0 Q'Q, from QR factorisations, for ill-conditioned rows."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from twofold._kernels.threads import with_one_blas_thread

__all__ = ["MissingTriangleError", "missing_triangle", "scaled_columns", "stacked_triangle"]

Array = NDArray[Any]


class MissingTriangleError(Exception):
    """A row is ill-conditioned, and a system of some columns lacks the triangle of all."""


def missing_triangle() -> NDArray[np.float64]:
    """Raise MissingTriangleError; the ``triangle`` of a system of some columns."""
    raise MissingTriangleError


def scaled_columns(
    factors: Array, a0: float, multiplicity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return columns in float64 whose Gramian is a0 times that of ``factors``."""
    weight = multiplicity[:, np.newaxis] if multiplicity.size else 1.0
    return np.asarray(np.sqrt(a0 * weight) * factors.astype(np.float64))


def stacked_triangle(parts: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return R of the QR factorisation of parts with k columns below each other, shape (k, k)."""
    triangle: Any = None
    for part in parts:
        k = part.shape[1]
        R = with_one_blas_thread(
            _qr_triangle, part if triangle is None else np.vstack([triangle, part])
        )
        triangle = np.zeros((k, k))
        triangle[: R.shape[0]] = R
    return np.asarray(triangle)


def _qr_triangle(Q: NDArray[np.float64]) -> NDArray[np.float64]:
    (R,) = scipy.linalg.qr(Q, mode="r", overwrite_a=True, check_finite=False)
    return np.asarray(R[: Q.shape[1]])
