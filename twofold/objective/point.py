"""`Point`: both factors in the layout of the kernels, with the value of the objective."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._common.arrays import FactorArray
from twofold._common.cached import cached_property
from twofold._kernels.aligned import LINE, address, aligned_copy, empty_aligned

__all__ = ["ObjectiveValue", "Point", "is_finite", "padded_factors"]


@dataclass(frozen=True)
class ObjectiveValue:
    """The three terms of the objective, in float64, and their sum.

    Attributes
    ----------
    loss : float
        Sum of w l(r, p.q) over the stored entries.
    unobserved : float
        a0 times the sum of (p.q)^2 over all cells, or over the cells that are not stored.
    penalty : float
        lam times the sum of s_u phi over the rows and columns.

    Examples
    --------
    >>> ObjectiveValue(loss=1.0, unobserved=0.5, penalty=0.25).total
    1.75
    """

    loss: float
    unobserved: float
    penalty: float

    @property
    def total(self) -> float:
        """Return loss + unobserved + penalty."""
        return self.loss + self.unobserved + self.penalty

    @property
    def terms(self) -> NDArray[np.float64]:
        """Loss, unobserved and penalty as an array of shape (3,)."""
        return np.array([self.loss, self.unobserved, self.penalty])


@dataclass(frozen=True, eq=False)
class Point:
    """A pair of factors (P, Q).

    Parameters
    ----------
    rows, cols : ndarray, shape (n_rows, width) and (n_cols, width)
        P and Q, padded with zeros to a multiple of 8 columns.
    n_factors : int
        The rank k.
    value : ObjectiveValue, optional
        The value of the objective, if it was evaluated.
    gramians : tuple of two ndarray or None
        P'P and Q'Q in float64, shape (width, width), as far as they are known.
    rounded : ObjectiveValue, optional
        The value with rounding errors of the dtype of the factors, with which a solver continues.
        ``value`` is the same object until it is evaluated.

    Examples
    --------
    >>> point = Point.of(np.ones((3, 2)), np.ones((4, 2)))
    >>> point.rows.shape, point.row_factors.shape
    ((3, 8), (3, 2))
    """

    rows: NDArray[Any]
    cols: NDArray[Any]
    n_factors: int
    value: ObjectiveValue | None = None
    gramians: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None] = (None, None)
    rounded: ObjectiveValue | None = None

    @classmethod
    def of(cls, P: NDArray[Any], Q: NDArray[Any], value: ObjectiveValue | None = None) -> Self:
        """Create a point from factors.

        Parameters
        ----------
        P, Q : ndarray, shape (n_rows, k) and (n_cols, k)
            Factors; padded, aligned arrays are not copied.
        value : ObjectiveValue, optional
            The value of the objective at the point.

        Returns
        -------
        Point
        """
        return cls(padded_factors(P), padded_factors(Q), P.shape[1], value)

    @cached_property
    def row_factors(self) -> FactorArray:
        """P, shape (n_rows, k)."""
        return _unpadded(self.rows, self.n_factors)

    @cached_property
    def col_factors(self) -> FactorArray:
        """Q, shape (n_cols, k)."""
        return _unpadded(self.cols, self.n_factors)


def _unpadded(factors: NDArray[Any], k: int) -> NDArray[Any]:
    return factors if factors.shape[1] == k else aligned_copy(factors[:, :k], factors.dtype)


def is_finite(factors: NDArray[Any]) -> bool:
    """Return whether all elements are finite."""
    with np.errstate(all="ignore"):
        # A finite sum implies finite terms, and takes less time and memory than np.isfinite.
        return bool(np.isfinite(factors.sum()) or np.isfinite(factors).all())


def padded_factors(factors: NDArray[Any]) -> NDArray[Any]:
    """Return factors padded with zeros to a multiple of 8 columns and aligned to cache lines.

    They are copied only if necessary.
    """
    n, k = factors.shape
    is_padded = k % 8 == 0 and factors.flags.c_contiguous and factors.flags.writeable
    if is_padded and address(factors) % LINE == 0 and factors.size:
        return factors
    copy = empty_aligned((n, max(k + -k % 8, 8)), factors.dtype)
    copy[:, :k], copy[:, k:] = factors, 0.0
    return copy
