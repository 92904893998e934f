"""Initial factors of a run: random ones, or the leading singular vectors of the data."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.aligned import empty_aligned
from twofold._kernels.threads import with_one_blas_thread
from twofold.objective import Problem
from twofold.objective.biases import Axis
from twofold.solvers import blocks
from twofold.solvers.coordinates import cholesky
from twofold.solvers.operations import AXES, Operations, other_axis
from twofold.solvers.state import random_stream

__all__ = ["random_factors", "spectral_factors"]

Array = NDArray[Any]
Factors = Any  # of one side: see `Operations`
_OVERSAMPLING = 8
_MAX_CONDITION = 1e10  # of a Gramian for a Cholesky factorisation
_NOISE = 1e-3  # size of the factors beyond the rank of the data, relative to the others


def random_factors(
    problem: Problem, n_factors: int, scale: float, seed: int
) -> tuple[Array, Array]:
    """Return normally distributed factors with standard deviation scale / sqrt(n_factors)."""
    generator, width = random_stream(seed, 0), np.float32(scale / math.sqrt(n_factors))
    P, Q = (empty_aligned((n, n_factors), np.float32) for n in problem.shape)
    for factors in (P, Q):
        generator.standard_normal(dtype=np.float32, out=factors)
        factors *= width
    return P, Q


def spectral_factors(
    operations: Operations, n_factors: int, seed: int
) -> tuple[Factors, Factors] | None:
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
    operations : Operations
        Those of the problem.
    n_factors : int
        Number of columns of the factors.
    seed : int
        Of the random numbers.

    Returns
    -------
    tuple of factors in float32, or None
        Padded P and Q, shape (n_rows, width) and (n_cols, width). None if B has no entry other than
        0, or the factors are beyond the range of float32.
    """
    matrix = _StartMatrix.of(operations)
    if matrix is None:
        return None
    generator = random_stream(seed, 3)
    with np.errstate(all="ignore"):  # An overflow is detected at the end.
        found = _decomposition(matrix, n_factors, generator)
        if found is None:
            return None
        sides = {
            axis: operations.each(blocks.rescaled, axis, part, top=matrix.tops[axis], number=1.0)
            for axis, part in zip(AXES, found, strict=True)
        }
        scale = _scale(matrix, sides)
        if not 0.0 < scale < np.inf:
            return None
        # The roots are relative to the largest ones.
        ratio = (matrix.tops["row"] / matrix.tops["col"]) ** 0.25
        numbers = {"row": np.sqrt(scale * ratio), "col": np.sqrt(scale / ratio)}
        for axis in AXES:
            sides[axis] = operations.each(
                blocks.rescaled, axis, sides[axis], top=0.0, number=numbers[axis]
            )
            checks = operations.gathered(blocks.is_usable, axis, sides[axis])
            if not all(finite for finite, _ in checks) or not any(some for _, some in checks):
                return None
    return sides["row"], sides["col"]


@dataclass(frozen=True, eq=False)
class _StartMatrix:
    """M = D_row^-1/4 B D_col^-1/4, by products with it."""

    operations: Operations
    tops: dict[Axis, float]
    """The largest sums of weights of rows and of columns."""
    sides: dict[Axis, Any]
    """`StartSide` of each block."""

    @classmethod
    def of(cls, operations: Operations) -> Self | None:
        """Return M, or None if B has no entry other than 0."""
        mean = operations.mean
        found = {axis: operations.gathered(blocks.largest, axis, mean=mean) for axis in AXES}
        entry = max(number for number, _ in found["row"])
        with np.errstate(over="ignore"):
            unit = np.float64(1.0) / entry if entry else np.inf
        if not unit < np.inf:
            return None
        tops = {axis: max(top for _, top in found[axis]) for axis in AXES}
        sides = {
            axis: operations.inlined(blocks.start_side, axis, mean=mean, unit=unit, tops=tops)
            for axis in AXES
        }
        return cls(operations, tops, sides)

    def product(self, axis: Axis, X: Factors) -> Factors:
        """Return M X for the rows, or M' X for the columns."""
        routed = self.operations.routed(axis, X)
        return self.operations.each(blocks.sparse_times, axis, self.sides[axis], routed)

    def sketch(self, axis: Axis, generator: np.random.Generator, width: int) -> Factors:
        """Return the product with a sparse random matrix of ``width`` columns."""
        other = other_axis(axis)
        has_entries = np.concatenate(self.operations.gathered(blocks.has_entries, other))
        filled = np.flatnonzero(has_entries)
        # As evenly as possible, so that up to ``width`` vectors have a column of their own.
        codes = np.ones((has_entries.size, 1), np.int32)
        codes[filled, 0] += generator.permutation(filled.size) % width
        codes[generator.random(codes.size, np.float32) < 0.5] *= -1
        routed = self.operations.routed(axis, self.operations.placed(other, codes.__getitem__))
        return self.operations.each(blocks.sketched, axis, self.sides[axis], routed, width=width)


