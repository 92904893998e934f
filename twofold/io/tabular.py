"""`read_csv`, `read_lists` and `read_parquet`: pairings in files of lines or columns."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twofold._common.atomic import Path_
from twofold._common.checks import check_flags, check_path
from twofold.data import Duplicates, PairBuilder, Pairings
from twofold.data.builder import IdType, OnNull
from twofold.data.columns import import_pyarrow
from twofold.data.files import SIGNATURES, ZIP, damage_explained, kind_of_file
from twofold.data.frames import arrow_chunk
from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = ["read_csv", "read_lists", "read_parquet"]


_PART = 1 << 22  # bytes or characters read at a time
_LONGEST = 1 << 24  # bytes of a line
_COMPRESSED = "a file compressed by "
_SEPARATOR = "\x1f"  # stands for a delimiter of several characters


def read_csv(
    path: Path_,
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    *,
    weight: str | None = None,
    time: str | None = None,
    delimiter: str = ",",
    quoting: bool = True,
    newlines_in_fields: bool = False,
    comment: str | None = None,
    encoding: str = "utf-8",
    names: Sequence[str] | None = None,
    duplicates: Duplicates = "keep-one",
    on_null: OnNull = "error",
    id_type: IdType | None = None,
) -> Pairings:
    """Read pairings from a CSV file with a line for each pair; needs ``twofold[frames]``.

    Parameters
    ----------
    path : str or path-like
        The file, which may be compressed by gzip, bzip2, xz or Zstandard.
    row, col, value, weight, time
        Names of columns, as for `Pairings.from_frame`. An empty field is NULL; any other text, also
        ``NA``, is an id. Times are integers, or dates and times in ISO 8601.
    delimiter : str, optional
        What separates fields, by default a comma: a character such as a tab, or several, such
        as ``"::"``.
    quoting : bool, default True
        A field that begins with ``"`` ends with the next ``"``. With False quote marks are text.
    newlines_in_fields : bool, default False
        Allow quoted fields that span lines. Otherwise they are an error, as a lone quote mark would
        join lines.
    comment : str, optional
        Lines that begin with this text are left out.
    encoding : str, default "utf-8"
        Any encoding of Python, such as ``"latin-1"``.
    names : sequence of str, optional
        Names of all columns, for a file without a line of names.
    duplicates, on_null
        As for `Pairings.from_frame`.
    id_type : {"text", "integer"}, optional
        What ids become. By default those of a column are integers if each of them is written as an
        integer that fits 64 bits, and text otherwise: so with one ``007`` or ``+7`` among them they
        are all text, and no two different ids become one.

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

    Examples
    --------
    >>> import pyarrow.csv
    >>> table = Pairings.from_arrays(["ann", "ann", "bob"], [7, 9, 7]).to_frame("pyarrow")
    >>> pyarrow.csv.write_csv(table, "listens.csv")
    >>> read_csv("listens.csv", row="row", col="col")
    <Pairings: 2 rows x 2 columns, 3 pairs>
    """
    builder = PairBuilder(
        row, col, value, weight, time,
        duplicates=duplicates, on_null=on_null, id_type=id_type or "infer",
    )  # fmt: skip
    _check_delimiter(delimiter)
    for what, name in (("value", value), ("weight", weight), ("time", time)):
        if name in (row, col):
            raise InvalidInputError(
                f"{what} is {name!r}, which is a column of ids: give another one"
            )
    check_flags(quoting=quoting, newlines_in_fields=newlines_in_fields)
    if newlines_in_fields and not quoting:
        raise InvalidInputError(
            "newlines_in_fields=True is for fields in quote marks: leave out quoting=False"
        )
    if names is not None and (
        not isinstance(names, Iterable)
        or isinstance(names, str)
        or not all(isinstance(name, str) for name in list(names))
        or not list(names)
    ):
        raise InvalidInputError(f"names is {names!r}: give a list with the name of each column")
    lines = _Lines(path, encoding, delimiter, comment)
    for chunk in _csv_chunks(lines, builder, names, quoting, newlines_in_fields):
        builder.add(chunk)
    return _built(path, builder, "csv")


def _check_delimiter(delimiter: Any) -> None:
    if not isinstance(delimiter, str) or not delimiter or set(delimiter) & set('\r\n"'):
        raise InvalidInputError(
            f"delimiter is {delimiter!r}: it must be a text without line breaks and quote marks"
        )


def _csv_chunks(
    lines: "_Lines",
    builder: PairBuilder,
    names: Sequence[str] | None,
    quoting: bool,
    newlines_in_fields: bool,
) -> Iterator[list[Any]]:
    """Yield the columns, ids and times as text."""
    pa = import_pyarrow()
    from pyarrow import csv as arrow

    layout: dict[str, Any] = {
        "read_options": arrow.ReadOptions(
            column_names=None if names is None else list(names), block_size=_LONGEST
        ),
        "parse_options": arrow.ParseOptions(
            delimiter=lines.delimiter,
            quote_char='"' if quoting else False,
            newlines_in_values=newlines_in_fields,
        ),
    }
    with lines.explained():
        found = arrow.open_csv(lines.stream(), **layout).schema.names
    _check_columns(lines.path, builder.names, found)
    types = dict.fromkeys(found, pa.binary()) | dict.fromkeys(builder.names, pa.float64())
    types |= dict.fromkeys(builder.texts, pa.string())
    options = arrow.ConvertOptions(
        column_types=types,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with lines.explained():
        stream = lines.stream()
        for batch in arrow.open_csv(stream, **layout, convert_options=options):
            if stream.n_quotes and quoting and not newlines_in_fields:
                _check_newlines(lines.path, batch)
            yield arrow_chunk(batch, builder.names)
        if quoting and stream.n_quotes % 2:
            _check_quotes(lines)


def read_lists(
    path: Path_,
    *,
    delimiter: str | None = None,
    comment: str | None = None,
    encoding: str = "utf-8",
    duplicates: Duplicates = "keep-one",
    id_type: IdType | None = None,
) -> Pairings:
    """Read pairings from a text file with a line for each row: its id, then its column ids.

    Parameters
    ----------
    path : str or path-like
        The file, which may be compressed as for `read_csv`.
    delimiter : str, optional
        What separates ids. By default any white space.
    comment, encoding, duplicates, id_type
        As for `read_csv`.

    Returns
    -------
    Pairings
        A line with a row id alone is a row without pairs.

    Raises
    ------
    FileFormatError
        If the file is not text in this encoding.
    InvalidInputError
        If the file cannot be opened or has no pairs, or an id or duplicate is not allowed.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("lists.txt").write_text("ann 7 9")  # one line
    >>> read_lists("lists.txt").col_ids.tolist()
    [7, 9]
    """
    builder = PairBuilder("row", "col", duplicates=duplicates, id_type=id_type or "infer")
    if delimiter is not None:
        _check_delimiter(delimiter)
    existing = []
    lines = _Lines(path, encoding, "", comment)
    with lines.explained():
        for part in lines.parts():
            rows: list[str] = []
            cols: list[str] = []
            for line in part.decode().splitlines():
                first, *others = line.split(delimiter) or [""]
                if first:
                    existing.append(first)
                    rows += [first] * len(others)
                    cols += others
            builder.add([rows, cols])
    return _built(path, builder, "lists", existing)


def read_parquet(
    path: Path_,
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    *,
    weight: str | None = None,
    time: str | None = None,
    duplicates: Duplicates = "keep-one",
    on_null: OnNull = "error",
    id_type: IdType | None = None,
) -> Pairings:
    """Read pairings from Parquet with a line for each pair; needs ``twofold[frames]``.

    Parameters
    ----------
    path : str or path-like
        A file, or a folder of such files; names of folders such as ``year=2026`` are columns.
    row, col, value, weight, time, duplicates, on_null, id_type
        As for `Pairings.from_frame`.

    Returns
    -------
    Pairings

    Raises
    ------
    FileFormatError
        If the file is not Parquet, or damaged. Damage inside a column's values is noticed only if
        the file has checksums of its pages, which not all programs write.
    InvalidInputError
        If pyarrow is missing, the file cannot be opened, one has no such column, there are no
        pairs, or an id, value, weight or duplicate is not allowed.

    Examples
    --------
    >>> import pyarrow.parquet
    >>> table = Pairings.from_arrays([1, 1, 2], [7, 9, 7]).to_frame("pyarrow")
    >>> pyarrow.parquet.write_table(table, "pairs.parquet")
    >>> read_parquet("pairs.parquet", row="row", col="col")
    <Pairings: 2 rows x 2 columns, 3 pairs>
    """
    builder = PairBuilder(
        row, col, value, weight, time, duplicates=duplicates, on_null=on_null, id_type=id_type
    )
    import_pyarrow()
    from pyarrow import dataset

    with damage_explained(path, "a Parquet file", "a Parquet file", "a folder"):
        checked = dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
        layout = dataset.ParquetFileFormat(default_fragment_scan_options=checked)
        files = dataset.dataset(os.fspath(path), format=layout, partitioning="hive")
        fragments = list(files.get_fragments())
    for fragment in fragments:  # each by its own schema: the first one's may not fit the others
        with damage_explained(fragment.path, "a Parquet file", "a Parquet file"):
            folders = dataset.get_partition_keys(fragment.partition_expression)
            schema = fragment.physical_schema
            for name in folders:
                if name not in schema.names:
                    schema = schema.append(files.schema.field(name))
        _check_columns(fragment.path, builder.names, schema.names)
        batches = fragment.to_batches(schema=schema, columns=list(dict.fromkeys(builder.names)))
        _add_all(builder, batches, fragment.path)
    return _built(path, builder, "parquet")


def _add_all(builder: PairBuilder, batches: Iterator[Any], path: str) -> None:
    """Append the batches of one file; errors name it."""
    while True:
        with damage_explained(path, "a Parquet file", "a Parquet file"):
            batch = next(batches, None)
        if batch is None:
            return
        try:
            builder.add(arrow_chunk(batch, builder.names))
        except InvalidInputError as error:
            raise InvalidInputError(f"{path!r}: {error}") from error


def _check_columns(path: Path_, wanted: Sequence[str], found: Sequence[str]) -> None:
    for name in wanted:
        if found.count(name) != 1:
            count = "several columns" if name in found else "no column"
            raise InvalidInputError(
                f"{str(path)!r} has {count} {name!r}: its columns are "
                + (", ".join(map(repr, found[:50])) or "none")
            )


def _built(path: Path_, builder: PairBuilder, reader: str, row_ids: Any = None) -> Pairings:
    if builder.n_read == builder.n_null:
        raise InvalidInputError(f"{str(path)!r} has no pairs: there is nothing to read")
    return Pairings(**builder.build(reader, row_ids))


class _Lines:
    """A file of lines: unpacked, in UTF-8, with single delimiters and without comments."""

    def __init__(self, path: Path_, encoding: str, delimiter: str, comment: str | None) -> None:
        check_path(path)
        for name, text in (("encoding", encoding), ("comment", "" if comment is None else comment)):
            if not isinstance(text, str):
                raise InvalidInputError(f"{name} is a {type(text).__name__}: give a text")
        self.path = path
        self.encoding = encoding
        self.delimiter = delimiter if len(delimiter.encode()) == 1 else _SEPARATOR
        self._replaced = delimiter.encode() if self.delimiter != delimiter else b""
        self._comment = comment and re.compile(b"(?m)^%b.*\n?" % re.escape(comment.encode()))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of reading into one that says what the file is."""
        kind, name = kind_of_file(self.path), repr(os.fspath(self.path))
        if kind == "a folder":
            raise InvalidInputError(f"{name} is a folder, not a file of lines of text")
        if kind == ZIP or (kind in SIGNATURES and not kind.startswith(_COMPRESSED)):
            way_out = ": unpack it first" if kind == ZIP else ""
            raise FileFormatError(f"{name} is {kind}, not a file of lines of text{way_out}")
        try:
            yield
        except (FileFormatError, InvalidInputError):
            raise
        except (FileNotFoundError, PermissionError) as error:
            raise InvalidInputError(f"cannot read {name}: {error.strerror}") from error
        except (OSError, ValueError, EOFError, lzma.LZMAError, LookupError) as error:
            reason = str(error)
            if "utf8" in reason.lower() or isinstance(error, UnicodeError):
                reason += '; give its encoding, for instance encoding="latin-1"'
            if "straddling" in reason:
                reason = f"a line has more than {_LONGEST} bytes, or a quote mark is not closed"
            raise FileFormatError(f"{name} cannot be read: {reason}") from error

    def stream(self) -> "_Stream":
        """Return the file as pyarrow reads files."""
        return _Stream(self.parts())

    def parts(self) -> Iterator[bytes]:
        """Yield whole lines, some at a time."""
        with _opened(self.path) as raw:
            text = io.TextIOWrapper(raw, self.encoding, newline="")
            is_utf8 = codecs.lookup(self.encoding).name == "utf-8"
            read = raw.read if is_utf8 else text.read
            rest = b""
            for place, part in enumerate(iter(lambda: read(_PART), read(0))):
                data = rest + (part if isinstance(part, bytes) else part.encode())
                if place == 0:
                    data = data.removeprefix(codecs.BOM_UTF8)
                end = data.rfind(b"\n") + 1
                data, rest = data[:end], data[end:]
                yield self._cleaned(data)
            yield self._cleaned(rest)

    def _cleaned(self, data: bytes) -> bytes:
        if self._comment:
            data = self._comment.sub(b"", data)
        return data.replace(self._replaced, _SEPARATOR.encode()) if self._replaced else data


