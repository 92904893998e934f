"""One side's exact solution with the other side fixed: the ALS half-step, which is fold-in."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import products
from twofold._kernels.dense import padded
from twofold._kernels.iterative import cg_rows, subspace_rows
from twofold._kernels.nonnegative import solve_rows_nonnegative
from twofold._kernels.rows import UNSUITABLE, solve_rows
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
        if how.kind in ("cg", "subspace"):
            left = system.approach(left, own, how, threads, out)
        for dtype in dict.fromkeys((other.dtype.type, np.float64)):
            if left.size:
                left = system.solve_whitened(left, dtype, threads, out)
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
        self, rows: NDArray[np.int64], dtype: Any, threads: int, out: NDArray[Any]
    ) -> NDArray[np.int64]:
        """Write the rows that can be solved in this dtype into ``out``; return the others."""
        other = self.other.astype(dtype, copy=False)
        queue, ridge, status, rotated = self._whitened(rows, dtype, threads)
        in_place = not self.V.size and out.dtype == dtype and out.shape[1] == self.width
        solved = out if in_place else empty_aligned((self.side.n, self.width), dtype)
        solve_rows(
            *queue, self.side.indptr, self.side.indices, self.c, self.b, self._padded_spectrum(),
            self.V, ridge, rotated, other, solved, status,
        )  # fmt: skip
        return self._put_back(rows, status, solved, out)

    def approach(
        self,
        rows: NDArray[np.int64],
        own: NDArray[Any] | None,
        how: RowSolver,
        threads: int,
        out: NDArray[Any],
    ) -> NDArray[np.int64]:
        """Write what a few steps from ``own`` give into ``out``; return rows that do not suit."""
        dtype = self.other.dtype.type
        short = rows[:0]
        if how.kind == "subspace":  # a row with fewer entries than a block has costs less exactly
            n_long = int(np.count_nonzero(self.side.counts[rows] > how.block_size))
            rows, short = rows[:n_long], rows[n_long:]
        queue, ridge, status, rotated = self._whitened(rows, dtype, threads)
        start = np.zeros_like(out) if own is None else own.astype(dtype, copy=False)
        start = self._rotated(start, dtype)  # only a start: its digits do not matter
        solved = empty_aligned((self.side.n, self.width), dtype)
        given = (
            *queue, self.side.indptr, self.side.indices, self.c, self.b, self._padded_spectrum(),
            ridge, rotated, start,
        )  # fmt: skip
        if how.kind == "cg":
            cg_rows(*given, how.cg_steps, 0.0, solved, status)
        else:
            subspace_rows(*given, how.block_size, solved, status)
        return np.concatenate([self._put_back(rows, status, solved, out), short])

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

    def _whitened(
        self, rows: NDArray[np.int64], dtype: Any, threads: int
    ) -> tuple[tuple[Any, ...], NDArray[np.float64], NDArray[np.uint8], NDArray[Any]]:
        """Return tasks of the rows that can be whitened, ridge, status of all, and Q V."""
        spectrum, ridge = self.spectrum, self.side.scale
        flat = 1e3 * np.finfo(dtype).eps ** 1.5 * (spectrum[-1] + ridge)
        suits = (spectrum[0] + ridge > flat)[rows]
        status = np.zeros(self.side.n, dtype=np.uint8)
        status[rows[~suits]] = UNSUITABLE
        uniform = ridge.min() == ridge.max() > 0.0
        rotated = self._rotated(self.other.astype(dtype, copy=False), np.float64)
        queue = self._queue(rows[suits], threads)
        return queue, ridge[:1] if uniform else ridge, status, rotated

    def _rotated(self, factors: NDArray[Any], precision: Any) -> NDArray[Any]:
        """Return F V, or F if nothing is rotated, with columns of zeros up to the padded width."""
        n, k = factors.shape
        if not self.V.size and k == self.width:
            return factors
        out = empty_aligned((n, self.width), factors.dtype)
        if self.V.size:
            V = np.zeros((k, self.width), precision)
            V[:, :k] = self.V
            products.times_square(factors, V, out)
        else:
            out[:, :k], out[:, k:] = factors, 0.0
        return out

    def _padded_spectrum(self) -> NDArray[np.float64]:
        return np.append(self.spectrum, np.ones(self.width - self.spectrum.size))

    def _put_back(
        self,
        rows: NDArray[np.int64],
        status: NDArray[np.uint8],
        solved: NDArray[Any],
        out: NDArray[Any],
    ) -> NDArray[np.int64]:
        """Rotate what was solved back into ``out``; return the other rows."""
        is_left = status[rows] == UNSUITABLE
        done = rows[~is_left]
        k = self.other.shape[1]
        if self.V.size:
            back = np.zeros((self.width, k), solved.dtype)
            back[:k] = self.V.T
            if done.size == self.side.longest_first.size:
                solved[self.side.counts == 0] = 0.0
                products.times_square(solved, back, out)
            else:
                products.rows_times_square(solved, done, back, out)
        elif solved is not out:
            out[done] = solved[done, :k]
        left: NDArray[np.int64] = rows[is_left]
        return left

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


def empty_aligned(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Return an array that begins where a cache line does."""
    room = np.empty(shape[0] * shape[1] + 64, dtype)
    first = -room.ctypes.data % 64 // room.itemsize
    return room[first : first + shape[0] * shape[1]].reshape(shape)


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
