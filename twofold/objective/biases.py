"""The layout of factors with biases: two columns are appended to each factor.

    P^ = [p, b_u, 1]  and  Q^ = [q, 1, b_i],  so that  P^ . Q^ = p . q + b_u + b_i

Only this module knows the layout. Products of factors, Gramians and predictions need no other
formula; a penalty leaves out the constant column, and a step does not change it.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import InvalidInputError

__all__ = ["N_BIAS_COLUMNS", "Axis", "BiasColumns", "FactorParts"]

N_BIAS_COLUMNS = 2
"""Number of columns that the biases add to each factor."""

Axis = Literal["row", "col"]
Array = NDArray[Any]


class FactorParts(NamedTuple):
    """Factors and biases of rows and columns.

    Parameters
    ----------
    row_factors, col_factors : ndarray, shape (n_rows, n_factors) and (n_cols, n_factors)
        P and Q without the columns of the biases.
    row_biases, col_biases : ndarray, shape (n_rows,) and (n_cols,)
        b_u and b_i.
    """

    row_factors: Array
    row_biases: Array
    col_factors: Array
    col_biases: Array


@dataclass(frozen=True)
class BiasColumns:
    """The columns of one side's factors, of ``n_columns`` columns in all.

    Parameters
    ----------
    n_columns : int
        n_factors + 2.
    bias : int
        Column of the bias.
    fixed : int
        Column of ones.
    """

    n_columns: int
    bias: int
    fixed: int

    @classmethod
    def of(cls, axis: Axis, n_columns: int) -> Self:
        """Return the columns of the factors of rows or of columns."""
        first, last = n_columns - 2, n_columns - 1
        return cls(n_columns, first, last) if axis == "row" else cls(n_columns, last, first)

    @property
    def free(self) -> NDArray[np.int64]:
        """The columns that are not constant: those of the factors, then that of the bias."""
        return np.append(np.arange(self.n_columns - N_BIAS_COLUMNS), self.bias)

    def center(self, bias: float) -> NDArray[np.float64]:
        """Return the center of the penalty, shape (n_columns,): zeros, ``bias`` and 1."""
        row = np.zeros(self.n_columns)
        row[self.bias], row[self.fixed] = bias, 1.0
        return row

    def extended(self, factors: Array, bias: float) -> Array:
        """Return factors without biases with the two columns; all biases are equal."""
        out = np.empty((len(factors), self.n_columns), factors.dtype)
        out[...] = self.center(bias)
        out[:, :-N_BIAS_COLUMNS] = factors
        return out

    def check(self, factors: Array, label: str) -> None:
        """Raise unless the constant column is 1.

        Raises
        ------
        InvalidInputError
            If there are fewer than three columns, or the constant column is not 1.
        """
        n = factors.shape[1]
        layout = "[p, b_u, 1]" if self.bias < self.fixed else "[q, 1, b_i]"
        if n <= N_BIAS_COLUMNS:
            raise InvalidInputError(
                f"{label} has {n} columns: with biases=True they are {layout}, the n_factors "
                "columns of the factors and two more"
            )
        if not (factors[:, self.fixed] == 1.0).all():
            raise InvalidInputError(
                f"column {self.fixed} of {label} must be 1: with biases=True the columns are "
                f"{layout}"
            )
