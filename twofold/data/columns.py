"""Columns of a chunk become ids or numbers, checked item by item.

A column is an array of numpy, an array of pyarrow, or a list of Python objects as database drivers
return them. Ids become integers, an array of pyarrow or a list of `str`.
"""

import datetime
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import InvalidInputError

__all__ = [
    "ItemError", "import_pyarrow", "is_arrow", "is_integer_text", "is_text", "item_of", "masked",
    "null_mask", "to_ids", "to_numbers", "to_times", "whole_numbers",
]  # fmt: skip

IDS = "ids must be 64-bit integers or text"
_BEYOND = 'it is beyond 64-bit integers; id_type="text" reads such ids as text'
_INT64 = np.iinfo(np.int64)
_EXACT = {2: 2**11, 4: 2**24, 8: 2**53}
"""By bytes of a float: from here on, neighbouring integers are the same float."""

_WHOLE = re.compile("0|-?[1-9][0-9]*")


class ItemError(Exception):
    """An item of a column that cannot be used."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


def import_pyarrow() -> Any:
    """Return the module, or raise InvalidInputError that says how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise InvalidInputError(
            'data frames, CSV and Parquet need pyarrow: pip install "twofold[frames]"'
        ) from error
    return pyarrow


def is_integer_text(text: str) -> bool:
    """Tell whether a text is an integer of 64 bits as integers are written: not ``007``."""
    return bool(_WHOLE.fullmatch(text)) and _INT64.min <= int(text) <= _INT64.max


def is_arrow(column: Any) -> bool:
    """Tell whether a column is an array of pyarrow."""
    return hasattr(column, "is_null")


def whole_numbers(texts: Any) -> Any:
    """Return texts of pyarrow as integers if `is_integer_text` holds for all, or None."""
    try:
        integers = texts.cast("int64")
    except ValueError:
        return None
    return integers.to_numpy() if integers.cast("large_string").equals(texts) else None


def item_of(column: Any, position: int) -> Any:
    """Return an item as a Python object."""
    if isinstance(column, np.ndarray):
        return column.item(position)
    if not is_arrow(column):
        return column[position]
    try:
        return column[position].as_py()
    except UnicodeDecodeError:
        return column[position].as_buffer().to_pybytes()


def null_mask(column: Any) -> NDArray[np.bool_] | None:
    """Tell which items are NULL or NaN; None if none is."""
    if is_arrow(column):
        if str(column.type) == "halffloat":  # in which older pyarrow does not find NaN
            column = column.cast("float32")
        nan = column.is_null(nan_is_null=True)
        null: NDArray[np.bool_] = np.asarray(nan.to_numpy(zero_copy_only=False))
    elif isinstance(column, np.ndarray):  # of integers or ids that have been checked
        return None
    elif not _are_texts(column) and type(None) in set(map(type, column)):
        null = np.array([item is None for item in column])
    else:
        return None
    return null if null.any() else None


def masked(column: Any, kept: NDArray[np.bool_]) -> Any:
    """Return the items to keep."""
    if is_arrow(column):
        return column.filter(import_pyarrow().array(kept))
    return [item for item, keep in zip(column, kept.tolist(), strict=True) if keep]


def is_text(kind: Any) -> bool:
    """Tell whether a type of pyarrow is one of text."""
    types = import_pyarrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def to_ids(column: Any, *, as_text: bool = False, n_bytes: int = 8) -> Any:
    """Return ids: an array of integers, an array of pyarrow with text, or a list of `str`.

    Parameters
    ----------
    column
        Without NULL.
    as_text : bool, default False
        Also turn integers into text.
    n_bytes : int, default 8
        Bytes of each float where the column is a list of floats, for their largest exact integer.

    Raises
    ------
    ItemError
        If an item is neither an integer of 64 bits nor text.
    """
    if is_arrow(column):
        ids = _arrow_ids(column, as_text)
    elif isinstance(column, np.ndarray):
        ids = column if column.dtype != object else column.tolist()
    else:
        ids = _object_ids(column, as_text, n_bytes)
    return list(map(str, ids.tolist())) if as_text and isinstance(ids, np.ndarray) else ids


def _are_texts(items: Sequence[Any]) -> bool:
    try:
        "".join(items)  # a quarter of the time of looking at the type of each
    except TypeError:
        return False
    return True


def _object_ids(items: Sequence[Any], as_text: bool, n_bytes: int) -> Any:
    if _are_texts(items):
        return items
    kinds = set(map(type, items))
    if kinds == {int} and not as_text:
        with suppress(OverflowError):  # found again below, where it is named
            return np.fromiter(items, np.int64, len(items))
    if kinds <= {str, uuid.UUID}:
        return [str(item) for item in items]
    first_is_text = isinstance(items[0], str | uuid.UUID)
    for position, item in enumerate(items):
        if isinstance(item, str | uuid.UUID) != first_is_text:
            raise ItemError(
                position,
                f"another id is {items[0]!r}; ids must be all integers or all text: "
                'id_type="text" reads all as text',
            )
        if not first_is_text:
            _check_whole(item, position, as_text, n_bytes)
    whole = [int(item) for item in items]
    return list(map(str, whole)) if as_text else np.array(whole, np.int64)


