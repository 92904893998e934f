"""Centers of the penalty: the vectors to which it draws the rows of a factor."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.cached import cached_property
from twofold.exceptions import InvalidInputError
from twofold.objective.biases import N_BIAS_COLUMNS, BiasColumns
from twofold.objective.point import padded_factors

__all__ = ["Centers", "padded_center"]

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
