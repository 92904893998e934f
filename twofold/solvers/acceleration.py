"""Acceleration of alternating steps: extrapolation with restarts, and balanced factors."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import products
from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold._kernels.threads import run, useful_threads, with_one_blas_thread
from twofold.objective import Problem
from twofold.objective.evaluation import gramian, multiplied

__all__ = ["Extrapolation", "balanced"]

Array = NDArray[Any]
_NO_MULTIPLICITY = np.empty(0)
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
    previous : ndarray, shape (n_cols, width)
        The columns before the last epoch.
    t : float
        The sequence t. It starts at 0, which makes two plain epochs.

    References
    ----------
    Mitchell, Ye and De Sterck, "Nesterov acceleration of alternating least squares for canonical
    tensor decomposition", 2020, arXiv 1810.05846, algorithm 2 with gradient restarts.
    """

    previous: Array
    t: float = 0.0

    @property
    def momentum(self) -> float:
        """Beta, >= 0."""
        return max((self.t - 1.0) / _next(self.t), 0.0)

    def extrapolated(self, cols: Array, threads: int) -> Array:
        """Return Y, which is ``cols`` itself without momentum."""
        if not self.momentum:
            return cols
        out = empty_aligned(cols.shape, cols.dtype)
        beta = cols.dtype.type(self.momentum)
        threads = useful_threads(cols.size, threads)
        run(products.extrapolate, _n_tasks(cols), threads, cols, self.previous, beta, out)
        return out

    def advanced(
        self,
        start: Array,
        cols: Array,
        new: Array,
        decrease: float,
        threads: int,
        multiplicity: Array = _NO_MULTIPLICITY,
    ) -> Self:
        """Return the memory after an epoch from ``start`` to ``new``.

        Parameters
        ----------
        start : ndarray, shape (n_cols, width)
            Y.
        cols, new : ndarray, shape (n_cols, width)
            Q before and after the epoch.
        decrease : float
            Decrease of the objective, relative to its value.
        threads : int
            The result is bitwise independent of it.
        multiplicity : ndarray, shape (n_cols,), optional
            That of the columns, by which they are weighted in the product above.
        """
        t, factors = _next(self.t), (start, cols, new)
        if decrease > _CALM or (self.momentum and _turning(*factors, multiplicity, threads) > 0.0):
            t = 1.0
        return replace(self, previous=cols, t=t)


def _next(t: float) -> float:
    return 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * t * t)))


def _n_tasks(factors: Array) -> int:
    return -(-len(factors) // products.PRODUCT_ROWS)


def _turning(start: Array, cols: Array, new: Array, multiplicity: Array, threads: int) -> float:
    """Return <Y - Q_new, Q_new - Q>."""
    sums, threads = np.zeros(_n_tasks(new)), useful_threads(new.size, threads)
    run(products.turning, sums.size, threads, start, cols, new, multiplicity, sums)
    return float(np.sum(sums))


def balanced(
    problem: Problem, P: Array, Q: Array, n_factors: int, threads: int
) -> tuple[Array, Array]:
    """Return factors with the same product and the least L2 penalty.

    For any invertible T, P T^-1' and Q T have the product P Q'. Their penalty is least if their
    weighted Gramians are equal, which holds for T T' = G with

        G = C^-1/2 (C^1/2 A C^1/2)^1/2 C^-1/2,   A = P' S_row P,   C = Q' S_col Q,

    the geometric mean of C^-1 and A (Bhatia 2007, "Positive Definite Matrices", section 4.1), where
    S contains lam s_u. At a minimum of F they are equal. Alternating steps approach this slowly,
    since each of them changes one factor only. Biases are not changed.

    Parameters
    ----------
    problem : Problem
        With the regulariser L2.
    P, Q : ndarray, shape (n_rows, width) and (n_cols, width)
        Padded factors.
    n_factors : int
        Number of columns without those of the biases.
    threads : int
        The result is bitwise independent of it.

    Returns
    -------
    tuple of ndarray
        New arrays, or P and Q themselves without a penalty.
    """
    k = n_factors
    grams = [
        gramian(factors, threads, margin.penalty_weights)
        for factors, margin in ((P, problem.rows), (Q, problem.col_margin))
    ]
    transforms = with_one_blas_thread(_transforms, *(gram[:k, :k] for gram in grams))
    if transforms is None:
        return P, Q
    turned = []
    for factors, transform in zip((P, Q), transforms, strict=True):
        whole = np.identity(factors.shape[1])
        whole[:k, :k] = transform
        out = empty_aligned(factors.shape, factors.dtype)
        multiplied(factors, aligned_copy(whole, factors.dtype), out, threads)
        turned.append(out)
    return turned[0], turned[1]


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
    root, inverse_root = _powers(C, 0.5, -0.5)
    G = inverse_root @ _powers(root @ A @ root, 0.5)[0] @ inverse_root
    T, inverse = _powers(G, 0.5, -0.5)
    return inverse / scale, T * scale


def _powers(A: Array, *exponents: float) -> list[Array]:
    """Return powers of a symmetric positive definite matrix."""
    eigenvalues, vectors = np.linalg.eigh(0.5 * (A + A.T))
    positive = np.maximum(eigenvalues, 1e-13 * eigenvalues[-1])
    return [np.asarray((vectors * positive**exponent) @ vectors.T) for exponent in exponents]
