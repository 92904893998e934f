"""`evaluate`: any number of recommenders, judged on the same held-out pairs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.checks import check_choice, check_whole
from twofold.data.make_frame import make_frame
from twofold.data.pairings import Pairings, aligned_entries
from twofold.exceptions import InvalidInputError
from twofold.metrics.judged import judge
from twofold.metrics.names import Metric, RowTally, available, get
from twofold.metrics.statistics import Interval, PairedTest, bootstrap_interval, paired_test
from twofold.model.popularity import Popularity
from twofold.model.ranking import Ranking, best_columns
from twofold.solvers import Solution
from twofold.splits import PairSplit

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
        Rows with held-out pairs that got no recommendation: none of their columns is known.
    n_heldout_pairs : int
        Held-out pairs.
    n_unknown_pairs : int
        Held-out pairs whose column the model does not have.
    n_unknown_cols : int
        Different columns of these pairs.
    """

    n_rows: int
    n_scored_rows: int
    n_unanswered_rows: int
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
            left = "count as misses" if self.unknown == "miss" else "are left out"
            yield (
                f"{who}{counts.n_scored_rows:,} of {counts.n_rows:,} rows scored, "
                f"{counts.n_heldout_pairs:,} held-out pairs; {counts.n_unknown_pairs:,} pairs with "
                f"unknown columns and {counts.n_unanswered_rows:,} rows without a known column "
                f"{left}."
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
    are compared with its columns in ``split.heldout``. Memory is bounded: rows are judged in
    batches.

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
        rows of the training data, whose trained factors recommend (weak generalisation).
    unknown : {"miss", "leave-out"}, default "miss"
        What becomes of held-out pairs whose column a model does not have, and of rows without a
        known column. With "miss" they count: such a pair is a relevant column that is not found,
        and such a row scores 0. With "leave-out" neither is in any denominator, as if the data had
        ended where the model's columns end. Models with different columns can only be compared by
        "miss".
    baseline : bool, default True
        Add the most popular columns of the first model's training pairs as one more model.

    Returns
    -------
    Evaluation
        Scores, values of each row, and the counts of what was unknown.

    Raises
    ------
    InvalidInputError
        If a metric does not exist, the parts of the split have different rows, no row has a
        held-out pair, or the kind of ids (integers, text) differs from the model's.
    UnknownIdError
        With rows="trained", if a row is not one of the trained rows.

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
    chosen = [_metric(metric, k) for metric in metrics]
    if not chosen:
        raise InvalidInputError('metrics is empty: give at least one, such as "recall@20"')
    seen, heldout = _rows_with_heldout(split)
    named = dict(models) if isinstance(models, Mapping) else {"model": models}
    recommenders: dict[str, Recommender] = {
        name: _TrainedRows(model, split.seen) if isinstance(model, Solution) else model
        for name, model in named.items()
    }
    if baseline:
        recommenders[POPULAR] = Popularity().fit(next(iter(recommenders.values())).pairings)
    judged = {
        name: _judged(model, seen, heldout, chosen, rows == "trained", unknown == "miss")
        for name, model in recommenders.items()
    }
    return Evaluation(
        seen.row_ids,
        unknown,
        {name: scores for name, (scores, _, _) in judged.items()},
        {name: per_row for name, (_, per_row, _) in judged.items()},
        {name: counts for name, (_, _, counts) in judged.items()},
    )


def _metric(metric: str | Metric, k: int) -> Metric:
    """Return a metric by its name, at k if the name has no length of its own."""
    if isinstance(metric, Metric):
        return metric
    with_length = f"{metric.strip().lower()}@k" in available() if isinstance(metric, str) else False
    return get(f"{metric}@{k}" if with_length else metric)


def _rows_with_heldout(split: PairSplit) -> tuple[Pairings, Pairings]:
    """Return the parts of a split without the rows that have no held-out pair."""
    seen, heldout = split
    if not np.array_equal(seen.row_ids, heldout.row_ids):
        raise InvalidInputError(
            "seen and heldout of the split have different rows: take the rows of one by "
            "take_rows(row_index(ids of the other))"
        )
    rows = np.flatnonzero(np.diff(heldout.matrix.indptr))
    if not rows.size:
        raise InvalidInputError("no row has a held-out pair: there is nothing to judge")
    return seen.take_rows(rows), heldout.take_rows(rows)


def _judged(
    model: Recommender,
    seen: Pairings,
    heldout: Pairings,
    metrics: Sequence[Metric],
    trained_rows: bool,
    misses_count: bool,
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]], Counts]:
    """Return the scores, the values of rows and the counts of one model."""
    trained = model.pairings
    known, entries = seen.align(trained), aligned_entries(heldout, trained)
    relevant, n_heldout = entries.matrix, np.diff(heldout.matrix.indptr)
    n_relevant = n_heldout if misses_count else np.diff(relevant.indptr)
    n = max(metric.list_length(n_relevant) for metric in metrics)
    facts: dict[str, Any] = {
        "col_counts": np.bincount(trained.matrix.indices, minlength=trained.shape[1]),
        "n_train_rows": trained.shape[0],
    }
    tallies = [metric.given(**facts).start() for metric in metrics]
    n_unanswered, n_scored, step = 0, 0, max(1, _PLACES // n)
    for start in range(0, n_heldout.size, step):
        batch = np.arange(start, min(start + step, n_heldout.size))
        rows = known.row_ids[batch] if trained_rows else known.take_rows(batch)
        ranking = model.recommend(rows, n)
        answered: NDArray[np.bool_] = np.asarray(ranking.mask.any(axis=1))
        n_unanswered += int(np.count_nonzero(~answered))
        counted, wanted = n_relevant[batch], relevant[batch]
        if not misses_count and not answered.all():
            counted = np.where(answered, counted, 0)
            wanted = _only_rows(wanted, answered)
        n_scored += int(np.count_nonzero(counted))
        table = judge(ranking.positions, wanted, n_relevant=counted)
        for tally in tallies:
            tally.add(table)
    per_row = {
        metric.name: tally.per_row()
        for metric, tally in zip(metrics, tallies, strict=True)
        if isinstance(tally, RowTally)
    }
    scores = {metric.name: tally.value() for metric, tally in zip(metrics, tallies, strict=True)}
    counts = Counts(
        n_heldout.size, n_scored, n_unanswered, heldout.n_pairs,
        heldout.n_pairs - entries.indices.size, entries.lost.size,
    )  # fmt: skip
    return scores, per_row, counts


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
        return Ranking.of(rows, seen.col_ids, *best_columns(P, Q, n, excluded))
