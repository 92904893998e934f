"""Acceleration of alternating steps: extrapolation with restarts, and balanced factors."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.threads import with_one_blas_thread
from twofold.objective.biases import Axis
from twofold.solvers.coordinates import cholesky
from twofold.solvers.operations import AXES, Operations

__all__ = ["Extrapolation", "balanced"]

Array = NDArray[Any]
Factors = Any  # of one side: see `Operations`
_CALM = 0.1  # relative decrease of an epoch, above which the next one is not extrapolated
_LEAST_SCALE = 1e-9  # of a transform, so that the factors stay in the range of their dtype
_NULL = 1e-5  # ridge of the Gramians of `balanced`, relative to the mean of their eigenvalues


@dataclass(frozen=True)
class Extrapolation:
    """Memory of Nesterov's extrapolation with restarts, for the factors of the columns.

    An epoch starts from Y = Q + beta (Q - Q_previous) with beta = (t - 1) / t', where
    t' = (1 + (1 + 4 t^2)^1/2) / 2 is the next t. After it, t is 1 again, so that the next epoch is
    a plain one, if the step went against the direction, <Y - Q_new, Q_new - Q> > 0, or if the
    objective still decreases by more than a tenth of itself in an epoch.

    Parameters
    ----------
    previous : factors, shape (n_cols, width)
        The columns before the last epoch.
    t : float
        The sequence t. It starts at 0, which makes two plain epochs.

    References
    ----------
    Mitchell, Ye and De Sterck, "Nesterov acceleration of alternating least squares for canonical
    tensor decomposition", 2020, arXiv 1810.05846, algorithm 2 with gradient restarts.
    """

    previous: Factors
    t: float = 0.0

    @property
    def momentum(self) -> float:
        """Beta, >= 0."""
        return max((self.t - 1.0) / _next(self.t), 0.0)

    def extrapolated(self, operations: Operations, cols: Factors) -> Factors:
        """Return Y, which is ``cols`` itself without momentum."""
        if not self.momentum:
            return cols
        return operations.extrapolated(cols, self.previous, self.momentum)

    def turning_sums(
        self, operations: Operations, start: Factors, cols: Factors, new: Factors
    ) -> Any:
        """Return the parts of <Y - Q_new, Q_new - Q>, or None without momentum.

        Parameters
        ----------
        operations : Operations
            Those of the problem.
        start : factors, shape (n_cols, width)
            Y.
        cols, new : factors, shape (n_cols, width)
            Q before and after the epoch.
        """
        next_momentum = replace(self, t=_next(self.t)).momentum
        operations.expect(new, cols if self.momentum else start, next_momentum)
        if not self.momentum:
            return None
        return operations.needed_later(operations.turning_sums(start, cols, new))

    def advanced(
        self, operations: Operations, turning: Any, cols: Factors, decrease: float
    ) -> Self:
        """Return the memory after an epoch.

        Parameters
        ----------
        operations : Operations
            Those of the problem.
        turning
            The `turning_sums` of the epoch.
        cols : factors, shape (n_cols, width)
            Q before the epoch.
        decrease : float
            Decrease of the objective, relative to its value.
        """
        t = _next(self.t)
        if decrease > _CALM or (self.momentum and operations.sum_of(turning) > 0.0):
            t = 1.0
        return replace(self, previous=cols, t=t)


def _next(t: float) -> float:
    return 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * t * t)))


def balanced(
    operations: Operations, P: Factors, Q: Factors, n_factors: int
) -> tuple[Factors, Factors]:
    """Return factors with the same product and the least L2 penalty.

    For any invertible T, P T^-1' and Q T have the product P Q'. Their penalty is least if their
    weighted Gramians are equal, which holds for T T' = G with

        G = C^-1/2 (C^1/2 A C^1/2)^1/2 C^-1/2,   A = P' S_row P,   C = Q' S_col Q,

    the geometric mean of C^-1 and A (Bhatia 2007, "Positive Definite Matrices", section 4.1), where
    S contains lam s_u. T is the Cholesky factor of G. At a minimum of F the Gramians are equal.
    Alternating steps approach this slowly, since each of them changes one factor only. Biases are
    not changed.

    Parameters
    ----------
    operations : Operations
        Those of a problem with the regulariser L2.
    P, Q : factors, shape (n_rows, width) and (n_cols, width)
        Padded.
    n_factors : int
        Number of columns without those of the biases.

    Returns
    -------
    tuple of factors
        New ones, or P and Q themselves without a penalty.
    """
    factors: dict[Axis, Factors] = {"row": P, "col": Q}
    matrices = partial(_matrices, n_factors=n_factors, dtype=P.dtype)
    turned = operations.transformed(factors, matrices)
    return turned["row"], turned["col"]


def _matrices(A: Array, C: Array, n_factors: int, dtype: Any) -> dict[Axis, Array] | None:
    """Return the `_transforms` for padded factors with biases, whose Gramians are A and C."""
    k = n_factors
    transforms = _transforms(A[:k, :k], C[:k, :k])
    if transforms is None:
        return None
    whole = {axis: np.identity(len(A), dtype) for axis in AXES}
    for axis, transform in zip(AXES, transforms, strict=True):
        whole[axis][:k, :k] = transform
    return whole


def _transforms(A: Array, C: Array) -> tuple[Array, Array] | None:
    """Return T^-1' and T, or None if a Gramian is 0 or not finite, or their sizes too different."""
    k = len(A)
    sizes = np.trace(A) / k, np.trace(C) / k
    if not all(np.finfo(np.float64).tiny < size < np.inf for size in sizes):
        return None
    scale = np.exp(0.25 * (np.log(sizes[0]) - np.log(sizes[1])))
    if not _LEAST_SCALE < scale < 1.0 / _LEAST_SCALE:
        return None
    A, C = (gram / size + _NULL * np.identity(k) for gram, size in zip((A, C), sizes, strict=True))
    # With C = L L', G is also L^-T (L' A L)^1/2 L^-1, which saves two eigendecompositions.
    L, inverse = cholesky(C)
    T, inverse = cholesky(with_one_blas_thread(_geometric_mean, A, L, inverse))
    return inverse.T / scale, T * scale


def _geometric_mean(A: Array, L: Array, inverse: Array) -> Array:
    """Return L^-T (L' A L)^1/2 L^-1."""
    eigenvalues, vectors = np.linalg.eigh(L.T @ A @ L)
    positive = np.maximum(eigenvalues, 1e-13 * eigenvalues[-1])
    half = inverse.T @ (vectors * positive**0.25)
    return np.asarray(half @ half.T)
