"""SOURCE: databases and files of pairs, recognised by their names and first bytes."""

import inspect
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold import io
from twofold.cli.options import Option, check_owners, in_terms_of, options_of, with_owners
from twofold.data import Pairings
from twofold.exceptions import InvalidInputError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

__all__ = [
    "SOURCE_HELP", "Reading", "check_is_model", "database_url", "read_source", "reader_options",
]  # fmt: skip

SOURCE_HELP = (
    "SQLAlchemy URL (sqlite:///my.db), SQLite file, .csv, .tsv, .parquet (also a folder), .npz, "
    ".mtx, or slices of the Million Playlist Dataset (file, folder or .zip)."
)

Reading = Callable[..., Pairings]
"""Reads SOURCE with the options that were typed; arguments replace them, and None removes one."""

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
_HELP = {  # where the docstring describes what only Python can give or see
    "where": 'Which pairs to read: a condition in SQL, such as "pid < 10000".',
    "on_null": "What to do with a pair with a NULL id: stop with an error, or leave it out.",
    "delimiter": "What separates fields; by default a tab in .tsv, or a comma.",
}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_FIRST_BYTES = {
    b"SQLite format 3\0": _SQL, b"PAR1": _PARQUET, b"%%MatrixMarket": _MTX,
}  # fmt: skip


def read_source(
    source: str, options: Mapping[str, Option], /, *, progress: bool = False, **given: Any
) -> Pairings:
    """Read pairs from a database or a file, with arguments for the reader of its kind.

    Raises
    ------
    TwofoldError
        If the source cannot be recognised or read, or its reader does not have an argument.
    """
    kind, place = _recognised(source)
    owner, reader = _OWNERS[kind], _readers()[kind]
    given = {name: value for name, value in given.items() if value is not None}
    shown = "SOURCE is a database" if "://" in source else f"{source} is {kind}"
    check_owners(options, given, owner, shown)
    if "progress" in inspect.signature(reader).parameters:
        given["progress"] = progress
    if kind == _CSV and ".tsv" in Path(source).suffixes:
        given.setdefault("delimiter", "\t")
    if given.get("delimiter") == r"\t":  # as a backslash and a letter
        given["delimiter"] = "\t"
    with in_terms_of(options.values()):
        pairings: Pairings = reader(place, **given)
    return pairings


def _readers() -> dict[str, Callable[..., Any]]:
    """Return the reader of each kind of source."""
    return {
        _SQL: io.read_sql, _CSV: io.read_csv, _PARQUET: io.read_parquet, _NPZ: io.read_npz,
        _MTX: io.read_mtx, _MPD: io.read_mpd,
    }  # fmt: skip


def reader_options() -> dict[str, Option]:
    """Return the options of all readers, each with the kinds of source that have it."""
    skip = ("source", "path", "paths", "progress")
    flags = {"weight": "--weight-column"}  # --weight is that of the regulariser
    return with_owners(
        {
            _OWNERS[kind]: options_of(reader, skip=skip, flags=flags, help=_HELP)
            for kind, reader in _readers().items()
        }
    )


def _recognised(source: str) -> tuple[str, Any]:
    """Return what a source is and what its reader is given."""
    if "://" in source:
        return _SQL, database_url(source)
    if not source:
        raise InvalidInputError("SOURCE is an empty text: give a path or a URL")
    path = Path(source)
    if path.is_dir():
        return _kind_of_folder(path)
    kind = _kind_of_file(path)
    if kind is None or kind not in _OWNERS:
        is_what = f"is {kind}" if kind else "is of no kind that twofold reads"
        raise InvalidInputError(f"{source!r} {is_what}; SOURCE can be: {SOURCE_HELP}")
    return kind, database_url(source) if kind == _SQL else path


def _kind_of_folder(folder: Path) -> tuple[str, Path]:
    for place in (folder, folder / "data"):  # where the distributed zip has the slices
        if any(place.glob("mpd.slice.*")):
            return _MPD, place
    if any(folder.rglob("*.parquet")):
        return _PARQUET, folder
    raise InvalidInputError(
        f"{str(folder)!r} is a folder without Parquet files and slices of the Million Playlist "
        "Dataset (mpd.slice.*.json): give a file"
    )


def _kind_of_file(path: Path) -> str | None:
    """Return what a file is by the suffix of its name, or else by its first bytes."""
    by_name = _kind_by_name(path)
    if any(letter in str(path) for letter in "*?[") and not path.exists():
        return by_name  # a pattern of slices
    by_content = _content(path)
    if by_content == _MODEL or not by_name:
        return by_content
    is_guess = by_content in (_CSV, _MPD) and by_name in (_CSV, _MPD, _MTX)  # all of them text
    if by_content not in (None, by_name) and not is_guess:
        raise InvalidInputError(
            f"{str(path)!r} is {by_content}, not {by_name} as its name says: rename it"
        )
    return by_name


def _kind_by_name(path: Path) -> str | None:
    while path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    return _SUFFIXES.get(path.suffix.lower())


def check_is_model(path: Path) -> None:
    """Raise if a file is certainly no model and no checkpoint."""
    kind = _content(path)
    if kind not in (None, _MODEL):
        raise InvalidInputError(f"{str(path)!r} is {kind}, not a file that `twofold fit` wrote")


def _content(path: Path) -> str | None:
    """Return what a file is by its first bytes, or None."""
    if path.is_dir():
        raise InvalidInputError(f"{str(path)!r} is a folder: give a file")
    try:
        if not path.is_file():
            path.stat()
            return None  # a pipe, which can be read only once
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise InvalidInputError(f"there is no file {str(path)!r}: check the path") from error
        raise InvalidInputError(f"cannot read {str(path)!r}: {error.strerror}") from error
    if not start:
        raise InvalidInputError(f"{str(path)!r} is empty: there is nothing to read")
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
        return None  # the reader says what is damaged
    if "col_factors.npy" in names:
        return _MODEL
    if any("mpd.slice." in name for name in names):
        return _MPD
    return _NPZ if any(name.endswith(".npy") for name in names) else None


def database_url(text: str, *, create: bool = False) -> "URL":
    """Return the URL of a database; a path is that of an SQLite file.

    An SQLite file that exists must be one, or may be empty with ``create``.
    """
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except (ArgumentError, ValueError) as error:  # the text may hold a password: not shown
        raise InvalidInputError(
            "the database URL is not of the form dialect://user:password@host:port/name, for "
            "instance sqlite:///my.db or postgresql+psycopg://me@localhost/music"
        ) from error
    path = Path(url.database or "") if url.get_backend_name() == "sqlite" else Path()
    is_new = not path.exists() or (create and path.is_file() and not path.stat().st_size)
    if not path.name or (is_new and not create):
        return url
    kind = _kind_by_name(path) if is_new else _content(path)
    if kind not in (None, _SQL):
        name, verb = repr(str(path)), "is named like" if is_new else "is"
        advice = "give another" if create or kind == _MODEL else f"give {name} as SOURCE"
        raise InvalidInputError(f"{name} {verb} {kind}, not {_SQL}: {advice}")
    return url
