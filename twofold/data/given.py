"""Numbers and times that are given for each pair."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.arrays import Times
from twofold.data.columns import ItemError, to_times
from twofold.exceptions import InvalidInputError

__all__ = ["numbers_of_pairs", "times_of_pairs"]


def numbers_of_pairs(values: Any, n: int, name: str) -> NDArray[np.float64]:
    """Return float64, or raise unless there is a number for each of n pairs."""
    array = _flat(values, n, name)
    if array.dtype.kind not in "biufO":
        raise InvalidInputError(f"{name} holds {array.dtype}: give a finite number for each pair")
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{name} must be finite numbers, one for each pair: {error}"
        ) from error


def times_of_pairs(values: Any, n: int, name: str = "times") -> Times:
    """Return int64 or datetime64 in microseconds, one for each of n pairs."""
    array = _flat(values, n, name)
    if array.dtype.kind == "O":
        try:
            array = to_times(array.tolist())
        except ItemError as bad:
            raise InvalidInputError(f"{name}[{bad.position}] cannot be used: {bad}") from None
    if array.dtype.kind == "M" and not np.isnat(array).any():
        return array.astype("datetime64[us]", copy=False)
    if array.size and array.dtype.kind not in "iu":
        raise InvalidInputError(
            f"{name} holds {array.dtype}: give integers, or dates and times without NaT"
        )
    beyond = array > np.iinfo(np.int64).max
    if beyond.any():
        position = int(np.argmax(beyond))
        raise InvalidInputError(
            f"{name}[{position}] is {array[position]}: times must be 64-bit integers, or dates and "
            "times"
        )
    return array.astype(np.int64, copy=False)


def _flat(values: Any, n: int, name: str) -> NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidInputError(
            f"{name} is a masked array: leave the masked pairs out, or fill it, by {name}.filled()"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInputError(f"{name} is nested unevenly: {error}") from error
    if array.shape != (n,):
        raise InvalidInputError(f"{name} has shape {array.shape}, but there are {n} pairs")
    return array
