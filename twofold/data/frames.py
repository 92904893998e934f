"""Data frames through Arrow's PyCapsule interface, which pandas, polars, DuckDB and others offer.

Only pyarrow is needed, and only when there is a frame to read.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from twofold.data.columns import import_pyarrow, is_text
from twofold.exceptions import InvalidInputError

__all__ = ["arrow_chunk", "frame_chunks"]

_ROWS = 1 << 20  # of a chunk


def frame_chunks(frame: Any, names: Sequence[str]) -> Iterator[list[Any]]:
    """Yield the columns of a frame as arrays of pyarrow, some rows at a time.

    Raises
    ------
    InvalidInputError
        If this is not a frame, or has no such columns.
    """
    table = _table(frame, names).select(list(dict.fromkeys(names)))
    for batch in table.to_batches(max_chunksize=_ROWS):
        yield arrow_chunk(batch, names)


def arrow_chunk(batch: Any, names: Sequence[str]) -> list[Any]:
    """Return columns of a batch, without dictionaries; a list of column ids becomes its items."""
    types = import_pyarrow().types
    columns = [batch.column(name) for name in names]
    for axis, column in enumerate(columns):
        if types.is_dictionary(column.type):
            wide = "large_string" if is_text(column.type.value_type) else column.type.value_type
            columns[axis] = column.dictionary.cast(wide).take(column.indices)
    kind = columns[1].type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        from pyarrow import compute

        parents = compute.list_parent_indices(columns[1])
        lists = columns[1]
        columns = [column.take(parents) for column in columns]
        columns[1] = compute.list_flatten(lists)
    return columns


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
        # Of these only the columns that are needed, as others may hold what Arrow cannot.
        if libraries & {"pandas", "polars"} and set(names) <= set(frame.columns):
            frame = frame[list(dict.fromkeys(names))]
        table = frame if isinstance(frame, pa.Table) else pa.table(frame)
    except (pa.ArrowException, AttributeError, TypeError, ValueError, OverflowError) as error:
        reason = ", ".join(map(str, error.args)) or type(error).__name__
        raise InvalidInputError(
            f"the frame cannot be read as a table of Arrow: {reason}; ids must be 64-bit integers "
            "or text"
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
