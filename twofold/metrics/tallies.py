"""Metrics computed over batches of rows."""

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import InvalidInputError
from twofold.metrics.judged import Judged
from twofold.metrics.lists import mean_of
from twofold.metrics.rows import PerRow

if TYPE_CHECKING:
    from twofold.metrics.kinds import RowMetric, TableMetric

__all__ = ["RowTally", "TableTally", "Tally"]


class Tally(Protocol):
    """The sums of either kind of metric over batches of rows."""

    def add(self, judged: Judged) -> None:
        """Add the rows of a judged table."""

    def add_part(self, part: NDArray[Any]) -> None:
        """Add rows by the result of `Metric.part` for their judged table."""

    def value(self) -> float:
        """Return the score of all rows that were added."""


class RowTally:
    """The values of the rows that were added; made by `RowMetric.start`.

    Parameters
    ----------
    metric : RowMetric
        The metric.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold.metrics import get, judge
    >>> tally = get("recall@2").start()
    >>> for first, relevant in (([[0, 2]], [[1, 0, 0, 1]]), ([[3, 1]], [[0, 1, 0, 0]])):
    ...     tally.add(judge(first, sparse.csr_array(relevant)))
    ...
    >>> tally.value()
    0.75
    """

    def __init__(self, metric: "RowMetric") -> None:
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
        >>> from twofold.metrics import get, judge
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
        >>> from twofold.metrics import get, judge
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
    >>> from twofold.metrics import get, judge
    >>> tally = get("coverage@2").start()
    >>> for first, relevant in (([[0, 2]], [[1, 0, 0, 1]]), ([[3, 1]], [[0, 1, 0, 0]])):
    ...     tally.add(judge(first, sparse.csr_array(relevant)))
    ...
    >>> tally.value()
    1.0
    """

    def __init__(self, metric: "TableMetric") -> None:
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
        >>> from twofold.metrics import get, judge
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
