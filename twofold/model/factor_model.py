"""`FactorModel`: factors with ids; the requests to it are in requests.py."""

import os
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, ClassVar, Self

from twofold._common.arrays import FactorArray, Ids
from twofold._common.checks import check_flags, check_whole
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError, TwofoldError, UnsupportedObjectiveError
from twofold.model.changes import Changes
from twofold.model.file import read_model, write_model
from twofold.model.fitted import Fitted
from twofold.model.html import model_html
from twofold.model.parameters import WithParameters
from twofold.model.partitioned import PartitionedPairings
from twofold.model.requests import WithRequests
from twofold.model.serving import ColumnsOfParts
from twofold.model.update import aligned_factors, updated
from twofold.objective import Balanced, Objective
from twofold.solvers import ALS, Callback, Init, OnInterrupt, Solution, Solver
from twofold.solvers.unsolved import ids_in_errors

__all__ = ["FactorModel"]


class FactorModel(WithRequests, WithParameters):
    """An objective, a solver and, once fitted, the factors with their ids.

    Parameters
    ----------
    objective : Objective or Balanced, optional
        The function that `fit` minimises. The default, ``Balanced()``, derives an objective for
        recommendations from the sizes of the data.
    solver : Solver, optional
        The solver that minimises it; default ``ALS()``.

    Attributes
    ----------
    objective : Objective or Balanced
        The objective that `fit` minimised; before a fit, the one that was given.
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

    @property
    def objective(self) -> Objective | Balanced:
        """The objective that `fit` minimised; before a fit, the one that was given."""
        return self._given if self._fitted is None else self._fitted.objective

    @property
    def solution(self) -> Solution:
        """The result of `fit`; before a fit, this and other results raise NotFittedError."""
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
    def row_ids(self) -> Ids:
        """Ids of the trained rows, shape (n_rows,)."""
        fitted = self._get_fitted()
        fitted.check_has_rows("rows")
        return fitted.pairings.row_ids

    @property
    def col_ids(self) -> Ids:
        """Ids of the trained columns, shape (n_cols,)."""
        return self._get_fitted().pairings.col_ids

    @property
    def row_factors(self) -> FactorArray:
        """P, shape (n_rows, n_factors): the rows that minimise the objective for `col_factors`.

        They are those that `fold_in` finds for the training pairs, where ``solution.row_factors``
        were solved for the columns before the last half-step. They are the same as these if the
        objective is not quadratic (squared loss and L2) or the solver diverged.
        """
        fitted = self._get_fitted()
        fitted.check_has_rows("row factors")
        return fitted.row_factors

    @property
    def col_factors(self) -> FactorArray:
        """Q, shape (n_cols, n_factors)."""
        return self.solution.col_factors

    def fit(
        self,
        pairings: Pairings | PartitionedPairings,
        init: "Init | FactorModel" = None,
        callback: Callback | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        on_interrupt: OnInterrupt = "raise",
    ) -> Self:
        """Factorise the pairings.

        Parameters
        ----------
        pairings : Pairings or ClusterPairings
            What to train on. With `twofold.distributed.ClusterPairings` and the solver `DaskALS`,
            the model serves new rows, as one of ``save(path, serving=True)``.
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
        self._check(pairings)
        if isinstance(pairings, Pairings):
            matrix: Any = pairings.matrix
            weights, objective = pairings.weights, self._given.for_data(matrix, pairings.weights)
        else:
            matrix, weights, objective = pairings, None, pairings.objective_for(self._given)
        self._check_objective(objective)
        if isinstance(init, FactorModel):
            if not isinstance(pairings, Pairings):
                raise InvalidInputError(
                    "init= of a model is for Pairings: give its solution, if ClusterPairings have "
                    "the same rows and columns, or leave init= out"
                )
            fitted = init._get_fitted()
            init = aligned_factors(fitted, objective, pairings, self.solver.n_threads)
        is_here = isinstance(pairings, Pairings)
        with ids_in_errors(pairings.row_ids, pairings.col_ids) if is_here else nullcontext():
            solution = self.solver.solve(
                objective,
                matrix,
                init,
                callback,
                weights=weights,
                checkpoint=checkpoint,
                on_interrupt=on_interrupt,
            )
        if not isinstance(pairings, Pairings):
            pairings = ColumnsOfParts.of(pairings, objective, solution)
        self._fitted = Fitted(objective, solution, pairings, self.solver)
        return self

    def _check(self, pairings: object) -> None:
        """Raise InvalidInputError unless `fit` can use the pairings and the parts of the model."""
        if not isinstance(pairings, Pairings | PartitionedPairings):
            raise InvalidInputError(
                f"pairings is a {type(pairings).__name__}: give Pairings, for instance "
                "Pairings(matrix, row_ids, col_ids), or use the solver's solve with a matrix"
            )
        if isinstance(pairings, Pairings) and not pairings.n_pairs:
            raise InvalidInputError("there are no pairs: nothing can be learnt from them")
        for name, part, kinds in (
            ("objective", self._given, (Objective, Balanced)), ("solver", self.solver, (Solver,))
        ):  # fmt: skip
            if not isinstance(part, kinds):
                raise InvalidInputError(
                    f"{name} is a {type(part).__name__}: give FactorModel(objective, solver)"
                )
        if isinstance(pairings, PartitionedPairings) and not self.solver.reads_partitions:
            raise InvalidInputError(
                f"{type(self.solver).__name__} needs Pairings in this process: use DaskALS for "
                f"{type(pairings).__name__}"
            )

    def _check_objective(self, objective: Objective) -> None:
        """Raise UnsupportedObjectiveError unless the solver can minimise the objective."""
        missing = self.solver.supports.missing(objective)
        if missing and isinstance(self._given, Balanced):
            raise UnsupportedObjectiveError(
                f"{type(self.solver).__name__} does not support {missing}, which Balanced needs: "
                "use ALS, or an objective of the stored pairs only, Objective.notebook()"
            )
        try:
            self.solver.validate(objective)
        except TwofoldError as error:  # its sentence says all that the frames of checks would
            raise error.with_traceback(None) from None

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

        Examples
        --------
        >>> from twofold import Pairings
        >>> from twofold.solvers import ALS
        >>> model = FactorModel(solver=ALS(n_factors=2, rng=0))
        >>> model = model.fit(Pairings.from_arrays([1, 1, 2], [7, 9, 7]))
        >>> model.save("music.twofold")
        >>> FactorModel.load("music.twofold").col_ids.tolist()
        [7, 9]
        """
        check_flags(serving=serving)
        write_model(path, self._get_fitted(), self.solver, serving)

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
            If the factors are not those of as many rows and columns, or are not both float32 or
            both float64.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["a", "a", "b"], [1, 2, 2])
        >>> solver = ALS(n_factors=1, rng=0)
        >>> solution = solver.solve(Objective(), pairings.matrix)
        >>> FactorModel.from_solution(solution, pairings, Objective(), solver).row_ids
        array(['a', 'b'], dtype=object)
        """
        return cls._of(Fitted.checked(objective, solution, pairings, solver))

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
        check_flags(mmap=mmap)
        return cls._of(read_model(path, classes, mmap))

    @classmethod
    def _of(cls, fitted: Fitted) -> Self:
        model = cls(fitted.objective, fitted.solver)
        model._fitted = fitted
        return model
