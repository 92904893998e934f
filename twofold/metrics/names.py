"""Metrics by name, and their computation over batches of rows."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold.exceptions import InvalidInputError
from twofold.metrics import rows
from twofold.metrics.judged import Judged
from twofold.metrics.lists import mean_of
from twofold.metrics.rows import PerRow, with_nan
from twofold.metrics.table import coverage, gini, novelty
from twofold.metrics.targets import mae, rmse

__all__ = [
    "ErrorMetric", "Metric", "RowMetric", "RowTally", "TableMetric", "TableTally", "available",
    "get",
]  # fmt: skip


class _Entry(NamedTuple):
    """What a name stands for."""

    formula: Callable[..., Any]
    of_table: bool = False
    has_k: bool = True
    needs: tuple[str, ...] = ()
    higher_is_better: bool = True
    of_pair: Callable[[Any], Any] | None = None
    """The error of a pair from the difference, for errors of predicted values."""


_REGISTRY = {
    "precision": _Entry(rows.precision),
    "recall": _Entry(rows.recall),
    "recall-min": _Entry(partial(rows.recall, truncated=True)),
    "ndcg": _Entry(rows.ndcg),
    "ndcg-k": _Entry(partial(rows.ndcg, ideal="k")),
    "map": _Entry(rows.average_precision),
    "map-min": _Entry(partial(rows.average_precision, divisor="min")),
    "map-hits": _Entry(partial(rows.average_precision, divisor="hits")),
    "mrr": _Entry(rows.reciprocal_rank),
    "hit-rate": _Entry(rows.hit_rate),
    "r-precision": _Entry(rows.r_precision, has_k=False),
    "mpd-r-precision": _Entry(rows.mpd_r_precision, has_k=False, needs=("artists",)),
    "mpd-ndcg": _Entry(rows.mpd_ndcg),
    "clicks": _Entry(rows.clicks, higher_is_better=False),
    "coverage": _Entry(coverage, of_table=True),
    "novelty": _Entry(novelty, of_table=True, needs=("col_counts", "n_train_rows")),
    "gini": _Entry(gini, of_table=True, higher_is_better=False),
    "rmse": _Entry(rmse, has_k=False, higher_is_better=False, of_pair=np.square),
    "mae": _Entry(mae, has_k=False, higher_is_better=False, of_pair=np.abs),
}


class Tally(Protocol):
    """The sums of either kind of metric over batches of rows."""

    def add(self, judged: Judged) -> None:
        """Add the rows of a judged table."""

    def add_part(self, part: NDArray[Any]) -> None:
        """Add rows by the result of `Metric.part` for their judged table."""

    def value(self) -> float:
        """Return the score of all rows that were added."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric(ABC):
    """A metric with its list length; made by `get`.

    Attributes
    ----------
    name : str
        Canonical text, such as "recall@20".
    k : int or None
        Length of the list, None for a metric without one.
    needs : tuple of str
        Keywords of `given` without which no value can be computed.
    higher_is_better : bool
        Whether a larger score is better; False for clicks, gini, rmse and mae.

    Examples
    --------
    >>> metric = get("recall@20")
    >>> metric.name, metric.k, metric.higher_is_better
    ('recall@20', 20, True)
    >>> metric.list_length([3, 40])
    20
    """

    name: str
    k: int | None
    needs: tuple[str, ...] = ()
    higher_is_better: bool = True
    _formula: Callable[..., Any] = field(repr=False)
    _facts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def given(
        self,
        *,
        col_counts: ArrayLike | None = None,
        n_train_rows: int | None = None,
        artists: ArrayLike | None = None,
    ) -> Self:
        """Return the metric with the data that it needs; other data is ignored.

        Parameters
        ----------
        col_counts : array_like of int, shape (n_cols,), optional
            Number of training rows that have each column; for novelty.
        n_train_rows : int, optional
            Number of training rows; for novelty.
        artists : array_like, shape (n_cols,), optional
            The artist of each column; for mpd-r-precision.

        Returns
        -------
        RowMetric or TableMetric
            The same metric with the data.

        Examples
        --------
        >>> metric = get("novelty@2").given(col_counts=[4, 2, 1], n_train_rows=8)
        >>> metric.value([0, 2, 2])
        2.5
        """
        facts = {"col_counts": col_counts, "n_train_rows": n_train_rows, "artists": artists}
        known = {name: facts[name] for name in self.needs if facts[name] is not None}
        return replace(self, _facts={**self._facts, **known})

    def list_length(self, n_relevant: ArrayLike) -> int:
        """Return how many columns must be recommended to each row.

        Parameters
        ----------
        n_relevant : array_like of int, shape (n_rows,)
            Number of relevant columns of each row.

        Returns
        -------
        int
            k, or the largest number of relevant columns for a metric without k, at least 1.
        """
        return self.k or int(np.max(n_relevant, initial=1))

    @abstractmethod
    def start(self) -> Tally:
        """Return a tally without rows: add judged tables to it, then read its value."""

    @abstractmethod
    def part(self, judged: Judged) -> NDArray[Any]:
        """Return what a tally needs of a judged table: the values of rows, or counts of columns.

        Parameters
        ----------
        judged : Judged
            The result of `judge` for some rows.

        Returns
        -------
        ndarray
            An array that `add_part` of the tally takes.
        """

    def _checked_facts(self) -> Mapping[str, Any]:
        missing = [name for name in self.needs if name not in self._facts]
        if missing:
            raise InvalidInputError(
                f'"{self.name}" needs {" and ".join(missing)}: call given() of the metric with them'
            )
        return self._facts


