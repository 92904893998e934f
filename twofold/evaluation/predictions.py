"""Predicted values of the held-out pairs, and their errors."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold.data.pairings import Pairings
from twofold.evaluation.result import Counts
from twofold.evaluation.task import Task
from twofold.exceptions import InvalidInputError
from twofold.metrics.names import ErrorMetric
from twofold.objective import Objective

__all__ = ["MEAN", "MeanValue", "Predictor", "check_predictors", "judged_predictions"]

MEAN = "mean value"
"""Name of the baseline of predictions."""


class Predictor(Protocol):
    """What `evaluate` needs of a model for errors of predicted values; `FactorModel` has it.

    With an attribute ``objective``, an `Objective`, this says what the targets are.
    """

    @property
    def pairings(self) -> Pairings:
        """The training pairs."""

    def predict(self, pairings: Pairings, seen: Pairings | None = None) -> NDArray[np.float64]:
        """Predict pairs of trained rows, or of new rows with the pairs ``seen``."""


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
    model: Predictor, task: Task, metrics: Sequence[ErrorMetric]
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]], Counts]:
    """Return the scores, the values of rows and the counts of one model."""
    pairs = task.pairs
    predicted = model.predict(pairs, task.rows if isinstance(task.rows, Pairings) else None)
    values = _targets(model, pairs.matrix.data)
    scores = {metric.name: metric.value(predicted, values) for metric in metrics}
    per_row = {
        metric.name: metric.per_row(predicted, values, pairs.matrix.indptr) for metric in metrics
    }
    return scores, per_row, task.counts(n_unanswered=0)


def _targets(model: Any, values: ArrayLike) -> NDArray[np.float64]:
    """Return the targets of stored values: themselves for a model without an objective."""
    objective = getattr(model, "objective", None)
    if isinstance(objective, Objective):
        return objective.targets_of(values)
    return np.asarray(values, dtype=np.float64)
