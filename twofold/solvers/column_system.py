"""`ColumnSystem`: factors of one side, prepared for solving the rows of the other side.

The ALS half-step, `fold_in` and fitted models use it to solve rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold._kernels import cg, direct, nonnegative, orthogonal, rows
from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold._kernels.arguments import Columns, Report, Tasks
from twofold._kernels.threads import available_threads, check_n_threads, run, useful_threads
from twofold.exceptions import InvalidInputError
from twofold.objective.evaluation import gramian, multiplied
from twofold.objective.point import padded_factors
from twofold.objective.side import Side, balanced_bounds
from twofold.objective.terms import Terms
from twofold.solvers.coordinates import coordinates
from twofold.solvers.report import RowReport
from twofold.solvers.triangles import scaled_columns, stacked_triangle

__all__ = ["Buffers", "ColumnSystem"]

Array = NDArray[Any]
Rows = NDArray[np.int64]
Way = Literal["auto", "direct", "cg"]
_NO_MULTIPLICITY, _NO_MATRIX = np.empty(0), np.empty((0, 0))

# Measured: a step of CG takes 4 d k flops at 0.6 of the speed of a direct solve. In the units of
# _cost, gathering takes 40 d k.
_CG_COST = 100 + 40  # to the tolerance; from 70 to 180 the times are equal within a tenth
_FEW_STEPS_COST = 17 + 40  # two or three steps
_MAX_CG_STEPS = 20
_QR_ROWS = 1 << 16  # rows of a QR factorisation
_FEW_ENTRIES = 8  # below this share of the columns, only the columns of the entries are converted

# Least ratio of (smallest eigenvalue + ridge) to (largest eigenvalue + ridge) of the Gramian for
# whitening. The error of each eigenvalue is the float64 eps times the largest eigenvalue.
_MIN_EIGENVALUE_RATIO = {np.dtype(np.float32): 4e-8, np.dtype(np.float64): 1e-6}


class Buffers:
    """Working memory and plans that are reused in a run, because making them takes time."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[Any, ...], Array] = {}
        self.plans: dict[tuple[Any, ...], tuple[Rows, tuple[Tasks, Tasks]]] = {}

    def get(self, name: str, shape: tuple[int, int], dtype: Any) -> Array:
        """Return an array with arbitrary contents, which is valid until the next equal name.

        Arrays of one name, dtype and number of columns share the memory of the longest one.
        """
        key = (name, shape[1], np.dtype(dtype))
        if key not in self._arrays or len(self._arrays[key]) < shape[0]:
            self._arrays.pop(key, None)  # before the new array exists
            self._arrays[key] = empty_aligned(shape, dtype)
        return self._arrays[key][: shape[0]]


