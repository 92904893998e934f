"""`CenteredSystem`: row solves with centers and biases, reduced to those of `ColumnSystem`.

Let c be the center of the penalty of a row, x its unknowns and F_k . x + o_k its predictions.
Without biases, F = Q, x = p and o = 0. With biases, rows have F = [q, 1], x = [p, b_u] and o = b_i,
and columns F = [p, 1], x = [q, b_i] and o = b_u. The equations of a row are

    (D + sum_k a_k F_k F_k') x = sum_k (w_k r_k - a_k o_k) F_k + h,    D = a0 F'F + lam s_u I,
    h = lam s_u c - a0 F'o,

with the sums over its entries, and a_k = w_k - a0 if the unobserved term excludes the cell and w_k
otherwise. Let x0 = D^-1 h, which is the solution of a row without entries. Then x = x0 + z, where z
solves

    (D + sum_k a_k F_k F_k') z = sum_k w_k t_k F_k,    t_k = r_k - (a_k / w_k) (o_k + F_k . x0),

which are the equations of a row without center and biases, with the targets t.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property, state_of
from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold._kernels.threads import available_threads, check_n_threads
from twofold.objective.biases import Axis, BiasColumns
from twofold.objective.evaluation import gramian, multiplied, predictions
from twofold.objective.point import padded_factors
from twofold.objective.side import CHUNK, Side
from twofold.objective.terms import Terms
from twofold.solvers.column_system import Buffers, ColumnSystem, Way
from twofold.solvers.report import RowReport

__all__ = ["CenteredSystem"]

Array = NDArray[Any]
_NO_MULTIPLICITY = np.empty(0)
_BLOCK = 1 << 16  # rows whose x0 are computed together, which bounds the memory


@dataclass(frozen=True, eq=False)
class CenteredSystem:
    """Factors of one side, prepared for solving the other side.

    Parameters
    ----------
    system : ColumnSystem
        The system of F.
    col_factors : ndarray, shape (n, width)
        The factors of the fixed side with the columns of biases, padded with zeros.
    gram : ndarray of float64, shape (k, k)
        a0 times their Gramian.
    free : ndarray of int64
        The columns of F.
    """

    system: ColumnSystem
    col_factors: Array
    gram: NDArray[np.float64]
    free: NDArray[np.int64]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed and counted on request."""
        return state_of(self)

    @classmethod
    def prepare(
        cls,
        objective: Terms,
        factors: Array,
        axis: Axis = "row",
        *,
        n_factors: int | None = None,
        n_threads: int | None = None,
        buffers: Buffers | None = None,
        product: NDArray[np.float64] | None = None,
        multiplicity: NDArray[np.float64] = _NO_MULTIPLICITY,
        n_cols: int = 0,
        triangle: Callable[[], NDArray[np.float64]] | None = None,
        ridge: float | None = None,
    ) -> Self:
        """Prepare factors.

        Parameters
        ----------
        objective : Terms
            An objective with squared loss and L2, whose centers are not used.
        factors : ndarray, shape (n, k)
            Factors of the side that is fixed, finite, float32 or float64.
        axis : {"row", "col"}, default "row"
            The side that is solved.
        n_factors : int, optional
            k, if ``factors`` is padded with columns of zeros.
        n_threads : int, optional
            Default: all. The result is bitwise independent of it.
        buffers : Buffers, optional
            As for `ColumnSystem.prepare`.
        product : ndarray of float64, shape (k, k) or (width, width), optional
            F'F of the padded factors, if it is known.
        multiplicity : ndarray of float64, shape (n,), optional
            As for `ColumnSystem.prepare`, for objectives without biases.
        n_cols, triangle, ridge : optional
            As for `ColumnSystem.prepare`, the triangle for the columns that are not constant.
        """
        threads, k = check_n_threads(n_threads), n_factors or factors.shape[1]
        if product is not None:
            product = product[:k, :k]
        if not objective.biases:
            system = ColumnSystem.prepare(
                objective, factors, n_factors=k, n_threads=threads, buffers=buffers,
                product=product, multiplicity=multiplicity, n_cols=n_cols,
                triangle=triangle, ridge=ridge,
            )  # fmt: skip
            return cls(system, system.col_factors, system.gram, np.arange(k))
        padded = padded_factors(factors)
        free = BiasColumns.of(axis, k).free
        if not objective.unobserved_weight:
            product = np.zeros((k, k))
        elif product is None:
            product = gramian(padded, threads)[:k, :k]
        system = ColumnSystem.prepare(
            objective,
            _columns_of(padded, free),
            n_factors=free.size,
            n_threads=threads,
            buffers=buffers,
            product=np.ascontiguousarray(product[np.ix_(free, free)]),
            n_cols=n_cols,
            triangle=triangle,
            ridge=ridge,
        )
        return cls(system, padded, objective.unobserved_weight * product, free)

    @property
    def n_factors(self) -> int:
        """Number of columns k of the solutions, with those of biases."""
        return len(self.gram)

    @cached_property
    def in_double(self) -> "CenteredSystem":
        """The same system in float64."""
        factors = self.col_factors.astype(np.float64, copy=False)
        return replace(self, system=self.system.in_double, col_factors=factors)

    @cached_property
    def unsettled_calls(self) -> Iterator[int]:
        """The number of each call with rows that did not converge: 1, 2, ..."""
        return count(1)  # Two threads never get the same number.

    def solve(
        self,
        side: Side,
        center: Array,
        start: Array | None = None,
        *,
        way: Way = "auto",
        cg_steps: int = 2,
        excess: float = 0.0,
        needs_sums: bool = False,
        n_threads: int | None = None,
        buffers: Buffers | None = None,
    ) -> RowReport:
        """Solve rows for the center of a `PenaltyCall`; see `ColumnSystem.solve`.

        The report has sums only without a center.
        """
        threads = check_n_threads(n_threads)
        if not center.size:
            return self.system.solve(
                side, start, way=way, cg_steps=cg_steps, excess=excess, needs_sums=needs_sums,
                n_threads=threads, buffers=buffers,
            )  # fmt: skip
        free, without_entries = self.free, self.rows_without_entries(side, center, threads)
        if start is not None:
            start = _columns_of(start, free, without_entries)
        report = self.system.solve(
            self._offset(side, without_entries, threads), start, way=way, cg_steps=cg_steps,
            excess=excess, n_threads=threads, buffers=buffers,
        )  # fmt: skip
        out = without_entries
        for low in range(0, side.n, _BLOCK):
            block = slice(low, low + _BLOCK)
            out[block, free] += report.row_factors[block, : free.size]
        return replace(report, row_factors=out)

    def rows_without_entries(self, side: Side, center: Array, threads: int) -> Array:
        """Return x0 of every row with the constant column, padded; shape (side.n, width)."""
        out = empty_aligned((side.n, self.col_factors.shape[1]), self.col_factors.dtype)
        out[...] = center
        if not self.system.objective.unobserved_weight:
            return out
        # With x0 = c + y, D y = -a0 F'(o + F c), where o + F c is a product of Q^ and the center.
        for low in range(0, side.n, _BLOCK):
            scales, own = side.scale[low : low + _BLOCK], center[low : low + _BLOCK]
            of_row: Any = slice(None)
            if len(center) == 1:
                own = center
                scales, of_row = np.unique(scales, return_inverse=True)
            moved = own[:, self.free] + self._moves(own, scales, threads)
            out[low : low + _BLOCK, self.free] = moved[of_row]
        return out

    def _moves(
        self, center: Array, scales: NDArray[np.float64], threads: int
    ) -> NDArray[np.float64]:
        """Return y = -V (S + lam s I)^-1 V' a0 F'Q^ c for each lam s, and c or one c for all."""
        spectrum, vectors = self.system.spectrum, self.system.vectors
        k = self.system.n_factors
        rotated = np.empty((len(center), spectrum.size))
        multiplied(center, self._rotated_gram, rotated, threads)
        eigenvalues = spectrum + scales[:, np.newaxis]
        # Without a ridge, y has no part in the directions that no column has.
        rounding = np.finfo(np.float64).eps * k * spectrum[:k].max()
        solved = np.zeros_like(eigenvalues)
        np.divide(-rotated, eigenvalues, out=solved, where=eigenvalues > rounding)
        moves = np.empty_like(solved)
        multiplied(solved, aligned_copy(vectors.T, np.float64), moves, threads)
        return moves[:, :k]

    @cached_property
    def _rotated_gram(self) -> NDArray[np.float64]:
        """a0 Q^'F V, padded."""
        k, vectors = self.n_factors, self.system.vectors
        out = np.zeros((self.col_factors.shape[1], len(vectors)))
        multiplied(padded_factors(self.gram[:, self.free]), vectors, out[:k], 1)
        return out

    def reduced(self, side: Side, center: Array) -> tuple[ColumnSystem, Side]:
        """Return the system of F and the side with the targets t, whose solution is z."""
        if not center.size:
            return self.system, side
        threads = available_threads()
        without_entries = self.rows_without_entries(side, center, threads)
        return self.system, self._offset(side, without_entries, threads)

    def _offset(self, side: Side, without_entries: Array, threads: int) -> Side:
        """Return the side with the targets t."""
        entries = side.entries
        targets = predictions(side, without_entries, self.col_factors, threads)
        for low in range(0, targets.size, CHUNK):  # in parts, which bounds the memory
            part = slice(low, low + CHUNK)
            r, w, a = (
                numbers[part] if numbers.size else constant
                for numbers, constant in (
                    (entries.targets, 1.0),
                    (entries.weights, 1.0),
                    (entries.excluded, entries.missing_weight),
                )
            )
            targets[part] = r - (1.0 - a / w) * targets[part]
        return side.with_targets(targets)


def _columns_of(factors: Array, chosen: NDArray[np.int64], less: Array | None = None) -> Array:
    """Return some columns of factors, of which others may be subtracted, padded."""
    width = max(chosen.size + -chosen.size % 8, 8)
    out = empty_aligned((len(factors), width), factors.dtype)
    out[:, chosen.size :] = 0.0
    for low in range(0, len(factors), _BLOCK):
        block = slice(low, low + _BLOCK)
        part = factors[block] if less is None else factors[block] - less[block]
        out[block, : chosen.size] = part[:, chosen]
    return out