class _Stream:
    """Parts of a file behind the methods that pyarrow calls."""

    closed = False

    def __init__(self, parts: Iterator[bytes]) -> None:
        self.n_quotes = 0
        self._parts = parts
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        while len(self._rest) < size and (part := next(self._parts, None)) is not None:
            self.n_quotes += part.count(b'"')
            self._rest += part
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def close(self) -> None:
        """End reading."""
        self.closed = True

    def readable(self) -> bool:
        """Tell pyarrow that it can read."""
        return True


def _opened(path: Path_) -> Any:
    """Open a file, and unpack it by its first bytes."""
    kind = (kind_of_file(path) or "").removeprefix(_COMPRESSED)
    if kind == "Zstandard":
        return import_pyarrow().CompressedInputStream(os.fspath(path), "zstd")
    openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return openers.get(kind, open)(path, "rb")


def _check_quotes(lines: _Lines) -> None:
    """Raise if a file ends inside quotes, as a truncated one may: Arrow accepts that."""
    parts = (part.decode(errors="replace") for part in lines.parts())
    each = (line for part in parts for line in part.splitlines(keepends=True))
    try:
        for _ in csv.reader(each, delimiter=lines.delimiter, strict=True):
            pass
    except csv.Error as error:
        raise FileFormatError(
            f"{str(lines.path)!r} has a quote mark that is not closed: give quoting=False if quote "
            f"marks are text; otherwise the file is truncated ({error})"
        ) from error


def _check_newlines(path: Path_, batch: Any) -> None:
    """Raise if a field spans lines."""
    from pyarrow import compute

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if str(column.type) in ("string", "binary"):
            spans = compute.match_substring_regex(column, "[\r\n]")
            if compute.any(spans).as_py():
                field = column.filter(spans)[0].as_py()
                raise FileFormatError(
                    f"{str(path)!r} has a field that spans lines in column {name!r}: "
                    f"{field[:40]!r}; give quoting=False if quote marks are text, or "
                    "newlines_in_fields=True"
                )
