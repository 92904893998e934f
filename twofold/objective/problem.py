"""`Problem`: an objective together with a matrix, ready for kernels."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._kernels import evaluate, formulas, products
from twofold._kernels.aligned import empty_aligned, widened
from twofold._threads import parallel
from twofold.exceptions import InvalidInputError
from twofold.objective._compiled import address_of, kernel_code
from twofold.pairings import to_csr

if TYPE_CHECKING:
    from twofold.objective.objective import Objective

__all__ = ["Margin", "ObjectiveValue", "Problem", "Side", "balanced_bounds", "gramian"]

_SCRATCH = 1 << 26  # bytes of a scratch array that is kept
_CHUNK = 1 << 15  # work per chunk of a reduction, in entries; part of the bits of a result

Array = NDArray[Any]


@dataclass(frozen=True)
class ObjectiveValue:
    """The three sums of the objective, in float64, and their total."""

    loss: float
    """Sum over stored entries of w l(r, p.q)."""
    unobserved: float
    """a0 times the sum of (p.q)^2 over all cells, or over the cells that are not stored."""
    penalty: float
    """lam times the sum of s_u phi over both sides."""

    @property
    def total(self) -> float:
        """Return loss + unobserved + penalty."""
        return self.loss + self.unobserved + self.penalty


@dataclass(frozen=True)
class Side:
    """The stored entries by rows (CSR); the same class read by columns (CSC) is the other side.

    Per-entry arrays of length 1 stand for a constant.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64]
    first: NDArray[np.float64]
    """1 where an entry is the first of its cell, 0 where it repeats one."""
    summed_weights: NDArray[np.float64]
    """n_u, shape (n,)."""
    scale: NDArray[np.float64]
    """lam s_u, shape (n,)."""

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.indptr.size - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Stored entries of each row, shape (n,)."""
        return np.diff(self.indptr)

    @cached_property
    def longest_first(self) -> NDArray[np.int64]:
        """Rows that weigh something, those with most entries first."""
        rows = np.argsort(-self.counts, kind="stable")
        return np.asarray(rows[self.summed_weights[rows] > 0.0], dtype=np.int64)

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """Fixed chunks of rows of about equal work, for reductions and row loops."""
        return balanced_bounds(self.counts + 8, _CHUNK)

    def take_scratch(self, name: str, shape: tuple[int, int], dtype: Any) -> Array:
        """Return an aligned array with anything in it: the one that was given back, if it fits.

        New memory has to be mapped page by page. Two threads never get the same.
        """
        kept = self._scratch.pop(name, None)
        if kept is not None and kept.shape == shape and kept.dtype == dtype:
            return kept
        return empty_aligned(shape, dtype)

    def give_back(self, name: str, array: Array) -> None:
        """Keep an array for the next `take_scratch`, unless it is large."""
        if array.nbytes <= _SCRATCH:
            self._scratch[name] = array

    @cached_property
    def _scratch(self) -> dict[str, Array]:
        return {}

    def quadratic_terms(self, missing_weight: float) -> tuple[Array, Array]:
        """Return c and b of the squared loss: c_e x^2 - 2 b_e x, for all entries or constant.

        c = w - missing_weight (for the first entry of a cell), b = w r.
        """
        return self.weights - missing_weight * self.first, self.weights * self.targets

    def subset(self, chosen: NDArray[np.int64]) -> "Side":
        """Return the side with only the chosen entries (ascending positions)."""

        def pick(values: Array) -> Array:
            return values if values.size == 1 else values[chosen]

        return Side(
            np.searchsorted(chosen, self.indptr).astype(np.int64),
            self.indices[chosen],
            pick(self.targets),
            pick(self.weights),
            pick(self.first),
            self.summed_weights,
            self.scale,
        )


@dataclass(frozen=True)
class Margin:
    """What is known of a side without its entries."""

    counts: NDArray[np.int64]
    scale: NDArray[np.float64]

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """As of `Side`."""
        return balanced_bounds(self.counts + 8, _CHUNK)


class Problem:
    """An objective and a matrix, checked once and laid out for the kernels.

    Parameters
    ----------
    objective : Objective
        What to minimise.
    matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
        The stored entries. It is not changed; repeated entries stay repeated.

    Attributes
    ----------
    objective : Objective
    shape : tuple of int
    n_entries : int
    rows, cols : Side
        The entries by row and by column.

    Raises
    ------
    InvalidInputError
        If a value cannot be used, naming its row and column.
    """

    def __init__(self, objective: "Objective", matrix: Any) -> None:
        csr = to_csr(matrix)
        if max(csr.shape) > np.iinfo(np.int32).max:
            raise InvalidInputError(
                f"the matrix has shape {csr.shape}: at most 2^31 - 1 rows and columns are possible"
            )
        self.objective = objective
        self.shape: tuple[int, int] = (int(csr.shape[0]), int(csr.shape[1]))
        self.n_entries = int(csr.indptr[-1])
        # Copied if read-only: numba would compile every kernel once more for such arrays.
        indptr = np.require(csr.indptr, np.int64, "W")
        indices = np.require(csr.indices[: self.n_entries], np.int32, "W")
        one = np.ones(1)
        targets, weights = one, one
        if objective.data != "ones":
            values = csr.data[: self.n_entries].astype(np.float64)
            self._check_values(values, indptr, indices)
            targets, weights = (values, one) if objective.data == "targets" else (one, values)
        first = one
        if objective.missing_weight:
            first = _first_of_cell(indptr, indices, self.shape)
        self.rows = self._side(indptr, indices, targets, weights, first, self.shape[1])

    def _check_values(self, values: Array, indptr: Array, indices: Array) -> None:
        objective = self.objective
        good = np.isfinite(values)
        need = "a finite number"
        if objective.data == "weights":
            need = "a finite number >= 0, as it is a weight"
            good &= values >= 0
        elif good.all():
            need = f"{objective.loss.targets_text}, as it is a target of " + (
                type(objective.loss).__name__
            )
            good &= objective.loss.valid_targets(values)
        if not good.all():
            entry = int(np.argmin(good))
            row = int(np.searchsorted(indptr, entry, side="right")) - 1
            raise InvalidInputError(
                f"the value in row {row}, column {int(indices[entry])} is {values[entry]}: with "
                f'data="{objective.data}" it must be {need}'
            )

    def _side(
        self,
        indptr: Array,
        indices: Array,
        targets: Array,
        weights: Array,
        first: Array,
        width: int,
    ) -> Side:
        if self.objective.data != "weights":
            summed: Array = np.diff(indptr).astype(np.float64)
        else:
            row = np.repeat(np.arange(indptr.size - 1), np.diff(indptr))
            summed = np.bincount(row, weights=weights, minlength=indptr.size - 1)
        return Side(indptr, indices, targets, weights, first, summed, self._scale(summed, width))

    def _scale(self, summed: Array, width: int) -> Array:
        """Return lam s_u of rows over so many columns."""
        objective = self.objective
        regularizer = objective.regularizer
        return np.asarray(
            regularizer.weight * regularizer.scale(summed, objective.unobserved_weight * width)
        )

    @cached_property
    def col_margin(self) -> Margin:
        """Counts and penalty of the columns; the entries by column are not laid out for it."""
        counts, summed = np.zeros(self.shape[1], np.int64), np.zeros(self.shape[1])
        evaluate.count_columns(self.rows.indices, self.rows.weights, counts, summed)
        return Margin(counts, self._scale(summed, self.shape[0]))

    @cached_property
    def cols(self) -> Side:
        """The entries by column."""
        rows, by_col = self.rows, self._positions_by_column()

        def pick(values: Array) -> Array:
            return values if values.size == 1 else values[by_col.data]

        return self._side(
            by_col.indptr.astype(np.int64),
            by_col.indices.astype(np.int32, copy=False),
            pick(rows.targets),
            pick(rows.weights),
            pick(rows.first),
            self.shape[0],
        )

    @property
    def column_order(self) -> NDArray[np.int64]:
        """Positions of the entries of `rows`, in the order of `cols`; shape (n_entries,)."""
        return np.asarray(self._positions_by_column().data, dtype=np.int64)

    def _positions_by_column(self) -> sparse.csc_array:
        rows = self.rows
        positions = np.arange(self.n_entries, dtype=np.int64)
        return sparse.csr_array((positions, rows.indices, rows.indptr), shape=self.shape).tocsc()

    @cached_property
    def loss_call(self) -> tuple[int, float, int, int]:
        """Kernel code, parameter, and addresses of the value and the derivative of the loss."""
        loss = self.objective.loss
        code = kernel_code(loss)
        if code != formulas.EXTERNAL:
            return code, loss.kernel_parameter, 0, 0
        return code, 0.0, address_of(loss, "value"), address_of(loss, "derivative")

    @cached_property
    def penalty_call(self) -> tuple[int, int, int]:
        """Kernel code, and addresses of phi and of its derivative or proximal step."""
        regularizer = self.objective.regularizer
        code = kernel_code(regularizer)
        if code != formulas.EXTERNAL:
            return code, 0, 0
        follow = "derivative" if regularizer.smooth else "proximal"
        return code, address_of(regularizer, "value"), address_of(regularizer, follow)

    def check_factors(self, row_factors: Any, col_factors: Any, name: str = "") -> None:
        """Raise unless the factors are finite 2-d arrays that fit the matrix.

        Raises
        ------
        InvalidInputError
            Naming the axis and both sizes, or the first row and factor that is not finite.
        """
        for factors, axis, size in (
            (row_factors, "row", self.shape[0]),
            (col_factors, "col", self.shape[1]),
        ):
            label = f"{name}{axis}_factors"
            if getattr(factors, "ndim", None) != 2 or factors.dtype.kind not in "fiu":
                raise InvalidInputError(
                    f"{label} must be a 2-d array of numbers, ({axis}s, factors)"
                )
            if factors.shape[0] != size:
                swapped = self.shape[1 if axis == "row" else 0] == factors.shape[0]
                hint = ": are rows and columns swapped?" if swapped else ""
                raise InvalidInputError(
                    f"{label} has {factors.shape[0]} rows, but the matrix has {size} {axis}s{hint}"
                )
            if not np.isfinite(factors).all():
                row, factor = np.argwhere(~np.isfinite(factors))[0]
                raise InvalidInputError(
                    f"{label}[{row}, {factor}] is {factors[row, factor]}: factors must be finite"
                )
        if not col_factors.shape[1]:
            raise InvalidInputError(f"{name}col_factors has no columns: give at least one factor")
        if row_factors.shape[1] != col_factors.shape[1]:
            raise InvalidInputError(
                f"{name}row_factors has {row_factors.shape[1]} factors, but {name}col_factors has "
                f"{col_factors.shape[1]}: they must be equal"
            )

    def value(self, P: Array, Q: Array, *, n_threads: int | None = None) -> ObjectiveValue:
        """Return the objective at P (n_rows, k) and Q (n_cols, k), in float64.

        Non-finite factors give a non-finite value; see `Objective.value` for the checked call.
        """
        objective = self.objective
        P, Q = (np.require(factors, requirements=["C", "W"]) for factors in (P, Q))
        rows, cols = self.rows, self.col_margin
        code, parameter, address, _ = self.loss_call
        with parallel(n_threads):
            sums = evaluate.stored_sums(
                rows.bounds, rows.indptr, rows.indices, rows.targets, rows.weights, rows.first,
                code, parameter, address, P, Q,
            )  # fmt: skip
            loss = _ordered_sum(sums[:, 0])
            unobserved = 0.0
            if objective.unobserved_weight:
                all_cells = float(np.sum(gramian(P) * gramian(Q)))
                stored = _ordered_sum(sums[:, 1]) if objective.missing_weight else 0.0
                unobserved = objective.unobserved_weight * (all_cells - stored)
            code, address, _ = self.penalty_call
            penalty = sum(
                _ordered_sum(evaluate.penalty_sum(side.bounds, side.scale, code, address, factors))
                for side, factors in ((rows, P), (cols, Q))
                if side.scale.any()
            )
        return ObjectiveValue(loss, unobserved, float(penalty))

    def gradient(
        self,
        P: Array,
        Q: Array,
        *,
        n_threads: int | None = None,
        smooth_part: bool = False,
        batch: "tuple[Side, Side] | None" = None,
    ) -> tuple[Array, Array]:
        """Return the gradient by P and by Q, in the dtype of the factors.

        Parameters
        ----------
        P, Q : ndarray, shape (n_rows, k) and (n_cols, k)
            Factors of the same floating dtype.
        n_threads : int, optional
            Default: all.
        smooth_part : bool, default False
            Leave a regulariser that is not smooth out (a proximal step follows).
        batch : tuple of two Side, optional
            Only these stored entries, by row and by column; the other terms then count by the
            batch's share of the entries, so that batches add up to the whole gradient.
        """
        objective = self.objective
        rows, cols = batch or (self.rows, self.cols)
        share = rows.indices.size / max(self.n_entries, 1) if batch else 1.0
        code, _, derivative = self.penalty_call
        if code == formulas.EXTERNAL and not objective.regularizer.smooth:
            smooth_part = True  # there is no derivative to add
        with_penalty = objective.regularizer.smooth or not smooth_part
        loss_code, parameter, _, loss_derivative = self.loss_call
        P, Q = (np.require(factors, requirements=["C", "W"]) for factors in (P, Q))
        gradients = []
        with parallel(n_threads):
            for side, own, other in ((rows, P, Q), (cols, Q, P)):
                out = np.zeros_like(own)
                if objective.unobserved_weight:
                    weight = 2.0 * share * objective.unobserved_weight
                    pull = (weight * gramian(other)).astype(own.dtype)
                    products.times_square(own, pull, out)
                evaluate.gradient_rows(
                    side.bounds, side.indptr, side.indices, side.targets, side.weights, side.first,
                    objective.missing_weight, loss_code, parameter, loss_derivative,
                    side.scale * share if with_penalty else np.zeros(1),
                    code, derivative, own, widened(other), out,
                )  # fmt: skip
                gradients.append(out)
        return gradients[0], gradients[1]


def gramian(factors: Array) -> NDArray[np.float64]:
    """Return F'F in float64; the same bits at any thread count. Call it inside `parallel`."""
    n, k = factors.shape
    n_chunks = max(1, min(n // 4096, (1 << 24) // (k * k), 64))
    result: NDArray[np.float64] = products.gramian(factors, n_chunks)
    return result


def balanced_bounds(work: Array, per_chunk: int) -> NDArray[np.int64]:
    """Split rows into contiguous chunks of about ``per_chunk`` work: positions, first 0, last n."""
    total = np.concatenate([[0], np.cumsum(work, dtype=np.int64)])
    n_chunks = max(1, -(-int(total[-1]) // per_chunk))
    inner = np.searchsorted(total, np.arange(1, n_chunks) * total[-1] // n_chunks)
    return np.unique(np.concatenate([[0], inner, [work.size]])).astype(np.int64)


def _first_of_cell(indptr: Array, indices: Array, shape: tuple[int, int]) -> Array:
    """1.0 for the first stored entry of each cell; the constant 1 if no cell occurs twice."""
    row = np.repeat(np.arange(shape[0], dtype=np.int64), np.diff(indptr))
    key = row * shape[1] + indices
    ascending = key[1:] > key[:-1]
    if ascending.all():
        return np.ones(1)
    _, places = np.unique(key, return_index=True)
    if places.size == key.size:
        return np.ones(1)
    first = np.zeros(key.size)
    first[places] = 1.0
    return first


def _ordered_sum(values: Array) -> float:
    return float(sum(values.tolist()))
