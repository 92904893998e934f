"""The Million Playlist Dataset in a database: `write_mpd_sql` and `import_mpd`."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa

from twofold._common.checks import check_choice, check_flags, check_names
from twofold._common.progress import progress_bar
from twofold.data.pairings import Pairings
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import sql_write as sql
from twofold.io.connect import Source
from twofold.io.mpd.files import Paths, SliceFile, find_slices, read_content
from twofold.io.mpd.read import MpdPairings
from twofold.io.mpd.slices import Playlists, as_table, pid_clash

__all__ = ["ImportedMpd", "import_mpd", "write_mpd_sql"]

_EXACT = ("sqlite", "postgresql")  # others may not distinguish URIs that differ in case only
_INTEGER, _BIG, _TEXT = sa.Integer(), sa.BigInteger(), sa.UnicodeText()
# The columns of each table. The first one is the primary key; of _PAIRINGS, the first two.
_PLAYLISTS = {"pid": sql.ROW_NUMBER, "name": _TEXT, "description": _TEXT, "num_followers": _BIG,
              "modified_at": _BIG}  # fmt: skip
_TRACKS = {"tid": sql.ROW_NUMBER, "uri": sa.Unicode(255), "name": _TEXT, "artist": _TEXT,
           "album": _TEXT, "duration_ms": _BIG}  # fmt: skip
_PAIRINGS = {"pid": _BIG, "tid": _BIG, "pos": _INTEGER}
_SLICES = {"slice": _INTEGER, "file": _TEXT, "size": _BIG, "sha256": sa.String(64),
           "n_playlists": _INTEGER, "n_pairs": _INTEGER}  # fmt: skip


def write_mpd_sql(
    mpd: MpdPairings,
    target: Source,
    table: str = "pairings",
    value: str | None = None,
    *,
    tracks: str = "tracks",
    playlists: str = "playlists",
    schema: str | None = None,
    if_exists: sql.IfExists = "error",
) -> None:
    """Write the result of `read_mpd` to three tables, in one transaction.

    They are ``pairings(pid, tid)``; ``tracks(tid, uri, name, artist, album, duration_ms)``, where
    ``tid`` numbers the tracks from 0; and ``playlists(pid, name, description, num_followers,
    modified_at)``. `write_sql` writes the pairs alone, with URIs.

    Parameters
    ----------
    mpd : MpdPairings
        What to write.
    target, table, value, schema, if_exists
        As for `write_sql`. If tables are added to, their tracks keep their ``tid``.
    tracks, playlists : str
        The tables of tracks and playlists.

    Raises
    ------
    DatabaseReadError, InvalidInputError
        As for `write_sql`; also if a playlist is in its table already.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> track = {"track_uri": "spotify:track:1", "track_name": "Air", "artist_name": "Bach"}
    >>> playlists = [{"pid": 0, "name": "calm", "tracks": [track]}, {"pid": 1, "tracks": []}]
    >>> _ = Path("mpd.slice.0-1.json").write_text(json.dumps({"playlists": playlists}))
    >>> from twofold.io import read_mpd, read_sql
    >>> write_mpd_sql(read_mpd("mpd.slice.0-1.json"), "sqlite:///mpd.db")
    >>> read_sql("sqlite:///mpd.db").n_pairs
    1
    """
    check_choice(if_exists, "if_exists", ("error", "replace", "append"))
    names = {"table": table, "tracks": tracks, "playlists": playlists}
    check_names(names, {"value": value, "schema": schema})
    sql.check_different("tables", *names.values())
    sql.check_different("columns", "pid", "tid", value)
    if not isinstance(mpd, MpdPairings):
        raise InvalidInputError(f"mpd is a {type(mpd).__name__}: give the result of read_mpd")
    metadata = sa.MetaData(schema=schema)
    rows = sql.describe_table(playlists, _PLAYLISTS, metadata)
    cols = sql.describe_table(tracks, _TRACKS, metadata, indexed="uri")
    with sql.transaction(target) as connection:
        for described in (rows, cols):
            sql.prepare_table(connection, described, if_exists)
        sql.insert_columns(connection, rows, {"pid": mpd.row_ids, **mpd.playlists})
        numbers, next_tid = _stored_tracks(connection, cols)
        is_new = np.array([uri not in numbers for uri in mpd.col_ids], dtype=bool)
        tids = np.array([numbers.get(uri, 0) for uri in mpd.col_ids], dtype=np.int64)
        tids[is_new] = next_tid + np.arange(np.count_nonzero(is_new))
        columns = {"tid": tids, "uri": mpd.col_ids, **mpd.tracks}.items()
        sql.insert_columns(connection, cols, {name: column[is_new] for name, column in columns})
        pairs = Pairings(mpd.matrix, mpd.row_ids, tids)
        sql.write_pairs(connection, pairs, table, value=value, schema=schema, if_exists=if_exists)


@dataclass(frozen=True)
class ImportedMpd:
    """Content of a database after `import_mpd`.

    Parameters
    ----------
    n_playlists, n_tracks, n_pairs : int
        Number of imported rows of the tables ``playlists``, ``tracks`` and ``pairings``.
    n_slices, n_new_slices : int
        Number of imported slices: of all calls, and of this call.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> track = {"track_uri": "spotify:track:1", "track_name": "Air", "artist_name": "Bach"}
    >>> playlists = [{"pid": 0, "name": "calm", "tracks": [track]}, {"pid": 1, "tracks": []}]
    >>> _ = Path("mpd.slice.0-1.json").write_text(json.dumps({"playlists": playlists}))
    >>> import_mpd("mpd.slice.0-1.json", "sqlite:///imported.db")
    ImportedMpd(n_playlists=2, n_tracks=1, n_pairs=1, n_slices=1, n_new_slices=1)
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
    progress: bool = False,
) -> ImportedMpd:
    """Import slices of the Million Playlist Dataset into a database, each in one transaction.

    After an interrupt or error the same call continues, and the tables become those of an
    uninterrupted import. Later calls add slices. A slice is recognised by its content and its name
    without the folder or archive. Two imports into one database must not run at once.

    The tables are those of `write_mpd_sql`, where ``playlists.slice`` is the number of the slice
    and ``pairings.pos`` the first position of the track in the playlist, from 0; and
    ``imported_slices(slice, file, size, sha256, n_playlists, n_pairs)``. Indexes are created last.

    Parameters
    ----------
    paths, progress
        As for `read_mpd`.
    target, schema
        As for `write_sql`. For a database in memory give an Engine.
    if_exists : {"resume", "replace"}, default "resume"
        Continue an earlier import, or drop existing tables in the transaction of the first slice.

    Returns
    -------
    ImportedMpd
        The numbers of rows and slices.

    Raises
    ------
    FileFormatError, InvalidInputError, DatabaseReadError
        As for `read_mpd` and `write_sql`; also if a slice was imported under another name or has a
        text that is not valid Unicode, or if one of the tables exists without the others.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> track = {"track_uri": "spotify:track:1", "track_name": "Air", "artist_name": "Bach"}
    >>> playlists = [{"pid": 0, "name": "calm", "tracks": [track]}, {"pid": 1, "tracks": []}]
    >>> _ = Path("mpd.slice.0-1.json").write_text(json.dumps({"playlists": playlists}))
    >>> import_mpd("mpd.slice.0-1.json", "sqlite:///music.db").n_tracks
    1
    """
    check_choice(if_exists, "if_exists", ("resume", "replace"))
    check_names({}, {"schema": schema})
    check_flags(progress=progress)
    sql.check_lasting(target)
    tables = _Tables(schema)
    with find_slices(paths) as files:
        # The first slice creates a new file, so that no file is left if that slice is damaged.
        if if_exists == "resume" and sql.new_file(target) is None:
            with sql.transaction(target) as connection:
                tables.load(connection)
        n_before = len(tables.names)
        for file in progress_bar(files, unit=" files", shown=progress):
            tables.add(target, file)
    with sql.transaction(target) as connection:
        for index in [*tables.tracks.indexes, *tables.pairings.indexes]:
            index.unique = index.table is tables.tracks and connection.dialect.name in _EXACT
            index.create(connection, checkfirst=True)
        sums = sa.select(*map(sa.func.sum, tables.slices.c["n_playlists", "n_pairs"]))
        n_playlists, n_pairs = map(int, connection.execute(sums).one())
    n_tracks, n_slices = len(tables.numbers), len(tables.names)
    return ImportedMpd(n_playlists, n_tracks, n_pairs, n_slices, n_slices - n_before)