@dataclass(frozen=True, kw_only=True, eq=False)
class RowMetric(Metric):
    """A metric with a value for each row; its score is their mean.

    The attributes are those of `Metric`.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold.metrics import judge
    >>> judged = judge([[0, 2], [3, 1]], sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]]))
    >>> get("precision@2").per_row(judged).tolist()
    [0.5, 0.5]
    """

    def per_row(self, judged: Judged) -> PerRow:
        """Return the value of each row, NaN where there is no relevant column.

        Parameters
        ----------
        judged : Judged
            The result of `judge`, with lists as long as `list_length` says.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            The values.

        Raises
        ------
        InvalidInputError
            If lists are too short, or data that the metric needs is missing.
        """
        at = () if self.k is None else (self.k,)
        return with_nan(self._formula(judged, *at, **self._checked_facts()), judged)

    def start(self) -> "RowTally":
        """Return a tally without rows: add judged tables to it, then read its value."""
        self._checked_facts()
        return RowTally(self)

    def part(self, judged: Judged) -> PerRow:
        """Return the value of each row, as `per_row` does.

        Parameters
        ----------
        judged : Judged
            The result of `judge` for some rows.

        Returns
        -------
        ndarray
            An array that `add_part` of the tally takes.
        """
        return self.per_row(judged)


