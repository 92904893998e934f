"""One side's exact solution with the other side fixed: the ALS half-step, which is fold-in."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import products
from twofold._kernels.aligned import widened
from twofold._kernels.dense import padded
from twofold._kernels.iterative import cg_rows, subspace_rows, whitened_lengths
from twofold._kernels.nonnegative import solve_rows_nonnegative
from twofold._kernels.rows import ENOUGH, UNSUITABLE, solve_rows
from twofold._kernels.rows_plain import SINGULAR, solve_rows_plainly
from twofold._threads import parallel
from twofold.exceptions import SingularRowError
from twofold.objective.objective import Objective
from twofold.objective.problem import Side, balanced_bounds, gramian

__all__ = ["EXACT", "RowSolver", "half_step"]


@dataclass(frozen=True)
class RowSolver:
    """How rows are solved; see `ALS`."""

    kind: str = "auto"
    cg_steps: int = 2
    block_size: int = 64
    nonnegative: bool = False


EXACT = RowSolver()

# Measured: a step of CG is 4 d k flops, at 0.4 of the speed of a direct solve, and about ten are
# needed; in units of _cost, where gathering is 40 d k.
_CG_COST = 100 + 40
_CG_MOST = 20


def half_step(
    objective: Objective,
    side: Side,
    other: NDArray[Any],
    *,
    n_threads: int | None,
    row_name: str = "row",
    own: NDArray[Any] | None = None,
    how: RowSolver = EXACT,
) -> NDArray[Any]:
    """Minimise a quadratic objective with L2 over one side, exactly or nearly so.

    Parameters
    ----------
    objective : Objective
        With squared loss and L2.
    side : Side
        The entries of the side that is solved for.
    other : ndarray, shape (n_cols, k)
        Factors of the other side, C-contiguous.
    n_threads : int or None
        Threads; the bits do not depend on it.
    row_name : str
        What to call a row in an error: "row" or "col".
    own : ndarray, shape (side.n, k), optional
        Factors that iterative ways start from; default zero.
    how : RowSolver, default exact
        How to solve the rows.

    Returns
    -------
    ndarray, shape (side.n, k)
        In the dtype of ``other``. Rows without entries are zero.

    Raises
    ------
    SingularRowError
        If a row has no unique solution.
    """
    k = other.shape[1]
    with parallel(n_threads) as threads:
        system = _System(objective, side, other)
        out = np.zeros((side.n, k), dtype=other.dtype)
        left = side.longest_first  # nothing pulls the others away from zero
        if how.nonnegative:
            system.solve_nonnegative(left, own, threads, out)
            return out
        for dtype in dict.fromkeys((other.dtype.type, np.float64)):
            if left.size:
                left = system.solve_whitened(left, own, how, dtype, threads, out)
            how = EXACT
        if left.size:
            left = system.solve_plainly(left, out)
    _check_unique(left, side, row_name)
    return out


class _System:
    """The normal equations of all rows of a side: G + ridge I + sum_k c_k q_k q_k'."""

    def __init__(self, objective: Objective, side: Side, other: NDArray[Any]) -> None:
        k = other.shape[1]
        a0 = objective.unobserved_weight
        self.side, self.other = side, other
        self.c, self.b = side.quadratic_terms(objective.missing_weight)
        self.G = a0 * gramian(other) if a0 else np.zeros((k, k))
        self.spectrum: NDArray[np.float64] = np.zeros(k)
        self.V: NDArray[np.float64] = np.zeros((0, k))
        if a0:
            spectrum, self.V = np.linalg.eigh(self.G)
            self.spectrum = np.maximum(spectrum, 0.0)
        self.width = int(padded(k))

    def solve_whitened(
        self,
        rows: NDArray[np.int64],
        own: NDArray[Any] | None,
        how: RowSolver,
        dtype: Any,
        threads: int,
        out: NDArray[Any],
    ) -> NDArray[np.int64]:
        """Write the rows that can be solved in this dtype into ``out``; return the others."""
        side, spectrum, ridge = self.side, self.spectrum, self.side.scale
        flat = 1e3 * np.finfo(dtype).eps ** 1.5 * (spectrum[-1] + ridge)
        left = ~(spectrum[0] + ridge > flat)[rows]
        if ridge.min() == ridge.max() > 0.0:
            ridge = ridge[:1]
        other = self.other.astype(dtype, copy=False)
        rotated = self._rotated("rotated", other, np.float64)
        in_place = not self.V.size and out.dtype == dtype and out.shape[1] == self.width
        solved = out if in_place else side.take_scratch("solved", (side.n, self.width), dtype)
        used = {"rotated": rotated, "solved": solved}
        status = np.zeros(side.n, dtype=np.uint8)
        padded_spectrum = np.append(spectrum, np.ones(self.width - spectrum.size))

        def equations(which: NDArray[np.bool_]) -> tuple[Any, ...]:
            return (
                *self._queue(rows[which], threads), side.indptr, side.indices, self.c, self.b,
                padded_spectrum, ridge, rotated,
            )  # fmt: skip

        stepwise = ~left & self._suits_steps(rows, how, dtype)
        if stepwise.any():
            if own is None:
                start = np.zeros_like(solved)
            else:  # in its own dtype: it is but a start
                own = own.astype(dtype, copy=False)
                start = self._rotated("start", own, dtype, rows[stepwise])
                used["start"] = start
            if how.kind == "subspace":
                subspace_rows(*equations(stepwise), start, how.block_size, solved, status)
            elif how.kind == "cg":
                cg_rows(*equations(stepwise), np.zeros(0), start, how.cg_steps, 0.0, solved, status)
            else:
                lengths = np.empty(rotated.shape[0])
                whitened_lengths(rotated, padded_spectrum, ridge.min(), lengths)
                cg_rows(*equations(stepwise), lengths, start, _CG_MOST, ENOUGH, solved, status)
            stepwise &= status[rows] != UNSUITABLE
            status[:] = 0
        directly = ~left & ~stepwise
        if directly.any():
            solve_rows(*equations(directly), self.V, other, solved, status)
        left |= status[rows] == UNSUITABLE
        self._put_back(rows[~left], solved, out)
        if self.V.size:
            for name, array in used.items():
                side.give_back(name, array)
        unsolved: NDArray[np.int64] = rows[left]
        return unsolved

    def _suits_steps(
        self, rows: NDArray[np.int64], how: RowSolver, dtype: Any
    ) -> NDArray[np.bool_] | bool:
        """Say which rows are to be solved step by step, the others directly."""
        counts, k = self.side.counts[rows], self.other.shape[1]
        if how.kind == "subspace":  # a row with fewer entries than a block has costs less exactly
            return np.asarray(counts > how.block_size)
        if how.kind == "auto" and dtype is np.float32:  # in float64 nobody wants just ENOUGH
            return np.asarray(_cost(counts, k) > _CG_COST * counts * k)
        return how.kind == "cg"

    def solve_nonnegative(
        self, rows: NDArray[np.int64], own: NDArray[Any] | None, threads: int, out: NDArray[Any]
    ) -> None:
        """Write the rows with all factors >= 0 into ``out``."""
        start = np.zeros_like(out) if own is None else own
        solve_rows_nonnegative(
            *self._queue(rows, threads), self.side.indptr, self.side.indices, self.c, self.b,
            self.G, self.side.scale, self.other, start, out,
        )  # fmt: skip

    def _queue(self, rows: NDArray[np.int64], threads: int) -> tuple[Any, ...]:
        """Return the rows, which are the longest first, as tasks: no thread has much left to do."""
        k = self.other.shape[1]
        counts = self.side.counts[rows]
        bounds = balanced_bounds(_cost(counts, k), _cost_per_task(counts, k, threads))
        return threads, np.zeros(1, np.int64), rows, bounds

    def _rotated(
        self,
        name: str,
        factors: NDArray[Any],
        precision: Any,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[Any]:
        """Return F V, or F if nothing is rotated, with columns of zeros up to the padded width.

        If rows are given, only those have to be there.
        """
        if not self.V.size:
            return widened(factors)
        n, k = factors.shape
        out = self.side.take_scratch(name, (n, self.width), factors.dtype)
        V = np.zeros((k, self.width), precision)
        V[:, :k] = self.V
        if rows is None or rows.size > n // 2:
            products.times_square(factors, V, out)
        else:
            products.rows_times_square(factors, rows, V, out)
        return out

    def _put_back(self, rows: NDArray[np.int64], solved: NDArray[Any], out: NDArray[Any]) -> None:
        """Rotate the rows back into ``out``."""
        k = self.other.shape[1]
        if self.V.size:
            back = np.zeros((self.width, k), solved.dtype)
            back[:k] = self.V.T
            if rows.size == self.side.longest_first.size:
                solved[~(self.side.summed_weights > 0.0)] = 0.0
                products.times_square(solved, back, out)
            else:
                products.rows_times_square(solved, rows, back, out)
        elif solved is not out:
            out[rows] = solved[rows, :k]

    def solve_plainly(self, rows: NDArray[np.int64], out: NDArray[Any]) -> NDArray[np.int64]:
        """Write the rows into ``out``; return those that have no unique solution."""
        side, V = self.side, self.V
        solved = np.empty((rows.size, self.other.shape[1]))
        status = np.zeros(rows.size, dtype=np.uint8)
        root_G = np.sqrt(self.spectrum)[:, None] * V.T if V.size else self.G
        solve_rows_plainly(
            rows, side.indptr, side.indices, self.c, self.b, root_G, self.G, side.scale, self.other,
            solved, status,
        )  # fmt: skip
        is_singular = status == SINGULAR  # which leaves anything in its row
        out[rows[~is_singular]] = solved[~is_singular]
        singular: NDArray[np.int64] = rows[is_singular]
        return singular


def _cost(counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Rough flops of each row, by the route that it takes."""
    d = counts.astype(np.float64)
    dual = d * d * k + d**3 / 3 + 40 * d * k
    primal = d * k * k + k**3 / 3 + 40 * d * k
    return np.where(d <= k, dual, primal).astype(np.int64) + 64


def _cost_per_task(counts: NDArray[np.int64], k: int, threads: int) -> int:
    return max(1 << 16, int(_cost(counts, k).sum()) // (threads * 32) + 1)


def _check_unique(rows: NDArray[np.int64], side: Side, row_name: str) -> None:
    if rows.size:
        row = int(rows.min())
        more = f", nor have {rows.size - 1} others" if rows.size > 1 else ""
        raise SingularRowError(
            f"{row_name} {row} ({int(side.counts[row])} entries) has no unique solution{more}: its "
            "normal equations are singular; give the L2 regularizer a weight > 0, use fewer "
            "factors, or, with negative w - a0, a smaller unobserved_weight"
        )
