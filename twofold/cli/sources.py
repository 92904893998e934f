"""SOURCE: databases and files of pairs, identified by their names and first bytes."""

import inspect
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold import io
from twofold.cli.options import (
    Option,
    OptionError,
    check_owners,
    options_of,
    translate_errors,
    with_owners,
)
from twofold.data import Pairings
from twofold.exceptions import InvalidInputError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = [
    "SOURCE_HELP", "Reading", "check_is_model", "check_overwrites_model", "database_of",
    "database_url", "is_source", "read_source", "reader_options", "readers_of_parts",
]  # fmt: skip

SOURCE_HELP = (
    "SQLAlchemy URL (sqlite:///my.db), SQLite file, .csv, .tsv, .parquet (also a folder), .npz, "
    ".mtx, or slices of the Million Playlist Dataset (file, folder or .zip)."
)

Reading = Callable[..., Pairings]
"""Reads SOURCE with the given options; arguments override options, and None removes one."""

_SQL, _CSV, _PARQUET = "an SQLite database", "a CSV file", "a Parquet file"
_NPZ, _MTX = "a .npz file", "a Matrix Market file"
_MPD, _MODEL = "a slice of the Million Playlist Dataset", "a model of twofold"
_OWNERS = {
    _SQL: "databases", _CSV: "CSV", _PARQUET: "Parquet", _NPZ: ".npz",
    _MTX: "Matrix Market", _MPD: "Million Playlist Dataset",
}  # fmt: skip
_SUFFIXES = {
    ".db": _SQL, ".sqlite": _SQL, ".sqlite3": _SQL, ".csv": _CSV, ".tsv": _CSV,
    ".parquet": _PARQUET, ".npz": _NPZ, ".mtx": _MTX, ".json": _MPD,
    ".twofold": _MODEL,
}  # fmt: skip
_HELP = {  # for docstrings that describe Python objects
    "where": 'SQL condition for the pairs to read, such as "pid < 10000".',
    "on_null": "Treatment of pairs with a NULL id: raise an error or drop them.",
    "delimiter": "Separator of fields; by default a tab for .tsv, otherwise a comma.",
}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_FIRST_BYTES = {
    b"SQLite format 3\0": _SQL, b"PAR1": _PARQUET, b"%%MatrixMarket": _MTX,
}  # fmt: skip


def read_source(
    source: str, options: Mapping[str, Option], /, *, progress: bool = False, **given: Any
) -> Pairings:
    """Read pairs from a database or a file, with arguments for its reader.

    Raises
    ------
    TwofoldError
        If the source is of unknown kind or cannot be read, or an argument is not supported.
    """
    kind, argument = _kind_and_argument(source)
    owner, reader = _OWNERS[kind], _readers()[kind]
    given = {name: value for name, value in given.items() if value is not None}
    description = "SOURCE is a database" if "://" in source else f"{source} is {kind}"
    check_owners(options, given, owner, description)
    if "progress" in inspect.signature(reader).parameters:
        given["progress"] = progress
    if kind == _CSV and ".tsv" in Path(source).suffixes:
        given.setdefault("delimiter", "\t")
    if given.get("delimiter") == r"\t":  # typed as a backslash and a letter
        given["delimiter"] = "\t"
    with translate_errors(options.values()):
        pairings: Pairings = reader(argument, **given)
    return pairings


def readers_of_parts(read: Reading) -> list[Callable[[], Pairings]]:
    """Return a reader for each file of a source that is a folder, for other processes.

    Raises
    ------
    OptionError
        If the source is not a folder.
    """
    assert isinstance(read, partial)
    source, options = read.args
    if not Path(source).is_dir():
        raise OptionError("--parts is for a folder of files as SOURCE")
    kind, folder = _kind_of_folder(Path(source).absolute())
    files = sorted(folder.glob("mpd.slice.*") if kind == _MPD else folder.rglob("*.parquet"))
    return [partial(read_source, str(file), options, **read.keywords) for file in files]


def database_of(source: str) -> "URL | None":
    """Return the URL of a source, or None if it is not a database."""
    kind, argument = _kind_and_argument(source)
    return argument if kind == _SQL else None


def is_source(text: str) -> bool:
    """Return whether a text names a database, or a folder or file of pairs, and not a model."""
    path = Path(text)
    if "://" in text or path.is_dir():
        return True
    try:
        return _kind_of_file(path) in _OWNERS
    except InvalidInputError:  # a file that does not exist, or a wrong suffix
        return _kind_by_name(path) in _OWNERS


def _readers() -> dict[str, Callable[..., Any]]:
    """Return the reader of each kind of source."""
    return {
        _SQL: io.read_sql, _CSV: io.read_csv, _PARQUET: io.read_parquet, _NPZ: io.read_npz,
        _MTX: io.read_mtx, _MPD: io.read_mpd,
    }  # fmt: skip


