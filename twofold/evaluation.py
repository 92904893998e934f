"""`evaluate`: any number of recommenders, judged on the same held-out pairs."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.checks import check_choice, check_whole
from twofold.data.csr import with_data
from twofold.data.make_frame import make_frame
from twofold.data.pairings import Pairings, aligned_entries
from twofold.exceptions import InvalidInputError, LeakWarning
from twofold.metrics.judged import judge
from twofold.metrics.names import Metric, RowTally, available, get
from twofold.metrics.statistics import Interval, PairedTest, bootstrap_interval, paired_test
from twofold.model.popularity import Popularity, count_rows
from twofold.model.ranking import Ranking
from twofold.solvers import Solution
from twofold.splits import PairSplit
from twofold.splits.parts import canonical

__all__ = ["Counts", "Evaluation", "Recommender", "evaluate"]

_PLACES = 1 << 20  # of the lists of a batch
POPULAR = "most popular"
"""Name of the baseline in an evaluation."""


class Recommender(Protocol):
    """What `evaluate` needs of a model; `FactorModel` and `Popularity` have it."""

    @property
    def pairings(self) -> Pairings:
        """The training pairs, with the ids of the columns that can be recommended."""

    def recommend(self, rows: Any, n: int = 10, *, exclude_known: bool = True) -> Ranking:
        """Return the n best columns for trained rows (ids) or for new ones (`Pairings`)."""


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
        Rows with held-out pairs that got no recommendation.
    n_unknown_rows : int
        Rows with held-out pairs of whose given pairs the model has no column.
    n_heldout_pairs : int
        Held-out pairs; one that is stored twice counts once.
    n_unknown_pairs : int
        Held-out pairs whose column the model does not have.
    n_unknown_cols : int
        Different columns of these pairs.
    """

    n_rows: int
    n_scored_rows: int
    n_unanswered_rows: int
    n_unknown_rows: int
    n_heldout_pairs: int
    n_unknown_pairs: int
    n_unknown_cols: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of models on the same held-out pairs. ``print`` shows them as a table.

    Parameters
    ----------
    row_ids : ndarray, shape (n_rows,)
        The rows of the split.
    unknown : {"miss", "leave-out"}
        How held-out pairs that a model cannot recommend are counted.
    scores : dict of str to dict of str to float
        For each model and each metric, by name, the mean over its rows, or the value of the whole
        table of recommendations.
    per_row : dict of str to dict of str to ndarray
        For each model and each metric that has a value for each row, these, shape (n_rows,); NaN
        for a row that is not scored.
    counts : dict of str to Counts
        For each model.
    """

    row_ids: NDArray[Any]
    unknown: Literal["miss", "leave-out"]
    scores: dict[str, dict[str, float]]
    per_row: dict[str, dict[str, NDArray[np.float64]]]
    counts: dict[str, Counts]

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

    def to_frame(self, backend: str | None = None) -> Any:
        """Return a data frame with a line for each model and a column for each metric and count.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            Library of the frame; default: the first of these that is installed.

        Returns
        -------
        DataFrame or Table
        """
        lines = [
            {"model": model} | scores | vars(self.counts[model])
            for model, scores in self.scores.items()
        ]
        return make_frame({name: [line[name] for line in lines] for name in lines[0]}, backend)

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
            if self.unknown == "miss":
                left = f"{counts.n_unanswered_rows:,} rows without a recommendation are misses"
            else:
                left = f"{counts.n_unknown_rows:,} rows without a known column are left out"
            yield (
                f"{who}{counts.n_scored_rows:,} of {counts.n_rows:,} rows scored, "
                f"{counts.n_heldout_pairs:,} held-out pairs; {counts.n_unknown_pairs:,} pairs with "
                f"unknown columns and {left}."
            )


def evaluate(
    models: "Recommender | Solution | Mapping[str, Recommender | Solution]",
    split: PairSplit,
    metrics: Sequence[str] = ("recall", "ndcg", "precision", "hit-rate"),
    k: int = 20,
    *,
    rows: Literal["fold-in", "trained"] = "fold-in",
    unknown: Literal["miss", "leave-out"] = "miss",
    baseline: bool = True,
) -> Evaluation:
    """Judge recommendations by held-out pairs.

    Each row of ``split.seen`` gets its best columns, without those that it has already, and these
    are compared with its columns in ``split.heldout``. Every stored held-out pair counts, whatever
    its value and weight. Memory is bounded: rows are judged in batches.

    Parameters
    ----------
    models : Recommender, Solution, or mapping of str to these
        A fitted `FactorModel`, `Popularity`, or an object of your own that has ``pairings`` and
        ``recommend``; or several by name. A `Solution` belongs to the rows and columns of
        ``split.seen``, by position.
    split : PairSplit
        ``seen`` and ``heldout`` of the same rows, as `split_pairs` and the other functions of
        `twofold.splits` return them.
    metrics : sequence of str, default ("recall", "ndcg", "precision", "hit-rate")
        Names of `twofold.metrics`, such as "recall@20"; a name without "@" is taken at `k`.
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
        model's columns end. Models with different columns can only be compared by "miss".
    baseline : bool, default True
        Add the most popular columns of the first model's training pairs as one more model.

    Returns
    -------
    Evaluation
        Scores, values of each row, and the counts of what was unknown.

    Raises
    ------
    InvalidInputError
        If a metric does not exist, there is no model, the parts of the split have different rows,
        no row has a held-out pair or, with unknown="leave-out", none can be scored, or the kind of
        ids (integers, text) differs from the model's.
    UnknownIdError
        With rows="trained", if a row is not one of the trained rows.

    Warns
    -----
    LeakWarning
        If held-out pairs are also given: in ``split.seen`` or, with rows="trained", in the training
        pairs. They cannot be recommended and are misses.

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
    """
    check_choice(rows, "rows", ("fold-in", "trained"))
    check_choice(unknown, "unknown", ("miss", "leave-out"))
    check_whole(k, "k", 1)
    chosen = _metrics(metrics, k)
    seen, heldout = _rows_with_heldout(split)
    named = dict(models) if isinstance(models, Mapping) else {"model": models}
    if not named or (baseline and POPULAR in named):
        raise InvalidInputError(
            f"models are {list(named)}: give at least one, and none with the name of the baseline, "
            f"{POPULAR!r}"
        )
    recommenders: dict[str, Recommender] = {
        name: _TrainedRows(model, split.seen) if isinstance(model, Solution) else model
        for name, model in named.items()
    }
    if baseline:
        recommenders[POPULAR] = Popularity().fit(next(iter(recommenders.values())).pairings)
    judged = {}
    for name, model in recommenders.items():
        task = _Task.of(model, seen, heldout, rows == "trained", unknown == "miss")
        if task.n_given_heldout and not (baseline and name == POPULAR):
            place = "the training pairs" if rows == "trained" else "split.seen"
            warnings.warn(
                f"{task.n_given_heldout} held-out pairs are also given to {name!r}, which does not "
                f"recommend what a row has: they are misses; leave them out of {place}",
                LeakWarning,
                stacklevel=2,
            )
        if not task.n_relevant.any():
            raise InvalidInputError(
                f'with unknown="leave-out" no row is scored for {name!r}, which has no held-out '
                'column of a row with a known one: use unknown="miss"'
            )
        judged[name] = _judged(model, task, chosen)
    return Evaluation(
        seen.row_ids,
        unknown,
        {name: scores for name, (scores, _, _) in judged.items()},
        {name: per_row for name, (_, per_row, _) in judged.items()},
        {name: counts for name, (_, _, counts) in judged.items()},
    )


def _metrics(metrics: Sequence[str | Metric], k: int) -> list[Metric]:
    """Return metrics by their names, at k if a name has no length of its own."""
    if isinstance(metrics, str) or not len(metrics):
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


@dataclass(frozen=True, eq=False)
class _Task:
    """What a model is given and what it has to find, over its own columns."""

    rows: Pairings | NDArray[Any]
    """New rows, or the ids of trained ones."""
    relevant: sparse.csr_array
    n_relevant: NDArray[np.int64]
    n_unknown_rows: int
    n_heldout: int
    n_unknown_pairs: int
    n_unknown_cols: int
    n_given_heldout: int

    @classmethod
    def of(
        cls,
        model: Recommender,
        seen: Pairings,
        heldout: Pairings,
        trained_rows: bool,
        misses_count: bool,
    ) -> "_Task":
        """Align the parts of a split with the columns of a model."""
        trained = model.pairings
        known, entries = seen.align(trained), aligned_entries(heldout, trained)
        given, relevant = known.matrix, entries.matrix
        if trained_rows:
            given = trained.matrix[trained.row_index(seen.row_ids)]
        is_known = np.diff(given.indptr) > 0
        n_given_heldout = _n_common(given, relevant)
        n_relevant = np.diff(heldout.matrix.indptr)
        if not misses_count:
            n_relevant = np.where(is_known, np.diff(relevant.indptr), 0)
            relevant = _only_rows(relevant, is_known)
        return cls(
            known.row_ids if trained_rows else known, relevant, n_relevant,
            int(np.count_nonzero(~is_known)), heldout.n_pairs,
            heldout.n_pairs - entries.indices.size, entries.lost.size, n_given_heldout,
        )  # fmt: skip


def _judged(
    model: Recommender, task: _Task, metrics: Sequence[Metric]
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]], Counts]:
    """Return the scores, the values of rows and the counts of one model."""
    trained, n_relevant = model.pairings, task.n_relevant
    facts: dict[str, Any] = {
        "col_counts": count_rows(trained.matrix), "n_train_rows": trained.shape[0]
    }  # fmt: skip
    tallies = [metric.given(**facts).start() for metric in metrics]
    n_unanswered, order = 0, _order(metrics, n_relevant)
    for batch, n in _batches(metrics, n_relevant, order):
        given = task.rows
        rows = given.take_rows(batch) if isinstance(given, Pairings) else given[batch]
        ranking = model.recommend(rows, n)
        n_unanswered += int(np.count_nonzero(~ranking.mask.any(axis=1)))
        table = judge(ranking.positions, task.relevant[batch], n_relevant=n_relevant[batch])
        for tally in tallies:
            tally.add(table)
    per_row = {
        metric.name: tally.per_row()[np.argsort(order)]
        for metric, tally in zip(metrics, tallies, strict=True)
        if isinstance(tally, RowTally)
    }
    scores = {metric.name: tally.value() for metric, tally in zip(metrics, tallies, strict=True)}
    counts = Counts(
        n_relevant.size, int(np.count_nonzero(n_relevant)), n_unanswered, task.n_unknown_rows,
        task.n_heldout, task.n_unknown_pairs, task.n_unknown_cols,
    )  # fmt: skip
    return scores, per_row, counts


def _order(metrics: Sequence[Metric], n_relevant: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows in the order of batches.

    If a metric needs lists as long as the row has relevant columns, rows with many come first, so
    that one of them does not lengthen the lists of all others.
    """
    if all(metric.k for metric in metrics):
        return np.arange(n_relevant.size)
    return np.argsort(-n_relevant, kind="stable")


