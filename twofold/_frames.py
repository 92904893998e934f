"""Columns of data frames become arrays of ids and values, through Arrow.

pandas, polars, DuckDB and others hand their columns over by Arrow's PyCapsule interface, so that
pyarrow is all that is needed, and only when there is a frame to read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import InvalidInputError

__all__ = ["import_pyarrow", "read_frame"]

_EXACT_FLOATS = 2.0**53  # beyond, neighbouring integers are the same float
_ADVICE = "ids must be 64-bit integers or text"

Array = NDArray[Any]


def import_pyarrow() -> Any:
    """Return the module, or raise InvalidInputError that says how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise InvalidInputError(
            'data frames, CSV and Parquet need pyarrow: pip install "twofold[frames]"'
        ) from error
    return pyarrow


def read_frame(frame: Any, names: Sequence[str], *, drop_nulls: bool) -> tuple[list[Array], int]:
    """Read row ids, column ids and perhaps values of a frame.

    Parameters
    ----------
    frame : object with ``__arrow_c_stream__`` or ``__arrow_c_array__``
        A frame, table or batch.
    names : sequence of str
        The two or three columns.
    drop_nulls : bool
        Leave out and count pairs whose row or column id is NULL or NaN, instead of raising.

    Returns
    -------
    tuple of list of ndarray, and int
        The columns, and how many pairs were left out.

    Raises
    ------
    InvalidInputError
        If the frame has no such columns, or an id or value cannot be used.
    """
    table = _table(frame, names)
    ids = [_joined(table.column(name), name) for name in names[:2]]
    null = ids[0][1] | ids[1][1]
    if null.any() and not drop_nulls:
        place = int(np.argmax(null))
        axis = 0 if ids[0][1][place] else 1
        values, also_null = ids[1 - axis]
        other = "NULL" if also_null[place] else repr(values.item(place))
        raise InvalidInputError(
            f"column {names[axis]!r} holds NULL where {names[1 - axis]} is {other}: "
            'use on_null="drop" to leave such pairs out'
        )
    arrays = [values for values, _ in ids]
    if len(names) == 3:
        arrays.append(_values(table.column(names[2]), names[2]))
    if null.any():
        arrays = [values[~null] for values in arrays]
    if len(names) == 3 and not np.isfinite(arrays[2]).all():
        place = int(np.argmin(np.isfinite(arrays[2])))
        rows, cols, values = arrays
        what = "NULL or nan" if np.isnan(values[place]) else values[place]
        raise InvalidInputError(
            f"column {names[2]!r} holds {what} where {names[0]} is "
            f"{rows.item(place)!r} and {names[1]} is {cols.item(place)!r}: "
            "values must be finite numbers"
        )
    return arrays, int(np.count_nonzero(null))


def _table(frame: Any, names: Sequence[str]) -> Any:
    """Return the columns as a pyarrow.Table."""
    if not any(hasattr(frame, f"__arrow_c_{kind}__") for kind in ("stream", "array")):
        hint = "call its collect() first" if hasattr(frame, "collect") else (
            "give a frame of pandas (2.2 or newer), polars, pyarrow or another library with "
            "__arrow_c_stream__, or arrays to Pairings.from_arrays"
        )  # fmt: skip
        raise InvalidInputError(f"frame is a {type(frame).__name__}: {hint}")
    pa = import_pyarrow()
    libraries = {base.__module__.partition(".")[0] for base in type(frame).__mro__}
    try:
        # Of these only what is needed, as other columns may hold what Arrow cannot.
        if libraries & {"pandas", "polars"} and set(names) <= set(frame.columns):
            frame = frame[list(dict.fromkeys(names))]
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    except (pa.ArrowException, AttributeError, TypeError, ValueError, OverflowError) as error:
        reason = ", ".join(map(str, error.args)) or type(error).__name__
        raise InvalidInputError(
            f"the frame cannot be read as a table of Arrow: {reason}; {_ADVICE}"
        ) from error
    for name in names:
        count = table.column_names.count(name)
        if count != 1:
            listed = ", ".join(map(repr, table.column_names[:50])) or "none"
            raise InvalidInputError(
                f"the frame has {count or 'no'} column{'s' * (count > 1)} {name!r}: its columns "
                f"are {listed}"
            )
    return table


