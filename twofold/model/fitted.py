"""`Fitted`: the result of a fit, with the quantities that requests need."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.arrays import FactorArray, Ids
from twofold._common.cached import cached_property, state_of
from twofold._kernels.screen import Screen
from twofold.data.entries import AlignedEntries, aligned_entries, entries_of_rows
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError
from twofold.model.changes import Changes
from twofold.model.folded import FoldedRows
from twofold.model.popularity import count_rows
from twofold.model.ranking import Ranking, Rules
from twofold.model.rows import problem_of, solved_rows, solves_rows
from twofold.model.rules import inverse_lengths, ranked
from twofold.model.screening import prepare_screen, screen_pays
from twofold.model.serving import ServedColumns, factors_of_unknown
from twofold.objective import Objective, Problem
from twofold.solvers import Solution, Solver
from twofold.solvers.centered_system import CenteredSystem
from twofold.solvers.folding import fold_rows_in, penalty_of_new
from twofold.solvers.one_row import has_plain_rows, solve_plain_row

__all__ = ["Fitted", "Rows"]

_MIN_SHARE = 1 / 16  # of the rows, below which rows are solved without the others


class Rows(NamedTuple):
    """Rows to rank."""

    factors: FactorArray
    known: sparse.csr_array
    """The columns that each row has."""
    positions: NDArray[np.int64] | None = None
    """Their positions in the arrays above; None for all."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit made; a model replaces all of it at once, so that threads never see a part."""

    objective: Objective
    solution: Solution
    pairings: Pairings
    solver: Solver
    """That of the model; requests use its number of threads."""
    changes: Changes | None = None

    @classmethod
    def checked(
        cls, objective: Objective, solution: Solution, pairings: Pairings, solver: Solver
    ) -> "Fitted":
        """Raise InvalidInputError unless the factors are those of the pairings."""
        for name, part, kind in (("solution", solution, Solution), ("solver", solver, Solver)):
            if not isinstance(part, kind):
                raise InvalidInputError(
                    f"{name} is a {type(part).__name__}: give a {kind.__name__}"
                )
        check_pairings(pairings)
        P, Q = solution.row_factors, solution.col_factors
        problem = Problem.of(objective, pairings.matrix, pairings.weights)
        problem.check_factors(P, Q)
        if P.dtype != Q.dtype or P.dtype not in (np.float32, np.float64):
            raise InvalidInputError(
                f"row_factors are {P.dtype} and col_factors are {Q.dtype}: both must be float32 or "
                "both float64, by dataclasses.replace(solution, row_factors=..., col_factors=...)"
            )
        return cls(objective, solution, pairings, solver)

    @cached_property
    def row_factors(self) -> FactorArray:
        """The rows solved for the final columns, shape (n_rows, n_factors); see `solves_rows`."""
        if not solves_rows(self.objective, self.solution):
            return self.solution.row_factors
        return self._solved_rows()

    def rows_at(self, positions: NDArray[np.int64]) -> Rows:
        """Return rows of `row_factors`; a few are solved alone until all of them are solved."""
        is_few = positions.size < _MIN_SHARE * self.solution.row_factors.shape[0]
        if not is_few:
            return Rows(self.row_factors, self.pairings.matrix, positions)
        if "row_factors" in vars(self) or not solves_rows(self.objective, self.solution):
            factors = self.row_factors[positions]
        else:
            factors = self._solved_rows(positions)
        return Rows(factors, entries_of_rows(self.pairings, positions).matrix)

    def ranked(
        self,
        ids: Ids,
        rows: Rows,
        n: int,
        exclude_known: bool,
        fallback: Literal["popular"] | None,
        rules: Rules,
    ) -> Ranking:
        """Return the best columns of rows."""
        Q, n_threads = self.solution.col_factors, self.solver.n_threads
        is_screened = rules.allowed is None and screen_pays(ids.size, n, Q, n_threads)
        return ranked(
            ids, self.pairings.col_ids, rows.factors, Q, n,
            rows.known if exclude_known else None,
            rows=rows.positions,
            rules=rules,
            counts=None if fallback is None else self.col_counts,
            screen=self.screen if is_screened else None,
            n_threads=n_threads,
        )  # fmt: skip

    def _solved_rows(self, positions: NDArray[np.int64] | None = None) -> FactorArray:
        system = self.system
        with self._array_memory():
            return solved_rows(
                system,
                self.objective,
                self.pairings,
                self.solution,
                positions,
                self.solver.n_threads,
            )

    def _array_memory(self) -> AbstractContextManager[None]:
        """Return the context in which large arrays are in files of the solver's folder.

        It has no effect for a model from a file if there is no such folder on this machine.
        """
        folder = getattr(self.solver, "array_folder", None)
        if folder is None or os.path.isdir(folder):
            return self.solver.array_memory()
        return nullcontext()

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is prepared out of pickles: it is computed again."""
        return state_of(self)

    @cached_property
    def system(self) -> CenteredSystem:
        """The columns, prepared for folding rows in."""
        with self._array_memory():
            return CenteredSystem.prepare(self.objective, self.solution.col_factors)

    @cached_property
    def screen(self) -> Screen:
        """The columns in 8 bits, for requests of a few rows; n_factors + 8 bytes for each."""
        with self._array_memory():
            return prepare_screen(self.solution.col_factors, self.solver.n_threads)

    @cached_property
    def _has_plain_rows(self) -> bool:
        return has_plain_rows(self.objective)

    def plain_row(self, entries: AlignedEntries) -> FactorArray | None:
        """Return the factors of one new row of ones, or None if `factors_of_new` is needed."""
        if not self._has_plain_rows:
            return None
        return solve_plain_row(self.system.system, entries.indices)

    def folded(
        self, pairings: Pairings, center: ArrayLike | None
    ) -> tuple[FoldedRows, AlignedEntries]:
        """Fold rows in; return also their entries over the columns of the model."""
        check_pairings(pairings)
        known = aligned_entries(pairings, self.pairings)
        factors = self.factors_of_new(known, center)
        n_dropped = pairings.n_pairs - known.indices.size
        n_empty = int(np.count_nonzero(known.indptr[1:] == known.indptr[:-1]))
        return FoldedRows(pairings.row_ids, factors, n_dropped, known.lost.size, n_empty), known

    def factors_of_new(self, entries: AlignedEntries, center: ArrayLike | None) -> FactorArray:
        """Return the factors of new rows, by their entries over the columns of the model."""
        problem = problem_of(self.objective, entries)
        system = self.system
        penalty = penalty_of_new(problem, system.n_factors, center)
        with self._array_memory():
            return fold_rows_in(system, problem, penalty, self.solver.n_threads)

    @cached_property
    def of_unknown(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The factors of a row and of a column without pairs and centers, shape (n_factors,)."""
        if isinstance(self.pairings, ServedColumns):
            return self.pairings.of_unknown[0], self.pairings.of_unknown[1]
        P = self.row_factors if self.objective.biases else self.solution.row_factors
        return factors_of_unknown(self.objective, P, self.solution.col_factors)

    @cached_property
    def col_counts(self) -> NDArray[np.int64]:
        """Number of rows that have each column, for rows that cannot be ranked."""
        if isinstance(self.pairings, ServedColumns):
            return self.pairings.col_counts
        return count_rows(self.pairings.matrix)

    @property
    def has_text_rows(self) -> bool:
        """Whether the ids of the trained rows are texts."""
        if isinstance(self.pairings, ServedColumns):
            return self.pairings.has_text_rows
        return self.pairings.row_ids.dtype == object

    def check_has_rows(self, what: str) -> None:
        """Raise InvalidInputError if the model is for new rows only."""
        if isinstance(self.pairings, ServedColumns):
            raise self.pairings.no_rows(what)

    @cached_property
    def inverse_row_lengths(self) -> NDArray[np.float64]:
        """1 / |p_u| without the bias, for cosines."""
        return inverse_lengths(self.row_factors, self.objective.n_bias_columns)

    @cached_property
    def inverse_col_lengths(self) -> NDArray[np.float64]:
        """1 / |q_i| without the bias, for cosines."""
        return inverse_lengths(self.solution.col_factors, self.objective.n_bias_columns)

    @cached_property
    def rows_of_cols(self) -> sparse.csr_array:
        """The rows that have each column, shape (n_cols, n_rows)."""
        matrix = self.pairings.matrix
        stored = np.ones(matrix.indices.size, bool)
        pattern = sparse.csr_array((stored, matrix.indices, matrix.indptr), shape=matrix.shape)
        return sparse.csr_array(pattern.T)
