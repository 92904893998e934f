"""Models of pairs that grow: factors taken by id, and the update of a fitted model."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._kernels.threads import check_n_threads
from twofold._kernels.vectors.matrix import vector_bits
from twofold.data.entries import AlignedEntries, entries_of_rows
from twofold.data.pairings import Pairings
from twofold.data.united import United, united
from twofold.data.vocabulary import Vocabulary
from twofold.exceptions import InvalidInputError
from twofold.model.changes import Changes
from twofold.model.fitted import Fitted
from twofold.model.rows import problem_of
from twofold.model.serving import ColumnsOfParts
from twofold.objective import Objective, Problem
from twofold.objective.biases import Axis
from twofold.solvers import Record, Solution, Status
from twofold.solvers.centered_system import CenteredSystem
from twofold.solvers.folding import fold_rows_in

__all__ = ["aligned_factors", "updated"]

Positions = NDArray[np.int64]


def aligned_factors(
    fitted: Fitted, objective: Objective, pairings: Pairings, n_threads: int | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return initial factors of pairings, those of a model by id.

    Parameters
    ----------
    fitted : Fitted
        The model.
    objective : Objective
        The objective that is to be minimised.
    pairings : Pairings
        The pairs for it.
    n_threads : int, optional
        Default: all.

    Returns
    -------
    tuple of ndarray, shape (n_rows, k) and (n_cols, k)
        Rows that the model does not have are solved for its columns, and then columns that it does
        not have for all rows.

    Raises
    ------
    InvalidInputError
        If the model has no rows, or other biases than the objective.
    """
    _check_has_rows(fitted)
    if fitted.objective.biases != objective.biases:
        raise InvalidInputError(
            f"init= is a model with biases={fitted.objective.biases}, but the objective has "
            f"biases={objective.biases}: they must be equal"
        )
    trained = fitted.pairings
    at = (
        Vocabulary(trained.row_ids, "row").find(pairings.row_ids),
        Vocabulary(trained.col_ids, "column").find(pairings.col_ids),
    )
    problem = Problem.of(objective, pairings.matrix, pairings.weights)
    point = _Factors.taken(fitted.solution, problem, pairings, at, n_threads)
    return point.rows, point.cols


def updated(
    fitted: Fitted, pairings: Pairings, max_epochs: int, n_threads: int | None = None
) -> Fitted:
    """Return a model to which pairs are added; see `FactorModel.partial_fit`.

    Parameters
    ----------
    fitted : Fitted
        The model.
    pairings : Pairings
        The pairs to add.
    max_epochs : int
        Epochs over the rows and columns that have pairs in the update, >= 0.
    n_threads : int, optional
        Default: all.

    Returns
    -------
    Fitted

    Raises
    ------
    InvalidInputError
        As for `FactorModel.partial_fit`.
    """
    _check_has_rows(fitted)
    union, objective = united(fitted.pairings, pairings), fitted.objective
    _check_centers(objective, union.pairings)
    started = time.perf_counter()
    problem = Problem.of(objective, union.pairings.matrix, union.pairings.weights)
    at = [
        np.where(np.arange(n) < n_known, np.arange(n), -1)
        for n, n_known in zip(problem.shape, fitted.pairings.shape, strict=True)
    ]
    point = _Factors.taken(fitted.solution, problem, union.pairings, (at[0], at[1]), n_threads)
    rows, cols, changes = _changes(union, pairings, fitted.pairings.shape)
    history = [point.record(problem, 0, started)]
    for epoch in range(max_epochs):
        point.solve("row", rows)
        point.solve("col", cols)
        history.append(point.record(problem, epoch + 1, started))
    epochs = "1 epoch" if max_epochs == 1 else f"{max_epochs} epochs"
    solution = Solution(
        point.rows, point.cols, Status.MAX_EPOCHS,
        f"A model was updated by {epochs} over the rows and columns of {pairings.n_pairs} pairs.",
        tuple(history), "partial_fit", max_epochs, fitted.solution.seed,
        n_threads=check_n_threads(n_threads), vector_bits=vector_bits(),
    )  # fmt: skip
    return Fitted(objective, solution, union.pairings, fitted.solver, changes)


def _check_has_rows(fitted: Fitted) -> None:
    """Raise InvalidInputError unless the model has its training pairs."""
    if isinstance(fitted.pairings, ColumnsOfParts):
        raise InvalidInputError(
            "the model was fitted to pairings in parts and does not have them: fit "
            "ClusterPairings of all parts, the new ones included, or fold new rows in"
        )
    fitted.check_has_rows("rows")


