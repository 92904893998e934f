"""Initial factors of a run: random ones, or the leading singular vectors of the data."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold._kernels.threads import check_n_threads, with_one_blas_thread
from twofold.objective import Problem
from twofold.objective.evaluation import (
    gramian,
    multiplied,
    product_sums,
    sketched_product,
    sparse_product,
)
from twofold.objective.point import padded_factors
from twofold.objective.side import Side
from twofold.solvers.state import random_stream

__all__ = ["random_factors", "spectral_factors"]

Array = NDArray[Any]
Factors = tuple[Array, Array]
_OVERSAMPLING = 8
_NOISE = 1e-3  # size of the factors beyond the rank of the data, relative to the others


def random_factors(problem: Problem, n_factors: int, scale: float, seed: int) -> Factors:
    """Return normally distributed factors with standard deviation scale / sqrt(n_factors)."""
    generator, width = random_stream(seed, 0), np.float32(scale / math.sqrt(n_factors))
    P, Q = (empty_aligned((n, n_factors), np.float32) for n in problem.shape)
    for factors in (P, Q):
        generator.standard_normal(dtype=np.float32, out=factors)
        factors *= width
    return P, Q


def spectral_factors(
    problem: Problem, n_factors: int, seed: int, n_threads: int | None = None
) -> Factors | None:
    """Return factors from a truncated singular value decomposition of the data.

    With B the sparse matrix of the entries w r (or w (r - mu) with biases), and D_row and D_col the
    diagonal matrices of the sums n_u and n_i of the weights,

        D_row^-1/4 B D_col^-1/4  ~  U S V',
        P = c^1/2 D_row^1/4 U S^1/2,   Q = c^1/2 D_col^1/4 V S^1/2,

    where c minimises the squared loss and the unobserved term of F along P Q'. Dividing by the
    fourth roots prevents that the leading vectors are those of the longest rows and columns only.
    U, S and V are computed by a randomised range finder with two power iterations (Halko,
    Martinsson & Tropp 2011, section 4.5) in float32. It starts with a sparse random matrix, which
    has one element other than 0 in a row, a random sign (Clarkson & Woodruff 2013, arXiv 1207.6365,
    section 1.2), and makes the vectors of the shorter side orthonormal, by Gramians in float64.
    Singular values below about 1e-3 of the largest one count as 0. If fewer than ``n_factors`` are
    left, the other columns are small random numbers.

    Parameters
    ----------
    problem : Problem
        The objective and the data.
    n_factors : int
        Number of columns of the factors.
    seed : int
        Of the random numbers.
    n_threads : int, optional
        Default: all. The result is bitwise independent of it.

    Returns
    -------
    tuple of ndarray of float32, shape (n_rows, n_factors) and (n_cols, n_factors), or None
        None if B has no entry other than 0, or the factors are beyond the range of float32.
    """
    threads = check_n_threads(n_threads)
    sides = [problem.rows, problem.cols]
    if problem.mean:
        sides = [
            side.with_targets(
                (side.entries.targets if side.entries.targets.size else np.ones(problem.n_entries))
                - problem.mean
            )
            for side in sides
        ]
    largest = _largest_entry(sides[0])
    with np.errstate(over="ignore"):
        unit = np.float64(1.0) / largest if largest else np.inf
    if not unit < np.inf:
        return None
    roots = [_fourth_root(side.summed_weights) for side in sides]
    inverse = [np.sqrt(unit) / root for root in roots]

    def product(axis: int, X: Array) -> Array:
        """Return D^-1/4 B D^-1/4 X for axis 0, or the product with its transpose for axis 1."""
        return sparse_product(sides[axis], (inverse[axis], inverse[1 - axis]), X, threads)

    def sketch(axis: int, generator: np.random.Generator, width: int) -> Array:
        """Return the product with a sparse random matrix of ``width`` columns."""
        filled = np.flatnonzero(sides[1 - axis].counts)
        # As evenly as possible, so that up to ``width`` vectors have a column of their own.
        buckets = np.zeros(sides[1 - axis].n, np.int32)
        buckets[filled] = generator.permutation(filled.size) % width
        signs = np.where(generator.random(buckets.size, np.float32) < 0.5, -1.0, 1.0)
        scales = (inverse[axis], inverse[1 - axis] * signs)
        return sketched_product(sides[axis], scales, buckets, width, threads)

    def gram(axis: int, X: Array) -> Array:
        """Return X'X for vectors of the rows, axis 0, or of the columns, axis 1."""
        return gramian(X, threads, sides[axis].multiplicity)

    generator = random_stream(seed, 3)
    with np.errstate(all="ignore"):  # An overflow is detected at the end.
        found = _decomposition(product, sketch, gram, problem.shape, n_factors, generator, threads)
        if found is None:
            return None
        P, Q = found
        for factors, root in zip((P, Q), roots, strict=True):
            factors *= root[:, np.newaxis].astype(np.float32)
        scale = _scale(problem, sides[0], P, Q, threads)
        if not 0.0 < scale < np.inf:
            return None
        # The roots are relative to the largest ones.
        row_top, col_top = (side.summed_weights.max() for side in sides)
        ratio = (row_top / col_top) ** 0.25
        P *= np.float32(np.sqrt(scale * ratio))
        Q *= np.float32(np.sqrt(scale / ratio))
        valid = [np.isfinite(factors.sum()) and factors.any() for factors in (P, Q)]
    return (P, Q) if all(valid) else None