@dataclass(frozen=True, eq=False)
class ColumnSystem:
    """Column factors Q with the quantities that the normal equations of all rows share.

    For each row it solves

        (a0 Q'Q + lam s_u I + sum_k c_k q_k q_k') p = sum_k w_k r_k q_k

    It is immutable, so threads may share it. Use `prepare` to create one.

    Parameters
    ----------
    objective : Terms
        An objective with squared loss and L2.
    col_factors : ndarray, shape (n_cols, width)
        Q, padded with zeros to a multiple of 8 columns.
    n_factors : int
        The rank k.
    gram : ndarray of float64, shape (k, k)
        a0 Q'Q, weighted by the multiplicity.
    spectrum : ndarray of float64, shape (width,)
        S of `Coordinates` in ascending order, padded with ones.
    vectors : ndarray of float64, shape (width, width), or (0, 0)
        V of `Coordinates`, or an empty array for the identity if a0 = 0.
    rotated : ndarray, shape (n_cols, width)
        Q V in the dtype of the factors.
    multiplicity : ndarray of float64, shape (n_cols,) or (0,)
        Number of equal columns that each column stands for, by default 1. The sums over all columns
        contain it; the weights of the entries of the rows must contain it, too.
    n_cols : int
        Number of columns of the data, if ``col_factors`` has only those that the rows refer to.
    triangle : callable, optional
        Returns R with R'R = ``gram``, which ill-conditioned rows need; default: from the columns.
    inverse : ndarray of float64, shape (width, width), or (0, 0)
        V^-1' of `Coordinates`; by default V, which is right if it is orthogonal.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from twofold import L2, Objective
    >>> from twofold.objective import Problem
    >>> from twofold.solvers import Route
    >>> objective = Objective(regularizer=L2(1.0))
    >>> rows = Problem.of(objective, sparse.csr_array([[1, 0], [1, 1]])).rows
    >>> report = ColumnSystem.prepare(objective, np.array([[1.0], [2.0]])).solve(rows)
    >>> report.row_factors[:, 0], [Route(route).name for route in report.route]
    (array([0.5, 0.5]), ['PRIMAL', 'PRIMAL'])
    """

    objective: Terms
    col_factors: Array
    n_factors: int
    gram: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    vectors: NDArray[np.float64]
    rotated: Array
    multiplicity: NDArray[np.float64] = field(default_factory=lambda: _NO_MULTIPLICITY)
    n_cols: int = 0
    triangle: Callable[[], NDArray[np.float64]] | None = None
    inverse: NDArray[np.float64] = field(default_factory=lambda: _NO_MATRIX)

    @classmethod
    def prepare(
        cls,
        objective: Terms,
        col_factors: Array,
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
        """Prepare column factors.

        Parameters
        ----------
        objective : Terms
            An objective with squared loss and L2.
        col_factors : ndarray, shape (n_cols, k)
            Q, finite, float32 or float64.
        n_factors : int, optional
            The rank, if ``col_factors`` is padded with columns of zeros.
        n_threads : int, optional
            Default: all. The result is bitwise independent of it.
        buffers : Buffers, optional
            Memory for the rotated factors. The system is valid until the buffers are reused.
        product : ndarray of float64, shape (k, k), optional
            Q'Q, weighted by the multiplicity, if it is known.
        multiplicity : ndarray of float64, shape (n_cols,), optional
            Default: 1 for all columns.
        n_cols : int, optional
            Number of columns of the data; default: that of ``col_factors``, by multiplicity.
        triangle : callable, optional
            As for the class.
        ridge : float, optional
            The ridge lam s_u of all rows that are solved, if it is the same and their accuracy is
            that of the objective, not of the factors; see `coordinates`.

        Raises
        ------
        InvalidInputError
            If the Gramian of the factors is beyond the range of float64.
        """
        threads = check_n_threads(n_threads)
        k = n_factors or col_factors.shape[1]
        Q = padded_factors(col_factors)
        width, a0 = Q.shape[1], objective.unobserved_weight
        spectrum, vectors, inverse, rotated = np.ones(width), _NO_MATRIX, _NO_MATRIX, Q
        gram = np.zeros((k, k))
        spectrum[:k] = 0.0
        if a0:
            if product is None:
                product = gramian(Q, threads, multiplicity)[:k, :k]
            gram = a0 * product
            if not np.isfinite(gram).all():
                raise InvalidInputError(
                    "the squares of the factors are beyond the range of float64: scale the stored "
                    "values down"
                )
            found = coordinates(gram, ridge)
            spectrum[:k] = found.spectrum
            vectors, inverse = np.zeros((2, width, width))
            vectors[:k, :k], inverse[:k, :k] = found.vectors, found.inverse
            rotated = (buffers or Buffers()).get("rotated", Q.shape, Q.dtype)
            multiplied(Q, vectors, rotated, threads)
        n_cols = n_cols or int(multiplicity.sum() if multiplicity.size else len(Q))
        return cls(
            objective, Q, k, gram, spectrum, vectors, rotated, multiplicity, n_cols, triangle,
            inverse,
        )  # fmt: skip

    def solve(
        self,
        side: Side,
        start: Array | None = None,
        *,
        way: Way = "auto",
        cg_steps: int = 2,
        excess: float = 0.0,
        needs_sums: bool = False,
        n_threads: int | None = None,
        buffers: Buffers | None = None,
    ) -> RowReport:
        """Solve rows.

        Parameters
        ----------
        side : Side
            The entries of the rows, over the columns of this system.
        start : ndarray, shape (side.n, width), optional
            Initial guess of the iterative methods; default zero.
        way : {"auto", "direct", "cg"}, default "auto"
            As ``row_solver`` of `ALS`.
        cg_steps : int, default 2
            Steps of ``"cg"``.
        excess : float, default 0.0
            By how much the objective of a row may exceed its minimum with ``"auto"``. If it is
            above 0, more rows are solved by conjugate gradients.
        needs_sums : bool, default False
            Whether the report has the sums of each row that the value of the objective needs.
        n_threads : int, optional
            Default: all. The result is bitwise independent of it.
        buffers : Buffers, optional
            Working memory to reuse.

        Returns
        -------
        RowReport
            The solutions. A row without a solution is reported in ``status``, not raised.
        """
        threads = check_n_threads(n_threads)
        call = _Call(side, start, way, cg_steps, excess, threads, buffers or Buffers())
        out = empty_aligned((side.n, self.col_factors.shape[1]), self.col_factors.dtype)
        report = RowReport.of(out, needs_sums)
        is_free = not self.objective.nonnegative
        solve = self._solve_whitened if is_free else self._solve_nonnegatively
        left: list[Rows] = []
        # An array in a file is read and written once for all steps of the solves of a part.
        for part, (rows_of_part, listed) in enumerate(side.solve_parts):
            own = out[rows_of_part]
            if self.n_factors < out.shape[1]:
                own[...] = 0.0
            elif listed.size < len(own):
                own[side.counts[rows_of_part] == 0] = 0.0
            left.append(solve(listed, replace(call, part=part), report))
        unsolved = np.concatenate(left)
        if unsolved.size and out.dtype == np.float32:
            unsolved = self._solve_in_double(unsolved, call, report)
        if unsolved.size:
            self._solve_orthogonally(unsolved, call, report)
        return report

    def _solve_in_double(self, listed: Rows, call: "_Call", report: RowReport) -> Rows:
        """Solve rows in float64; return those that are not solved."""
        side = call.side
        is_iterative = call.way == "cg" or call.excess  # with quantities of all columns
        if is_iterative or side.entries.indices.size * _FEW_ENTRIES > len(self.col_factors):
            return self.in_double._solve_whitened(listed, call, report)
        # Few rows have few columns: converting all of them would take longer than the solve.
        cols, positions = np.unique(side.entries.indices, return_inverse=True)
        multiplicity = self.multiplicity[cols] if self.multiplicity.size else self.multiplicity
        chosen = replace(
            self,
            col_factors=self.col_factors[cols],
            rotated=self.rotated[cols],
            multiplicity=multiplicity,
        )
        entries = side.entries._replace(indices=positions.astype(np.int32))
        call = replace(call, side=replace(side, entries=entries))
        return chosen.in_double._solve_whitened(listed, call, report)

    @cached_property
    def in_double(self) -> "ColumnSystem":
        """The same system in float64."""
        if self.col_factors.dtype == np.float64:
            return self
        Q = aligned_copy(self.col_factors, np.float64)
        rotated = Q
        if self.vectors.size:
            rotated = empty_aligned(Q.shape, np.float64)
            multiplied(Q, self.vectors, rotated, 1)
        return replace(self, col_factors=Q, rotated=rotated)

    def is_accurate(self, ridge: Any) -> Any:
        """Return whether whitening in this dtype is accurate enough for a ridge, elementwise.

        Parameters
        ----------
        ridge : float or ndarray
            Weights of the penalty of rows, lam s_u.

        Returns
        -------
        bool or ndarray of bool

        Examples
        --------
        >>> from twofold import Objective
        >>> system = ColumnSystem.prepare(Objective(), np.array([[1.0], [2.0]]))
        >>> bool(system.is_accurate(0.1))
        True
        """
        smallest, largest = float(self.spectrum[0]), float(self.spectrum[self.n_factors - 1])
        ratio = _MIN_EIGENVALUE_RATIO[self.col_factors.dtype]
        return (ridge + smallest > ratio * (ridge + largest)) & (ridge + smallest > 0.0)

    def _columns(self, lengths: NDArray[np.float64]) -> Columns:
        return Columns(
            self.rotated, self.spectrum, self.col_factors, self.vectors, lengths, self.n_factors
        )

    def _solve_whitened(self, listed: Rows, call: "_Call", report: RowReport) -> Rows:
        """Solve the rows for which this dtype is accurate enough; return the other rows."""
        side, dtype = call.side, self.col_factors.dtype
        width, rotates = self.col_factors.shape[1], self.vectors.size > 0
        is_well_conditioned = self.is_accurate(side.scale[listed])
        is_own_dtype = report.row_factors.dtype == dtype
        # The initial guess, its solution and the solution in the original coordinates are computed
        # in the same array, row by row.
        solved = report.row_factors
        if not is_own_dtype:
            solved = call.buffers.get("solved", (side.n, width), dtype)
        report.status[listed] = rows.UNSUITABLE
        chosen = listed if is_well_conditioned.all() else listed[is_well_conditioned]
        by_cg, direct_tasks = self._plan(chosen, call)
        if by_cg.rows.size:
            self._solve_by_cg(by_cg, call, solved, report.for_kernels)
            remaining = chosen[report.status[chosen] == rows.UNSUITABLE]
            if remaining.size != direct_tasks.rows.size:
                direct_tasks = self._tasks(remaining, call)
        if direct_tasks.rows.size:
            run(
                direct.solve_direct, direct_tasks.bounds.size - 1, call.threads, direct_tasks,
                side.entries, self._columns(np.empty(0)), solved, report.for_kernels,
            )  # fmt: skip
        is_unsolved = report.status[listed] != rows.SOLVED
        if rotates or not is_own_dtype:
            self._rotate_back(listed[~is_unsolved], call, solved, report)
        unsolved: Rows = listed[is_unsolved]
        return unsolved

    def _plan(self, listed: Rows, call: "_Call") -> tuple[Tasks, Tasks]:
        """Return the tasks of conjugate gradients and of direct solves.

        They depend on the numbers of entries only. Those of the parts of a side are kept with the
        buffers, because a run needs them in each epoch.
        """
        counts, plans = call.side.counts, call.buffers.plans
        if call.part is None:
            return self._new_plan(listed, call)
        way = call.way, call.excess > 0.0, call.threads
        key = id(counts), call.part, self.n_factors, self.col_factors.dtype, *way
        if key not in plans:  # The counts are kept, too, so that their id is not used again.
            plans[key] = counts, self._new_plan(listed, call)
        return plans[key][1]

    def _new_plan(self, listed: Rows, call: "_Call") -> tuple[Tasks, Tasks]:
        counts = call.side.counts[listed]
        use_cg = self._uses_cg(counts, _cost(counts, self.n_factors), call)
        return self._tasks(listed[use_cg], call), self._tasks(listed[~use_cg], call)

    def _uses_cg(self, counts: Rows, cost: Rows, call: "_Call") -> NDArray[np.bool_]:
        if call.way == "auto" and call.excess:
            return np.asarray(cost > _FEW_STEPS_COST * counts * self.n_factors)
        if call.way == "auto" and self.col_factors.dtype == np.float32:
            return np.asarray(cost > _CG_COST * counts * self.n_factors)
        return np.full(counts.size, call.way == "cg")

    def _solve_by_cg(self, tasks: Tasks, call: "_Call", solved: Array, report: Report) -> None:
        side, threads = call.side, call.threads
        tolerance, n_steps = 0.0, call.cg_steps
        if call.way == "auto":
            tolerance, n_steps = rows.ROW_TOLERANCE, _MAX_CG_STEPS
        if call.excess:
            tolerance = 0.0
        min_ridge, lengths = self._lengths
        run(
            cg.solve_by_cg, tasks.bounds.size - 1, threads, tasks, side.entries,
            self._columns(lengths), min_ridge, self._initial_guess(tasks.rows, call, solved),
            n_steps, tolerance, call.excess, solved, report,
        )  # fmt: skip

    @cached_property
    def _lengths(self) -> tuple[float, NDArray[np.float64]]:
        """The ridge of a row without entries, and the whitened squared lengths |z|^2 for it.

        This ridge is at most that of any row and independent of the rows that are solved together.
        If a0 = 0, the lengths for any other ridge follow by a division.
        """
        objective, n_cols = self.objective, self.rotated.shape[0]
        min_ridge = 1.0
        if self.vectors.size:
            regularizer = objective.regularizer
            scale = regularizer.scale(np.zeros(1), objective.unobserved_weight * self.n_cols)
            min_ridge = float(regularizer.weight * scale[0])
        lengths = np.empty(n_cols)
        run(
            cg.squared_lengths, -(-n_cols // cg.CHUNK),
            useful_threads(self.rotated.size, available_threads()), self.rotated, self.spectrum,
            min_ridge, lengths,
        )  # fmt: skip
        return min_ridge, lengths

    def _initial_guess(self, listed: Rows, call: "_Call", solved: Array) -> Array:
        """Return the initial guess in the coordinates and dtype of the rotated factors.

        Unless it is ``start`` itself, it is written to ``solved``, whose rows are solved later.
        """
        dtype, counts = solved.dtype, call.side.counts
        is_whole = listed.size > counts.size // 2 and len(call.side.solve_parts) == 1
        if call.start is None:
            solved[... if is_whole else listed] = 0.0
            return solved
        start = call.start.astype(dtype, copy=False)
        if not self.vectors.size:
            return start
        selected = np.empty(0, np.int64) if is_whole else listed
        inverse = self.inverse if self.inverse.size else self.vectors
        multiplied(start, inverse.astype(dtype), solved, call.threads, selected)
        if is_whole and not counts.all():
            solved[counts == 0] = 0.0
        return solved

    def _rotate_back(self, listed: Rows, call: "_Call", solved: Array, report: RowReport) -> None:
        """Write the solved rows to the report in the original coordinates."""
        if not listed.size:
            return
        out = report.row_factors
        if not self.vectors.size:
            out[listed] = solved[listed]
        else:
            whole = listed.size == call.side.n
            selected = np.empty(0, np.int64) if whole else listed
            multiplied(solved, self.inverse_rotation, out, call.threads, selected)
        if out.dtype != solved.dtype:
            overflown = listed[~np.isfinite(out[listed]).all(axis=1)]
            report.status[overflown] = rows.OVERFLOW

    @cached_property
    def inverse_rotation(self) -> Array:
        """V', shape (width, width), which restores the original coordinates of rows."""
        return aligned_copy(self.vectors.T, self.rotated.dtype)

    def _tasks(self, listed: Rows, call: "_Call") -> Tasks:
        """Divide the rows into tasks of similar cost."""
        counts = call.side.counts[listed]
        longest = int(counts.max(initial=0))
        if listed.size <= 1:
            return Tasks(listed, np.arange(listed.size + 1), longest)
        cost = _cost(counts, self.n_factors)
        per_task = max(1 << 16, int(cost.sum()) // (call.threads * 32) + 1)
        return Tasks(listed, balanced_bounds(cost, per_task), longest)

    def _solve_nonnegatively(self, listed: Rows, call: "_Call", report: RowReport) -> Rows:
        """Solve rows by coordinate descent; return none, as those not solved are in the report."""
        report.forget_sums(listed)
        start = np.zeros_like(report.row_factors) if call.start is None else call.start
        tasks = self._tasks(listed, call)
        run(
            nonnegative.solve_nonnegative, tasks.bounds.size - 1, call.threads, tasks,
            call.side.entries, self.col_factors, self.gram, start, report.row_factors,
            report.for_kernels,
        )  # fmt: skip
        return listed[:0]

    def _solve_orthogonally(self, listed: Rows, call: "_Call", report: RowReport) -> None:
        run(
            orthogonal.solve_orthogonal, listed.size, call.threads, listed, call.side.entries,
            self.col_factors, self._triangle, self.gram, report.row_factors,
            report.for_kernels,
        )  # fmt: skip
        report.forget_sums(listed)

    @cached_property
    def _triangle(self) -> NDArray[np.float64]:
        """R with R'R = `gram`, shape (k, k), from the QR factorisation of Q for accuracy."""
        k, a0 = self.n_factors, self.objective.unobserved_weight
        if not a0:
            return np.zeros((k, k))
        if self.triangle is not None:
            return self.triangle()
        n_given = len(self.col_factors)
        parts = (slice(low, low + _QR_ROWS) for low in range(0, n_given, _QR_ROWS))
        return stacked_triangle(
            scaled_columns(self.col_factors[part, :k], a0, self.multiplicity[part])
            for part in parts
        )


@dataclass(frozen=True, eq=False)
class _Call:
    """The arguments of one call of `ColumnSystem.solve`."""

    side: Side
    start: Array | None
    way: Way
    cg_steps: int
    excess: float
    threads: int
    buffers: Buffers
    part: int | None = None
    """Number of the part of the side that is solved; None for any other rows."""


def _cost(counts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Return the approximate number of flops of the direct route of each row."""
    smaller = np.minimum(counts, k)
    cost: NDArray[np.int64] = counts * (k * (smaller + 40)) + smaller * smaller * smaller // 3 + 64
    return cost