@dataclass
class _Factors:
    """Factors of which some rows or columns are solved at a time."""

    objective: Objective
    pairings: Pairings
    rows: NDArray[Any]
    cols: NDArray[Any]
    n_threads: int | None

    @classmethod
    def taken(
        cls,
        solution: Solution,
        problem: Problem,
        pairings: Pairings,
        at: tuple[Positions, Positions],
        n_threads: int | None,
    ) -> "_Factors":
        """Return the factors at the given positions of a solution; those at -1 are solved."""
        given = (solution.row_factors, solution.col_factors)
        objective: Any = problem.objective
        k = given[1].shape[1] - objective.n_bias_columns
        factors = problem.origin(k, given[1].dtype)
        for new, own, positions in zip(factors, given, at, strict=True):
            is_known = positions >= 0
            new[is_known] = own[positions[is_known]]
        made = cls(objective, pairings, *factors, n_threads)
        made.solve("row", np.flatnonzero(at[0] < 0))
        made.solve("col", np.flatnonzero(at[1] < 0))
        return made

    def solve(self, axis: Axis, positions: Positions) -> None:
        """Replace rows or columns by those that minimise the objective for the other side."""
        if not positions.size:
            return
        own, other = (self.rows, self.cols) if axis == "row" else (self.cols, self.rows)
        entries_of = entries_of_rows if axis == "row" else _entries_of_cols
        problem = problem_of(self.objective, entries_of(self.pairings, positions))
        system = CenteredSystem.prepare(self.objective, other, axis, n_threads=self.n_threads)
        centers = self.objective.regularizer.centers[axis == "col"]
        penalty = problem.penalty(axis, other.shape[1], centers and centers.take(positions))
        own[positions] = fold_rows_in(system, problem, penalty, self.n_threads)

    def record(self, problem: Problem, epoch: int, started: float) -> Record:
        """Return the objective after an epoch."""
        seconds = time.perf_counter() - started
        value = problem.value(self.rows, self.cols, n_threads=self.n_threads)
        return Record.of(epoch, seconds, value)


def _entries_of_cols(pairings: Pairings, positions: Positions) -> AlignedEntries:
    """Return the entries of the columns at some positions, over the rows."""
    matrix = pairings.matrix
    place = np.full(matrix.shape[1], -1, np.int32)
    place[positions] = np.arange(positions.size)
    of_entry = place[matrix.indices]
    chosen = np.flatnonzero(of_entry >= 0)
    before = np.searchsorted(chosen, matrix.indptr)
    by_col = sparse.csr_array(
        (chosen, of_entry[chosen], before), shape=(matrix.shape[0], positions.size)
    ).tocsc()
    beside = {name: numbers[by_col.data] for name, numbers in pairings.beside.items()}
    return AlignedEntries(
        pairings.row_ids, by_col.indptr, by_col.indices, matrix.data[by_col.data], beside,
        by_col.indices[:0],
    )  # fmt: skip


def _changes(
    union: United, pairings: Pairings, known: tuple[int, int]
) -> tuple[Positions, Positions, Changes]:
    """Return the rows and the columns to solve, those with pairs in the update, and a report."""
    shape, matrix = union.pairings.shape, pairings.matrix
    has_pair = np.zeros(shape[0], np.bool_), np.zeros(shape[1], np.bool_)
    has_pair[0][union.rows[np.diff(matrix.indptr) > 0]] = True
    has_pair[1][union.cols[matrix.indices]] = True
    n_changed = [int(np.count_nonzero(has[:n])) for has, n in zip(has_pair, known, strict=True)]
    changes = Changes(
        n_new_rows=shape[0] - known[0],
        n_changed_rows=n_changed[0],
        n_new_cols=shape[1] - known[1],
        n_changed_cols=n_changed[1],
        n_new_pairs=pairings.n_pairs - union.n_replaced,
        n_replaced_pairs=union.n_replaced,
    )
    return np.flatnonzero(has_pair[0]), np.flatnonzero(has_pair[1]), changes


def _check_centers(objective: Objective, pairings: Pairings) -> None:
    """Raise InvalidInputError if new rows or columns need centers."""
    names = (("row", "row_center"), ("col", "col_center"))
    for (axis, name), centers, n in zip(
        names, objective.regularizer.centers, pairings.shape, strict=True
    ):
        if centers is not None and n > len(centers.values):
            raise InvalidInputError(
                f"the objective has {name}, and the update has {n - len(centers.values)} new "
                f"{axis}s, whose centers are unknown: give an objective with the centers of all "
                f"{axis}s to FactorModel(objective).fit(all_pairings, init=model)"
            )