def _decomposition(
    product: Callable[[int, Array], Array],
    sketch: Callable[[int, np.random.Generator, int], Array],
    gram: Callable[[int, Array], Array],
    shape: tuple[int, int],
    n_factors: int,
    generator: np.random.Generator,
    threads: int,
) -> Factors | None:
    """Return U S^1/2 and V S^1/2 of a matrix M, with small random columns up to ``n_factors``.

    ``product(0, X)`` is M X, and ``product(1, X)`` is M' X; ``sketch`` returns the same for random
    vectors X, and ``gram(axis, X)`` is X'X. The result is None if M is 0.
    """
    n_rows, n_cols = shape
    width = n_factors + _OVERSAMPLING + -n_factors % 8
    short = int(n_rows > n_cols)  # the side with fewer vectors, which are made orthonormal
    X = np.empty(0)
    for axis in (1, 0, 1) if short == 0 else (0, 1, 0, 1):
        X = product(axis, X) if X.size else sketch(axis, generator, width)
        if axis == short:
            whitening = _whitening(gram(axis, X))
            if not whitening.size:
                return None
            X = _times(X, whitening, threads)
    rows = product(0, X)
    cols = product(1, rows)
    # With rows W orthonormal, cols W = V S: the Gramians yield W and the rotation to V.
    whitening = _whitening(gram(0, rows))
    if not whitening.size:
        return None
    squares, turned = with_one_blas_thread(_turned, whitening, gram(1, cols))
    if not squares[0] > 0.0:
        return None
    k = min(n_factors, int(np.count_nonzero(squares > 1e-10 * squares[0])))
    singular, turned = np.sqrt(squares[:k]), turned[:, :k]
    del X
    P = _times(rows, turned * np.sqrt(singular), threads)
    Q = _times(cols, turned / np.sqrt(singular), threads)
    return _widened(P, k, n_factors, generator), _widened(Q, k, n_factors, generator)


def _largest_entry(side: Side) -> float:
    """Return the largest |w r|, by which B is divided to be in the range of float32."""
    targets, weights = side.entries.targets, side.entries.weights
    with np.errstate(over="ignore"):
        products = targets * weights if targets.size and weights.size else targets
    if not targets.size:
        products = weights if weights.size else np.ones(min(side.entries.indices.size, 1))
    return float(np.abs(products).max(initial=0.0))


def _fourth_root(summed_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return n_u^1/4 relative to the largest one, at least 1e-5, and 1 for rows without entries."""
    largest = summed_weights.max(initial=0.0) or 1.0
    positive = np.where(summed_weights > 0.0, summed_weights, largest)
    return np.asarray(np.maximum(positive / largest, 1e-20) ** 0.25)


def _turned(T: Array, G: Array) -> tuple[Array, Array]:
    """Return the eigenvalues of T' G T in descending order, and T times the eigenvectors.

    The eigenvalues are nan if the product is not finite.
    """
    projected = T.T @ G @ T
    if not np.isfinite(projected).all():
        return np.full(len(projected), np.nan), T
    eigenvalues, vectors = np.linalg.eigh(projected)
    return eigenvalues[::-1], T @ vectors[:, ::-1]


def _whitening(G: Array) -> Array:
    """Return T such that X T is orthonormal for X with the Gramian G, without null directions."""
    if not np.isfinite(G).all():
        return np.empty((0, 0))
    squares, vectors = with_one_blas_thread(np.linalg.eigh, G)
    kept = np.flatnonzero(squares > 1e-12 * squares[-1])[::-1]
    return np.asarray(vectors[:, kept] / np.sqrt(squares[kept]))


def _times(X: Array, T: Array, threads: int) -> Array:
    """Return X T in float32, padded to a multiple of 8 columns."""
    padded = np.zeros((X.shape[1], T.shape[1] + -T.shape[1] % 8))
    padded[:, : T.shape[1]] = T
    out = empty_aligned((X.shape[0], padded.shape[1]), np.float32)
    multiplied(X, aligned_copy(padded, np.float32), out, threads)
    return out


def _widened(factors: Array, k: int, n_factors: int, generator: np.random.Generator) -> Array:
    """Return the first k columns, and small random ones up to ``n_factors``."""
    if k == n_factors:
        return factors if factors.shape[1] == k else aligned_copy(factors[:, :k], factors.dtype)
    kept = factors[:, :k]
    noise = generator.standard_normal((len(factors), n_factors - k), dtype=np.float32)
    size = np.sqrt(np.mean(kept * kept, dtype=np.float64))
    return np.hstack([kept, noise * np.float32(_NOISE * size)])


def _scale(problem: Problem, rows: Side, P: Array, Q: Array, threads: int) -> float:
    """Return the c that minimises the squared loss and the unobserved term along c P Q'."""
    P, Q = padded_factors(P), padded_factors(Q)
    explained, squares, excluded, excluded_squares = product_sums(rows, P, Q, threads)
    a0, mean = problem.objective.unobserved_weight, problem.mean
    if a0:  # The predictions of cells in U are mu + c x.
        explained -= a0 * mean * float(np.sum(P.sum(axis=0) * Q.sum(axis=0), dtype=np.float64))
        grams = [
            gramian(factors, threads, side.multiplicity)
            for factors, side in ((P, rows), (Q, problem.cols))
        ]
        squares += a0 * float(np.sum(grams[0] * grams[1]))
    explained += mean * excluded
    squares -= excluded_squares
    return explained / squares if squares > 0.0 else 0.0
