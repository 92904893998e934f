"""`FactorModel`: factors with the ids of their rows and columns."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.checks import check_choice, check_whole
from twofold.data.files import read_file, write_file
from twofold.data.pairings import (
    AlignedEntries,
    Pairings,
    aligned_entries,
    check_pairings,
    entries_of_columns,
    from_parts,
    parts_of,
)
from twofold.data.vocabulary import Vocabulary
from twofold.exceptions import (
    FileFormatError,
    InvalidInputError,
    NotFittedError,
    UnsupportedObjectiveError,
)
from twofold.model.changes import Changes
from twofold.model.description import CENTERS, describe, restore_objective, restore_solver
from twofold.model.fitted import Fitted, Rows
from twofold.model.folded import FoldedRows
from twofold.model.html import model_html
from twofold.model.parameters import WithParameters
from twofold.model.ranking import Ranking, scores_of_pairs
from twofold.model.rows import problem_of
from twofold.model.rules import by_cosine, rules_of
from twofold.model.serving import ServedColumns, arrays_of_system, restore_system
from twofold.model.update import aligned_factors, updated
from twofold.objective import Balanced, Objective, ObjectiveValue, Problem, Side
from twofold.solvers import ALS, Callback, Init, OnInterrupt, Solution, Solver
from twofold.solvers.folding import fold_rows_in, penalty_of_new

__all__ = ["FactorModel", "FoldedRows"]

_VERSION = 1
_BLOCK = 1 << 14  # pairs that are predicted together


class FactorModel(WithParameters):
    """An objective, a solver and, once fitted, the factors with their ids.

    Parameters
    ----------
    objective : Objective or Balanced, optional
        What to minimise. The default, ``Balanced()``, makes an objective for recommendations of
        the sizes of the data in `fit`.
    solver : Solver, optional
        How; default ``ALS()``.

    Attributes
    ----------
    objective : Objective or Balanced
        What `fit` minimised; before it, what was given.
    solution : Solution
        Factors, status and history of the fit.
    row_ids, col_ids : ndarray
        Ids of the trained rows and columns.

    Examples
    --------
    >>> from twofold import Pairings
    >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    >>> model.recommend(["a"], n=1).col_ids
    array([[3]])
    """

    _parameters: ClassVar[dict[str, str]] = {"objective": "_given", "solver": "solver"}

    def __init__(
        self, objective: Objective | Balanced | None = None, solver: Solver | None = None
    ) -> None:
        self._given = Balanced() if objective is None else objective
        self.solver = ALS() if solver is None else solver
        self._fitted: Fitted | None = None

    def __repr__(self) -> str:
        fitted = "not fitted" if self._fitted is None else repr(self._fitted.solution)
        return f"<FactorModel: {self.objective}, {fitted}>"

    def _repr_html_(self) -> str:
        return model_html(self)

    def __sklearn_is_fitted__(self) -> bool:
        return self._fitted is not None

    def _get_fitted(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError("the model is not fitted: call fit(pairings) first")
        return self._fitted

    @property
    def objective(self) -> Objective | Balanced:
        """What `fit` minimised; before it, what the model was made with."""
        return self._given if self._fitted is None else self._fitted.objective

    @property
    def solution(self) -> Solution:
        """The result of `fit`; NotFittedError before it, as for all that is learnt."""
        return self._get_fitted().solution

    @property
    def changes(self) -> Changes | None:
        """What `partial_fit` changed, of the model that it returned; None for other models."""
        return self._get_fitted().changes

    @property
    def pairings(self) -> Pairings:
        """The pairs that the model was fitted to."""
        fitted = self._get_fitted()
        fitted.check_has_rows("pairs")
        return fitted.pairings

    @property
    def row_ids(self) -> NDArray[Any]:
        """Ids of the trained rows, shape (n_rows,)."""
        fitted = self._get_fitted()
        fitted.check_has_rows("rows")
        return fitted.pairings.row_ids

    @property
    def col_ids(self) -> NDArray[Any]:
        """Ids of the trained columns, shape (n_cols,)."""
        return self._get_fitted().pairings.col_ids

    @property
    def row_factors(self) -> NDArray[Any]:
        """P, shape (n_rows, n_factors): the rows that minimise the objective for `col_factors`.

        They are those that `fold_in` finds for the training pairs, where ``solution.row_factors``
        were solved for the columns before the last half-step. They are the same as these if the
        objective is not quadratic (squared loss and L2) or the solver diverged.
        """
        fitted = self._get_fitted()
        fitted.check_has_rows("row factors")
        return fitted.row_factors

    @property
    def col_factors(self) -> NDArray[Any]:
        """Q, shape (n_cols, n_factors)."""
        return self.solution.col_factors

    def fit(
        self,
        pairings: Pairings,
        init: "Init | FactorModel" = None,
        callback: Callback | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        on_interrupt: OnInterrupt = "raise",
    ) -> Self:
        """Factorise the pairings.

        Parameters
        ----------
        pairings : Pairings
            What to train on.
        init : tuple (P, Q), Solution or FactorModel, optional
            As for `Solver.solve`; or a fitted model, whose factors are taken by the ids of rows and
            columns. Rows that it does not have start at their solution for its columns, and then
            such columns at that for all rows.
        callback, checkpoint
            As for `Solver.solve`.
        on_interrupt : {"raise", "keep"}, default "raise"
            Effect of Ctrl-C. With "keep", the model has the factors of the last epoch that has
            finished, and ``model.solution`` can be given as ``init=`` to continue.

        Returns
        -------
        FactorModel
            Itself.

        Raises
        ------
        InvalidInputError
            If pairings is something else, or empty, or as for `Solver.solve`.

        Warns
        -----
        DivergenceWarning
            If the solver diverged; the model then has the last finite factors.
        """
        if not isinstance(pairings, Pairings):
            raise InvalidInputError(
                f"pairings is a {type(pairings).__name__}: give Pairings, for instance "
                "Pairings(matrix, row_ids, col_ids), or use the solver's solve with a matrix"
            )
        if not pairings.n_pairs:
            raise InvalidInputError("there are no pairs: nothing can be learnt from them")
        for name, part, kinds in (
            ("objective", self._given, (Objective, Balanced)), ("solver", self.solver, (Solver,))
        ):  # fmt: skip
            if not isinstance(part, kinds):
                raise InvalidInputError(
                    f"{name} is a {type(part).__name__}: give FactorModel(objective, solver)"
                )
        objective = self._given.for_data(pairings.matrix, pairings.weights)
        missing = self.solver.supports.missing(objective)
        if missing and isinstance(self._given, Balanced):
            raise UnsupportedObjectiveError(
                f"{type(self.solver).__name__} does not support {missing}, which Balanced needs: "
                "use ALS, or an objective of the stored pairs only, Objective.notebook()"
            )
        if isinstance(init, FactorModel):
            fitted = init._get_fitted()
            init = aligned_factors(fitted, objective, pairings, self.solver.n_threads)
        solution = self.solver.solve(
            objective,
            pairings.matrix,
            init,
            callback,
            weights=pairings.weights,
            checkpoint=checkpoint,
            on_interrupt=on_interrupt,
        )
        self._fitted = Fitted(objective, solution, pairings, self.solver)
        return self

    def partial_fit(self, pairings: Pairings, max_epochs: int = 1) -> "FactorModel":
        """Add pairs, such as those of a day, in a part of the time of `fit`; return a new model.

        The objective is that of `fit`, over all pairs so far, with its ``unobserved_weight`` and
        its mean. The factors of new rows are solved for the known columns, and then those of new
        columns for all rows. An epoch solves all rows that have pairs in ``pairings`` for fixed
        columns, and then all such columns for fixed rows, exactly. The other factors stay, so an
        epoch in which every row and column has a pair is one of ``ALS(row_solver="direct",
        acceleration=None)``. The objective does not increase, whatever the solver of the model.

        Parameters
        ----------
        pairings : Pairings
            The pairs, of rows and columns of the model and of new ones. A pair that the model has
            is replaced, with its value and weight.
        max_epochs : int, default 1
            Number of epochs, >= 0. With 0, only new rows and columns are solved.

        Returns
        -------
        FactorModel
            A new model, whose ``changes`` are the numbers of new and changed rows, columns and
            pairs. This model does not change, unlike an estimator of scikit-learn, so that it can
            serve requests until the other one takes its place.

        Raises
        ------
        InvalidInputError
            If the model is not fitted or was saved for serving, the kind of ids (integers, text)
            differs from its own, or there are new rows or columns and the objective has centers
            for them.
        SingularRowError
            If a row has no unique solution.

        Notes
        -----
        Known rows and columns keep their positions, and new ones follow in ascending order of
        their ids. Rows and columns whose pairs are only with each other stay at the solution of
        those without pairs, which is zero without biases: use `fit` for these.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> later = model.partial_fit(Pairings.from_arrays(["a", "c", "c"], [4, 1, 2]))
        >>> later.row_ids, later.changes.n_new_cols
        (array(['a', 'b', 'c'], dtype=object), 1)
        >>> later.recommend(["c"], n=1).col_ids
        array([[4]])
        """
        check_pairings(pairings)
        check_whole(max_epochs, "max_epochs", 0)
        fitted = self._get_fitted()
        model = type(self)(self._given, self.solver)
        model._fitted = updated(fitted, pairings, max_epochs, self.solver.n_threads)
        return model

    def fold_in(self, pairings: Pairings, *, center: ArrayLike | None = None) -> FoldedRows:
        """Find the factors of new rows; the model does not change.

        Parameters
        ----------
        pairings : Pairings
            New rows. Pairs with columns that are not in the model are left out and counted.
        center : array_like, shape (n_rows, n_factors), optional
            Their centers, as for `twofold.fold_in`; needed if the objective has ``row_center``.

        Returns
        -------
        FoldedRows

        Raises
        ------
        InvalidInputError
            If the model is not fitted, or the center is missing or has another shape.

        Warns
        -----
        ConvergenceWarning
            If an iterative method does not converge for a row. A fitted model counts the calls
            with such rows, also those of `predict`, `recommend` and `value`, and warns at the calls
            1, 10, 100 and so on.
        """
        return self._folded(self._get_fitted(), pairings, center)[0]

    def predict(
        self,
        pairings: Pairings,
        seen: Pairings | None = None,
        *,
        center: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """Predict the values of pairs: p . q, to which biases are added if the objective has them.

        Parameters
        ----------
        pairings : Pairings
            The pairs; their values are not used.
        seen : Pairings, optional
            Pairs of the same rows, from which these are folded in. By default they are rows that
            the model was trained on. Rows and columns that are unknown have the factors of those
            without pairs and center: zero, and biases of 0 and mu if ``unobserved_weight`` is 0.
        center : array_like, shape (n_rows, n_factors), optional
            The centers of the rows of ``seen``, as for `fold_in`.

        Returns
        -------
        ndarray of float64, shape (n_pairs,)
            In the order of the entries of ``pairings.matrix``.

        Raises
        ------
        InvalidInputError
            If the model is not fitted, or the kind of ids (integers, text) differs from its own.

        Examples
        --------
        >>> from twofold import Objective, Pairings
        >>> ratings = Pairings.from_arrays([0, 0, 1, 1], [0, 1, 0, 1], [5.0, 4.0, 4.0, 3.0])
        >>> objective = Objective(data="targets", biases=True)
        >>> model = FactorModel(objective, ALS(n_factors=1, rng=0)).fit(ratings)
        >>> model.predict(Pairings.from_arrays([0, 1], [1, 1])).round(1)
        array([4., 3.])
        """
        check_pairings(pairings)
        fitted = self._get_fitted()
        Q = fitted.solution.col_factors
        if seen is not None:
            folded = self._folded(fitted, seen, center)[0]
            P, row_ids = folded.row_factors, folded.row_ids
        else:
            fitted.check_has_rows("rows")
            if center is not None:
                raise InvalidInputError("center= is for rows that are folded in: give seen= too")
            P, row_ids = fitted.row_factors, fitted.pairings.row_ids
        rows = Vocabulary(row_ids, "row").find(pairings.row_ids)
        cols = Vocabulary(fitted.pairings.col_ids, "column").find(pairings.col_ids)
        matrix = pairings.matrix
        rows, cols = np.repeat(rows, np.diff(matrix.indptr)), cols[matrix.indices]
        predicted = np.empty(rows.size)
        for low in range(0, rows.size, _BLOCK):
            block = slice(low, low + _BLOCK)
            factors = []
            for own, at, of_unknown in zip(
                (P, Q), (rows[block], cols[block]), fitted.of_unknown, strict=True
            ):
                chosen = own[at].astype(np.float64)
                chosen[at < 0] = of_unknown
                factors.append(chosen)
            predicted[block] = (factors[0] * factors[1]).sum(axis=1)
        return predicted

    def value(self, pairings: Pairings, *, center: ArrayLike | None = None) -> ObjectiveValue:
        """Evaluate the objective of new rows at their folded-in factors.

        This is the validation error of the research notebook if the objective is its own. Pairs
        with columns that are not in the model are left out, as in `fold_in`.

        Parameters
        ----------
        pairings : Pairings
            New rows.
        center : array_like, shape (n_rows, n_factors), optional
            Their centers, as for `fold_in`.

        Returns
        -------
        ObjectiveValue
            Of the new rows and the trained columns.
        """
        fitted = self._get_fitted()
        folded, known = self._folded(fitted, pairings, center)
        P, Q = folded.row_factors, fitted.solution.col_factors
        weights = known.beside.get("weights")
        objective = fitted.objective
        objective = objective.with_centers(center, objective.regularizer.centers[1])
        return objective.value(known.matrix, P, Q, weights=weights, n_threads=self.solver.n_threads)

    def _folded(
        self, fitted: Fitted, pairings: Pairings, center: ArrayLike | None
    ) -> tuple[FoldedRows, AlignedEntries]:
        """Fold rows in; return also their entries over the columns of the model."""
        known = aligned_entries(pairings, fitted.pairings)
        factors = self._factors_of_new(fitted, known, center)
        n_dropped = pairings.n_pairs - known.indices.size
        n_empty = int(np.count_nonzero(known.indptr[1:] == known.indptr[:-1]))
        return FoldedRows(pairings.row_ids, factors, n_dropped, known.lost.size, n_empty), known

    def _factors_of_new(
        self, fitted: Fitted, entries: AlignedEntries, center: ArrayLike | None
    ) -> NDArray[Any]:
        problem = problem_of(fitted.objective, entries)
        penalty = penalty_of_new(problem, fitted.system.n_factors, center)
        return fold_rows_in(fitted.system, problem, penalty, self.solver.n_threads)

    def recommend(
        self,
        rows: ArrayLike | Pairings,
        n: int = 10,
        *,
        exclude_known: bool = True,
        candidates: ArrayLike | Pairings | None = None,
        exclude: ArrayLike | Pairings | None = None,
        fallback: Literal["popular"] | None = None,
        center: ArrayLike | None = None,
    ) -> Ranking:
        """Complete rows: the n columns with the highest predictions p . q.

        They are exact: every candidate is scored, or a bound of its prediction shows that it is not
        among them. Equal ones are ordered by the position of the column. The ranking of a row does
        not depend on the other rows, and is bitwise independent of the number of threads. See
        `best_columns` for the memory.

        Parameters
        ----------
        rows : array_like of ids, a single id, or Pairings
            Ids of trained rows; or new rows, which are folded in. For one new row without an id,
            see `recommend_new`.
        n : int, default 10
            Columns for each row, >= 1: always exactly n, padded where there are no more.
        exclude_known : bool, default True
            Leave out the columns that the row has already.
        candidates : array_like of ids, or Pairings, optional
            Ids of the only columns to recommend, for all rows; or for each row, found by its id,
            the columns that it has in these pairings: none if it is not among them. Columns that
            are not in the model are left out. Default: all columns.
        exclude : array_like of ids, or Pairings, optional
            Ids of columns that are not recommended, in the same ways.
        fallback : {"popular"}, optional
            Recommendations for a row whose factors are all zero, such as one without a known
            column. All of its predictions are zero, so it is padded by default. "popular"
            recommends the columns with the most training pairs, with their counts as scores, as
            `Popularity` does. ``Ranking.fallback`` marks these rows.
        center : array_like, shape (n_rows, n_factors), optional
            The centers of new rows, as for `fold_in`.

        Returns
        -------
        Ranking
            With shape (n_rows, n) each. With biases, a row without a known column is ranked by the
            biases of the columns, and with a center by this.

        Raises
        ------
        InvalidInputError
            If `n` or `fallback` is not one of the values above, or the kind of the ids (integers,
            text) of `candidates` or `exclude` differs from those of the model.
        UnknownIdError
            If a row id is not among the trained ones.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> new = Pairings.from_arrays(["c"], [9])
        >>> model.recommend(new, n=2).col_ids
        array([[-1, -1]])
        >>> ranking = model.recommend(new, n=2, fallback="popular")
        >>> ranking.col_ids, ranking.fallback
        (array([[2, 1]]), array([ True]))

        Only some columns, and all but some:

        >>> model.recommend(["a"], n=2, candidates=[1, 3], exclude_known=False).col_ids
        array([[1, 3]])
        >>> model.recommend(["a"], n=2, exclude=[1], exclude_known=False).col_ids
        array([[2, 3]])
        """
        check_whole(n, "n", 1)
        if fallback is not None:
            check_choice(fallback, "fallback", ("popular",))
        fitted = self._get_fitted()
        if isinstance(rows, Pairings):
            folded, new = self._folded(fitted, rows, center)
            ids, chosen = folded.row_ids, Rows(folded.row_factors, new.matrix)
        elif center is not None:
            raise InvalidInputError("center= is for new rows: give Pairings, not ids")
        else:
            positions = fitted.pairings.row_index(rows)
            ids, chosen = fitted.pairings.row_ids[positions], fitted.rows_at(positions)
        rules = rules_of(ids, fitted.pairings, candidates, exclude)
        return fitted.ranked(ids, chosen, n, exclude_known, fallback, rules)

    def recommend_new(
        self,
        cols: ArrayLike,
        n: int = 10,
        *,
        unknown: Literal["drop", "error"] = "drop",
        exclude_known: bool = True,
        fallback: Literal["popular"] | None = None,
        candidates: ArrayLike | None = None,
        exclude: ArrayLike | None = None,
        center: ArrayLike | None = None,
    ) -> Ranking:
        """Complete one new row that is given by its columns, such as a playlist in a request.

        It is that of `recommend` for `Pairings` of one row in which every value is 1, without the
        time to make them.

        Parameters
        ----------
        cols : array_like of ids, or a single id
            Ids of the columns that the row has, in any order. A repeated one counts once.
        n : int, default 10
            Columns to recommend, >= 1.
        unknown : {"drop", "error"}, default "drop"
            What to do with columns that are not in the model: leave them out, or raise.
        exclude_known, fallback
            As for `recommend`.
        candidates, exclude : array_like of ids, optional
            The only columns to recommend, and columns that are not recommended. Unknown ids are
            ignored.
        center : array_like, shape (1, n_factors), optional
            The center of the row, as for `fold_in`.

        Returns
        -------
        Ranking
            With shape (1, n) each. The row has no id: ``row_ids`` has -1, or None if the trained
            rows have text ids.

        Raises
        ------
        InvalidInputError
            If the model is not fitted, a parameter is not one of the values above, or the kind of
            ids (integers, text) differs from that of the columns of the model.
        UnknownIdError
            If ``unknown="error"`` and a column is not in the model.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> model.recommend_new([1, 2], n=1).col_ids
        array([[3]])
        """
        check_whole(n, "n", 1)
        if fallback is not None:
            check_choice(fallback, "fallback", ("popular",))
        fitted = self._get_fitted()
        for name, given in (("candidates", candidates), ("exclude", exclude)):
            if isinstance(given, Pairings):
                raise InvalidInputError(f"{name} is Pairings: give the ids of columns")
        known = entries_of_columns(cols, fitted.pairings, unknown)
        factors = fitted.plain_row(known) if center is None else None
        if factors is None:
            factors = self._factors_of_new(fitted, known, center)
        has_text = fitted.pairings.row_ids.dtype == object
        ids = np.array([None if has_text else -1])
        rules = rules_of(ids, fitted.pairings, candidates, exclude)
        chosen = Rows(factors, known.matrix)
        return fitted.ranked(ids, chosen, n, exclude_known, fallback, rules)

    def recommend_rows(
        self, col_ids: ArrayLike, n: int = 10, *, exclude_known: bool = True
    ) -> Ranking:
        """Find the rows to which columns can be recommended: those with the highest p . q.

        Parameters
        ----------
        col_ids : array_like, shape (m,)
            Ids of trained columns.
        n : int, default 10
            Rows for each column, >= 1: always exactly n, padded where there are no more.
        exclude_known : bool, default True
            Leave out the rows that have the column already.

        Returns
        -------
        Ranking
            ``row_ids`` are the given columns, and ``col_ids`` and ``positions`` the rows that were
            found for each. A column whose factors are all zero is padded.

        Raises
        ------
        UnknownIdError
            If an id is not among the trained columns.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> model.recommend_rows([3, 2], n=1).col_ids
        array([['a'],
               [None]], dtype=object)
        """
        check_whole(n, "n", 1)
        fitted = self._get_fitted()
        fitted.check_has_rows("rows")
        trained = fitted.pairings
        positions = trained.col_index(col_ids)
        return Ranking.of_factors(
            trained.col_ids[positions], trained.row_ids, fitted.solution.col_factors,
            fitted.row_factors, n, fitted.rows_of_cols if exclude_known else None,
            rows=positions, n_threads=self.solver.n_threads,
        )  # fmt: skip

    def score(self, row_ids: ArrayLike, col_ids: ArrayLike) -> NDArray[Any]:
        """Compute the predictions p . q of pairs of a trained row and a trained column.

        They are those by which `recommend` ranks, to the last bit. See `predict` for rows and
        columns that may be unknown.

        Parameters
        ----------
        row_ids, col_ids : array_like, shape (n_pairs,)
            Ids of the pairs.

        Returns
        -------
        ndarray, shape (n_pairs,)
            In the dtype of the factors.

        Raises
        ------
        InvalidInputError
            If the numbers of ids differ.
        UnknownIdError
            If an id is not among the trained rows or columns.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> model.score(["a", "b"], [1, 3]).shape
        (2,)
        """
        fitted = self._get_fitted()
        rows, cols = fitted.pairings.row_index(row_ids), fitted.pairings.col_index(col_ids)
        if rows.size != cols.size:
            raise InvalidInputError(
                f"there are {rows.size} row ids and {cols.size} column ids: give one of each for "
                "a pair"
            )
        P, Q = fitted.row_factors, fitted.solution.col_factors
        return scores_of_pairs(P, Q, rows, cols, self.solver.n_threads)

    def similar_cols(self, col_ids: ArrayLike, n: int = 10) -> Ranking:
        """Find the columns whose factors point the same way.

        Parameters
        ----------
        col_ids : array_like, shape (m,)
            Ids of trained columns.
        n : int, default 10
            Columns for each, >= 1; the column itself is left out.

        Returns
        -------
        Ranking
            ``row_ids`` are the given ids; scores are cosines, from -1 to 1 (0 for a zero column),
            without the biases.

        Raises
        ------
        UnknownIdError
            If an id is not among the trained columns.
        """
        check_whole(n, "n", 1)
        fitted = self._get_fitted()
        positions = fitted.pairings.col_index(col_ids)
        return by_cosine(
            fitted.pairings.col_ids, positions, fitted.solution.col_factors,
            fitted.inverse_col_lengths, n, fitted.objective.n_bias_columns,
            self.solver.n_threads,
        )  # fmt: skip

    def similar_rows(self, row_ids: ArrayLike, n: int = 10) -> Ranking:
        """Find the rows whose factors point the same way.

        Parameters
        ----------
        row_ids : array_like, shape (m,)
            Ids of trained rows.
        n : int, default 10
            Rows for each, >= 1; the row itself is left out.

        Returns
        -------
        Ranking
            ``row_ids`` are the given ids, and ``col_ids`` and ``positions`` the rows that were
            found for each; scores are cosines, as those of `similar_cols`.

        Raises
        ------
        UnknownIdError
            If an id is not among the trained rows.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b", "c"], [1, 2, 1, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> model.similar_rows(["a"], n=1).col_ids
        array([['b']], dtype=object)
        """
        check_whole(n, "n", 1)
        fitted = self._get_fitted()
        positions = fitted.pairings.row_index(row_ids)
        return by_cosine(
            fitted.pairings.row_ids, positions, fitted.row_factors,
            fitted.inverse_row_lengths, n, fitted.objective.n_bias_columns,
            self.solver.n_threads,
        )  # fmt: skip

    def explain(
        self, row: Any, col_id: Any, n: int = 10, *, center: ArrayLike | None = None
    ) -> list[tuple[Any, float]]:
        """Say which stored pairs of a row make up its prediction for a column.

        With a quadratic objective the folded-in prediction is a sum over the row's entries k,

            p . q_i = sum_k  w_k r_k  q_i' (a0 Q'Q + lam s_u I + sum_j c_j q_j q_j')^-1 q_k

        (Hu, Koren & Volinsky 2008, eq. 7), and these are its terms. With biases the prediction is
        that of a row without pairs and such a sum, with t_k of `CenteredSystem` instead of r_k. The
        same holds for centers.

        Parameters
        ----------
        row : int, str or Pairings
            The id of a trained row; or a new row, as Pairings with one row, of which the pairs
            with unknown columns are left out.
        col_id : int or str
            A trained column.
        n : int, default 10
            How many terms, >= 1.
        center : array_like, shape (1, n_factors), optional
            The center of a new row, as for `fold_in`.

        Returns
        -------
        list of (column id, float)
            The largest terms first. All of them add up to the prediction of the folded-in row, with
            biases or centers minus that of a row without pairs.

        Raises
        ------
        UnknownIdError
            If an id is unknown.
        UnsupportedObjectiveError
            If the objective is not quadratic (squared loss and L2), or has a constraint.
        SingularRowError
            If the row has no unique solution.
        InvalidInputError
            If Pairings have another number of rows, or the center is not as for `fold_in`.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> new = Pairings.from_arrays(["c", "c"], [1, 3])
        >>> [col for col, _ in model.explain(new, 3)]
        [3, 1]
        """
        check_whole(n, "n", 1)
        fitted = self._get_fitted()
        objective, pairings = fitted.objective, fitted.pairings
        missing = ALS.supports.missing(objective)
        if missing or objective.nonnegative:
            missing = missing or "nonnegative=True"
            raise UnsupportedObjectiveError(
                f"{missing} has no such sum: explain needs squared loss and L2"
            )
        col = int(pairings.col_index([col_id])[0])
        if not isinstance(row, Pairings):
            at, centers = pairings.row_index([row]), objective.regularizer.centers[0]
            row, center = pairings.take_rows(at), None if centers is None else centers.values[at]
        elif row.shape[0] != 1:
            raise InvalidInputError(
                f"row has {row.shape[0]} rows: give Pairings with the pairs of one row"
            )
        problem = problem_of(objective, aligned_entries(row, pairings))
        penalty = penalty_of_new(problem, fitted.system.n_factors, center)
        system, side = fitted.system.in_double.reduced(problem.rows, penalty.center)
        report = system.solve(_with_linear_term(side, col), way="direct")
        report.check(side)
        entries = side.entries
        shape = entries.indices.shape
        w, r = (np.broadcast_to(a if a.size else 1.0, shape) for a in entries[3:1:-1])
        terms = w * r * (system.col_factors[entries.indices] @ report.row_factors[0])
        order = np.argsort(-terms, kind="stable")[:n]
        ids = pairings.col_ids[entries.indices[order]]
        return list(zip(ids.tolist(), terms[order].tolist(), strict=True))

    def save(self, path: str | os.PathLike[str], *, serving: bool = False) -> None:
        """Write the model to a file; the format is that of `Pairings.save`.

        Parameters
        ----------
        path : str or path-like
            The file, by custom ``*.twofold``.
        serving : bool, default False
            Leave out the training pairs, the ids and factors of the trained rows, and what a
            solver needs to continue. The model that `load` returns then serves new rows
            (`fold_in`, `recommend`, `value` and `explain` with Pairings, `predict` with ``seen``),
            also with ``fallback="popular"``, and `similar_cols`; the rest raises InvalidInputError.
            The columns are stored prepared for requests, too, where `docs/model_file.md` says so:
            processes share them with ``load(path, mmap=True)``.

        Raises
        ------
        InvalidInputError
            If the model is not fitted, the file cannot be written, or the model is itself from a
            file for serving and `serving` is False.
        """
        fitted = self._get_fitted()
        objective, solution = fitted.objective, fitted.solution
        arrays: dict[str, NDArray[Any]] = {"col_factors": solution.col_factors}
        meta: dict[str, Any] = {"solver": describe(self.solver), "solution": solution.to_meta()}
        if serving:
            arrays |= ServedColumns.to_arrays(
                fitted.pairings.col_ids, fitted.col_counts, fitted.of_unknown
            ) | arrays_of_system(fitted)
            row_center, col_center = objective.regularizer.centers
            if row_center is not None:  # of no row, so that new rows still need one
                objective = objective.with_centers(row_center.take([]), col_center)
        else:
            fitted.check_has_rows("pairs")
            own, meta["pairings"] = parts_of(fitted.pairings)
            arrays |= own | {"row_factors": solution.row_factors}
            arrays |= {f"memory.{name}": array for name, array in solution.memory.items()}
        meta |= {"objective": describe(objective), "serving": serving}
        for name, centers in zip(CENTERS, objective.regularizer.centers, strict=True):
            if centers is not None:
                arrays[name] = centers.values
        write_file(path, "model", _VERSION, arrays, meta)

    @classmethod
    def from_solution(
        cls, solution: Solution, pairings: Pairings, objective: Objective, solver: Solver
    ) -> Self:
        """Make a model of a solution that a solver found.

        Parameters
        ----------
        solution : Solution
            What `Solver.solve` returned.
        pairings : Pairings
            The pairs that were solved for, with the ids of their rows and columns.
        objective : Objective
            What was minimised.
        solver : Solver
            The solver.

        Returns
        -------
        FactorModel

        Raises
        ------
        InvalidInputError
            If the factors are not those of as many rows and columns.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b"], [1, 2, 2])
        >>> solver = ALS(n_factors=1, rng=0)
        >>> solution = solver.solve(Objective(), pairings.matrix)
        >>> FactorModel.from_solution(solution, pairings, Objective(), solver).row_ids
        array(['a', 'b'], dtype=object)
        """
        problem = Problem.of(objective, pairings.matrix, pairings.weights)
        problem.check_factors(solution.row_factors, solution.col_factors)
        model = cls(objective, solver)
        model._fitted = Fitted(objective, solution, pairings, solver)
        return model

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, classes: Iterable[type] = (), mmap: bool = False
    ) -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.
        classes : iterable of type, optional
            Losses, regularisers and solvers of your own that the model was made with. A file
            never names code to import.
        mmap : bool, default False
            Map the arrays into memory, copy-on-write, instead of reading and verifying them: see
            `Pairings.open`. Processes that serve the same model share its memory then.

        Returns
        -------
        FactorModel

        Raises
        ------
        FileFormatError
            If the file is not a whole model, or needs a class that was not given.
        InvalidInputError
            If it cannot be opened.
        """
        arrays, meta = read_file(path, "model", _VERSION, mapped=mmap, verify=not mmap)
        try:
            objective = restore_objective(meta["objective"], classes, arrays)
            solver = restore_solver(meta["solver"], classes)
            if meta.get("serving"):
                pairings: Pairings = ServedColumns.of_arrays(arrays)
                arrays["row_factors"] = arrays["col_factors"][:0]
            else:
                pairings = from_parts(arrays, meta["pairings"])
            solution = Solution.from_arrays(arrays, meta["solution"])
            model = cls.from_solution(solution, pairings, objective, solver)
            restore_system(model._get_fitted(), arrays)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise FileFormatError(f"{str(path)!r} is not a whole model: {error}") from error
        return model


_NO_WEIGHT = 2.0**-600


def _with_linear_term(side: Side, col: int) -> Side:
    """Return a row whose only linear term is q_col: its solution is A^-1 q_col.

    The term is that of one more entry, whose weight is too small to change the matrix A.
    """
    own = side.entries
    n = own.indices.size
    weights = own.weights if own.weights.size else np.ones(n)
    entries = own._replace(
        indptr=np.array([0, n + 1]),
        indices=np.append(own.indices, np.int32(col)),
        targets=np.append(np.zeros(n), 1.0 / _NO_WEIGHT),
        weights=np.append(weights, _NO_WEIGHT),
        excluded=np.append(np.broadcast_to(side.excluded, n), 0.0),
    )
    return replace(side, counts=side.counts + 1, entries=entries)
