"""Predicted values of the held-out pairs, and their errors."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.each import Each, serially
from twofold.data.pairings import Pairings
from twofold.evaluation.result import Counts
from twofold.evaluation.task import GivenRows, Task
from twofold.exceptions import InvalidInputError
from twofold.metrics.kinds import ErrorMetric
from twofold.objective import Objective
from twofold.objective.side import balanced_bounds

__all__ = ["MEAN", "MeanValue", "Predictor", "check_predictors", "judged_predictions"]

_PAIRS = 1 << 18  # of a block, if workers share them

MEAN = "mean value"
"""Name of the baseline of predictions."""


class Predictor(Protocol):
    """What `evaluate` needs of a model for errors of predicted values; `FactorModel` has it.

    With an attribute ``objective``, an `Objective`, this says what the targets are.

    Examples
    --------
    A model that predicts the same for all pairs:

    >>> import numpy as np
    >>> from twofold import Pairings, evaluate, split_pairs
    >>> class Constant:
    ...     def __init__(self, pairings):
    ...         self.pairings = pairings
    ...
    ...     def predict(self, pairings, seen=None):
    ...         return np.full(pairings.n_pairs, 3.5)
    >>> ratings = Pairings.from_arrays([1, 1, 2, 2], [7, 8, 7, 8], [5.0, 2.0, 5.0, 2.0])
    >>> split = split_pairs(ratings, fraction=0.5, rng=0)
    >>> model = Constant(split.train)
    >>> model.predict(split.heldout)
    array([3.5, 3.5])
    >>> evaluate(model, split, ["mae"], baseline=False)["mae"]
    1.5
    """

    @property
    def pairings(self) -> Pairings:
        """The training pairs."""

    def predict(self, pairings: Pairings, seen: Pairings | None = None) -> NDArray[np.float64]:
        """Predict pairs of trained rows, or of new rows with the pairs ``seen``.

        Parameters
        ----------
        pairings : Pairings
            The pairs to predict. Their values are not used.
        seen : Pairings, optional
            The known pairs of the same rows, if these are not trained ones.

        Returns
        -------
        ndarray, shape (n_pairs,)
            The values, in the order of ``pairings.matrix``.
        """


class MeanValue:
    """A predictor of one value for all pairs: the mean target of a model's training pairs."""

    def __init__(self, model: Predictor) -> None:
        self.pairings = model.pairings
        self.objective = getattr(model, "objective", None)
        self.mean = float(np.mean(_targets(self, self.pairings.matrix.data)))

    def predict(self, pairings: Pairings, seen: Pairings | None = None) -> NDArray[np.float64]:
        """Return the mean for each pair."""
        return np.full(pairings.n_pairs, self.mean)


def check_predictors(models: Mapping[str, Any]) -> None:
    """Raise unless all models predict values, and read stored values as the same targets.

    Raises
    ------
    InvalidInputError
        If a model does not predict, or two have different targets.
    """
    readings = {}
    for name, model in models.items():
        if not callable(getattr(model, "predict", None)):
            raise InvalidInputError(
                f"{name!r} is a {type(model).__name__}, which predicts no values: rmse and mae "
                "need a FactorModel, for a Solution that of FactorModel.from_solution"
            )
        objective = getattr(model, "objective", None)
        data = objective.data if isinstance(objective, Objective) else "targets"
        readings[name] = "ones" if data == "weights" else data
    if len(set(readings.values())) > 1:
        listed = ", ".join(f'{name!r} as data="{data}"' for name, data in readings.items())
        raise InvalidInputError(
            f"models read stored values as different targets, {listed}: evaluate them apart"
        )


def judged_predictions(
    model: Predictor, task: Task, metrics: Sequence[ErrorMetric], each: Each = serially
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]], Counts]:
    """Return the scores, the values of rows and the counts of one model."""
    pairs = task.pairs
    predicted = _predicted(model, task, each)
    values = _targets(model, pairs.matrix.data)
    scores = {metric.name: metric.value(predicted, values) for metric in metrics}
    per_row = {
        metric.name: metric.per_row(predicted, values, pairs.matrix.indptr) for metric in metrics
    }
    return scores, per_row, task.counts(n_unanswered=0)


def _predicted(model: Predictor, task: Task, each: Each) -> NDArray[np.float64]:
    """Return the predictions of the held-out pairs."""
    pairs, seen = task.pairs, task.rows if isinstance(task.rows, Pairings) else None
    if each is serially:
        return model.predict(pairs, seen)
    work = sum(np.diff(part.matrix.indptr) for part in (pairs, seen) if part is not None)
    bounds = balanced_bounds(work, _PAIRS)
    rows = (np.arange(low, high) for low, high in pairwise(bounds))
    blocks = (
        (GivenRows.of(pairs, block), None if seen is None else GivenRows.of(seen, block))
        for block in rows
    )
    shared = (model, pairs.col_ids, None if seen is None else seen.col_ids)
    return np.concatenate([*each(_predicted_block, shared, blocks)])


def _predicted_block(
    shared: tuple[Predictor, NDArray[Any], Any], pairs: GivenRows, seen: GivenRows | None
) -> NDArray[np.float64]:
    model, col_ids, seen_ids = shared
    given: Any = None if seen is None else seen.over(seen_ids)
    wanted: Any = pairs.over(col_ids)
    return model.predict(wanted, given)


def _targets(model: Any, values: ArrayLike) -> NDArray[np.float64]:
    """Return the targets of stored values: themselves for a model without an objective."""
    objective = getattr(model, "objective", None)
    if isinstance(objective, Objective):
        return objective.targets_of(values)
    return np.asarray(values, dtype=np.float64)