class _Tables:
    """The four tables of an import, and the slices and tracks in them."""

    def __init__(self, schema: str | None) -> None:
        self.metadata = metadata = sa.MetaData(schema=schema)
        playlists = {**_PLAYLISTS, "slice": _INTEGER}
        self.playlists = sql.describe_table("playlists", playlists, metadata)
        self.tracks = sql.describe_table("tracks", _TRACKS, metadata, indexed="uri")
        self.pairings = sql.describe_table("pairings", _PAIRINGS, metadata, indexed="tid", n_keys=2)
        self.pairings.dialect_options["sqlite"]["with_rowid"] = False  # half the space and time
        self.slices = sql.describe_table("imported_slices", _SLICES, metadata)
        self.names: dict[str, str] = {}  # of imported slices by digest; paths of those of this call
        self.numbers: dict[str, int] = {}  # of tracks, by URI
        self.created, self.next_tid, self.next_slice = False, 0, 0

    def load(self, connection: sa.Connection) -> None:
        """Read the slices and tracks of earlier imports."""
        inspector, tables = sa.inspect(connection), self.metadata.tables.values()
        existing = [table.name for table in tables if inspector.has_table(table.name, table.schema)]
        missing = [table.name for table in tables if table.name not in existing]
        if existing and missing:
            raise InvalidInputError(
                f"table {existing[0]!r} exists but {missing[0]!r} does not: use another database, "
                'or if_exists="replace", which drops it'
            )
        if existing:
            self.created = True
            self.numbers, self.next_tid = _stored_tracks(connection, self.tracks)
            for row in connection.execute(sa.select(self.slices)):
                self.names[row.sha256] = row.file
                self.next_slice = max(self.next_slice, row.slice + 1)

    def add(self, target: Source, file: SliceFile) -> None:
        """Import a slice, unless it is in the database."""
        content, path = read_content(file), str(file)
        digest = sha256(content).hexdigest()
        name = self.names.get(digest)
        if name not in (None, file.name):
            raise FileFormatError(f"{path!r} is the same slice as {name!r}: leave one of them out")
        self.names[digest] = path
        if name is None:
            slice_ = Playlists(self.numbers, self.next_tid)
            slice_.add(content, path)
            with sql.transaction(target) as connection:
                self._prepare(connection, slice_, path)
                try:
                    self._write(connection, slice_, file.name, len(content), digest)
                except UnicodeEncodeError as error:
                    problem = f"the text {error.object!r}, which cannot be encoded as UTF-8"
                    raise FileFormatError(f"{path!r} has {problem}: replace it") from error

    def _prepare(self, connection: sa.Connection, slice_: Playlists, path: str) -> None:
        """Create the tables if there are none, and raise if they have one of the playlists."""
        if not self.created:
            self.created = True
            self.metadata.drop_all(connection)  # tables to be replaced
            for table in self.metadata.tables.values():
                connection.execute(sa.schema.CreateTable(table))  # without its indexes
        pid, pids, slices = self.playlists.c.pid, slice_.path_of, self.slices
        both = self.playlists.outerjoin(slices, self.playlists.c.slice == slices.c.slice)
        near = pid.between(min(pids, default=0), max(pids, default=0))
        query = sa.select(pid, slices.c.file).select_from(both).where(near).order_by(pid)
        for row in connection.execute(query):
            if row.pid in pids:
                raise pid_clash(row.pid, row.file or "the database", path)

    def _write(self, connection: sa.Connection, slice_: Playlists, *source: Any) -> None:
        """Write all rows of a slice, with the name, size and digest of its file."""
        lengths, tids = np.asarray(slice_.lengths), np.asarray(slice_.entries)
        playlists, tracks = as_table(slice_.playlists), as_table(slice_.tracks)
        playlists["slice"] = np.full(lengths.size, self.next_slice)
        tracks["tid"] = np.arange(self.next_tid, slice_.next_track)
        # The first position of each pair, in the order of playlists and tracks.
        rows = np.repeat(np.arange(lengths.size), lengths)
        _, first = np.unique(rows * slice_.next_track + tids, return_index=True)
        rows = rows[first]
        pids, pos = playlists["pid"][rows], first - (np.cumsum(lengths) - lengths)[rows]
        sql.insert_columns(connection, self.playlists, playlists)
        sql.insert_columns(connection, self.tracks, tracks)
        sql.insert_columns(connection, self.pairings, {"pid": pids, "tid": tids[first], "pos": pos})
        row = (self.next_slice, *source, lengths.size, first.size)
        connection.execute(sa.insert(self.slices).values(row))
        self.next_slice, self.next_tid = self.next_slice + 1, slice_.next_track


def _stored_tracks(connection: sa.Connection, table: sa.Table) -> tuple[dict[str, int], int]:
    """Return the ``tid`` of each URI in a table of tracks, and the next ``tid``."""
    query = sa.select(table.c.uri, table.c.tid)
    numbers = {row.uri: row.tid for row in connection.execute(query)}
    return numbers, max(numbers.values(), default=-1) + 1
