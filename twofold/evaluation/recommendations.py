"""Recommendations, judged by the held-out pairs."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.each import Each, serially
from twofold.data.pairings import Pairings
from twofold.evaluation.result import Counts
from twofold.evaluation.task import GivenRows, Task
from twofold.exceptions import InvalidInputError
from twofold.metrics.judged import judge
from twofold.metrics.kinds import Metric
from twofold.metrics.tallies import RowTally
from twofold.model.popularity import count_rows
from twofold.model.ranking import Ranking
from twofold.model.rules import ranked
from twofold.solvers import Solution

__all__ = ["POPULAR", "Recommender", "TrainedRows", "judged_lists"]

_PLACES = 1 << 20  # of the lists of a batch
_SCORES, _MIN_ROWS = 1 << 26, 256  # predictions and least rows of a batch, if workers share them
POPULAR = "most popular"
"""Name of the baseline of recommendations."""


class Recommender(Protocol):
    """What `evaluate` needs of a model that recommends, such as `FactorModel` and `Popularity`.

    Examples
    --------
    A model that recommends the columns with the largest ids to every row:

    >>> import numpy as np
    >>> from twofold import Pairings, evaluate, split_pairs
    >>> from twofold.model import Ranking
    >>> class Newest:
    ...     def __init__(self, pairings):
    ...         self.pairings = pairings
    ...
    ...     def recommend(self, rows, n=10, *, exclude_known=True):
    ...         newest = np.argsort(-self.pairings.col_ids)[:n]
    ...         positions = np.tile(newest, (len(rows.row_ids), 1))
    ...         scores = self.pairings.col_ids[positions].astype(float)
    ...         return Ranking.of(rows.row_ids, self.pairings.col_ids, positions, scores)
    >>> pairings = Pairings.from_arrays([1, 1, 2, 2], [7, 8, 8, 9])
    >>> split = split_pairs(pairings, fraction=0.5, rng=0)
    >>> model = Newest(split.train)
    >>> model.recommend(split.seen, n=1).col_ids
    array([[8],
           [8]])
    >>> evaluate(model, split, ["recall@1"], baseline=False)["recall@1"]
    0.5
    """

    @property
    def pairings(self) -> Pairings:
        """The training pairs, with the ids of the columns that can be recommended."""

    def recommend(self, rows: Any, n: int = 10, *, exclude_known: bool = True) -> Ranking:
        """Return the n best columns for trained rows (ids) or for new ones (`Pairings`).

        Parameters
        ----------
        rows : array_like of ids, or Pairings
            Ids of trained rows, or new rows.
        n : int, default 10
            Columns for each row, padded where there are no more.
        exclude_known : bool, default True
            Leave out the columns that the row has already.

        Returns
        -------
        Ranking
            With shape (n_rows, n) each.
        """


def judged_lists(
    model: Recommender, task: Task, metrics: Sequence[Metric], each: Each = serially
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]], Counts]:
    """Return the scores, the values of rows and the counts of one model."""
    trained, n_relevant = model.pairings, task.n_relevant
    if not isinstance(task.rows, Pairings):
        trained.row_index(task.rows)  # an error if a row is unknown
    facts: dict[str, Any] = {
        "col_counts": count_rows(trained.matrix), "n_train_rows": trained.shape[0]
    }  # fmt: skip
    tallies = [metric.given(**facts).start() for metric in metrics]
    n_unanswered, order = 0, _order(metrics, n_relevant)
    most_rows = order.size if each is serially else max(_MIN_ROWS, _SCORES // trained.shape[1])
    batches = (
        (GivenRows.of(task.rows, batch), task.relevant[batch], n_relevant[batch], n)
        for batch, n in _batches(metrics, n_relevant, order, most_rows)
    )
    for n_empty, parts in each(_judged_batch, (model, metrics), batches):
        n_unanswered += n_empty
        for tally, part in zip(tallies, parts, strict=True):
            tally.add_part(part)
    per_row = {
        metric.name: tally.per_row()[np.argsort(order)]
        for metric, tally in zip(metrics, tallies, strict=True)
        if isinstance(tally, RowTally)
    }
    scores = {metric.name: tally.value() for metric, tally in zip(metrics, tallies, strict=True)}
    return scores, per_row, task.counts(n_unanswered)


def _judged_batch(
    shared: tuple[Recommender, Sequence[Metric]],
    rows: GivenRows,
    relevant: sparse.csr_array,
    n_relevant: NDArray[np.int64],
    n: int,
) -> tuple[int, list[NDArray[Any]]]:
    """Return the number of rows without a recommendation, and the parts of the tallies."""
    model, metrics = shared
    ranking = model.recommend(rows.over(model.pairings.col_ids), n)
    n_empty = int(np.count_nonzero(~ranking.mask.any(axis=1)))
    table = judge(ranking.positions, relevant, n_relevant=n_relevant)
    return n_empty, [metric.part(table) for metric in metrics]


def _order(metrics: Sequence[Metric], n_relevant: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows in the order of batches.

    If a metric needs lists as long as the row has relevant columns, rows with many come first, so
    that one of them does not lengthen the lists of all others.
    """
    if all(metric.k for metric in metrics):
        return np.arange(n_relevant.size)
    return np.argsort(-n_relevant, kind="stable")


def _batches(
    metrics: Sequence[Metric],
    n_relevant: NDArray[np.int64],
    order: NDArray[np.int64],
    most_rows: int,
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield rows and the length of their lists, with a bounded number of places in all lists."""
    start = 0
    while start < order.size:
        n = max(metric.list_length(n_relevant[order[start]]) for metric in metrics)
        batch = order[start : start + max(1, min(_PLACES // n, most_rows))]
        yield batch, n
        start += batch.size


class TrainedRows:
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
        excluded = seen.matrix if exclude_known else None
        P, Q = self.solution.row_factors, self.solution.col_factors
        positions = seen.row_index(rows)
        return ranked(rows, seen.col_ids, P, Q, n, excluded, rows=positions)
