"""`read_csv` and `read_parquet`: files with a line for each pair."""

import csv
import io
import os
import time
from collections.abc import Sequence
from typing import Any, Literal

from twofold._common.checks import check_choice, check_names
from twofold.data.archive import damage_explained
from twofold.data.frames import import_pyarrow
from twofold.data.pairings import Duplicates, Pairings
from twofold.data.report import reported
from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = ["read_csv", "read_parquet"]

OnNull = Literal["error", "drop"]
Path_ = str | os.PathLike[str]

# What a whole number is written as; other digits, such as 007, are a text.
_WHOLE = "^(0|-?[1-9][0-9]*)$"
_DIGITS = r"^[+-]?[0-9]+$"
_PART = 1 << 22  # bytes looked through at a time


def read_csv(
    path: Path_,
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    *,
    weight: str | None = None,
    ids: Literal["infer", "text", "integers"] = "infer",
    delimiter: str = ",",
    names: Sequence[str] | None = None,
    duplicates: Duplicates = "keep-one",
    on_null: OnNull = "error",
) -> Pairings:
    """Read pairings from a CSV file with a line for each pair; needs ``twofold[frames]``.

    Parameters
    ----------
    path : str or path-like
        The file, in UTF-8; ending in ``.gz`` or ``.bz2`` if it is compressed.
    row : str, default "pid"
        The column of row ids. An empty field is NULL; any other text, also ``NA``, is an id.
    col : str, default "tid"
        The column of column ids, likewise.
    value : str, optional
        The column with a finite number for each pair. Without it every stored value is 1.
    weight : str, optional
        The column with a finite weight >= 0 for each pair, beside its value.
    ids : {"infer", "text", "integers"}, default "infer"
        What ids are. By default those of a column are integers if each of them is written as an
        integer that fits 64 bits, and text otherwise: so with one ``007`` or ``+7`` among them
        they are all text, and no two different ids become one.
    delimiter : str, optional
        What separates fields: one character, such as a tab; by default a comma.
    names : sequence of str, optional
        Names of all columns, for a file without a line of names.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair that occurs several times becomes; see `Pairings.from_arrays`.
    on_null : {"error", "drop"}, default "error"
        What to do with a pair with an empty id: raise; or leave it out, and say how many in
        `n_null_dropped`.

    Returns
    -------
    Pairings

    Raises
    ------
    FileFormatError
        If the file is not CSV, or a line or a value cannot be read.
    InvalidInputError
        If pyarrow is missing, the file cannot be opened, has no such column or no pairs, or an id,
        weight or duplicate is not allowed.
    """
    started = time.perf_counter()
    check_choice(ids, "ids", ("infer", "text", "integers"))
    check_names({"row": row, "col": col}, {"value": value, "weight": weight})
    if not isinstance(delimiter, str) or len(delimiter) != 1 or not delimiter.isascii():
        raise InvalidInputError(f"delimiter is {delimiter!r}: it must be one ASCII character")
    if delimiter in '\r\n"':
        raise InvalidInputError(f"delimiter is {delimiter!r}: it cannot be a line break or a quote")
    for what, name in (("value", value), ("weight", weight)):
        if name in (row, col):
            raise InvalidInputError(
                f"{what} is {name!r}, which is a column of ids: give another one"
            )
    if names is not None and (
        isinstance(names, str) or not all(isinstance(name, str) for name in list(names))
    ):
        raise InvalidInputError(f"names is {names!r}: give a list with the name of each column")
    pa = import_pyarrow()
    from pyarrow import csv as arrow

    types = {row: pa.string(), col: pa.string()}
    types |= {name: pa.float64() for name in (value, weight) if name is not None}
    layout: dict[str, Any] = {
        "read_options": arrow.ReadOptions(column_names=None if names is None else list(names)),
        "parse_options": arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
    }
    with damage_explained(path, "CSV"), arrow.open_csv(os.fspath(path), **layout) as start:
        found = start.schema.names
    _check_columns(path, list(types), found)
    options = arrow.ConvertOptions(
        include_columns=list(types),
        column_types=types,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with damage_explained(path, "CSV"):
        table = arrow.read_csv(os.fspath(path), **layout, convert_options=options)
        _check_quotes(path, delimiter)
    if ids != "text":
        for name in dict.fromkeys((row, col)):
            whole = _whole_numbers(table.column(name), name, strict=ids == "integers")
            table = table.set_column(table.column_names.index(name), name, whole)
    return _pairings(path, table, (row, col, value), weight, duplicates, on_null, "csv", started)


def read_parquet(
    path: Path_,
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    *,
    weight: str | None = None,
    duplicates: Duplicates = "keep-one",
    on_null: OnNull = "error",
) -> Pairings:
    """Read pairings from Parquet with a line for each pair; needs ``twofold[frames]``.

    Parameters
    ----------
    path : str or path-like
        A file, or a folder of such files.
    row : str, default "pid"
        The column of row ids; see `Pairings.from_frame`.
    col : str, default "tid"
        The column of column ids, likewise.
    value : str, optional
        The column with a finite number for each pair. Without it every stored value is 1.
    weight : str, optional
        The column with a finite weight >= 0 for each pair, beside its value.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair that occurs several times becomes; see `Pairings.from_arrays`.
    on_null : {"error", "drop"}, default "error"
        What to do with a pair with a NULL id: raise; or leave it out, and say how many in
        `n_null_dropped`.

    Returns
    -------
    Pairings

    Raises
    ------
    FileFormatError
        If the file is not Parquet, or damaged. Damage inside a column's values is noticed only if
        the file has checksums of its pages, which not all programs write.
    InvalidInputError
        If pyarrow is missing, the file cannot be opened, has no such column or no pairs, or an id,
        value, weight or duplicate is not allowed.
    """
    started = time.perf_counter()
    check_names({"row": row, "col": col}, {"value": value, "weight": weight})
    import_pyarrow()
    from pyarrow import dataset

    wanted = list(dict.fromkeys(name for name in (row, col, value, weight) if name is not None))
    with damage_explained(path, "Parquet"):
        checked = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
        layout = dataset.ParquetFileFormat(default_fragment_scan_options=checked)
        files = dataset.dataset(os.fspath(path), format=layout)
    _check_columns(path, wanted, files.schema.names)
    with damage_explained(path, "Parquet"):
        table = files.to_table(columns=wanted)
    return _pairings(
        path, table, (row, col, value), weight, duplicates, on_null, "parquet", started
    )


def _check_columns(path: Path_, wanted: Sequence[str], found: Sequence[str]) -> None:
    for name in wanted:
        if found.count(name) != 1:
            count = "several columns" if name in found else "no column"
            raise InvalidInputError(
                f"{str(path)!r} has {count} {name!r}: its columns are "
                + (", ".join(map(repr, found[:50])) or "none")
            )


def _check_quotes(path: Path_, delimiter: str) -> None:
    """Raise if a file ends inside quotes, as one that is cut short may: Arrow would not mind."""
    pa = import_pyarrow()
    with pa.input_stream(os.fspath(path)) as stream:
        n_quotes = sum(part.count(b'"') for part in iter(lambda: stream.read(_PART), b""))
    if n_quotes % 2 == 0:
        return
    with pa.input_stream(os.fspath(path)) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
        lines = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            for _ in lines:
                pass
        except csv.Error as error:
            raise FileFormatError(
                f"{str(path)!r} has a quote that is not closed, or closed too early ({error} in "
                f"line {lines.line_num}): is it cut short?"
            ) from error


def _whole_numbers(column: Any, name: str, *, strict: bool) -> Any:
    """Return a column of text as integers; as it is where one is no integer, unless ``strict``."""
    from pyarrow import compute

    if strict:
        odd = column.filter(compute.invert(compute.match_substring_regex(column, _DIGITS)))
        if len(odd):
            raise InvalidInputError(
                f"column {name!r}: {odd[0].as_py()!r} is no integer; ids must be 64-bit integers: "
                'use ids="infer" or "text"'
            )
    # A column without any text says nothing; it is NULL throughout.
    if strict or compute.all(compute.match_substring_regex(column, _WHOLE), min_count=0).as_py():
        try:
            return column.cast("int64")
        except ValueError as error:  # beyond 64 bits, or strict
            if strict:
                raise InvalidInputError(
                    f"column {name!r}: {error}; ids must be 64-bit integers: "
                    'use ids="infer" or "text"'
                ) from error
    return column


def _pairings(
    path: Path_,
    table: Any,
    names: tuple[str, str, str | None],
    weight: str | None,
    duplicates: Duplicates,
    on_null: OnNull,
    reader: str,
    started: float,
) -> Pairings:
    pairings = Pairings.from_frame(
        table, *names, weight=weight, duplicates=duplicates, on_null=on_null
    )
    if not pairings.n_pairs:
        raise InvalidInputError(f"{str(path)!r} has no pairs: there is nothing to read")
    return reported(pairings, reader, len(table), started)