def _batches(
    metrics: Sequence[Metric], n_relevant: NDArray[np.int64], order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield rows and the length of their lists, with a bounded number of places in all lists."""
    start = 0
    while start < order.size:
        n = max(metric.list_length(n_relevant[order[start]]) for metric in metrics)
        batch = order[start : start + max(1, _PLACES // n)]
        yield batch, n
        start += batch.size


def _n_common(first: sparse.csr_array, second: sparse.csr_array) -> int:
    """Return the number of pairs that both matrices store, whatever their values."""
    a, b = (with_data(each, np.ones(each.indices.size, np.bool_)) for each in (first, second))
    return int(a.multiply(b).nnz)


def _only_rows(matrix: sparse.csr_array, kept: NDArray[np.bool_]) -> sparse.csr_array:
    """Return the matrix with the entries of some rows only."""
    lengths = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(np.where(kept, lengths, 0))])
    entries = np.repeat(kept, lengths)
    parts = (matrix.data[entries], matrix.indices[entries], indptr)
    return sparse.csr_array(parts, shape=matrix.shape)


class _TrainedRows:
    """The rows of a solution, whose rows and columns are those of ``seen``."""

    def __init__(self, solution: Solution, seen: Pairings) -> None:
        shape = (solution.row_factors.shape[0], solution.col_factors.shape[0])
        if shape != seen.shape:
            raise InvalidInputError(
                f"the solution has {shape[0]} rows and {shape[1]} columns, but split.seen has "
                f"{seen.shape[0]} and {seen.shape[1]}: a solution belongs to the pairs it was "
                "made of; for others use a FactorModel"
            )
        self.solution, self.pairings = solution, seen

    def recommend(self, rows: Any, n: int = 10, *, exclude_known: bool = True) -> Ranking:
        """Return the n best columns for rows of ``seen``."""
        if isinstance(rows, Pairings):
            raise InvalidInputError(
                'a Solution cannot fold rows in: use rows="trained", or a FactorModel'
            )
        seen = self.pairings
        positions = seen.row_index(rows)
        excluded = seen.matrix[positions] if exclude_known else None
        P, Q = self.solution.row_factors[positions], self.solution.col_factors
        return Ranking.of_factors(rows, seen.col_ids, P, Q, n, excluded)
