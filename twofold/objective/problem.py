"""`Problem`: an objective with a matrix that is validated and converted for the kernels."""

import hashlib
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold._kernels import entries as by_column
from twofold._kernels import formulas
from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold._kernels.arguments import Entries, LossCall, Penalties, PenaltyCall
from twofold.data.csr import EntryError, as_csr, check_limit, is_ascending
from twofold.exceptions import InvalidInputError
from twofold.objective._compiled import address_of, kernel_code
from twofold.objective.biases import Axis, BiasColumns
from twofold.objective.centers import Centers, around_center, padded_center
from twofold.objective.evaluation import evaluate_point, value_and_gradient
from twofold.objective.point import ObjectiveValue, Point, is_finite
from twofold.objective.side import CHUNK, Margin, Side, balanced_bounds, empty_entries
from twofold.objective.terms import Terms

__all__ = ["Problem", "side_of"]

Array = NDArray[Any]
Number = TypeVar("Number", bound=np.floating[Any])
_EMPTY = np.empty(0)


@dataclass(frozen=True, eq=False)
class Problem:
    """An objective with a matrix, immutable. Use `of` to create one.

    Parameters
    ----------
    objective : Terms
        The objective to minimise, an `Objective`.
    shape : tuple of int
        (n_rows, n_cols).
    rows : Side
        The entries by row, in ascending order of the column.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
    >>> problem.shape, problem.n_entries, problem.cols.counts
    ((2, 3), 4, array([1, 2, 1]))
    """

    objective: Terms
    shape: tuple[int, int]
    rows: Side

    @classmethod
    def of(cls, objective: Terms, matrix: Any, weights: Any = None) -> Self:
        """Validate and convert a matrix.

        Parameters
        ----------
        objective : Objective
            The objective to minimise.
        matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
            The stored entries; not modified. Repeated entries are not summed, and entries of weight
            0 are removed.
        weights : scipy sparse matrix, or array_like of shape (n_entries,), optional
            A weight >= 0 for each stored entry, with ``data="ones"`` or ``"targets"``: a matrix of
            the same entries, or numbers in the order of the entries of a CSR matrix.

        Raises
        ------
        InvalidInputError
            If a value or a weight is invalid; the message contains its row and column.
        """
        if not isinstance(objective, Terms):
            raise InvalidInputError(f"objective is a {type(objective).__name__}: give an Objective")
        csr, weights = as_csr(matrix, weights)
        check_limit(csr.shape)
        n = int(csr.indptr[-1])
        return cls.of_arrays(
            objective, csr.shape, csr.indptr, csr.indices[:n], csr.data[:n], weights
        )

    @classmethod
    def of_arrays(
        cls,
        objective: Terms,
        shape: tuple[int, int],
        indptr: Array,
        indices: Array,
        values: Array | None,
        weights: Array | None,
    ) -> Self:
        """Create a problem from the arrays of a CSR matrix and the weights of its entries.

        Parameters
        ----------
        objective : Terms
            The objective to minimise.
        shape : tuple of int
            (n_rows, n_cols).
        indptr, indices : ndarray of int
            The structure of the CSR matrix.
        values : ndarray of float, shape (n_entries,), or None
            The stored values; None for ones.
        weights : ndarray of float, shape (n_entries,), or None
            The weights; None for ones.

        Returns
        -------
        Problem

        Raises
        ------
        InvalidInputError
            As for `of`.

        Examples
        --------
        >>> from twofold import Objective
        >>> indptr, indices = np.array([0, 2, 3]), np.array([0, 1, 1])
        >>> Problem.of_arrays(Objective(), (2, 2), indptr, indices, None, None).n_entries
        3
        """
        if weights is not None and objective.data not in ("ones", "targets"):
            raise InvalidInputError(
                f'data="{objective.data}" reads the weights from the matrix: give weights= with '
                'data="ones" or "targets" only'
            )
        if objective.data == "ones":
            values = None
        indptr, indices, values, given = _sorted(shape, indptr, indices, values, weights)
        targets, weights = _targets_and_weights(objective, indptr, indices, values, given)
        if weights.size and not weights.all():
            kept = weights > 0.0
            indptr = np.concatenate([[0], np.cumsum(kept)])[indptr]
            targets = targets[kept] if targets.size else targets
            indices, weights = indices[kept], weights[kept]
        entries = Entries(
            _writable(indptr, np.int64), _writable(indices, np.int32),
            targets, weights, _excluded(objective.missing_weight, indptr, indices),
            float(objective.missing_weight), _EMPTY,
        )  # fmt: skip
        shape = (int(shape[0]), int(shape[1]))
        return cls(objective, shape, side_of(objective, entries, shape[1]))

    def original_factors(self, point: Point) -> tuple[Array, Array]:
        """Return the factors P and Q of a point, one row for each row and column of the data.

        Parameters
        ----------
        point : Point
            A point of this problem.

        Returns
        -------
        tuple of ndarray, shape (n_rows, k) and (n_cols, k)
        """
        return point.row_factors, point.col_factors

    def restricted(self, P: Array, Q: Array) -> tuple[Array, Array]:
        """Return the factors of this problem's rows and columns, the inverse of the above.

        Parameters
        ----------
        P, Q : ndarray
            Factors with a row for each row and column of the data.

        Returns
        -------
        tuple of ndarray
            Those of the rows and columns of this problem.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> P, Q = problem.original_factors(point)
        >>> [part.shape for part in problem.restricted(P, Q)]
        [(2, 1), (3, 1)]
        """
        return P, Q

    def evaluated(self, point: Point, n_threads: int | None = None) -> Point:
        """Return the point with its value; see `evaluate_point`.

        Parameters
        ----------
        point : Point
            The point to evaluate.
        n_threads : int, optional
            Number of threads; default all.

        Returns
        -------
        Point

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> problem.evaluated(point).value.loss, problem.is_finite(point)
        (1.0, True)
        """
        return evaluate_point(self, point, n_threads)

    def is_finite(self, point: Point) -> bool:
        """Return whether all factors are finite.

        Parameters
        ----------
        point : Point
            A point of this problem.

        Returns
        -------
        bool
        """
        sides = zip((point.rows, point.cols), point.gramians, strict=True)
        return all(  # The diagonal of a Gramian has the square of every factor.
            (gram is not None and bool(np.isfinite(gram).all())) or is_finite(factors)
            for factors, gram in sides
        )

    def limit(
        self, first: float, n_factors: int, dtype: Any, n_threads: int | None = None
    ) -> float:
        """Return ten times the objective at the start, ``first``, and at the centers.

        A run that exceeds it has diverged.

        Parameters
        ----------
        first : float
            The objective at the start.
        n_factors : int
            Number of factors without the columns of biases.
        dtype : dtype
            Type of the factors.
        n_threads : int, optional
            Number of threads; default all.

        Returns
        -------
        float
            Infinity, if both objectives are 0.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> round(problem.limit(4.0, 1, "float32"), 3)
        40.0
        """
        at_zero = self.value(*self.origin(n_factors, dtype), n_threads=n_threads).total
        if first == at_zero == 0.0:
            return math.inf  # No scale to compare with, for example without entries.
        entries = self.rows.entries
        factors = [part for part in (entries.weights, *2 * [entries.targets]) if part.size]
        with np.errstate(over="ignore"):
            squares = float(self.n_entries)
            if factors:  # without temporary arrays
                squares = float(np.einsum(",".join("e" * len(factors)) + "->", *factors))
            rounding = 1e-6 * squares
        return max(first, at_zero) + 9.0 * max(abs(first), abs(at_zero)) + rounding

    @property
    def n_entries(self) -> int:
        """Number of stored entries with a weight > 0."""
        return int(self.rows.entries.indices.size)

    @cached_property
    def cols(self) -> Side:
        """The entries by column."""
        margin, own = self.col_margin, self.rows.entries
        indptr = np.concatenate([[0], np.cumsum(margin.counts)])
        entries = empty_entries(own, indptr)._replace(scale=margin.scale)
        by_column.transpose(own, indptr[:-1].copy(), entries)
        return Side(margin.counts, margin.summed_weights, margin.scale, entries)

    @cached_property
    def col_margin(self) -> Margin:
        """The counts and the penalty of the columns, without listing the entries by column."""
        counts, summed = np.zeros(self.shape[1], np.int64), np.zeros(self.shape[1])
        entries = self.rows.entries
        by_column.count_columns(entries.indices, entries.weights, counts, summed)
        return Margin(counts, summed, _scale(self.objective, summed, self.shape[0]))

    @cached_property
    def column_order(self) -> NDArray[Any]:
        """Positions of the entries of `rows`, in the order of `cols`; shape (n_entries,)."""
        order = empty_aligned((self.n_entries,), np.int32 if self.n_entries < 2**31 else np.int64)
        places = self.cols.entries.indptr[:-1].copy()
        by_column.order_by_column(self.rows.entries.indices, places, order)
        return order

    @cached_property
    def loss_call(self) -> LossCall:
        """The loss as an argument of kernels."""
        loss = self.objective.loss
        code = kernel_code(loss)
        if code != formulas.EXTERNAL:
            return LossCall(code, float(loss.kernel_parameter), 0, 0)
        return LossCall(code, 0.0, address_of(loss, "value"), address_of(loss, "derivative"))

    @cached_property
    def mean(self) -> float:
        """mu, to which the biases of columns are drawn; 0 without biases or without data.

        It is that of the objective, or the constant prediction that minimises the data terms for
        the squared loss: sum w r / (sum w + a0 |U|).
        """
        objective, rows = self.objective, self.rows
        if not objective.biases:
            return 0.0
        if objective.mean is not None:
            return float(objective.mean)
        entries, n_cells = rows.entries, float(self.shape[0] * self.shape[1])
        if entries.missing_weight:
            excluded = entries.excluded
            n_cells -= np.count_nonzero(excluded) if excluded.size else self.n_entries
        summed = explained = float(rows.summed_weights.sum())
        if entries.targets.size:
            targets, weights = entries.targets, entries.weights
            explained = float(np.sum(weights * targets if weights.size else targets))
        total = summed + objective.unobserved_weight * n_cells
        return explained / total if total else 0.0

    def around_centers(self, P: Array, Q: Array) -> tuple[Array, Array]:
        """Add the centers of the penalty to factors of shape (n, n_factors).

        If there are biases, the columns of b_u = 0 and b_i = mu are appended.

        Parameters
        ----------
        P, Q : ndarray, shape (n_rows, n_factors) and (n_cols, n_factors)
            Factors.

        Returns
        -------
        tuple of ndarray, shape (n_rows, k) and (n_cols, k)

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> objective = Objective(data="targets", biases=True)
        >>> problem = Problem.of(objective, sparse.csr_array([[3.0, 5.0], [0.0, 4.0]]))
        >>> P, Q = problem.around_centers(np.ones((2, 1)), np.ones((2, 1)))
        >>> P.tolist(), Q.tolist()
        ([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]], [[1.0, 1.0, 4.0], [1.0, 1.0, 4.0]])
        """
        n_columns = P.shape[1] + self.objective.n_bias_columns
        moved = []
        for factors, penalty in zip((P, Q), self.penalties(n_columns), strict=True):
            moved.append(around_center(factors, penalty.center, n_columns))
        return moved[0], moved[1]

    def origin(self, n_factors: int, dtype: Any) -> tuple[Array, Array]:
        """Return the factors at which the penalty is 0: zeros, apart from biases and centers.

        Parameters
        ----------
        n_factors : int
            Number of columns without those of the biases.
        dtype : dtype
            Type of the factors.

        Returns
        -------
        tuple of ndarray, shape (n_rows, k) and (n_cols, k)

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> [factors.shape for factors in problem.origin(4, "float32")]
        [(2, 4), (3, 4)]
        """
        zeros = [empty_aligned((n, n_factors), dtype) for n in self.shape]
        for factors in zeros:
            factors[...] = 0.0
        return self.around_centers(*zeros)

    def penalties(self, n_columns: int) -> Penalties:
        """Return the penalties of rows and columns whose factors have ``n_columns`` columns.

        Parameters
        ----------
        n_columns : int
            Number of columns of the factors, with those of biases.

        Returns
        -------
        Penalties
            The arguments of kernels for rows and for columns.

        Raises
        ------
        InvalidInputError
            If the centers have another shape than the factors.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> problem.penalties(4).rows.smooth
        True
        """
        if n_columns not in self._penalties:
            rows, cols = self.objective.regularizer.centers
            n_factors = n_columns - self.objective.n_bias_columns
            for name, centers, n in zip(
                ("row_center", "col_center"), (rows, cols), self.shape, strict=True
            ):
                if centers is not None:
                    centers.check_shape((n, n_factors), name)
            self._penalties[n_columns] = Penalties(
                self.penalty("row", n_columns, rows), self.penalty("col", n_columns, cols)
            )
        return self._penalties[n_columns]

    @cached_property
    def _penalties(self) -> dict[int, Penalties]:
        return {}

    def penalty(self, axis: Axis, n_columns: int, centers: Centers | None) -> PenaltyCall:
        """Return the penalty of rows or columns with the given centers, of any number.

        Parameters
        ----------
        axis : {"row", "col"}
            The side.
        n_columns : int
            Number of columns of the factors, with those of biases.
        centers : Centers or None
            The centers of these rows; None for zeros.

        Returns
        -------
        PenaltyCall
            The argument of kernels.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> problem.penalty("row", 4, None).smooth
        True
        """
        columns = BiasColumns.of(axis, n_columns) if self.objective.biases else None
        bias = self.mean if axis == "col" else 0.0
        center = padded_center(centers, columns, bias)
        return self.penalty_call._replace(
            center=center,
            first=int(center.any(axis=0).argmax()) if center.size else 0,
            fixed=-1 if columns is None else columns.fixed,
        )

    @cached_property
    def penalty_call(self) -> PenaltyCall:
        """The regulariser and the constraint as an argument of kernels, without centers."""
        regularizer, nonnegative = self.objective.regularizer, bool(self.objective.nonnegative)
        code, smooth = kernel_code(regularizer), bool(regularizer.smooth)
        if code != formulas.EXTERNAL:
            return PenaltyCall(code, 0, 0, smooth, nonnegative)
        follow = address_of(regularizer, "derivative" if smooth else "proximal")
        return PenaltyCall(code, address_of(regularizer, "value"), follow, smooth, nonnegative)

    @cached_property
    def fingerprint(self) -> str:
        """A hexadecimal hash of the objective and the stored entries."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.objective!r} {self.shape}".encode())
        for array in self.rows.entries[:4]:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def value(self, P: Array, Q: Array, *, n_threads: int | None = None) -> ObjectiveValue:
        """Return the objective at P (n_rows, k) and Q (n_cols, k), in float64.

        The factors are not validated; if they are not finite, the value is not finite either.

        Parameters
        ----------
        P, Q : ndarray, shape (n_rows, k) and (n_cols, k)
            Factors of one floating dtype.
        n_threads : int, optional
            Number of threads; default all.

        Returns
        -------
        ObjectiveValue

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> problem.value(point.row_factors, point.col_factors).loss
        1.0
        """
        value = evaluate_point(self, Point.of(P, Q), n_threads).value
        assert value is not None
        return value

    def gradient(
        self, P: NDArray[Number], Q: NDArray[Number], *, n_threads: int | None = None
    ) -> tuple[NDArray[Number], NDArray[Number]]:
        """Return the gradients with respect to P and Q, in the dtype of the factors.

        Parameters
        ----------
        P, Q : ndarray, shape (n_rows, k) and (n_cols, k)
            Factors of the same floating dtype.
        n_threads : int, optional
            Default: all.

        Returns
        -------
        tuple of ndarray
            Arrays of the shapes of P and Q; a subgradient where phi has a kink. A custom
            regulariser without a derivative is not included.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> dP, dQ = problem.gradient(point.row_factors, point.col_factors)
        >>> dP.round(2).tolist()
        [[-0.99], [-0.99]]
        """
        k = P.shape[1]
        _, dP, dQ = value_and_gradient(self, Point.of(P, Q), n_threads, subgradient=True)
        return np.ascontiguousarray(dP[:, :k]), np.ascontiguousarray(dQ[:, :k])

    def check_factors(self, row_factors: Any, col_factors: Any, name: str = "") -> None:
        """Raise unless the factors are finite 2-d arrays whose shapes match the matrix.

        Parameters
        ----------
        row_factors, col_factors : ndarray
            The factors to check.
        name : str, default ""
            A text before their names in the message, such as ``"init "``.

        Raises
        ------
        InvalidInputError
            If a shape does not match or an element is not finite.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold import Objective
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = Point.of(np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> problem.check_factors(np.ones((2, 4)), np.ones((3, 4)))
        """
        check_factors(row_factors, "row", self.shape[0], self.shape[1], name)
        check_factors(col_factors, "col", self.shape[1], self.shape[0], name)
        if not col_factors.shape[1]:
            raise InvalidInputError(f"{name}col_factors has no columns: give at least one factor")
        if row_factors.shape[1] != col_factors.shape[1]:
            raise InvalidInputError(
                f"{name}row_factors has {row_factors.shape[1]} factors, but {name}col_factors has "
                f"{col_factors.shape[1]}: they must be equal"
            )
        k = row_factors.shape[1]
        if self.objective.has_centers:
            self.penalties(k)
        if self.objective.biases:
            BiasColumns.of("row", k).check(row_factors, f"{name}row_factors")
            BiasColumns.of("col", k).check(col_factors, f"{name}col_factors")


def check_factors(factors: Any, axis: str, size: int, other_size: int, name: str = "") -> None:
    """Raise unless ``factors`` is a finite 2-d array with ``size`` rows."""
    label = f"{name}{axis}_factors"
    if getattr(factors, "ndim", None) != 2 or factors.dtype.kind not in "fiu":
        raise InvalidInputError(f"{label} must be a 2-d array of numbers, ({axis}s, factors)")
    if factors.shape[0] != size:
        hint = ": are rows and columns swapped?" if other_size == factors.shape[0] else ""
        raise InvalidInputError(
            f"{label} has {factors.shape[0]} rows, but the matrix has {size} {axis}s{hint}"
        )
    if not is_finite(factors):
        row, factor = np.argwhere(~np.isfinite(factors))[0]
        raise InvalidInputError(
            f"{label}[{row}, {factor}] is {factors[row, factor]}: factors must be finite"
        )


def _sorted(
    shape: Any, indptr: Array, indices: Array, values: Array | None, weights: Array | None
) -> tuple[Array, Array, Array | None, Array | None]:
    """Sort the entries of each row by column, and repeated ones by value and weight."""
    if is_ascending(indptr, indices):
        return indptr, indices, values, weights
    row = np.repeat(np.arange(shape[0]), np.diff(indptr))
    keys = [part for part in (weights, values) if part is not None]
    order = np.lexsort((*keys, indices, row))
    values, weights = (None if part is None else part[order] for part in (values, weights))
    return indptr, indices[order], values, weights


def _writable(array: Array, dtype: Any) -> Array:
    """Return the array in a dtype; numba would recompile every kernel for read-only arrays."""
    is_usable = array.dtype == dtype and array.flags.writeable
    return array if is_usable else aligned_copy(array, dtype)


def _targets_and_weights(
    objective: Terms,
    indptr: Array,
    indices: Array,
    values: Array | None,
    weights: Array | None,
) -> tuple[Array, Array]:
    """Return the targets r and weights w of the entries; an empty array stands for ones."""
    targets = _EMPTY
    index = (indptr, indices)
    if values is not None:
        values = aligned_copy(values, np.float64)
        prefix = f'with data="{objective.data}" it must be'
        _check(np.isfinite(values), values, *index, "value", f"{prefix} a finite number")
        if objective.data == "weights":
            rule = f"{prefix} a finite number >= 0, as it is a weight"
            _check(values >= 0.0, values, *index, "value", rule)
            weights = values
        else:
            if objective.data == "signed":
                weights = np.abs(values, out=empty_aligned(values.shape, np.float64))
            targets = values
            for low in range(0, targets.size, CHUNK):  # in parts, which bounds the memory
                targets[low : low + CHUNK] = objective.targets_of(targets[low : low + CHUNK])
        if targets.size:
            loss = objective.loss
            rule = f"{prefix} {loss.targets_text}, as it is a target of {type(loss).__name__}"
            _check(loss.valid_targets(targets), targets, *index, "value", rule)
    if weights is None:
        return targets, _EMPTY
    valid = np.isfinite(weights) & (weights >= 0.0)
    _check(valid, weights, *index, "weight", "it must be a finite number >= 0")
    return targets, weights


def _check(
    valid: Array, values: Array, indptr: Array, indices: Array, name: str, rule: str
) -> None:
    if not valid.all():
        entry = int(np.argmin(valid))
        row = int(np.searchsorted(indptr, entry, side="right")) - 1
        text = f"the {name} in row ", ", column ", f" is {values[entry]}: {rule}"
        raise EntryError(text, row, int(indices[entry]))


def _excluded(missing_weight: float, indptr: Array, indices: Array) -> Array:
    """Return `Entries.excluded`, which is 0 for entries with the cell of the previous entry."""
    if not missing_weight:
        return _EMPTY
    repeats = np.zeros(indices.size, np.bool_)
    repeats[1:] = indices[1:] == indices[:-1]
    starts = indptr[:-1]
    repeats[starts[starts < indices.size]] = False
    return np.where(repeats, 0.0, missing_weight) if repeats.any() else _EMPTY


def side_of(objective: Terms, entries: Entries, width: int) -> Side:
    """Return the rows of entries over ``width`` columns, or the columns over as many rows."""
    counts = entries.indptr[1:] - entries.indptr[:-1]
    summed = counts.astype(np.float64)
    if entries.weights.size:  # in parts, which bounds the memory
        for low, high in pairwise(balanced_bounds(counts, CHUNK)):
            row = np.repeat(np.arange(high - low), counts[low:high])
            weights = entries.weights[entries.indptr[low] : entries.indptr[high]]
            summed[low:high] = np.bincount(row, weights, minlength=high - low)
    scale = _scale(objective, summed, width)
    return Side(counts, summed, scale, entries._replace(scale=scale))


def _scale(objective: Terms, summed: Array, width: int) -> Array:
    """Return lam s_u of rows with ``width`` columns."""
    regularizer = objective.regularizer
    scales = regularizer.scale(summed, objective.unobserved_weight * width)
    return np.array(regularizer.weight * scales, dtype=np.float64)
