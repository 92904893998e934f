"""One trial: training, early stopping, scoring."""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from twofold._kernels.jit import compile_seconds
from twofold.data.pairings import Pairings
from twofold.exceptions import DivergenceWarning
from twofold.model import FactorModel
from twofold.objective import Objective
from twofold.solvers import Solution, Solver, Status
from twofold.tuning.scores import Score
from twofold.tuning.settings import Settings
from twofold.tuning.strategies import Proposal

__all__ = ["Runner", "Trial"]


@dataclass(frozen=True)
class Trial:
    """A combination of parameters, and its score.

    Parameters
    ----------
    number : int
        Position in the search; 0 is the solver and the objective as given.
    parameters : dict of str to object
        The value of each field that varies.
    score : float
        On the validation rows; NaN if the trial failed or diverged.
    train_total : float
        Objective of the training rows; NaN if the trial failed.
    epochs : int
        Epochs of the factors that were scored. With `patience` these are the best ones.
    seconds : float
        Training, with its evaluations and scoring, without compiling.
    status : str
        Status of the solution, or "failed".
    message : str
        The same in a sentence.
    finished : datetime
        When it ended, in UTC.
    rung : int, default 0
        Of successive halving: how often the trial was continued.

    Examples
    --------
    >>> from twofold import Balanced
    >>> from twofold.datasets import make_playlists
    >>> from twofold.solvers import ALS
    >>> from twofold.splits import split_rows
    >>> from twofold.tuning import Grid, search
    >>> train, validation, _ = split_rows(make_playlists(60, 40, n_groups=2).pairings, rng=0)
    >>> solver, strategy = ALS(n_factors=2, rng=0), Grid({"max_epochs": [3]})
    >>> trial = search(solver, Balanced(), train, validation, strategy).best
    >>> trial.status, trial.rung
    ('max_epochs', 0)
    >>> Score(len, higher_is_better=True).cost_of(trial) == -trial.score
    True
    """

    number: int
    parameters: dict[str, Any]
    score: float
    train_total: float
    epochs: int
    seconds: float
    status: str
    message: str
    finished: datetime
    rung: int = 0


@dataclass
class EarlyStopping:
    """A callback that scores a solution after each evaluation and keeps the best score."""

    patience: int
    score_of: Any
    score: Score
    best: float = float("nan")
    epochs: int = 0
    n_worse: int = 0

    def __call__(self, epoch: int, solution: Solution) -> bool:
        """Return whether ``patience`` scores in a row were not better than the best one."""
        if not epoch:
            return False  # the random start
        found = self.score_of(solution)
        if self.score.cost(found) < self.score.cost(self.best):
            self.best, self.epochs, self.n_worse = found, epoch, 0
        else:
            self.n_worse += 1
        return self.n_worse >= self.patience


@dataclass
class Runner:
    """Runs trials.

    Parameters
    ----------
    settings : Settings
        What is varied.
    train, validation : Pairings
        Different rows.
    score : Score
        Of the validation rows.
    patience : int, optional
        For early stopping.
    warm_start : bool
        Start from the factors of the last trial with as many factors.
    """

    settings: Settings
    train: Pairings
    validation: Pairings
    score: Score
    patience: int | None
    warm_start: bool
    _last: dict[int, tuple[Any, Any]] = field(default_factory=dict, init=False)
    _solutions: dict[int, Solution] = field(default_factory=dict, init=False)

    def run(self, proposal: Proposal, parameters: Mapping[str, Any]) -> Trial:
        """Run a trial; its exceptions become its message."""
        started, compiled = time.perf_counter(), compile_seconds()
        points, total, epochs = float("nan"), float("nan"), 0
        kept = {number: self._solutions.get(number) for number in proposal.kept}
        self._solutions = {number: each for number, each in kept.items() if each is not None}
        try:
            solver, objective = self.settings.with_parameters(proposal.parameters, self.train)
            stopping = None
            if self.patience is not None:
                stopping = EarlyStopping(
                    self.patience, lambda each: self._score(each, objective, solver), self.score
                )
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DivergenceWarning
                )  # the status of the trial says it
                solution = self._solution(proposal, solver, objective, stopping)
            status, message = solution.status.value, solution.message
            total, epochs = solution.objective_value, solution.n_epochs
            if solution.status is not Status.DIVERGED:
                if stopping is None or not stopping.epochs:
                    points = self._score(solution, objective, solver)
                else:
                    points, epochs = stopping.best, stopping.epochs
                    total = next(each.total for each in solution.history if each.epoch == epochs)
        except Exception as error:  # also of a solver, objective or score that is the user's own
            status, message = "failed", f"{type(error).__name__}: {error}"
        points = points if np.isfinite(points) else float("nan")
        seconds = time.perf_counter() - started - (compile_seconds() - compiled)
        return Trial(
            proposal.number, dict(parameters), points, total, epochs, max(seconds, 0.0), status,
            message, datetime.now(UTC), proposal.rung,
        )  # fmt: skip

    def _solution(
        self,
        proposal: Proposal,
        solver: Solver,
        objective: Objective,
        stopping: EarlyStopping | None,
    ) -> Solution:
        if proposal.epochs:
            return self._continued(proposal, solver, objective)
        matrix, weights = self.train.matrix, self.train.weights
        init = self._last.get(solver.n_factors) if self.warm_start else None
        solution = solver.solve(objective, matrix, init, stopping, weights=weights)
        if self.warm_start and solution.status is not Status.DIVERGED:
            self._last[solver.n_factors] = (solution.row_factors, solution.col_factors)
        return solution

    def _continued(self, proposal: Proposal, solver: Solver, objective: Objective) -> Solution:
        """Run the last of the numbers of epochs, or all of them if there is no solution yet.

        The solutions of a search that was interrupted are lost. They are found again by the same
        calls, so that their bits are the same.
        """
        solution = self._solutions.get(proposal.number)
        for epochs in proposal.epochs if solution is None else proposal.epochs[-1:]:
            solution = replace(solver, max_epochs=epochs).solve(
                objective, self.train.matrix, solution, weights=self.train.weights
            )
        assert solution is not None
        self._solutions[proposal.number] = solution
        return solution

    def _score(self, solution: Solution, objective: Objective, solver: Solver) -> float:
        model = FactorModel.from_solution(solution, self.train, objective, solver)
        return float(self.score.function(model, self.validation))
