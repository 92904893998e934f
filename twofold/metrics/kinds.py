"""The kinds of metrics: of rows, of the whole table, and errors of predicted values."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold.exceptions import InvalidInputError
from twofold.metrics.judged import Judged
from twofold.metrics.rows import PerRow, with_nan
from twofold.metrics.tallies import RowTally, TableTally, Tally

__all__ = ["ErrorMetric", "Metric", "RowMetric", "TableMetric"]


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
    >>> from twofold.metrics import get
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
        >>> from twofold.metrics import get
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
    >>> from twofold.metrics import get, judge
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

    def start(self) -> RowTally:
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
    >>> from twofold.metrics import get
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

    def start(self) -> TableTally:
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
    >>> from twofold.metrics import get
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
