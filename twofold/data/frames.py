"""Columns of data frames become arrays of ids and values, through Arrow.

pandas, polars, DuckDB and others hand their columns over by Arrow's PyCapsule interface, so that
pyarrow is all that is needed, and only when there is a frame to read.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.data.texts import EncodedTexts, encode_arrow
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


def read_frame(
    frame: Any, names: Sequence[str], *, drop_nulls: bool
) -> tuple[list[Array | EncodedTexts], list[NDArray[np.float64]], int]:
    """Read row ids, column ids and columns of numbers of a frame.

    Parameters
    ----------
    frame : object with ``__arrow_c_stream__`` or ``__arrow_c_array__``
        A frame, table or batch.
    names : sequence of str
        The two columns of ids, and any of numbers.
    drop_nulls : bool
        Leave out and count pairs whose row or column id is NULL or NaN, instead of raising.

    Returns
    -------
    tuple of list, list and int
        The ids of rows and columns: int64 arrays or encoded texts; the columns of numbers; and how
        many pairs were left out.

    Raises
    ------
    InvalidInputError
        If the frame has no such columns, or an id or value cannot be used.
    """
    table = _table(frame, names)
    columns = [_plain(table.column(name)) for name in names[:2]]
    columns += [table.column(name) for name in names[2:]]
    null = _is_null(columns[0]) | _is_null(columns[1])
    n_null = int(np.count_nonzero(null))
    if n_null and not drop_nulls:
        place = int(np.argmax(null))
        items = [_shown(column[place].as_py()) for column in columns]
        axis = 0 if items[0] == "NULL" else 1
        raise InvalidInputError(
            f"column {names[axis]!r} holds NULL where {names[1 - axis]} is {items[1 - axis]}: "
            'use on_null="drop" to leave such pairs out'
        )
    if n_null:
        columns = [column.filter(import_pyarrow().array(~null)) for column in columns]
    ids = [_ids(column, name) for column, name in zip(columns, names[:2], strict=False)]
    numbers = []
    for column, name in zip(columns[2:], names[2:], strict=True):
        values = _values(column, name)
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            rows, cols, value = (each[int(bad[0])].as_py() for each in (*columns[:2], column))
            what = "NULL or nan" if value is None or value != value else value
            raise InvalidInputError(
                f"column {name!r} holds {what} where {names[0]} is {rows!r} and {names[1]} is "
                f"{cols!r}: values must be finite numbers"
            )
        numbers.append(values)
    return ids, numbers, n_null


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


def _plain(column: Any) -> Any:
    """Return a column without a dictionary, of texts as large_string."""
    pa = import_pyarrow()
    kind, chunks = column.type, column.chunks
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        wide = pa.large_string() if _is_text(kind) else kind
        chunks = [chunk.dictionary.cast(wide).take(chunk.indices) for chunk in chunks]
        return pa.chunked_array(chunks, wide)
    return column.cast("large_string") if _is_text(kind) else column


def _is_null(column: Any) -> NDArray[np.bool_]:
    """Tell where an id is NULL, or NaN, which is how pandas says NULL among numbers."""
    return _numpy(column.is_null(nan_is_null=True))


def _shown(item: Any) -> str:
    return "NULL" if item is None or item != item else repr(item)


def _is_text(kind: Any) -> bool:
    types = import_pyarrow().types
    return any(
        test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _ids(column: Any, name: str) -> Array | EncodedTexts:
    """Return ids, none of which is NULL."""
    types, kind = import_pyarrow().types, column.type
    if _is_text(kind):
        try:
            return encode_arrow(column)
        except ValueError:
            raise InvalidInputError(f"column {name!r} holds text that is not UTF-8") from None
    if types.is_null(kind):  # and so empty
        return np.empty(0, np.int64)
    if types.is_integer(kind):
        whole = _numpy(column)
        if kind == "uint64":
            _refuse(whole, whole > np.uint64(np.iinfo(np.int64).max), name)
        return whole.astype(np.int64, copy=False)
    if types.is_floating(kind):
        floats = _numpy(column.cast("float64"))
        _refuse(floats, (np.abs(floats) > _EXACT_FLOATS) | (np.floor(floats) != floats), name)
        return floats.astype(np.int64)
    if types.is_decimal(kind):
        try:
            return _numpy(column.cast("int64"))
        except ValueError as error:
            raise InvalidInputError(f"column {name!r} ({kind}): {error}; {_ADVICE}") from error
    raise InvalidInputError(f"column {name!r} holds {kind}: {_ADVICE}")


def _values(column: Any, name: str) -> NDArray[np.float64]:
    """Return numbers as float64, NULL as NaN."""
    types, kind = import_pyarrow().types, column.type
    is_number = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean)
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if not any(test(kind) for test in is_number):
        raise InvalidInputError(f"column {name!r} holds {kind}: values must be finite numbers")
    return _numpy(column.cast("float64", safe=False).fill_null(np.nan))


def _numpy(column: Any) -> Array:
    values: Array = column.to_numpy()
    return values


def _refuse(values: Array, bad: NDArray[np.bool_], name: str) -> None:
    if bad.any():
        raise InvalidInputError(f"column {name!r} holds {values[bad].item(0)}: {_ADVICE}")
