"""`evaluate`: any number of models, judged on the same held-out pairs."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from twofold._common.checks import check_choice, check_whole
from twofold._common.each import Each, serially
from twofold.data.pairings import Pairings
from twofold.evaluation.predictions import (
    MEAN,
    MeanValue,
    Predictor,
    check_predictors,
    judged_predictions,
)
from twofold.evaluation.recommendations import POPULAR, Recommender, TrainedRows, judged_lists
from twofold.evaluation.result import Evaluation
from twofold.evaluation.task import Task
from twofold.exceptions import InvalidInputError, LeakWarning
from twofold.metrics.kinds import ErrorMetric, Metric
from twofold.metrics.names import available, get
from twofold.model.popularity import Popularity
from twofold.solvers import Solution
from twofold.splits import PairSplit
from twofold.splits.parts import canonical

__all__ = ["evaluate", "evaluated", "metrics_of"]

Model = Recommender | Predictor | Solution


def evaluate(
    models: Model | Mapping[str, Model],
    split: PairSplit,
    metrics: Sequence[str] = ("recall", "ndcg", "precision", "hit-rate"),
    k: int = 20,
    *,
    rows: Literal["fold-in", "trained"] = "fold-in",
    unknown: Literal["miss", "leave-out"] = "miss",
    baseline: bool = True,
) -> Evaluation:
    """Judge recommendations or predicted values by held-out pairs.

    Each row of ``split.seen`` gets its best columns, without those that it has already, and these
    are compared with its columns in ``split.heldout``. Every stored held-out pair counts, whatever
    its value and weight. Memory is bounded: rows are judged in batches.

    With the metrics "rmse" and "mae" the held-out pairs are predicted instead, as
    `FactorModel.predict` does, and compared with their targets, which are the stored values for
    ``data="targets"``. Weights are not used. The score is the error of all pairs together: RMSE is
    the root of the mean over the pairs, not a mean over rows.

    Parameters
    ----------
    models : Recommender, Solution, or mapping of str to these
        A fitted `FactorModel`, `Popularity`, or an object of your own that has ``pairings`` and
        ``recommend``, for errors ``predict``; or several by name. A `Solution` belongs to the rows
        and columns of ``split.seen``, by position, and has no errors.
    split : PairSplit
        ``seen`` and ``heldout`` of the same rows, as `split_pairs` and the other functions of
        `twofold.splits` return them.
    metrics : sequence of str, default ("recall", "ndcg", "precision", "hit-rate")
        Names of `twofold.metrics`, such as "recall@20"; a name without "@" is taken at `k`. "rmse"
        and "mae" are not mixed with others.
    k : int, default 20
        Length of the lists for metrics without a length of their own.
    rows : {"fold-in", "trained"}, default "fold-in"
        Whether rows are folded in by their seen pairs (strong generalisation, Marlin 2004); or are
        rows of the training data, whose trained factors recommend (weak generalisation); then
        their training pairs are not recommended, and ``split.seen`` only names the rows.
    unknown : {"miss", "leave-out"}, default "miss"
        What becomes of held-out pairs whose column a model does not have, and of rows without a
        known column. With "miss" they count: such a pair is a relevant column that is not found,
        and such a row scores 0, unless a model recommends without known columns, as `Popularity`
        does. With "leave-out" neither is in any denominator, as if the data had ended where the
        model's columns end. Models with different columns can only be compared by "miss". For
        errors, "miss" predicts such pairs as those of a column or row without pairs: 0, or with
        biases mu or the bias that is known. This includes rows="trained" for a row that is not a
        trained one.
    baseline : bool, default True
        Add the most popular columns of the first model's training pairs as one more model; for
        errors, the mean of the targets of these pairs.

    Returns
    -------
    Evaluation
        Scores, values of each row, and the counts of what was unknown.

    Raises
    ------
    InvalidInputError
        If a metric does not exist, errors are mixed with other metrics, a model predicts no values
        or the models have different targets, there is no model, the parts of the split have
        different rows, no row has a held-out pair or, with unknown="leave-out", none can be scored,
        or the kind of ids (integers, text) differs from the model's.
    UnknownIdError
        With rows="trained", if a row is not one of the trained rows and gets recommendations.

    Warns
    -----
    LeakWarning
        If held-out pairs are also given: in ``split.seen`` or, with rows="trained", in the training
        pairs. They cannot be recommended and are misses; their errors are too small.

    References
    ----------
    Marlin, "Collaborative Filtering: A Machine Learning Perspective", 2004, section 3.2.

    Examples
    --------
    >>> from twofold import FactorModel, split_pairs
    >>> pairings = Pairings.from_arrays([0, 0, 0, 1, 1, 1, 2, 2], [0, 1, 2, 0, 1, 2, 3, 4])
    >>> split = split_pairs(pairings, fraction=0.4, rng=0)
    >>> model = FactorModel().fit(split.seen)
    >>> evaluation = evaluate(model, split, ["hit-rate"], k=2)
    >>> evaluation.counts["model"].n_heldout_pairs
    3

    Errors of predicted ratings:

    >>> from twofold import L2, Objective
    >>> ratings = Pairings.from_arrays([0, 0, 1, 1, 2, 2], [0, 1, 0, 2, 1, 2], [5, 4, 3, 1, 4, 3])
    >>> split = split_pairs(ratings, fraction=0.4, rng=0)
    >>> objective = Objective(regularizer=L2(0.1), data="targets", biases=True)
    >>> model = FactorModel(objective).fit(split.train)
    >>> judged = evaluate(model, split, ["rmse"], rows="trained")
    >>> {name: round(scores["rmse"], 1) for name, scores in judged.scores.items()}
    {'model': 1.1, 'mean value': 1.6}
    """
    check_whole(k, "k", 1)
    return evaluated(
        models, split, metrics_of(metrics, k), rows=rows, unknown=unknown, baseline=baseline,
        each=serially,
    )  # fmt: skip


def evaluated(
    models: Model | Mapping[str, Model],
    split: PairSplit,
    chosen: Sequence[Metric],
    *,
    rows: Literal["fold-in", "trained"],
    unknown: Literal["miss", "leave-out"],
    baseline: bool,
    each: Each,
) -> Evaluation:
    """Return the result of `evaluate`, whose batches of rows are tasks of ``each``."""
    check_choice(rows, "rows", ("fold-in", "trained"))
    check_choice(unknown, "unknown", ("miss", "leave-out"))
    errors = [metric for metric in chosen if isinstance(metric, ErrorMetric)]
    seen, heldout = _rows_with_heldout(split)
    named = dict(models) if isinstance(models, Mapping) else {"model": models}
    baseline_name = MEAN if errors else POPULAR
    if not named or (baseline and baseline_name in named):
        raise InvalidInputError(
            f"models are {list(named)}: give at least one, and none with the name of the baseline, "
            f"{baseline_name!r}"
        )
    judged_models = _judged_models(named, split, bool(errors))
    if baseline:
        first = next(iter(judged_models.values()))
        judged_models[baseline_name] = (
            MeanValue(first) if errors else Popularity().fit(first.pairings)
        )
    judged = {}
    for name, model in judged_models.items():
        task = Task.of(model.pairings, seen, heldout, rows == "trained", unknown == "miss")
        if task.n_given_heldout and not (baseline and name == baseline_name):
            warnings.warn(_leak(task, name, rows, bool(errors)), LeakWarning, stacklevel=3)
        if not task.n_relevant.any():
            raise InvalidInputError(
                f'with unknown="leave-out" no row is scored for {name!r}, which has no held-out '
                'column of a row with a known one: use unknown="miss"'
            )
        judged[name] = (
            judged_predictions(model, task, errors, each)
            if errors
            else judged_lists(model, task, chosen, each)
        )
    return Evaluation(
        seen.row_ids,
        unknown,
        {name: scores for name, (scores, _, _) in judged.items()},
        {name: per_row for name, (_, per_row, _) in judged.items()},
        {name: counts for name, (_, _, counts) in judged.items()},
        "predictions" if errors else "recommendations",
    )


def _judged_models(named: Mapping[str, Any], split: PairSplit, predicted: bool) -> dict[str, Any]:
    """Return the models by name, those of solutions with their rows."""
    if predicted:
        check_predictors(named)
        return dict(named)
    return {
        name: TrainedRows(model, split.seen) if isinstance(model, Solution) else model
        for name, model in named.items()
    }


def _leak(task: Task, name: str, rows: str, predicted: bool) -> str:
    """Return the warning about held-out pairs that a model is given."""
    place = "the training pairs" if rows == "trained" else "split.seen"
    what = "which does not recommend what a row has: they are misses"
    if predicted:
        what = "so that its errors are too small"
    return (
        f"{task.n_given_heldout} held-out pairs are also given to {name!r}, {what}; leave them out "
        f"of {place}"
    )


def metrics_of(metrics: Sequence[str | Metric], k: int) -> list[Metric]:
    """Return metrics by their names, at k if a name has no length of its own."""
    if not isinstance(metrics, Sequence) or isinstance(metrics, str | bytes) or not metrics:
        raise InvalidInputError(
            f'metrics is {metrics!r}: give a list of at least one, such as ["recall@20"]'
        )
    chosen: list[Metric] = []
    for metric in metrics:
        name = metric.strip() if isinstance(metric, str) else metric
        has_length = isinstance(name, str) and f"{name.lower()}@k" not in available()
        if isinstance(name, Metric):
            chosen.append(name)
        else:
            chosen.append(get(name if has_length or not isinstance(name, str) else f"{name}@{k}"))
    errors = [metric.name for metric in chosen if isinstance(metric, ErrorMetric)]
    others = [metric.name for metric in chosen if not isinstance(metric, ErrorMetric)]
    if errors and others:
        raise InvalidInputError(
            f'"{errors[0]}" is an error of predicted values and "{others[0]}" judges '
            "recommendations: evaluate them in two calls"
        )
    return chosen


def _rows_with_heldout(split: PairSplit) -> tuple[Pairings, Pairings]:
    """Return the parts of a split without the rows that have no held-out pair."""
    parts: tuple[Any, ...] = split if isinstance(split, tuple) else ()
    if len(parts) != 2 or not all(isinstance(part, Pairings) for part in parts):
        raise InvalidInputError(
            f"split is a {type(split).__name__}: give a PairSplit, for instance of "
            "split_pairs(pairings)"
        )
    seen, heldout = parts
    if not np.array_equal(seen.row_ids, heldout.row_ids):
        raise InvalidInputError(
            "seen and heldout of the split have different rows: take the rows of one by "
            "take_rows(row_index(ids of the other))"
        )
    rows = np.flatnonzero(np.diff(heldout.matrix.indptr))
    if not rows.size:
        raise InvalidInputError("no row has a held-out pair: there is nothing to judge")
    return seen.take_rows(rows), canonical(heldout.take_rows(rows))[0]
