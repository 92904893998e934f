"""Centers of the penalty: the vectors to which it draws the rows of a factor."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold._kernels.aligned import aligned_copy, empty_aligned
from twofold.exceptions import InvalidInputError
from twofold.objective.biases import N_BIAS_COLUMNS, BiasColumns
from twofold.objective.point import padded_factors

__all__ = ["Centers", "around_center", "at_center_where_empty", "padded_center"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False)
class Centers:
    """A vector for each row or column; immutable and hashable.

    Parameters
    ----------
    values : ndarray of float64, shape (n, n_factors)
        Finite and read-only.
    """

    values: NDArray[np.float64]

    @classmethod
    def of(cls, given: Any, name: str) -> "Centers":
        """Return a copy of an array.

        Raises
        ------
        InvalidInputError
            If it is not a finite 2-d array of numbers.
        """
        if isinstance(given, Centers):
            return given
        array = np.asarray(given)
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise InvalidInputError(f"{name} must be a 2-d array of numbers, a vector in each row")
        if not np.isfinite(array).all():
            row, factor = np.argwhere(~np.isfinite(array))[0]
            raise InvalidInputError(
                f"{name}[{row}, {factor}] is {array[row, factor]}: centers must be finite"
            )
        values = array.astype(np.float64, order="C") + 0.0  # -0.0 and 0.0 have the same hash
        values.flags.writeable = False
        return cls(values)

    def take(self, rows: Any) -> "Centers":
        """Return the centers of some rows."""
        return Centers.of(self.values[rows], "centers")

    def check_shape(self, shape: tuple[int, int], name: str) -> None:
        """Raise InvalidInputError unless there is a vector of n_factors elements for each row."""
        if self.values.shape != shape:
            raise InvalidInputError(
                f"{name} has shape {self.values.shape}, but the factors have shape {shape}: "
                "give a vector of n_factors elements for each of them"
            )

    @cached_property
    def _hash(self) -> str:
        return hashlib.blake2b(self.values.tobytes(), digest_size=8).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Centers) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.values.shape, self._hash))

    def __repr__(self) -> str:
        return f"<{self.values.shape[0]} x {self.values.shape[1]} centers, hash {self._hash}>"


def around_center(factors: Array, center: Array, n_columns: int) -> Array:
    """Return factors without the columns of biases plus the center of a `PenaltyCall`.

    They are returned as they are if it is 0, and else with ``n_columns`` columns.
    """
    if not center.size:
        return factors
    out = empty_aligned((len(factors), n_columns), factors.dtype)
    out[...] = center[:, :n_columns]
    out[:, : factors.shape[1]] += factors
    return out


def at_center_where_empty(factors: Array, counts: NDArray[np.int64], center: Array) -> Array:
    """Return padded factors with the center of the penalty for rows without entries."""
    empty = counts == 0
    if not empty.any():
        return factors
    out = aligned_copy(factors, factors.dtype)
    out[empty] = 0.0 if not center.size else np.broadcast_to(center, factors.shape)[empty]
    return out


def padded_center(centers: Centers | None, columns: BiasColumns | None, bias: float) -> Array:
    """Return the center of a penalty as an argument of kernels; see `PenaltyCall`.

    Parameters
    ----------
    centers : Centers or None
        None if they are zero.
    columns : BiasColumns or None
        The columns of factors with biases.
    bias : float
        The center of the biases.
    """
    values = np.empty((0, 0)) if centers is None else centers.values
    if columns is not None:
        zeros = np.zeros((1, columns.n_columns - N_BIAS_COLUMNS))
        values = columns.extended(values if values.size else zeros, bias)
    return padded_factors(values) if values.size else np.empty((0, 0))
