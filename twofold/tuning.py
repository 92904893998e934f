"""Grid search over any field of a solver and of an objective."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.progress import progress_bar
from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.metrics import recall_at_k
from twofold.model.ranking import best_columns
from twofold.objective import Balanced, Objective
from twofold.solvers import Solver, Status, fold_in
from twofold.splits import split_pairs

__all__ = ["Score", "SearchResult", "Trial", "grid_search"]

_PARTS = ("loss", "regularizer")

Score = Callable[[Objective, Any, NDArray[Any], NDArray[Any]], float]


@dataclass(frozen=True)
class Trial:
    """One combination of the grid, and how it went."""

    parameters: dict[str, Any]
    score: float
    """On the validation rows, lower is better; inf if the trial failed or diverged."""
    train_total: float
    """Objective of the training rows after training; nan if the trial failed."""
    seconds: float
    """Training, with its evaluations, folding in and scoring."""
    status: str
    """Status of the solution, or "failed"."""
    message: str


@dataclass(frozen=True)
class SearchResult(Sequence[Trial]):
    """All finished trials, best first. ``print`` shows them as a table."""

    trials: tuple[Trial, ...]
    complete: bool
    """False if the search was interrupted (Ctrl-C): the trials are those that had finished."""

    @property
    def best(self) -> Trial:
        """The trial with the lowest score.

        Raises
        ------
        InvalidInputError
            If no trial succeeded; it names the first one's reason.
        """
        if not self.trials:
            raise InvalidInputError("no trial was finished")
        if not np.isfinite(self.trials[0].score):
            raise InvalidInputError(f"no trial succeeded; the first said: {self.trials[0].message}")
        return self.trials[0]

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, index: Any) -> Any:
        return self.trials[index]

    def __str__(self) -> str:
        if not self.trials:
            return "no trials"
        names = list(self.trials[0].parameters)
        head = [*names, "score", "train total", "seconds", "status"]
        rows = [
            [
                *(f"{trial.parameters[name]}" for name in names),
                f"{trial.score:.6g}",
                f"{trial.train_total:.6g}",
                f"{trial.seconds:.2f}",
                trial.status if trial.status != "failed" else f"failed: {trial.message}",
            ]
            for trial in self.trials
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(map(str.rjust, row, widths)).rstrip() for row in [head, *rows]]
        return "\n".join(lines)


def grid_search(
    solver: Solver,
    objective: Objective | Balanced,
    train: Pairings | Any,
    validation: Pairings | Any,
    grid: Mapping[str, Sequence[Any]],
    *,
    score: str | Score = "total",
    progress: bool = False,
    callback: Callable[[Trial], object] | None = None,
) -> SearchResult:
    """Train every combination, fold the validation rows in, and rank them.

    The validation rows are scored by `Objective.value` at their folded-in factors and the trained
    column factors, as the notebook does. A trial that fails or diverges becomes a row of the
    result with its reason; Ctrl-C returns the trials that had finished.

    Parameters
    ----------
    solver : Solver
        With the fields that do not vary. Every trial starts from the same seed: give ``rng`` an
        int.
    objective : Objective or Balanced
        With the fields that do not vary.
    train, validation : Pairings or scipy sparse matrix
        Different rows over the same columns. Pairings are aligned: pairs of tracks that do not
        occur in training are left out of the validation rows.
    grid : mapping of str to sequence
        Values to try for each name: a field of the solver (``"n_factors"``, ``"learning_rate"``),
        of the objective (``"unobserved_weight"``), or of its parts (``"regularizer.weight"``,
        ``"regularizer.exponent"``, ``"loss.delta"``).
    score : {"total", "loss", "recall"} or callable, default "total"
        What ranks the trials: the objective value or its loss part; values of different objectives
        are different functions. ``"recall"`` compares them too: a fifth of the pairs of each
        validation row is hidden before it is folded in, and the score is 1 - Recall@20 of the
        hidden ones. A callable ``score(objective, matrix, row_factors, col_factors)`` may
        compute something else, lower is better.
    progress : bool, default False
        Show a progress bar over the trials.
    callback : callable, optional
        ``callback(trial)`` after each trial, for instance to store it.

    Returns
    -------
    SearchResult
        Trials, best first.

    Raises
    ------
    InvalidInputError
        If a name of the grid is not a field, or the score is unknown.
    """
    if score not in ("total", "loss", "recall") and not callable(score):
        raise InvalidInputError(f'score is {score!r}: give "total", "loss", "recall" or a callable')
    if isinstance(solver.rng, np.random.Generator):
        solver = replace(solver, rng=int(solver.rng.integers(1 << 62)))
    train_matrix, validation_matrix = _matrices(train, validation)
    objective = objective.for_data(train_matrix)
    # All combinations are made before the first is trained: a misspelt name costs no time.
    combinations = list(_combinations(grid))
    _check_names(solver, objective, grid)
    trials: list[Trial] = []
    complete = False
    try:
        for parameters in progress_bar(combinations, desc="grid search", shown=progress):
            trial = _run(solver, objective, train_matrix, validation_matrix, parameters, score)
            trials.append(trial)
            if callback is not None:
                callback(trial)
        complete = True
    except KeyboardInterrupt:
        pass  # finished trials are worth more than the traceback; `complete` tells
    ranked = sorted(trials, key=lambda trial: trial.score)
    return SearchResult(tuple(ranked), complete)


def _combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for name, values in grid.items():
        if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
            raise InvalidInputError(f"the grid of {name!r} is {values!r}: give a list of values")
        if not len(values):
            raise InvalidInputError(f"the grid of {name!r} is empty: give at least one value")
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _configured(
    solver: Solver, objective: Objective, parameters: Mapping[str, Any]
) -> tuple[Solver, Objective]:
    """Put each parameter where it belongs: a whole regularizer first, then its weight."""
    for name, given in sorted(parameters.items(), key=lambda item: "." in item[0]):
        value = given.item() if isinstance(given, np.generic) else given
        if name in _names(solver):
            solver = replace(solver, **{name: value})
        elif name in _names(objective):
            objective = replace(objective, **{name: value})
        else:
            part, _, inner = name.partition(".")
            if inner not in _names(getattr(objective, part)):
                raise InvalidInputError(
                    f"{type(getattr(objective, part)).__name__} has no field {inner!r}"
                )
            changed = replace(getattr(objective, part), **{inner: value})
            objective = replace(objective, **{part: changed})
    return solver, objective


def _check_names(solver: Solver, objective: Objective, grid: Mapping[str, Sequence[Any]]) -> None:
    known = [*_names(solver), *_names(objective)]
    for part in _PARTS:
        for choice in [getattr(objective, part), *grid.get(part, ())]:
            if is_dataclass(choice):
                known += [f"{part}.{name}" for name in _names(choice)]
    for name in grid:
        if name not in known:
            raise InvalidInputError(
                f"{name!r} is not a field: there are {', '.join(dict.fromkeys(known))}"
            )


def _names(instance: Any) -> list[str]:
    return [field.name for field in fields(instance) if field.init]


def _matrices(train: Any, validation: Any) -> tuple[Any, Any]:
    if isinstance(train, Pairings) != isinstance(validation, Pairings):
        raise InvalidInputError("train and validation must both be Pairings or both be matrices")
    if isinstance(train, Pairings):
        return train.matrix, validation.align(train.col_ids).matrix
    if train.shape[1] != validation.shape[1]:
        raise InvalidInputError(
            f"train has {train.shape[1]} columns, but validation has {validation.shape[1]}: "
            "they must be the same columns; give Pairings, which are aligned by id"
        )
    return train, validation


def _hide(matrix: Any) -> tuple[Any, Any]:
    """Return the matrix without a fifth of each row's entries, and those entries."""
    pairings = Pairings(matrix, *map(np.arange, matrix.shape))
    split = split_pairs(pairings, fraction=0.2, rng=0)
    return split.seen.matrix, split.heldout.matrix


def _run(
    solver: Solver,
    objective: Objective,
    train: Any,
    validation: Any,
    parameters: dict[str, Any],
    score: str | Score,
) -> Trial:
    started = time.perf_counter()
    points, train_total = float("inf"), float("nan")
    try:
        solver, objective = _configured(solver, objective, parameters)
        solution = solver.solve(objective, train)
        status, message = solution.status.value, solution.message
        train_total = solution.objective_value
        if solution.status is not Status.DIVERGED:
            Q = solution.col_factors
            hidden = None
            if score == "recall":
                validation, hidden = _hide(validation)
            P = fold_in(objective, validation, Q, n_threads=solver.n_threads)
            if callable(score):
                points = float(score(objective, validation, P, Q))
            elif hidden is not None:
                found, _ = best_columns(P, Q, 20, validation)
                points = 1.0 - float(recall_at_k(found, hidden, 20))
            else:
                value = objective.value(validation, P, Q, n_threads=solver.n_threads)
                points = float(getattr(value, score))
    except Exception as error:  # also of a solver, objective or score that is the user's own
        status, message = "failed", f"{type(error).__name__}: {error}"
    if not np.isfinite(points):
        points = float("inf")
    return Trial(parameters, points, train_total, time.perf_counter() - started, status, message)
