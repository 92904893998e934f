"""`Point`: both factors in the layout of the kernels, and the objective there."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold._kernels.aligned import LINE, address, empty_aligned

__all__ = ["ObjectiveValue", "Point", "padded_factors"]


@dataclass(frozen=True)
class ObjectiveValue:
    """The three sums of the objective, in float64, and their total."""

    loss: float
    """Sum over stored entries of w l(r, p.q)."""
    unobserved: float
    """a0 times the sum of (p.q)^2 over all cells, or over the cells that are not stored."""
    penalty: float
    """lam times the sum of s_u phi over both sides."""

    @property
    def total(self) -> float:
        """Return loss + unobserved + penalty."""
        return self.loss + self.unobserved + self.penalty


@dataclass(frozen=True, eq=False)
class Point:
    """A pair of factors (P, Q).

    Parameters
    ----------
    rows, cols : ndarray, shape (n_rows, width) and (n_cols, width)
        P and Q with columns of zeros up to a multiple of 8, as the kernels take them.
    n_factors : int
        k.
    value : ObjectiveValue, optional
        The objective there, where it is known.
    """

    rows: NDArray[Any]
    cols: NDArray[Any]
    n_factors: int
    value: ObjectiveValue | None = None

    @classmethod
    def of(cls, P: NDArray[Any], Q: NDArray[Any], value: ObjectiveValue | None = None) -> Self:
        """Make a point of factors of shape (n, k); arrays that fit are not copied."""
        return cls(padded_factors(P), padded_factors(Q), P.shape[1], value)

    @cached_property
    def row_factors(self) -> NDArray[Any]:
        """P, shape (n_rows, k)."""
        return np.ascontiguousarray(self.rows[:, : self.n_factors])

    @cached_property
    def col_factors(self) -> NDArray[Any]:
        """Q, shape (n_cols, k)."""
        return np.ascontiguousarray(self.cols[:, : self.n_factors])

    def with_zeros(self, rows: NDArray[np.bool_], cols: NDArray[np.bool_]) -> Self:
        """Return the point with some rows and columns set to zero."""
        factors = []
        for own, mask in ((self.rows, rows), (self.cols, cols)):
            copy = own
            if mask.any():
                copy = empty_aligned(own.shape, own.dtype)
                copy[...] = own
                copy[mask] = 0.0
            factors.append(copy)
        return replace(self, rows=factors[0], cols=factors[1], value=None)

    def with_value(self, value: ObjectiveValue) -> Self:
        """Return the point with its objective."""
        return replace(self, value=value)


def padded_factors(factors: NDArray[Any]) -> NDArray[Any]:
    """Return factors with columns of zeros up to a multiple of 8, aligned to cache lines.

    They are copied only if they are not so already.
    """
    n, k = factors.shape
    fits = k % 8 == 0 and factors.flags.c_contiguous and factors.flags.writeable
    if fits and address(factors) % LINE == 0 and factors.size:
        return factors
    copy = empty_aligned((n, max(k + -k % 8, 8)), factors.dtype)
    copy[:, :k], copy[:, k:] = factors, 0.0
    return copy
