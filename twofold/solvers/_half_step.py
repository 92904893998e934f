"""One side's exact solution with the other side fixed: the ALS half-step, which is fold-in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels import products
from twofold._kernels.rows import SINGULAR, UNSUITABLE, solve_rows, solve_rows_plainly
from twofold._threads import parallel
from twofold.exceptions import SingularRowError
from twofold.objective.objective import Objective
from twofold.objective.problem import Side, balanced_bounds, gramian

__all__ = ["half_step"]


def half_step(
    objective: Objective,
    side: Side,
    other: NDArray[Any],
    *,
    n_threads: int | None,
    row_name: str = "row",
) -> NDArray[Any]:
    """Minimise a quadratic objective with L2 over one side, exactly.

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
    dtype = other.dtype
    a0 = objective.unobserved_weight
    c, b = side.quadratic_terms(objective.missing_weight)
    ridge = side.scale
    with parallel(n_threads) as threads:
        rotated, spectrum, G, V = other, np.zeros(k), np.zeros((k, k)), np.zeros((0, k))
        if a0:
            G = a0 * gramian(other)
            spectrum, V = np.linalg.eigh(G)
            spectrum = np.maximum(spectrum, 0.0)
            rotated = products.times_square(other, V.astype(dtype))
        status = np.zeros(side.n, dtype=np.uint8)
        flat = 1e3 * np.finfo(dtype).eps ** 1.5 * (spectrum[-1] + ridge)
        status[spectrum[0] + ridge <= flat] = UNSUITABLE
        out = np.empty((side.n, k), dtype=dtype)
        uniform = ridge.size > 0 and ridge.min() == ridge.max() > 0.0
        bounds = balanced_bounds(_cost(side.counts, k), _cost_per_task(side.counts, k, threads))
        solve_rows(
            bounds, side.indptr, side.indices, c, b, spectrum, V,
            ridge[:1] if uniform else ridge, rotated, other, out, status,
        )  # fmt: skip
        if a0:
            out = products.times_square(out, np.ascontiguousarray(V.T.astype(dtype)))
        out[side.summed_weights == 0.0] = 0.0  # nothing pulls these rows away from zero
        left = np.flatnonzero((status != 0) & (side.summed_weights > 0.0))
        if left.size:
            solved = np.empty((left.size, k))
            left_status = np.zeros(left.size, dtype=np.uint8)
            solve_rows_plainly(
                left, side.indptr, side.indices, c, b, G, ridge, other, solved, left_status
            )
            _check_unique(left[left_status == SINGULAR], side, row_name)
            out[left] = solved
    return out


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
        row = int(rows[0])
        more = f", nor have {rows.size - 1} others" if rows.size > 1 else ""
        raise SingularRowError(
            f"{row_name} {row} ({int(side.counts[row])} entries) has no unique solution{more}: its "
            "normal equations are singular; give the L2 regularizer a weight > 0, use fewer "
            "factors, or, with negative w - a0, a smaller unobserved_weight"
        )