@dataclass(frozen=True, kw_only=True, eq=False)
class TableMetric(Metric):
    """A metric of how often each column is recommended in the whole table.

    The attributes are those of `Metric`.

    Examples
    --------
    >>> get("coverage@2").value([1, 0, 1, 2])
    0.75
    """

    def value(self, counts: ArrayLike) -> float:
        """Return the score from the counts of `recommendation_counts`.

        Parameters
        ----------
        counts : array_like of int, shape (n_cols,)
            Number of rows that have each column among their first k recommendations.

        Returns
        -------
        float
            The score.

        Raises
        ------
        InvalidInputError
            If nothing is recommended, or data that the metric needs is missing.
        """
        return float(self._formula(counts, **self._checked_facts()))

    def start(self) -> "TableTally":
        """Return a tally without rows: add judged tables to it, then read its value."""
        self._checked_facts()
        return TableTally(self)

    def part(self, judged: Judged) -> NDArray[np.int64]:
        """Return how many rows have each column among their first k recommendations.

        Parameters
        ----------
        judged : Judged
            The result of `judge` for some rows.

        Returns
        -------
        ndarray
            An array that `add_part` of the tally takes.
        """
        return judged.counts_within(self.k or 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorMetric(Metric):
    """An error of predicted values; its score is over all pairs, whatever their rows.

    The attributes are those of `Metric`.

    Examples
    --------
    >>> get("mae").value([3.0, 5.0], [4.0, 4.5])
    0.75
    >>> get("mae").per_row([3.0, 5.0], [4.0, 4.5], [0, 1, 2]).tolist()
    [1.0, 0.5]
    """

    _of_pair: Callable[[Any], Any] = field(repr=False)

    def value(self, predicted: ArrayLike, values: ArrayLike) -> float:
        """Return the error of all pairs, as `rmse` or `mae` does.

        Parameters
        ----------
        predicted, values : array_like of float, shape (n_pairs,)
            The predictions and the values, finite.

        Returns
        -------
        float
            The error, in the unit of the values.

        Raises
        ------
        InvalidInputError
            As for `rmse`.
        """
        return float(self._formula(predicted, values))

    def per_row(self, predicted: ArrayLike, values: ArrayLike, indptr: ArrayLike) -> PerRow:
        """Return the mean error of the pairs of each row: squared for rmse, absolute for mae.

        Parameters
        ----------
        predicted, values : array_like of float, shape (n_pairs,)
            As for `value`, row after row.
        indptr : array_like of int, shape (n_rows + 1,)
            The pairs of row i are those from ``indptr[i]`` to ``indptr[i + 1]``.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            The errors; NaN for a row without pairs.
        """
        lengths = np.diff(indptr)
        errors = self._of_pair(np.subtract(predicted, values, dtype=np.float64))
        row = np.repeat(np.arange(lengths.size), lengths)
        sums = np.bincount(row, weights=errors, minlength=lengths.size)
        return np.where(lengths > 0, sums / np.maximum(lengths, 1), np.nan)

    def start(self) -> Tally:
        """Raise, because errors are not of recommendations.

        Raises
        ------
        InvalidInputError
            Always.
        """
        raise self._not_of_recommendations()

    def part(self, judged: Judged) -> NDArray[Any]:
        """Raise, because errors are not of recommendations.

        Raises
        ------
        InvalidInputError
            Always.
        """
        raise self._not_of_recommendations()

    def _not_of_recommendations(self) -> InvalidInputError:
        return InvalidInputError(
            f'"{self.name}" is an error of predicted values, not of recommendations: call '
            "value(predicted, values)"
        )


class RowTally:
    """The values of the rows that were added; made by `RowMetric.start`.

    Parameters
    ----------
    metric : RowMetric
        The metric.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold.metrics import judge
    >>> tally = get("recall@2").start()
    >>> for first, relevant in (([[0, 2]], [[1, 0, 0, 1]]), ([[3, 1]], [[0, 1, 0, 0]])):
    ...     tally.add(judge(first, sparse.csr_array(relevant)))
    ...
    >>> tally.value()
    0.75
    """

    def __init__(self, metric: RowMetric) -> None:
        self.metric = metric
        self._parts: list[PerRow] = []

    def add(self, judged: Judged) -> None:
        """Add the rows of a judged table.

        Parameters
        ----------
        judged : Judged
            The result of `judge` for some rows.
        """
        self.add_part(self.metric.part(judged))

    def add_part(self, part: NDArray[Any]) -> None:
        """Add rows by the result of `Metric.part` for their judged table.

        Parameters
        ----------
        part : ndarray
            The result of `Metric.part`.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold.metrics import judge
        >>> metric = get("recall@2")
        >>> tally = metric.start()
        >>> tally.add_part(metric.part(judge([[0, 2]], sparse.csr_array([[1, 0, 0, 1]]))))
        >>> tally.value()
        0.5
        """
        self._parts.append(part)

    def per_row(self) -> PerRow:
        """Return the values of all rows in the order in which they were added.

        Returns
        -------
        ndarray of float64, shape (n_rows,)
            NaN for a row without relevant columns.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold.metrics import judge
        >>> tally = get("recall@2").start()
        >>> tally.add(judge([[0, 2], [1, 3]], sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]])))
        >>> tally.per_row().tolist()
        [0.5, 1.0]
        """
        return np.concatenate(self._parts) if self._parts else np.empty(0)

    def value(self) -> float:
        """Return the mean over the rows with relevant columns.

        Returns
        -------
        float
            The score; NaN if no row has relevant columns.
        """
        return mean_of(self.per_row())


class TableTally:
    """The counts of recommendations of the rows that were added; made by `TableMetric.start`.

    Parameters
    ----------
    metric : TableMetric
        The metric.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold.metrics import judge
    >>> tally = get("coverage@2").start()
    >>> for first, relevant in (([[0, 2]], [[1, 0, 0, 1]]), ([[3, 1]], [[0, 1, 0, 0]])):
    ...     tally.add(judge(first, sparse.csr_array(relevant)))
    ...
    >>> tally.value()
    1.0
    """

    def __init__(self, metric: TableMetric) -> None:
        self.metric = metric
        self._counts: NDArray[np.int64] | None = None

    def add(self, judged: Judged) -> None:
        """Add the rows of a judged table.

        Parameters
        ----------
        judged : Judged
            The result of `judge` for some rows.
        """
        self.add_part(self.metric.part(judged))

    def add_part(self, part: NDArray[Any]) -> None:
        """Add rows by the result of `Metric.part` for their judged table.

        Parameters
        ----------
        part : ndarray
            The result of `Metric.part`.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold.metrics import judge
        >>> metric = get("coverage@2")
        >>> tally = metric.start()
        >>> tally.add_part(metric.part(judge([[0, 2]], sparse.csr_array([[1, 0, 0, 1]]))))
        >>> tally.value()
        0.5
        """
        self._counts = part if self._counts is None else self._counts + part

    def value(self) -> float:
        """Return the score of all rows that were added.

        Returns
        -------
        float
            The score.

        Raises
        ------
        InvalidInputError
            If no rows were added.
        """
        if self._counts is None:
            raise InvalidInputError(f'"{self.metric.name}" has no rows: add a judged table first')
        return self.metric.value(self._counts)


def available() -> list[str]:
    """Return the names that `get` accepts, with "@k" where a length of the list belongs to them.

    Returns
    -------
    list of str
        For example "recall@k" and "r-precision"; the table in `twofold.metrics` has the formulas.

    Examples
    --------
    >>> available()[:3]
    ['precision@k', 'recall@k', 'recall-min@k']
    """
    return [name + "@k" * entry.has_k for name, entry in _REGISTRY.items()]


def get(text: str) -> RowMetric | TableMetric | ErrorMetric:
    """Return the metric of a text such as "recall@20".

    Parameters
    ----------
    text : str
        A name from `available` in any case, with a whole number >= 1 for k.

    Returns
    -------
    RowMetric, TableMetric or ErrorMetric
        A metric of each row, of the whole table, or of predicted values.

    Raises
    ------
    InvalidInputError
        If there is no such metric, k is missing, or k is given to a metric without one.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold.metrics import judge
    >>> judged = judge([[0, 2], [3, 1]], sparse.csr_array([[1, 0, 0, 1], [0, 1, 0, 0]]))
    >>> get("recall@2").per_row(judged).tolist()
    [0.5, 1.0]
    >>> tally = get("coverage@2").start()
    >>> tally.add(judged)
    >>> tally.value()
    1.0
    >>> get("rmse").value([3.0, 5.0], [4.0, 4.0])
    1.0
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"the metric's name is {text!r}: give a str")
    name, at, number = text.strip().lower().partition("@")
    if name not in _REGISTRY:
        near = get_close_matches(name, _REGISTRY, n=1)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise InvalidInputError(
            f"there is no metric {text!r}: {hint}There are {', '.join(available())}"
        )
    entry = _REGISTRY[name]
    if not entry.has_k and at:
        raise InvalidInputError(f'"{name}" has no length of the list: write it without "@{number}"')
    if entry.has_k and not re.fullmatch("[1-9][0-9]*", number):
        raise InvalidInputError(
            f'{text!r} has no length of the list, a whole number >= 1: write "{name}@20", for '
            "example"
        )
    if entry.of_pair is not None:
        return ErrorMetric(
            name=name, k=None, higher_is_better=entry.higher_is_better, _formula=entry.formula,
            _of_pair=entry.of_pair,
        )  # fmt: skip
    kind = TableMetric if entry.of_table else RowMetric
    k = int(number) if entry.has_k else None
    return kind(
        name=name + at + number, k=k, needs=entry.needs, higher_is_better=entry.higher_is_better,
        _formula=entry.formula,
    )  # fmt: skip
