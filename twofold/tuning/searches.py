"""`search` and `grid_search`: trials on training rows, ranked by a score of validation rows."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from twofold._common.checks import check_whole, seed_of
from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.objective import Balanced, Objective
from twofold.solvers import Solver
from twofold.tuning.execution import Search
from twofold.tuning.result import SearchResult
from twofold.tuning.run import Runner, Trial
from twofold.tuning.scores import Score, resolve_score
from twofold.tuning.settings import Settings
from twofold.tuning.space import plain_value
from twofold.tuning.strategies import Grid, Halving, Strategy

if TYPE_CHECKING:
    from twofold.io.connect import Source
    from twofold.tuning.storage import StoredStudy

__all__ = ["grid_search", "prepare", "search"]


def search(
    solver: Solver,
    objective: Objective | Balanced,
    train: Pairings | Any,
    validation: Pairings | Any,
    strategy: Strategy,
    *,
    score: str | Score = "ndcg@20",
    patience: int | None = None,
    warm_start: bool = False,
    storage: "str | os.PathLike[str] | Source | None" = None,
    study: str | None = None,
    progress: bool = False,
    callback: Callable[[Trial], object] | None = None,
) -> SearchResult:
    """Train with different parameters, and rank them by a score of the validation rows.

    The first trial, number 0, is the solver and the objective as given. A trial that fails or
    diverges is a row of the result with its reason. Ctrl-C returns the trials that have finished.

    The names of a space are fields of the solver (``"n_factors"``, ``"learning_rate"``), of
    `Balanced` if the objective is one (``"ratio"``, ``"shrinkage"``), of `Objective`
    (``"unobserved_weight"``) and of its parts (``"regularizer.weight"``, ``"loss.delta"``). A
    field of `Balanced` is changed before the objective is derived from the training pairs, and one
    of `Objective` or its parts replaces what was derived.

    Parameters
    ----------
    solver : Solver
        With the fields that do not vary. All trials have the same seed.
    objective : Objective or Balanced
        With the fields that do not vary.
    train, validation : Pairings or scipy sparse matrix
        Different rows. Columns of pairings are matched by id, those of matrices by position.
        Columns without a training pair are unknown to the trained models.
    strategy : Strategy
        `Grid`, `Random`, `Halving` or `Optuna`, with the space of parameters.
    score : str or Score, default "ndcg@20"
        What ranks the trials. The name of a metric of `twofold.metrics`: a fifth of the pairs of
        each validation row is hidden, the row is folded in without them, and `evaluate` scores the
        recommendations or, for ``"rmse"`` and ``"mae"``, the predicted values of the hidden pairs.
        Hidden pairs with unknown columns count. ``"total"`` or ``"loss"``: the objective of the
        validation rows without unknown columns (`FactorModel.value`); values of different
        objectives are different functions. `Score` is for a function of your own.
    patience : int, optional
        Stop a trial after so many scores in a row that are not better than its best one, and take
        its best epoch. A trial is scored every ``evaluate_every`` epochs of the solver. Default:
        score it once, after its last epoch.
    warm_start : bool, default False
        Start a trial from the factors of the last trial with the same number of factors. It needs
        fewer epochs then, but the results depend on the order of the trials.
    storage : str, path-like, sqlalchemy.URL or sqlalchemy.Engine, optional
        A database or the path of an SQLite file, in whose table ``tuning_trials`` every trial is
        stored when it has ended. A search that was killed continues there, and ends with the
        trials of one that was not.
    study : str, optional
        Name of the search in the storage.
    progress : bool, default False
        Show a progress bar over the trials.
    callback : callable, optional
        ``callback(trial)`` after each trial.

    Returns
    -------
    SearchResult
        Trials, best first.

    Raises
    ------
    InvalidInputError
        If a name of the space is not a field, the score is unknown, options exclude each other, or
        the study was made with other data, another solver, objective, strategy or score.
    DatabaseReadError
        If the storage cannot be used.

    Notes
    -----
    NDCG@20 is the default because it counts the order of the recommendations, which recall ignores,
    and so tells more pairs of trials apart; see Valcarce, Bellogín, Parapar and Castells, "On the
    Robustness and Discriminative Power of Information Retrieval Metrics for Top-N Recommendation",
    RecSys 2018.

    Examples
    --------
    >>> from twofold import Balanced, split_rows
    >>> from twofold.datasets import make_playlists
    >>> from twofold.solvers import ALS
    >>> from twofold.tuning import Random
    >>> split = split_rows(make_playlists(200, 100, rng=0).pairings)
    >>> space = {"ratio": (1.0, 100.0, "log"), "n_factors": [4, 8]}
    >>> solver = ALS(n_factors=4, max_epochs=3, rng=0)
    >>> strategy = Random(space, n_trials=3)
    >>> result = search(solver, Balanced(), split.train, split.validation, strategy)
    >>> len(result), result.best.score >= result.default.score
    (4, True)
    >>> result.refit().row_ids.size  # training and validation rows
    170
    """
    prepared = prepare(
        solver, objective, train, validation, strategy,
        score=score, patience=patience, warm_start=warm_start, storage=storage, study=study,
    )  # fmt: skip
    return prepared.run(progress, callback)


def prepare(
    solver: Solver,
    objective: Objective | Balanced,
    train: Pairings | Any,
    validation: Pairings | Any,
    strategy: Strategy,
    *,
    score: str | Score = "ndcg@20",
    patience: int | None = None,
    warm_start: bool = False,
    storage: "str | os.PathLike[str] | Source | None" = None,
    study: str | None = None,
) -> Search:
    """Check the arguments of `search` and open the storage."""
    _check_options(strategy, patience, warm_start, storage, study)
    if storage is not None:
        _check_seed(solver)
    solver = replace(solver, rng=seed_of(solver.rng))
    train, validation = _as_pairings(train, validation)
    settings, space = Settings(solver, objective), strategy.dimensions
    settings.check_names(space)
    resolved = resolve_score(score, validation)
    defaults = settings.current(space, train)
    strategy.n_runs(solver.max_epochs)  # its checks
    runner = Runner(settings, train, validation, resolved, patience, warm_start)
    stored = None if storage is None else _opened(storage, str(study), runner, strategy)
    return Search(strategy, runner, defaults, stored)


def grid_search(
    solver: Solver,
    objective: Objective | Balanced,
    train: Pairings | Any,
    validation: Pairings | Any,
    grid: Mapping[str, Any],
    **options: Any,
) -> SearchResult:
    """Train with every combination of a grid, and rank them by a score of the validation rows.

    Parameters
    ----------
    solver, objective, train, validation
        As for `search`.
    grid : mapping of str to sequence
        Values to try for each name.
    **options
        As for `search`.

    Returns
    -------
    SearchResult
        Trials, best first: the defaults and every other combination.

    Raises
    ------
    InvalidInputError
        As for `search`.

    Examples
    --------
    >>> from twofold import Objective, split_rows
    >>> from twofold.datasets import make_playlists
    >>> from twofold.solvers import ALS
    >>> split = split_rows(make_playlists(200, 100, rng=0).pairings)
    >>> solver = ALS(n_factors=4, max_epochs=3, rng=0)
    >>> grid = {"regularizer.weight": [0.1, 1.0]}
    >>> result = grid_search(
    ...     solver, Objective.notebook(), split.train, split.validation, grid, score="total"
    ... )
    >>> result.best.parameters
    {'regularizer.weight': 0.005}
    """
    return search(solver, objective, train, validation, Grid(grid), **options)


def _check_options(
    strategy: Strategy, patience: int | None, warm_start: bool, storage: Any, study: str | None
) -> None:
    if not isinstance(strategy, Strategy):
        raise InvalidInputError(
            f"strategy is a {type(strategy).__name__}: give Grid(space), Random(space), "
            "Halving(space) or Optuna(space)"
        )
    if patience is not None:
        check_whole(patience, "patience", 1)
    if isinstance(strategy, Halving) and (patience is not None or warm_start):
        name = "warm_start" if patience is None else "patience"
        raise InvalidInputError(
            f"{name} is not for Halving, which stops trials and continues their own factors itself"
        )
    if warm_start and storage is not None:
        raise InvalidInputError(
            "warm_start=True needs the factors of the trials before, which storage does not keep: "
            "leave one of them out"
        )
    if (storage is None) != (study is None):
        raise InvalidInputError("`storage` and `study` belong together: give both or neither")
    if study is not None and not (isinstance(study, str) and 0 < len(study) <= 255):
        raise InvalidInputError(f"study is {study!r}: give a text of 1 to 255 characters")


def _check_seed(solver: Solver) -> None:
    if not isinstance(solver.rng, int | np.integer):
        raise InvalidInputError(
            f"rng is {solver.rng!r}: a stored search needs a solver with a number, such as rng=0, "
            "to be continued with the same seed"
        )


def _opened(
    storage: "str | os.PathLike[str] | Source", study: str, runner: Runner, strategy: Strategy
) -> "StoredStudy":
    from twofold.tuning.storage import StoredStudy, fingerprint_of

    settings = runner.settings
    solver = replace(settings.solver, n_threads=None, progress=False)  # which change no bit
    description = {
        "data": [fingerprint_of(runner.train), fingerprint_of(runner.validation)],
        "solver": plain_value(solver),
        "objective": plain_value(settings.objective),
        "strategy": strategy.describe(),
        "score": runner.score.name,
        "patience": runner.patience,
    }
    return StoredStudy.open(storage, study, description)


def _as_pairings(train: Any, validation: Any) -> tuple[Pairings, Pairings]:
    """Return pairings, those for training without columns that have no pair."""
    if isinstance(train, Pairings) != isinstance(validation, Pairings):
        raise InvalidInputError("train and validation must both be Pairings or both be matrices")
    if not isinstance(train, Pairings):
        if train.shape[1] != validation.shape[1]:
            raise InvalidInputError(
                f"train has {train.shape[1]} columns, but validation has {validation.shape[1]}: "
                "they must be the same columns; give Pairings, which are matched by id"
            )
        n_train, n_cols = train.shape
        cols, n_rows = np.arange(n_cols), n_train + validation.shape[0]
        train = Pairings(sparse.csr_array(train), np.arange(n_train), cols)
        validation = Pairings(sparse.csr_array(validation), np.arange(n_train, n_rows), cols)
    return train.drop_empty_cols(), validation
