"""`BiasedSystem`: row solves with biases, reduced to those of `ColumnSystem` by an offset.

For rows, let F = [q, 1] be the columns of Q^ that belong to the unknowns x = [p, b_u] of a row, and
o = b_i its offset at each column. Columns have F = [p, 1], x = [q, b_i] and o = b_u. The equations
of a row are

    (D + sum_k c_k F_k F_k') x = sum_k (w_k r_k - c_k o_k) F_k + h,    D = a0 F'F + lam s_u I,
    h = lam s_u c - a0 F'o,

with the sums over its entries, c_k = w_k - a0 if the unobserved term excludes the cell and w_k
otherwise, and the center c of the penalty, (0, ..., 0, mu) for columns. Let x0 = D^-1 h, which is
the solution of a row without entries. Then x = x0 + z, where z solves

    (D + sum_k c_k F_k F_k') z = sum_k w_k t_k F_k,    t_k = r_k - (c_k / w_k) (o_k + F_k . x0),

which are the equations of a row without biases and with the targets t.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold._kernels.threads import available_threads, check_n_threads
from twofold.objective.biases import Axis, BiasColumns
from twofold.objective.evaluation import gramian, multiplied, predictions
from twofold.objective.point import padded_factors
from twofold.objective.side import Side
from twofold.objective.terms import Terms
from twofold.solvers.column_system import Buffers, ColumnSystem, RowReport, Way

__all__ = ["BiasedSystem", "prepare_system"]

Array = NDArray[Any]
_BLOCK = 1 << 16  # rows whose x0 are computed together, which bounds the memory


def prepare_system(
    objective: Terms,
    factors: Array,
    axis: Axis = "row",
    mean: float = 0.0,
    *,
    n_factors: int | None = None,
    n_threads: int | None = None,
    buffers: Buffers | None = None,
) -> "ColumnSystem | BiasedSystem":
    """Prepare the factors of one side for solving the other side.

    Parameters
    ----------
    objective : Terms
        An objective with squared loss and L2.
    factors : ndarray, shape (n, k)
        Factors of the side that is fixed, finite, float32 or float64.
    axis : {"row", "col"}, default "row"
        The side that is solved.
    mean : float, default 0.0
        mu, if the objective has biases and columns are solved.
    n_factors : int, optional
        k, if ``factors`` is padded with columns of zeros.
    n_threads : int, optional
        Default: all. The result is bitwise independent of it.
    buffers : Buffers, optional
        As for `ColumnSystem.prepare`.

    Returns
    -------
    ColumnSystem or BiasedSystem
    """
    if objective.biases:
        return BiasedSystem.prepare(
            objective, factors, axis, mean, n_factors=n_factors, n_threads=n_threads,
            buffers=buffers,
        )  # fmt: skip
    return ColumnSystem.prepare(
        objective, factors, n_factors=n_factors, n_threads=n_threads, buffers=buffers
    )


@dataclass(frozen=True, eq=False)
class BiasedSystem:
    """Factors with biases of one side, prepared for solving the other side.

    Parameters
    ----------
    system : ColumnSystem
        The system of F.
    col_factors : ndarray, shape (n, width)
        The factors of the fixed side with the columns of biases, padded with zeros.
    gram : ndarray of float64, shape (k, k)
        a0 times their Gramian.
    columns : BiasColumns
        The columns of the factors of the solved side.
    center : float
        To which its biases are drawn.
    """

    system: ColumnSystem
    col_factors: Array
    gram: NDArray[np.float64]
    columns: BiasColumns
    center: float

    @classmethod
    def prepare(
        cls,
        objective: Terms,
        factors: Array,
        axis: Axis,
        mean: float,
        *,
        n_factors: int | None = None,
        n_threads: int | None = None,
        buffers: Buffers | None = None,
    ) -> Self:
        """Prepare factors; see `prepare_system`."""
        threads, k = check_n_threads(n_threads), n_factors or factors.shape[1]
        padded = padded_factors(factors)
        columns = BiasColumns.of(axis, k)
        free, product = columns.free, np.zeros((k, k))
        if objective.unobserved_weight:
            product = gramian(padded, threads)[:k, :k]
        system = ColumnSystem.prepare(
            objective,
            padded[:, free],
            n_threads=threads,
            buffers=buffers,
            product=np.ascontiguousarray(product[np.ix_(free, free)]),
        )
        center = mean if axis == "col" else 0.0
        return cls(system, padded, objective.unobserved_weight * product, columns, center)

    @property
    def n_factors(self) -> int:
        """Number of columns k of the solutions, with those of biases."""
        return self.columns.n_columns

    @cached_property
    def in_double(self) -> "BiasedSystem":
        """The same system in float64."""
        factors = self.col_factors.astype(np.float64, copy=False)
        return replace(self, system=self.system.in_double, col_factors=factors)

    def solve(
        self,
        side: Side,
        start: Array | None = None,
        *,
        way: Way = "auto",
        cg_steps: int = 2,
        excess: float = 0.0,
        n_threads: int | None = None,
        buffers: Buffers | None = None,
    ) -> RowReport:
        """Solve rows; the arguments and the result are those of `ColumnSystem.solve`."""
        threads, free = check_n_threads(n_threads), self.columns.free
        without_entries = self.rows_without_entries(side, threads)
        if start is not None:
            start = padded_factors((start - without_entries)[:, free])
        report = self.system.solve(
            self._offset(side, without_entries, threads), start, way=way, cg_steps=cg_steps,
            excess=excess, n_threads=threads, buffers=buffers,
        )  # fmt: skip
        out = without_entries
        out[:, free] += report.row_factors[:, : free.size]
        return replace(report, row_factors=out)

    def rows_without_entries(self, side: Side, threads: int) -> Array:
        """Return x0 of every row with the constant column, padded; shape (side.n, width)."""
        k, dtype = self.n_factors, self.col_factors.dtype
        out = empty_aligned((side.n, self.col_factors.shape[1]), dtype)
        out[...] = 0.0
        out[:, :k] = self.columns.center(self.center)
        if not self.system.objective.unobserved_weight:
            return out
        # With x0 = c + y, D y = -a0 F'(o + F c), where o + F c is a product of Q^ and the center.
        free = self.columns.free
        linear = np.zeros(self.system.spectrum.size)
        linear[: free.size] = -(self.gram * self.columns.center(self.center)).sum(axis=1)[free]
        rotated = (linear[:, np.newaxis] * self.system.vectors).sum(axis=0)  # without BLAS
        for low in range(0, side.n, _BLOCK):
            scales, scale_of_row = np.unique(side.scale[low : low + _BLOCK], return_inverse=True)
            moves = self._moves(rotated, scales, threads)[:, : free.size].astype(dtype)
            out[low : low + _BLOCK, free] += moves[scale_of_row]
        return out

    def _moves(
        self, rotated: NDArray[np.float64], scales: NDArray[np.float64], threads: int
    ) -> NDArray[np.float64]:
        """Return y = V (S + lam s I)^-1 V'l for each lam s, given V'l; shape (n, width of F)."""
        spectrum, vectors = self.system.spectrum, self.system.vectors
        k = self.system.n_factors
        eigenvalues = spectrum + scales[:, np.newaxis]
        # Without a ridge, y has no part in the directions that no column has.
        rounding = np.finfo(np.float64).eps * k * spectrum[:k].max()
        solved = np.zeros_like(eigenvalues)
        np.divide(rotated, eigenvalues, out=solved, where=eigenvalues > rounding)
        moves = np.empty_like(solved)
        multiplied(padded_factors(solved), aligned_copy(vectors.T, np.float64), moves, threads)
        return moves

    def without_biases(self, side: Side) -> tuple[ColumnSystem, Side]:
        """Return the system of F and the side with the targets t, whose solution is z."""
        threads = available_threads()
        offset = self._offset(side, self.rows_without_entries(side, threads), threads)
        return self.system, offset

    def _offset(self, side: Side, without_entries: Array, threads: int) -> Side:
        """Return the side with the targets t."""
        entries = side.entries
        offset = predictions(side, without_entries, self.col_factors, threads)
        if entries.missing_weight:
            excluded = np.full(offset.size, entries.missing_weight)
            if entries.repeats.size:
                excluded[entries.repeats] = 0.0
            offset *= 1.0 - excluded / (entries.weights if entries.weights.size else 1.0)
        return side.with_targets((entries.targets if entries.targets.size else 1.0) - offset)
