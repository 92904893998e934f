"""`import_mpd`: the Million Playlist Dataset into a database, slice by slice."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from tqdm import tqdm

from twofold._common.checks import check_choice, check_names
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io.connect import Source
from twofold.io.mpd import as_table
from twofold.io.mpd_files import Paths, find_slices
from twofold.io.mpd_slices import (
    PLAYLIST_FIELDS,
    TRACK_FIELDS,
    Numbers,
    Slice,
    pid_clash,
)
from twofold.io.mpd_workers import count_workers, read_slices
from twofold.io.sql_write import insert_columns, is_in_memory, named_table, new_file, transaction

__all__ = ["ImportedMpd", "import_mpd"]

_MANY = 500
"""Values in one query: SQLite used to take 999."""


@dataclass(frozen=True)
class ImportedMpd:
    """What a database has after `import_mpd`.

    Parameters
    ----------
    n_playlists, n_tracks, n_pairs : int
        How many rows the tables ``playlists``, ``tracks`` and ``pairings`` have from slices.
    n_slices : int
        How many slices were imported, now and before.
    n_new_slices : int
        How many of them now.
    """

    n_playlists: int
    n_tracks: int
    n_pairs: int
    n_slices: int
    n_new_slices: int


def import_mpd(
    paths: Paths,
    target: Source,
    *,
    schema: str | None = None,
    if_exists: Literal["resume", "replace"] = "resume",
    n_workers: int | None = None,
    progress: bool = False,
) -> ImportedMpd:
    """Import slices of the Million Playlist Dataset into a database; resumable, in little memory.

    Each slice is one transaction, so an import that was interrupted or killed goes on where it was
    when it is called again with the same files, and the tables become those of one that was not.
    Later calls add further slices. Files are recognised by their content and their name without
    the folder. Two imports into one database must not run at once.

    The tables are ``playlists(pid, name, description, num_followers, modified_at, slice)``,
    ``tracks(tid, uri, name, artist, album, duration_ms)``, where ``tid`` numbers the tracks from 0
    in the order in which they appear, ``pairings(pid, tid, pos)``, where ``pos`` is the place from
    0 in the playlist where the track comes first, and ``imported_slices(slice, file, size, sha256,
    n_playlists, n_pairs)``. `read_sql` reads ``pairings`` as it stands. The indexes on ``uri`` and
    on ``tid`` are made when all slices are in, which is quicker.

    Parameters
    ----------
    paths : str, path, or iterable of these
        Files, folders and patterns, as for `read_mpd`.
    target : str, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database. An SQLite file is made if it does not exist; for a database in memory give an
        Engine, as it ends with its connection. On a connection of the caller that is in a
        transaction already, the caller commits.
    schema : str, optional
        The schema of the tables, which has to exist.
    if_exists : {"resume", "replace"}, default "resume"
        What to do with tables of these names: go on with an earlier import; or drop them, in the
        transaction of the first slice.
    n_workers : int, optional
        How many processes parse files while this one writes; 1 parses them in this one. Without it
        as many as there are CPUs, or 1 if the files are small.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    ImportedMpd
        How much there is now.

    Raises
    ------
    FileFormatError
        If a file is not a whole slice (as for `read_mpd`), is in there already under another name,
        has a playlist id that another file has too (naming both), or a text that is no Unicode.
        The slices before it stay.
    InvalidInputError
        If no file is found, one cannot be opened, or one of the tables exists without the others.
    DatabaseReadError
        If the database cannot be reached, or refuses to be written to.
    """
    check_choice(if_exists, "if_exists", ("resume", "replace"))
    check_names({}, {"schema": schema})
    if isinstance(target, str | URL) and is_in_memory(target):
        raise InvalidInputError(
            f"{str(target)!r} is in memory and ends with its connection: give an Engine or a file"
        )
    files = find_slices(paths)
    n_workers = count_workers(n_workers, files)
    tables = _Tables(schema, replace=if_exists == "replace")
    # A new file is made with the first slice, so that nothing is left if that one is no good.
    if if_exists == "resume" and (isinstance(target, Connection) or new_file(target) is None):
        with transaction(target) as connection:
            tables.load(connection)
    n_before = len(tables.file_of)
    slices = read_slices(
        files,
        n_workers,
        tables.tids,
        helping=False,  # it writes
        with_digest=True,
        known=frozenset(tables.file_of),
    )
    with closing(slices):
        for file in tqdm(files, unit=" files", disable=not progress):
            slice_ = next(slices)
            if tables.is_new(slice_, file):
                with transaction(target) as connection:
                    tables.add(connection, slice_, file)
    with transaction(target) as connection:
        tables.make_indexes(connection)
    n_playlists, n_pairs = tables.n_playlists, tables.n_pairs
    n_slices = len(tables.file_of)
    return ImportedMpd(n_playlists, len(tables.tids), n_pairs, n_slices, n_slices - n_before)


class _Tables:
    """The four tables, and what has to be known of them to add a slice."""

    def __init__(self, schema: str | None, *, replace: bool) -> None:
        self.replace = replace
        self.made = False
        self.playlists = named_table("playlists", schema, PLAYLIST_FIELDS)
        self.playlists.append_column(sa.Column("slice", sa.Integer()))
        self.tracks = named_table("tracks", schema, TRACK_FIELDS)
        self.pairings = sa.Table(
            "pairings",
            sa.MetaData(),
            sa.Column("pid", sa.BigInteger(), primary_key=True, autoincrement=False),
            sa.Column("tid", sa.BigInteger(), primary_key=True, autoincrement=False, index=True),
            sa.Column("pos", sa.Integer(), nullable=False),
            schema=schema,
            sqlite_with_rowid=False,  # half the size, and twice as quick to write
        )
        self.slices = sa.Table(
            "imported_slices",
            sa.MetaData(),
            sa.Column("slice", sa.Integer(), primary_key=True, autoincrement=False),
            sa.Column("file", sa.UnicodeText(), nullable=False),
            sa.Column("size", sa.BigInteger(), nullable=False),
            sa.Column("sha256", sa.String(64), nullable=False),
            sa.Column("n_playlists", sa.Integer(), nullable=False),
            sa.Column("n_pairs", sa.Integer(), nullable=False),
            schema=schema,
        )
        self.file_of: dict[str, str] = {}  # by digest
        self.now: dict[str, Path] = {}  # by digest: the files of this call
        self.n_playlists = self.n_pairs = 0
        self.next_slice = 0
        self.tids = Numbers({})  # by URI

    def _all(self) -> tuple[sa.Table, ...]:
        return self.playlists, self.tracks, self.pairings, self.slices

    def _there(self, connection: Connection) -> list[sa.Table]:
        inspector = sa.inspect(connection)
        return [table for table in self._all() if inspector.has_table(table.name, table.schema)]

    def load(self, connection: Connection) -> None:
        """Get to know what was imported before."""
        there = self._there(connection)
        if there and len(there) < len(self._all()):
            missing = next(table.name for table in self._all() if table not in there)
            raise InvalidInputError(
                f"table {there[0].name!r} exists but {missing!r} does not, so it is not from an "
                'import that could go on: use another database, or if_exists="replace", which '
                "drops it"
            )
        if not there:
            return
        self.made = True
        for row in connection.execute(sa.select(self.slices)):
            self.file_of[row.sha256] = row.file
            self.n_playlists += row.n_playlists
            self.n_pairs += row.n_pairs
            self.next_slice = max(self.next_slice, row.slice + 1)
        rows = connection.execute(sa.select(self.tracks.c.uri, self.tracks.c.tid))
        self.tids = Numbers({row.uri: row.tid for row in rows})

    def is_new(self, slice_: Slice, file: Path) -> bool:
        """Tell whether a slice is still to be imported, and raise if it is a copy of another."""
        there = self.now.get(slice_.digest)
        name = self.file_of.get(slice_.digest)
        if there is not None or name not in (None, file.name):
            raise FileFormatError(
                f"{str(file)!r} is the same slice as {str(there or name)!r}, which is in the "
                "database already: leave one of the two out"
            )
        self.now[slice_.digest] = file
        return name is None

    def add(self, connection: Connection, slice_: Slice, file: Path) -> None:
        """Write all that belongs to one slice."""
        if not self.made:
            self._make(connection)
        self._check_pids(connection, slice_.playlists["pid"], file)
        try:
            self._write(connection, slice_, file)
        except UnicodeEncodeError as error:
            raise FileFormatError(
                f"{str(file)!r} has the text {error.object!r}, which cannot be encoded as UTF-8: "
                "replace its surrogates"
            ) from error

    def _make(self, connection: Connection) -> None:
        for table in self._there(connection) if self.replace else []:
            table.drop(connection)
        for table in self._all():
            connection.execute(sa.schema.CreateTable(table))  # without its indexes
        self.made = True

    def _check_pids(self, connection: Connection, pids: list[int], file: Path) -> None:
        pid, number = self.playlists.c.pid, self.playlists.c.slice
        query = sa.select(pid, self.slices.c.file).outerjoin_from(
            self.playlists, self.slices, number == self.slices.c.slice
        )
        for start in range(0, len(pids), _MANY):
            some = query.where(pid.in_(pids[start : start + _MANY])).order_by(pid).limit(1)
            for row in connection.execute(some):
                if row.file == file.name:
                    raise FileFormatError(
                        f"{str(file)!r} is not the {row.file!r} that was imported: both have "
                        f'playlist {row.pid}; leave it out, or import all by if_exists="replace"'
                    )
                raise pid_clash(row.pid, row.file or "the database", str(file))

    def _write(self, connection: Connection, slice_: Slice, file: Path) -> None:
        playlists, tracks = as_table(slice_.playlists), as_table(slice_.tracks)
        n_playlists = len(playlists["pid"])
        number = np.full(n_playlists, self.next_slice)
        insert_columns(connection, self.playlists, {**playlists, "slice": number})
        tids = slice_.start + np.arange(len(tracks["uri"]))
        insert_columns(connection, self.tracks, {"tid": tids, **tracks})
        pairs = _pairs(slice_)
        insert_columns(connection, self.pairings, pairs)
        n_pairs = len(pairs["pid"])
        about = {
            "slice": self.next_slice,
            "file": file.name,
            "size": slice_.size,
            "sha256": slice_.digest,
            "n_playlists": n_playlists,
            "n_pairs": n_pairs,
        }
        connection.execute(sa.insert(self.slices), about)
        self.file_of[slice_.digest] = file.name
        self.n_playlists += n_playlists
        self.n_pairs += n_pairs
        self.next_slice += 1

    def make_indexes(self, connection: Connection) -> None:
        """Make the indexes that are not there."""
        for index in [*self.tracks.indexes, *self.pairings.indexes]:
            # Other databases may not tell URIs apart that differ in case only.
            index.unique = index.table is self.tracks and connection.dialect.name in _EXACT
            index.create(connection, checkfirst=True)


_EXACT = ("sqlite", "postgresql")


def _pairs(slice_: Slice) -> dict[str, Any]:
    """Return pid, tid and the first position of each pair, in the order of the primary key."""
    pids = np.array(slice_.playlists["pid"], dtype=np.int64)
    lengths = np.asarray(slice_.lengths)
    pid, tid = np.repeat(pids, lengths), np.asarray(slice_.codes)
    pos = np.arange(tid.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order = np.lexsort((pos, tid, pid))
    pid, tid, pos = pid[order], tid[order], pos[order]
    first = np.ones(tid.size, dtype=bool)
    first[1:] = (pid[1:] != pid[:-1]) | (tid[1:] != tid[:-1])
    return {"pid": pid[first], "tid": tid[first], "pos": pos[first]}
