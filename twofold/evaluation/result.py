"""The result of `evaluate`: scores, values of rows and counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from twofold._common.arrays import Ids
from twofold.data.with_frame import WithFrame
from twofold.exceptions import InvalidInputError
from twofold.metrics.statistics import Interval, PairedTest, bootstrap_interval, paired_test

__all__ = ["Counts", "Evaluation"]


@dataclass(frozen=True)
class Counts:
    """What an evaluation counted for one model.

    Parameters
    ----------
    n_rows : int
        Rows with held-out pairs.
    n_scored_rows : int
        Rows that the means are over.
    n_unanswered_rows : int
        Rows with held-out pairs that got no recommendation; 0 for errors of predicted values.
    n_unknown_rows : int
        Rows with held-out pairs of whose given pairs the model has no column; for errors of
        predicted values with rows="trained", also rows that the model was not trained on.
    n_heldout_pairs : int
        Held-out pairs; one that is stored twice counts once.
    n_unknown_pairs : int
        Held-out pairs whose column the model does not have.
    n_unknown_cols : int
        Different columns of these pairs.

    Examples
    --------
    Column 9 of the held-out pairs is in no training pair:

    >>> from twofold import Pairings, evaluate
    >>> from twofold.model import Popularity
    >>> from twofold.splits import PairSplit
    >>> seen = Pairings.from_arrays([1, 1, 2], [3, 4, 4])
    >>> heldout = Pairings.from_arrays([1, 2], [9, 3])
    >>> model = Popularity().fit(seen)
    >>> counts = evaluate(model, PairSplit(seen, heldout), baseline=False).counts["model"]
    >>> counts.n_heldout_pairs, counts.n_unknown_pairs, counts.n_unanswered_rows
    (2, 1, 1)
    """

    n_rows: int
    n_scored_rows: int
    n_unanswered_rows: int
    n_unknown_rows: int
    n_heldout_pairs: int
    n_unknown_pairs: int
    n_unknown_cols: int


@dataclass(frozen=True, eq=False)
class Evaluation(WithFrame):
    """Scores of models on the same held-out pairs. ``print`` shows them as a table.

    Parameters
    ----------
    row_ids : ndarray, shape (n_rows,)
        The rows of the split.
    unknown : {"miss", "leave-out"}
        How held-out pairs that a model cannot recommend are counted.
    scores : dict of str to dict of str to float
        For each model and each metric, by name, the mean over its rows, the value of the whole
        table of recommendations, or the error of all pairs.
    per_row : dict of str to dict of str to ndarray
        For each model and each metric that has a value for each row, these, shape (n_rows,); NaN
        for a row that is not scored. Those of "rmse" and "mae" are the mean squared and the mean
        absolute errors of the pairs of each row.
    counts : dict of str to Counts
        For each model.
    judged : {"recommendations", "predictions"}, default "recommendations"
        What was compared with the held-out pairs.

    Notes
    -----
    `to_frame` has a line for each model: ``model``, and a column for each metric and each of
    `counts`.

    Examples
    --------
    >>> from twofold import FactorModel, evaluate, split_pairs
    >>> from twofold.datasets import make_playlists
    >>> split = split_pairs(make_playlists(200, 100, rng=0).pairings, rng=0)
    >>> evaluation = evaluate(FactorModel().fit(split.train), split, ["recall@20"])
    >>> evaluation["recall@20"] > evaluation["most popular", "recall@20"]
    True
    >>> mean = evaluation.interval("recall@20", rng=0)
    >>> mean.low < evaluation["recall@20"] < mean.high
    True
    >>> evaluation.compare("recall@20", "model", "most popular", rng=0).p_value < 0.05
    True
    """

    row_ids: Ids
    unknown: Literal["miss", "leave-out"]
    scores: dict[str, dict[str, float]]
    per_row: dict[str, dict[str, NDArray[np.float64]]]
    counts: dict[str, Counts]
    judged: Literal["recommendations", "predictions"] = "recommendations"

    def __getitem__(self, key: str | tuple[str, str]) -> float:
        """Return the score by metric, of the first model; or by (model, metric)."""
        model, metric = (next(iter(self.scores)), key) if isinstance(key, str) else key
        try:
            return self.scores[model][metric]
        except KeyError:
            known = ", ".join([*self.scores, *next(iter(self.scores.values()))])
            raise InvalidInputError(
                f"there is no score {key!r}: models and metrics are {known}"
            ) from None

    def interval(self, metric: str, model: str | None = None, **options: Any) -> Interval:
        """Return the mean of a metric over the rows and its bootstrap interval.

        For "rmse" and "mae" each row counts once, whatever its number of pairs: the mean is that of
        the rows' mean squared or absolute errors, not the score.

        Parameters
        ----------
        metric : str
            A metric with a value for each row.
        model : str, optional
            Default: the first.
        **options
            As for `twofold.metrics.statistics.bootstrap_interval`.

        Returns
        -------
        Interval
        """
        return bootstrap_interval(self._rows_of(metric, model), **options)

    def compare(self, metric: str, first: str, second: str, **options: Any) -> PairedTest:
        """Test whether two models differ in a metric on the same rows.

        For "rmse" and "mae" the values of rows are their mean squared and absolute errors.

        Parameters
        ----------
        metric : str
            A metric with a value for each row.
        first, second : str
            Names of the models.
        **options
            As for `twofold.metrics.statistics.paired_test`.

        Returns
        -------
        PairedTest
            With the mean of first - second.
        """
        rows = (self._rows_of(metric, model) for model in (first, second))
        return paired_test(*rows, **options)

    def _rows_of(self, metric: str, model: str | None) -> NDArray[np.float64]:
        model = next(iter(self.scores)) if model is None else model
        try:
            return self.per_row[model][metric]
        except KeyError:
            raise InvalidInputError(
                f"{model!r} has no values of {metric!r} for each row: models are "
                f"{', '.join(self.scores)}, metrics {', '.join(self.per_row.get(model, {}))}"
            ) from None

    def _frame_columns(self) -> dict[str, Any]:
        lines = [
            {"model": model} | scores | vars(self.counts[model])
            for model, scores in self.scores.items()
        ]
        return {name: [line[name] for line in lines] for name in lines[0]}

    def __str__(self) -> str:
        names = list(next(iter(self.scores.values())))
        table = [["", *names]]
        for model, scores in self.scores.items():
            table.append([model, *(f"{scores[name]:.4f}" for name in names)])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in table
        ]
        return "\n".join([*lines, *self._notes()])

    def _notes(self) -> Iterator[str]:
        """Yield a sentence about each different set of counts."""
        for counts in dict.fromkeys(self.counts.values()):
            of = [model for model, own in self.counts.items() if own == counts]
            who = "" if len(of) == len(self.counts) else f"{', '.join(of)}: "
            if self.unknown == "leave-out":
                left = f"{counts.n_unknown_rows:,} rows without a known column are left out"
            elif self.judged == "predictions":
                left = (
                    f"{counts.n_unknown_rows:,} rows without a known column have the predictions "
                    "of columns and rows without pairs"
                )
            else:
                left = f"{counts.n_unanswered_rows:,} rows without a recommendation are misses"
            yield (
                f"{who}{counts.n_scored_rows:,} of {counts.n_rows:,} rows scored, "
                f"{counts.n_heldout_pairs:,} held-out pairs; {counts.n_unknown_pairs:,} pairs with "
                f"unknown columns and {left}."
            )