def _joined(column: Any, name: str) -> tuple[Array, NDArray[np.bool_]]:
    """Return a column's ids, and which of them are NULL (and have an id that means nothing)."""
    pa = import_pyarrow()
    if _is_text(column.type):
        column = column.cast("large_string")  # its chunks together may have 2 GiB and more
    chunks = column.chunks
    if not chunks:
        return np.empty(0, np.int64), np.empty(0, np.bool_)
    if not pa.types.is_dictionary(column.type):
        chunks = [pa.concat_arrays(chunks)]
    ids, null = zip(*(_ids(chunk, name) for chunk in chunks), strict=True)
    return np.concatenate(ids), np.concatenate(null)


def _is_text(kind: Any) -> bool:
    types = import_pyarrow().types
    return any(
        test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _ids(array: Any, name: str) -> tuple[Array, NDArray[np.bool_]]:
    types, kind = import_pyarrow().types, array.type
    if types.is_dictionary(kind):
        return _looked_up(*_ids(array.dictionary, name), array.indices)
    if _is_text(kind):
        # Each text becomes a Python string once, however often it comes.
        encoded = array.cast("large_string").dictionary_encode()
        words = np.empty(len(encoded.dictionary), dtype=object)
        try:
            words[:] = encoded.dictionary.to_pylist()
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"column {name!r} holds text that is not UTF-8") from error
        return _looked_up(words, np.zeros(words.size, np.bool_), encoded.indices)
    null = _numpy(array.is_null())
    if types.is_null(kind):
        return np.zeros(null.size, np.int64), null
    if types.is_integer(kind):
        whole = _numpy(array.fill_null(0))
        if kind == "uint64":
            _refuse(whole, whole > np.uint64(np.iinfo(np.int64).max), name)
        return whole.astype(np.int64, copy=False), null
    if types.is_floating(kind):
        floats = _numpy(array.cast("float64").fill_null(np.nan))
        null = np.isnan(floats)  # which is how pandas says NULL among numbers
        floats = np.where(null, 0.0, floats)
        _refuse(floats, (np.abs(floats) > _EXACT_FLOATS) | (np.floor(floats) != floats), name)
        return floats.astype(np.int64), null
    if types.is_decimal(kind):
        try:
            return _numpy(array.cast("int64").fill_null(0)), null
        except ValueError as error:
            raise InvalidInputError(f"column {name!r} ({kind}): {error}; {_ADVICE}") from error
    raise InvalidInputError(f"column {name!r} holds {kind}: {_ADVICE}")


def _looked_up(
    words: Array, no_word: NDArray[np.bool_], codes: Any
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the ids of a dictionary array."""
    null = _numpy(codes.is_null())
    if not words.size:  # all of them are NULL
        return np.zeros(null.size, words.dtype), null
    places = _numpy(codes.fill_null(0))
    return words[places], null | no_word[places]


def _values(column: Any, name: str) -> NDArray[np.float64]:
    """Return numbers as float64, NULL as NaN."""
    types, kind = import_pyarrow().types, column.type
    is_number = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if not any(test(kind) for test in is_number):
        raise InvalidInputError(f"column {name!r} holds {kind}: values must be finite numbers")
    return _numpy(column.cast("float64", safe=False).fill_null(np.nan))


def _numpy(array: Any) -> Array:
    values: Array = array.to_numpy(zero_copy_only=False)
    return values


def _refuse(values: Array, bad: NDArray[np.bool_], name: str) -> None:
    if bad.any():
        raise InvalidInputError(f"column {name!r} holds {values[bad].item(0)}: {_ADVICE}")