def _decomposition(
    matrix: _StartMatrix, n_factors: int, generator: np.random.Generator
) -> tuple[Factors, Factors] | None:
    """Return U S^1/2 and V S^1/2 of M, with small random columns up to ``n_factors``.

    The result is None if M is 0.
    """
    operations = matrix.operations
    width = n_factors + _OVERSAMPLING + -n_factors % 8
    # The side with fewer vectors, which are made orthonormal.
    short: Axis = "col" if operations.sizes["row"] > operations.sizes["col"] else "row"
    turns: tuple[Axis, ...] = ("row", "col", "row", "col")
    X = None
    for axis in turns if short == "col" else turns[1:]:
        X = matrix.sketch(axis, generator, width) if X is None else matrix.product(axis, X)
        if axis == short:
            whitening = _whitening(operations.gramian(axis, X))
            if not whitening.size:
                return None
            X = _times(operations, axis, X, whitening)
    rows = matrix.product("row", X)
    cols = matrix.product("col", rows)
    # With rows W orthonormal, cols W = V S: the Gramians yield W and the rotation to V.
    whitening = _whitening(operations.gramian("row", rows))
    if not whitening.size:
        return None
    squares, turned = with_one_blas_thread(_turned, whitening, operations.gramian("col", cols))
    if not squares[0] > 0.0:
        return None
    k = min(n_factors, int(np.count_nonzero(squares > 1e-10 * squares[0])))
    singular, turned = np.sqrt(squares[:k]), turned[:, :k]
    del X
    P = _times(operations, "row", rows, turned * np.sqrt(singular))
    Q = _times(operations, "col", cols, turned / np.sqrt(singular))
    if k < n_factors:
        P, Q = (
            _widened(operations, axis, factors, k, n_factors, generator)
            for axis, factors in zip(AXES, (P, Q), strict=True)
        )
    return P, Q


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
    _, inverse = cholesky(G)
    # The condition number is at most the squared norm of L^-1 times the trace. nan < 1 is False.
    with np.errstate(over="ignore"):
        if np.square(inverse).sum() * np.trace(G) < _MAX_CONDITION:
            return inverse.T
    squares, vectors = with_one_blas_thread(np.linalg.eigh, G)
    kept = np.flatnonzero(squares > 1e-12 * squares[-1])[::-1]
    return np.asarray(vectors[:, kept] / np.sqrt(squares[kept]))


def _times(operations: Operations, axis: Axis, X: Factors, T: Array) -> Factors:
    """Return X T in float32, padded to a multiple of 8 columns."""
    padded = np.zeros((len(T) + -len(T) % 8, T.shape[1] + -T.shape[1] % 8), np.float32)
    padded[: len(T), : T.shape[1]] = T
    return operations.times(axis, X, padded)


def _widened(
    operations: Operations,
    axis: Axis,
    factors: Factors,
    k: int,
    n_factors: int,
    generator: np.random.Generator,
) -> Factors:
    """Return the first k columns, and small random ones up to ``n_factors``."""
    squares = np.concatenate(operations.gathered(blocks.square_sums, axis, factors))
    size = np.sqrt(squares.sum() / (operations.sizes[axis] * k))

    def noise(rows: slice) -> Array:
        shape = rows.stop - rows.start, n_factors - k
        return generator.standard_normal(shape, dtype=np.float32) * np.float32(_NOISE * size)

    drawn = operations.placed(axis, noise)
    return operations.each(blocks.widened, axis, factors, drawn, n_kept=k)


def _scale(matrix: _StartMatrix, sides: dict[Axis, Factors]) -> float:
    """Return the c that minimises the squared loss and the unobserved term along c P Q'."""
    operations, routed = matrix.operations, matrix.operations.routed("row", sides["col"])
    parts = operations.gathered(blocks.start_sums, "row", matrix.sides["row"], sides["row"], routed)
    explained, squares, excluded, excluded_squares = np.concatenate(parts).sum(axis=0)
    a0, mean = operations.objective.unobserved_weight, operations.mean
    if a0:  # The predictions of cells in U are mu + c x.
        if mean:
            sums = [operations.gathered(blocks.column_sums, axis, sides[axis]) for axis in AXES]
            own, other = (np.concatenate(parts).sum(axis=0) for parts in sums)
            explained -= a0 * mean * float(np.sum(own * other))
        grams = operations.gramians(sides)
        squares += a0 * float(np.sum(grams[0] * grams[1]))
    explained += mean * excluded
    squares -= excluded_squares
    return explained / squares if squares > 0.0 else 0.0
