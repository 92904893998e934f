"""The result of a search: its trials, the best of them, and the model that it ends in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, overload

import numpy as np
from scipy import sparse

from twofold.data.pairings import Pairings
from twofold.data.with_frame import WithFrame
from twofold.exceptions import InvalidInputError
from twofold.model import FactorModel
from twofold.objective import Balanced, Objective
from twofold.plot.figures import draw_picture
from twofold.plot.searches import draw_trials
from twofold.solvers import Solver
from twofold.tuning.run import Runner, Trial
from twofold.tuning.space import plain_value

__all__ = ["SearchResult"]


@dataclass(frozen=True, eq=False, repr=False)
class SearchResult(WithFrame, Sequence[Trial]):
    """The trials of a search, best first. ``print`` shows them as a table.

    Parameters
    ----------
    trials : tuple of Trial
        Best first; those that failed are the last. Of successive halving, a trial that was
        continued is before those that were not.
    complete : bool
        False if the search was interrupted by Ctrl-C.
    runner : Runner
        The data, the score and the settings that the trials have in common.

    Notes
    -----
    `to_frame` has a line for each trial: ``number``, a column for each field that varies, the score
    by its name, ``train_total``, ``epochs``, ``seconds``, ``status`` and ``message``.

    Examples
    --------
    >>> from twofold.datasets import make_playlists
    >>> from twofold.solvers import ALS
    >>> from twofold.splits import split_rows
    >>> from twofold.tuning import Grid, search
    >>> train, validation, _ = split_rows(make_playlists(60, 40, n_groups=2).pairings, rng=0)
    >>> solver, strategy = ALS(max_epochs=2, rng=0), Grid({"n_factors": [2, 4]})
    >>> result = search(solver, Balanced(), train, validation, strategy)
    >>> len(result), result.names, result.score_name, result.higher_is_better
    (3, ['n_factors'], 'ndcg@20', True)
    >>> result.best is result[0], result.default.number
    (True, 0)
    >>> result.best_solver.n_factors == result.best.parameters["n_factors"]
    True
    >>> result.refit().row_ids.size
    51
    """

    trials: tuple[Trial, ...]
    complete: bool
    runner: Runner

    @classmethod
    def ranked(cls, trials: dict[int, Trial], complete: bool, runner: Runner) -> "SearchResult":
        """Make the result of finished trials.

        Parameters
        ----------
        trials : dict of int to Trial
            The trials by number.
        complete : bool
            False if the search was interrupted by Ctrl-C.
        runner : Runner
            What ran them.

        Returns
        -------
        SearchResult

        Examples
        --------
        >>> from twofold.datasets import make_playlists
        >>> from twofold.solvers import ALS
        >>> from twofold.splits import split_rows
        >>> from twofold.tuning import Grid, search
        >>> train, validation, _ = split_rows(make_playlists(60, 40, n_groups=2).pairings, rng=0)
        >>> solver, strategy = ALS(max_epochs=2, rng=0), Grid({"n_factors": [2, 4]})
        >>> result = search(solver, Balanced(), train, validation, strategy)
        >>> trials = {trial.number: trial for trial in result}
        >>> SearchResult.ranked(trials, True, result.runner).trials == result.trials
        True
        >>> figure = result.plot("search.png")
        """
        score = runner.score

        def place(trial: Trial) -> tuple[bool, int, float, int]:
            cost = score.cost_of(trial)
            return (cost == np.inf, -trial.rung, cost, trial.number)

        ranked = tuple(sorted(trials.values(), key=place))
        return cls(ranked, complete, runner)

    @property
    def score_name(self) -> str:
        """Name of the score."""
        return self.runner.score.name

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger score is better."""
        return self.runner.score.higher_is_better

    @property
    def best(self) -> Trial:
        """The trial with the best score.

        Raises
        ------
        InvalidInputError
            If no trial succeeded; it contains the reason of the first one.
        """
        if not self.trials:
            raise InvalidInputError("no trial was finished")
        if not np.isfinite(self.trials[0].score):
            first = self.trials[0]
            raise InvalidInputError(
                f"no trial succeeded; trial {first.number} ended with: {first.message}"
            )
        return self.trials[0]

    @property
    def default(self) -> Trial:
        """The trial of the solver and the objective as given.

        Raises
        ------
        InvalidInputError
            If it was interrupted.
        """
        for trial in self.trials:
            if not trial.number:
                return trial
        raise InvalidInputError("no trial was finished")

    @property
    def best_solver(self) -> Solver:
        """The solver of the best trial; with early stopping, with its best number of epochs."""
        solver, _ = self._best_settings(self.runner.train)
        return solver

    @property
    def best_objective(self) -> Objective | Balanced:
        """The objective of the best trial: `Balanced` if only its own fields were changed."""
        parameters = self._changed()
        given = self.runner.settings.given_objective(parameters)
        solver_fields = vars(self.runner.settings.solver)
        if isinstance(given, Balanced) and parameters.keys() <= solver_fields.keys():
            return given
        return self._best_settings(self.runner.train)[1]

    def refit(self, pairings: Pairings | None = None) -> FactorModel:
        """Train a model with the best parameters.

        Parameters
        ----------
        pairings : Pairings, optional
            The pairs to train on. Default: the training and the validation rows. `Balanced`
            derives its objective from these pairs.

        Returns
        -------
        FactorModel

        Raises
        ------
        InvalidInputError
            If no trial succeeded, or training and validation have a row in common.
        """
        if pairings is None:
            pairings = _all_rows(self.runner.train, self.runner.validation)
        solver, objective = self._best_settings(pairings)
        return FactorModel(objective, solver).fit(pairings)

    def _changed(self) -> dict[str, Any]:
        """Return the parameters of the best trial, without those that are the defaults."""
        best = self.best
        return dict(best.parameters) if best.number else {}

    def _best_settings(self, pairings: Pairings) -> tuple[Solver, Objective]:
        solver, objective = self.runner.settings.with_parameters(self._changed(), pairings)
        if self.runner.patience is not None:
            solver = replace(solver, max_epochs=self.best.epochs)
        return solver, objective

    @property
    def names(self) -> list[str]:
        """Names of the fields that vary."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.parameters))

    def _frame_columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = {"number": [trial.number for trial in self.trials]}
        columns |= {name: _column(self.trials, name) for name in self.names}
        columns[self.score_name] = [trial.score for trial in self.trials]
        for name in ("train_total", "epochs", "seconds", "status", "message"):
            columns[name] = [getattr(trial, name) for trial in self.trials]
        return columns

    def plot(self, target: Any = None) -> Any:
        """Draw the score over each field that varies; needs ``twofold[plot]``.

        Parameters
        ----------
        target : str, path-like, matplotlib.axes.Axes or sequence of these axes, optional
            A file for the picture, or axes to draw into, one for each field. Default: a new
            figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        InvalidInputError
            If matplotlib is not installed, nothing varies, no trial succeeded, there are too few
            axes, or the file cannot be written.
        """
        _ = self.best
        if not self.names:
            raise InvalidInputError("no field varies: there is nothing to draw")
        return draw_picture(target, self.names, partial(draw_trials, self))

    def __len__(self) -> int:
        return len(self.trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Trial, ...]: ...
    def __getitem__(self, index: int | slice) -> Trial | tuple[Trial, ...]:
        return self.trials[index]

    def __repr__(self) -> str:
        best = f", best {self.score_name} {self.trials[0].score:.6g}" if self.trials else ""
        return f"<SearchResult: {len(self.trials)} trials{best}>"

    def __str__(self) -> str:
        if not self.trials:
            return "no trials"
        head = ["trial", *self.names, self.score_name, "epochs", "seconds", "status"]
        rows = [
            [
                str(trial.number) if trial.number else "default",
                *(_shown(trial.parameters.get(name, "")) for name in self.names),
                f"{trial.score:.6g}",
                str(trial.epochs),
                f"{trial.seconds:.2f}",
                trial.status if trial.status != "failed" else f"failed: {trial.message}",
            ]
            for trial in self.trials
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        widths[-1] = 0  # the last column is aligned to the left
        lines = ["  ".join(map(str.rjust, row, widths)) for row in [head, *rows]]
        return "\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _column(trials: Sequence[Trial], name: str) -> list[Any]:
    """Return the values of a field with one type, texts where there are several."""
    values = [plain_value(trial.parameters.get(name)) for trial in trials]
    present = [value for value in values if value is not None]
    if any(isinstance(value, dict) for value in present):
        return [str(trial.parameters.get(name, "")) for trial in trials]
    kinds = {type(value) for value in present}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return values if len(kinds) <= 1 else [str(value) for value in values]


def _all_rows(train: Pairings, validation: Pairings) -> Pairings:
    """Return the rows of both, over the columns of either that have a pair."""
    if np.isin(validation.row_ids, train.row_ids).any():
        raise InvalidInputError(
            "train and validation have rows in common: give refit the pairings to train on"
        )
    validation = validation.drop_empty_cols()
    new = validation.col_ids[~np.isin(validation.col_ids, train.col_ids)]
    col_ids = np.concatenate([train.col_ids, new])
    parts = [part.align(col_ids) for part in (train, validation)]
    beside: dict[str, Any] = {
        name: np.concatenate([part.beside[name] for part in parts])
        for name in parts[0].beside
        if name in parts[1].beside
    }
    if len({"weights" in part.beside for part in parts}) > 1:
        raise InvalidInputError(
            "only one of train and validation has weights: give refit the pairings to train on"
        )
    matrix = sparse.csr_array(sparse.vstack([part.matrix for part in parts], format="csr"))
    row_ids = np.concatenate([part.row_ids for part in parts])
    return Pairings(matrix, row_ids, col_ids, **beside)