def _check_whole(item: Any, position: int, as_text: bool, n_bytes: int) -> None:
    """Raise ItemError unless an object is an integer, or a float or Decimal with its value."""
    if isinstance(item, float) and item.is_integer():
        if abs(item) >= _EXACT[n_bytes]:
            raise ItemError(
                position,
                f"floats of {n_bytes} bytes hold integers exactly below {_EXACT[n_bytes]} only",
            )
        return
    is_decimal = isinstance(item, Decimal) and item.is_finite() and item == int(item)
    if not is_decimal and (not isinstance(item, int) or isinstance(item, bool)):
        raise ItemError(position, IDS)
    if not as_text and not _INT64.min <= item <= _INT64.max:
        raise ItemError(position, f"{IDS}; {_BEYOND}")


def _arrow_ids(column: Any, as_text: bool) -> Any:
    pa = import_pyarrow()
    types, kind = pa.types, column.type
    if str(kind) == "extension<arrow.uuid>":
        return [str(item) for item in column.to_pylist()]
    if is_text(kind):
        text = column.cast("large_string")
        try:
            text.validate(full=True)
        except ValueError:
            raise ItemError(0, "it holds text that is not UTF-8") from None
        return text
    if types.is_floating(kind):
        floats = column.to_numpy(zero_copy_only=False)
        n_bytes = floats.dtype.itemsize
        odd = (np.abs(floats) >= _EXACT[n_bytes]) | (np.floor(floats) != floats)
        if odd.any():
            position = int(np.argmax(odd))
            _check_whole(float(floats[position]), position, as_text, n_bytes)
        return floats.astype(np.int64)
    if not (types.is_integer(kind) or types.is_decimal(kind)):
        raise ItemError(0, f"it holds {kind}; {IDS}")
    if as_text and types.is_integer(kind):
        return column.cast("large_string")
    if types.is_decimal(kind) or kind == "uint64":
        try:
            column = column.cast("int64")
        except ValueError:
            return _object_ids(column.to_pylist(), as_text, 8)  # names the item
    return column.to_numpy(zero_copy_only=False)


def to_numbers(column: Any, advice: str) -> NDArray[np.float64]:
    """Return float64, or raise ItemError unless each item is a finite number."""
    if is_arrow(column):
        types, kind = import_pyarrow().types, column.type
        tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
        if not types.is_null(kind) and not any(test(kind) for test in tests):
            raise ItemError(0, f"it holds {kind}; {advice}")
        numbers = column.cast("float64", safe=False).to_numpy(zero_copy_only=False)
    elif isinstance(column, np.ndarray):
        numbers = column
    else:
        allowed = {int, float, Decimal, bool}
        if not set(map(type, column)) <= allowed:
            raise ItemError([type(item) in allowed for item in column].index(False), advice)
        try:
            numbers = np.array(column, dtype=np.float64)
        except (OverflowError, ValueError):
            numbers = np.array([_float(item) for item in column])
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise ItemError(int(np.argmax(bad)), advice)
    return np.asarray(numbers, np.float64)


def _float(item: Any) -> float:
    try:
        return float(item)
    except (OverflowError, ValueError):
        return np.inf


def to_times(column: Any) -> NDArray[Any]:
    """Return int64 or, of dates and times, datetime64 in microseconds; raise ItemError."""
    advice = "times must be 64-bit integers, or dates and times"
    if isinstance(column, np.ndarray):
        return column
    if is_arrow(column) and is_text(column.type):
        with suppress(ValueError):
            column = column.cast("int64")
    items = column.to_pylist() if is_arrow(column) else list(column)
    if set(map(type, items)) <= {int}:
        with suppress(OverflowError):  # found again below, where it is named
            return np.array(items, np.int64)
    as_integer = type(items[0]) is int
    for position, item in enumerate(items):
        try:
            items[position] = _time(item, as_integer)
        except (OverflowError, TypeError, ValueError):
            raise ItemError(position, advice) from None
    return np.array(items, "datetime64[us]")


def _time(item: Any, as_integer: bool) -> Any:
    """Return a time; an error of one of three kinds if the item is none."""
    if as_integer != (type(item) is int):
        raise TypeError
    time = np.int64(item) if as_integer else np.datetime64(_without_zone(item), "us")
    if not as_integer and np.isnat(time):
        raise ValueError
    return time


def _without_zone(item: Any) -> Any:
    """Return a time with a zone in UTC; SQLite has texts."""
    if isinstance(item, str):
        item = datetime.datetime.fromisoformat(item)
    if isinstance(item, datetime.datetime) and item.tzinfo is not None:
        return item.astimezone(datetime.UTC).replace(tzinfo=None)
    return item
