"""What a search ranks trials by."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.data.pairings import Pairings
from twofold.evaluation import evaluate
from twofold.exceptions import InvalidInputError
from twofold.metrics import get
from twofold.model import FactorModel
from twofold.splits import PairSplit, split_pairs

if TYPE_CHECKING:
    from twofold.tuning.run import Trial

__all__ = ["Score", "resolve_score"]

_HIDDEN = 0.2  # share of each validation row's pairs
_OF_TABLE = {"col_counts", "n_train_rows"}  # data of metrics that `evaluate` has


@dataclass(frozen=True)
class Score:
    """A score of your own for the trials of a search.

    Parameters
    ----------
    function : callable
        ``function(model, validation)`` returns a number for a trained `FactorModel` and the
        validation rows as given (`Pairings`).
    higher_is_better : bool
        Whether a larger number is better.
    name : str, default "score"
        Heading of the score in tables.

    Examples
    --------
    >>> Score(lambda model, rows: model.value(rows).loss, higher_is_better=False, name="loss").name
    'loss'
    """

    function: Callable[[FactorModel, Pairings], float]
    _: KW_ONLY
    higher_is_better: bool
    name: str = "score"

    def cost(self, value: float) -> float:
        """Return a number that is smaller for a better value; inf for NaN.

        Parameters
        ----------
        value : float
            A score.

        Returns
        -------
        float

        Examples
        --------
        >>> Score(len, higher_is_better=True).cost(0.25)
        -0.25
        """
        if not np.isfinite(value):
            return float("inf")
        return -value if self.higher_is_better else value

    def cost_of(self, trial: "Trial") -> float:
        """Return the cost of a trial's score.

        Parameters
        ----------
        trial : Trial
            A finished trial.

        Returns
        -------
        float
        """
        return self.cost(trial.score)


def resolve_score(score: Any, validation: Pairings) -> Score:
    """Return the score of a name.

    Raises
    ------
    InvalidInputError
        If there is no such score, or the validation rows are too short for it.
    """
    if isinstance(score, Score):
        return score
    if score in ("total", "loss"):
        return Score(
            lambda model, rows: float(getattr(model.value(rows), score)),
            higher_is_better=False,
            name=score,
        )
    if not isinstance(score, str):
        what = "a callable" if callable(score) else repr(score)
        raise InvalidInputError(
            f"score is {what}: give the name of a metric, or Score(function, higher_is_better=True)"
        )
    return _of_metric(score, validation)


def _of_metric(name: str, validation: Pairings) -> Score:
    try:
        metric = get(name)
    except InvalidInputError as error:
        raise InvalidInputError(
            f'score is {name!r}: {error}; "total" and "loss" are scores too'
        ) from error
    missing = set(metric.needs) - _OF_TABLE
    if missing:
        raise InvalidInputError(
            f"score is {name!r}: it needs {' and '.join(missing)}; give a Score whose function has "
            "them"
        )
    split = _hidden_pairs(validation)
    return Score(
        lambda model, _: evaluate(model, split, [metric.name], baseline=False)[metric.name],
        higher_is_better=metric.higher_is_better,
        name=metric.name,
    )


def _hidden_pairs(validation: Pairings) -> PairSplit:
    split = split_pairs(validation, fraction=_HIDDEN, rng=0)
    if not split.heldout.n_pairs:
        raise InvalidInputError(
            "no validation row has the 3 pairs of which one can be hidden: give more validation "
            'rows, or score="total"'
        )
    return split
