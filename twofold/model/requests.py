"""`WithRequests`: what a fitted model computes for a request."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.arrays import FactorArray
from twofold._common.checks import check_choice, check_flags, check_whole
from twofold.data.entries import entries_of_columns
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError, NotFittedError
from twofold.model.checks import check_n
from twofold.model.explain import explained
from twofold.model.fitted import Fitted, Rows
from twofold.model.folded import FoldedRows
from twofold.model.predict import predicted, value_of_new
from twofold.model.ranking import Ranking, scores_of_pairs
from twofold.model.rules import by_cosine, ranked, rules_of
from twofold.objective import ObjectiveValue

__all__ = ["WithRequests"]


class WithRequests:
    """The requests to a fitted model: fold rows in, predict, recommend, explain.

    They read one `Fitted`, so that they run in several threads while a fit replaces it.
    """

    _fitted: Fitted | None

    def _get_fitted(self) -> Fitted:
        if self._fitted is None:
            raise NotFittedError("the model is not fitted: call fit(pairings) first")
        return self._fitted

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
        return self._get_fitted().folded(pairings, center)[0]

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
        >>> from twofold import FactorModel, Objective, Pairings
        >>> from twofold.solvers import ALS
        >>> ratings = Pairings.from_arrays([0, 0, 1, 1], [0, 1, 0, 1], [5.0, 4.0, 4.0, 3.0])
        >>> objective = Objective(data="targets", biases=True)
        >>> model = FactorModel(objective, ALS(n_factors=1, rng=0)).fit(ratings)
        >>> model.predict(Pairings.from_arrays([0, 1], [1, 1])).round(1)
        array([4., 3.])
        """
        check_pairings(pairings)
        return predicted(self._get_fitted(), pairings, seen, center)

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
        return value_of_new(self._get_fitted(), pairings, center)

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
            Columns for each row, >= 1: always exactly n, padded where there are no more. At most
            the number of columns of the model, or 100,000 if this is larger.
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
        >>> from twofold import FactorModel, Pairings
        >>> from twofold.solvers import ALS
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
        fitted = self._get_fitted()
        n = check_n(n, fitted.pairings.shape[1])
        check_flags(exclude_known=exclude_known)
        if fallback is not None:
            check_choice(fallback, "fallback", ("popular",))
        if isinstance(rows, Pairings):
            folded, new = fitted.folded(rows, center)
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
            Columns to recommend, >= 1, limited as in `recommend`.
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
        >>> from twofold import FactorModel, Pairings
        >>> from twofold.solvers import ALS
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> model.recommend_new([1, 2], n=1).col_ids
        array([[3]])
        """
        fitted = self._get_fitted()
        n = check_n(n, fitted.pairings.shape[1])
        check_flags(exclude_known=exclude_known)
        if fallback is not None:
            check_choice(fallback, "fallback", ("popular",))
        for name, given in (("candidates", candidates), ("exclude", exclude)):
            if isinstance(given, Pairings):
                raise InvalidInputError(f"{name} is Pairings: give the ids of columns")
        known = entries_of_columns(cols, fitted.pairings, unknown)
        factors = fitted.plain_row(known) if center is None else None
        if factors is None:
            factors = fitted.factors_of_new(known, center)
        ids = np.array([None if fitted.has_text_rows else -1])
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
            Rows for each column, >= 1, limited as in `recommend`: always exactly n, padded where
            there are no more.
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
        >>> from twofold import FactorModel, Pairings
        >>> from twofold.solvers import ALS
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> model.recommend_rows([3, 2], n=1).col_ids
        array([['a'],
               [None]], dtype=object)
        """
        fitted = self._get_fitted()
        fitted.check_has_rows("rows")
        n = check_n(n, fitted.pairings.shape[0], "row")
        check_flags(exclude_known=exclude_known)
        trained = fitted.pairings
        positions = trained.col_index(col_ids)
        return ranked(
            trained.col_ids[positions], trained.row_ids, fitted.solution.col_factors,
            fitted.row_factors, n, fitted.rows_of_cols if exclude_known else None,
            rows=positions, n_threads=fitted.solver.n_threads,
        )  # fmt: skip

    def score(self, row_ids: ArrayLike, col_ids: ArrayLike) -> FactorArray:
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
        >>> from twofold import FactorModel, Pairings
        >>> from twofold.solvers import ALS
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
        return scores_of_pairs(P, Q, rows, cols, fitted.solver.n_threads)

    def similar_cols(self, col_ids: ArrayLike, n: int = 10) -> Ranking:
        """Find the columns whose factors point the same way.

        Parameters
        ----------
        col_ids : array_like, shape (m,)
            Ids of trained columns.
        n : int, default 10
            Columns for each, >= 1, limited as in `recommend`; the column itself is left out.

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
        fitted = self._get_fitted()
        n = check_n(n, fitted.pairings.shape[1])
        positions = fitted.pairings.col_index(col_ids)
        return by_cosine(
            fitted.pairings.col_ids, positions, fitted.solution.col_factors,
            fitted.inverse_col_lengths, n, fitted.objective.n_bias_columns,
            fitted.solver.n_threads,
        )  # fmt: skip

    def similar_rows(self, row_ids: ArrayLike, n: int = 10) -> Ranking:
        """Find the rows whose factors point the same way.

        Parameters
        ----------
        row_ids : array_like, shape (m,)
            Ids of trained rows.
        n : int, default 10
            Rows for each, >= 1, limited as in `recommend`; the row itself is left out.

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
        >>> from twofold import FactorModel, Pairings
        >>> from twofold.solvers import ALS
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b", "c"], [1, 2, 1, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> model.similar_rows(["a"], n=1).col_ids
        array([['b']], dtype=object)
        """
        fitted = self._get_fitted()
        n = check_n(n, fitted.pairings.shape[0], "row")
        positions = fitted.pairings.row_index(row_ids)
        return by_cosine(
            fitted.pairings.row_ids, positions, fitted.row_factors,
            fitted.inverse_row_lengths, n, fitted.objective.n_bias_columns,
            fitted.solver.n_threads,
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
        >>> from twofold import FactorModel, Pairings
        >>> from twofold.solvers import ALS
        >>> pairings = Pairings.from_arrays(["a", "a", "b", "b"], [1, 2, 2, 3])
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
        >>> new = Pairings.from_arrays(["c", "c"], [1, 3])
        >>> [col for col, _ in model.explain(new, 3)]
        [3, 1]
        """
        check_whole(n, "n", 1)
        return explained(self._get_fitted(), row, col_id, n, center)