def reader_options() -> dict[str, Option]:
    """Return the options of all readers, each with the kinds of source that have it."""
    skip = ("source", "path", "paths", "progress")
    # --weight belongs to the regulariser, and --names to the names of tracks.
    flags = {"weight": "--weight-column", "names": "--column-names"}
    return with_owners(
        {
            _OWNERS[kind]: options_of(reader, skip=skip, flags=flags, help=_HELP)
            for kind, reader in _readers().items()
        }
    )


def _kind_and_argument(source: str) -> tuple[str, Any]:
    """Return the kind of a source and the argument of its reader."""
    if "://" in source:
        return _SQL, database_url(source)
    if not source:
        raise InvalidInputError("SOURCE is an empty text: give a path or a URL")
    path = Path(source)
    if path.is_dir():
        return _kind_of_folder(path)
    kind = _kind_of_file(path)
    if kind is None or kind not in _OWNERS:
        problem = f"is {kind}" if kind else "is of unknown kind"
        raise InvalidInputError(f"{source!r} {problem}; SOURCE can be: {SOURCE_HELP}")
    return kind, database_url(source) if kind == _SQL else path


def _kind_of_folder(folder: Path) -> tuple[str, Path]:
    for argument in (folder, folder / "data"):  # the folder of the slices in the distributed zip
        if any(argument.glob("mpd.slice.*")):
            return _MPD, argument
    if any(folder.rglob("*.parquet")):
        return _PARQUET, folder
    raise InvalidInputError(
        f"{str(folder)!r} is a folder without Parquet files and slices of the Million Playlist "
        "Dataset (mpd.slice.*.json): give a file"
    )


def _kind_of_file(path: Path) -> str | None:
    """Return the kind of a file by its suffix or, without a known one, by its first bytes."""
    by_name = _kind_by_name(path)
    if any(letter in str(path) for letter in "*?[") and not path.exists():
        return by_name  # a glob pattern of slices
    by_content = _kind_by_content(path)
    if by_content == _MODEL or not by_name:
        return by_content
    is_ambiguous = by_content in (_CSV, _MPD) and by_name in (_CSV, _MPD, _MTX)  # text formats
    if by_content not in (None, by_name) and not is_ambiguous:
        raise InvalidInputError(
            f"{str(path)!r} is {by_content}, but has the suffix of {by_name}: rename it"
        )
    return by_name


def _kind_by_name(path: Path) -> str | None:
    while path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    return _SUFFIXES.get(path.suffix.lower())


def check_is_model(path: Path) -> None:
    """Raise if the first bytes exclude that a file is a model or a checkpoint."""
    kind = _kind_by_content(path)
    if kind not in (None, _MODEL):
        raise InvalidInputError(f"{str(path)!r} is {kind}, not a file that `twofold fit` wrote")


def check_overwrites_model(path: Path) -> None:
    """Raise if a file to write a model to exists with other content."""
    if path.is_file() and path.stat().st_size and _kind_by_content(path) != _MODEL:
        raise InvalidInputError(
            f"{str(path)!r} exists, but is not a file that `twofold fit` wrote: delete it, or give "
            "another file for the model"
        )


def _kind_by_content(path: Path) -> str | None:
    """Return the kind of a file by its first bytes, or None if it is unknown."""
    if path.is_dir():
        raise InvalidInputError(f"{str(path)!r} is a folder: give a file")
    try:
        if not path.is_file():
            path.stat()
            return None  # A pipe can be read only once.
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise InvalidInputError(f"there is no file {str(path)!r}: check the path") from error
        raise InvalidInputError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if not start:
        raise InvalidInputError(f"{str(path)!r} is empty: give another file")
    for first, kind in _FIRST_BYTES.items():
        if start.startswith(first):
            return kind
    if start.startswith(b"PK\3\4"):
        return _content_of_zip(path)
    if b"\0" in start:
        return None
    return _MPD if start.lstrip().startswith(b"{") else _CSV


def _content_of_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, zipfile.BadZipFile):
        return None  # The reader raises a detailed error.
    if "col_factors.npy" in names:
        return _MODEL
    if any("mpd.slice." in name for name in names):
        return _MPD
    return _NPZ if any(name.endswith(".npy") for name in names) else None


def database_url(text: str, *, create: bool = False) -> "URL":
    """Return the URL of a database from a URL or the path of an SQLite file.

    An existing file must be an SQLite database or, with ``create``, empty.
    """
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except (ArgumentError, ValueError) as error:  # The text may contain a password.
        raise InvalidInputError(
            "the database URL is invalid: give dialect://user:password@host:port/name, for example "
            "sqlite:///my.db or postgresql+psycopg://me@localhost/music"
        ) from error
    path = Path(url.database or "") if url.get_backend_name() == "sqlite" else Path()
    is_new = not path.exists() or (create and path.is_file() and not path.stat().st_size)
    if not path.name or (is_new and not create):
        return url
    kind = _kind_by_name(path) if is_new else _kind_by_content(path)
    if kind not in (None, _SQL):
        name, verb = repr(str(path)), "is named like" if is_new else "is"
        advice = "give another" if create or kind == _MODEL else f"give {name} as SOURCE"
        raise InvalidInputError(f"{name} {verb} {kind}, not {_SQL}: {advice}")
    return url
