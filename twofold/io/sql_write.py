"""`write_sql`: pairings into any database that SQLAlchemy reaches."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from twofold._common.checks import check_choice, check_names
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError
from twofold.io.connect import Source, columns_of, connected, find_column, sqlite_file
from twofold.io.mpd import MpdPairings
from twofold.io.mpd_slices import NUMBERS, PLAYLIST_FIELDS, TRACK_FIELDS

__all__ = [
    "ROW_NUMBER", "IfExists", "check_different", "id_type", "insert_columns", "named_table",
    "new_file", "prepare_table", "transaction", "write_sql",
]  # fmt: skip

IfExists = Literal["error", "replace", "append"]

_CHUNK = 50_000
# A key that SQLite can use as its own row number.
ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def write_sql(
    pairings: Pairings,
    target: Source,
    table: str = "pairings",
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    *,
    weight: str | None = None,
    schema: str | None = None,
    if_exists: IfExists = "error",
    tracks: str | None = "tracks",
    playlists: str | None = "playlists",
) -> None:
    """Write pairings to a table: one SQL row for each pair, with an index on the row ids.

    Everything happens in one transaction, so on failure nothing is changed (but MySQL and Oracle
    cannot take back that a table was made or dropped). On a connection of the caller that is in a
    transaction already, the caller commits. Rows and columns without a pair are not stored.

    What `read_mpd` returns is written as three tables: ``tracks(tid, uri, name, artist, album,
    duration_ms)``, ``playlists(pid, name, ...)`` and the pairs, where ``tid`` numbers the tracks
    from 0 in the order of `col_ids`. Joining ``tracks`` leads from a ``tid`` to its URI. With
    ``if_exists="append"`` tracks that the table has already keep their ``tid``.

    Parameters
    ----------
    pairings : Pairings
        What to write.
    target : str, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database. An SQLite file is made if it does not exist.
    table : str, default "pairings"
        The table.
    row : str, default "pid"
        Its column for the row ids: 64-bit integers or text.
    col : str, default "tid"
        Its column for the column ids, likewise.
    value : str, optional
        Its column for the values of the matrix. Without it the values are not stored.
    weight : str, optional
        Its column for the weights of the pairs. Without it the weights are not stored.
    schema : str, optional
        The schema of the tables, which has to exist.
    if_exists : {"error", "replace", "append"}, default "error"
        What to do with a table of this name: raise, leaving everything as it is; drop it; or add
        to it.
    tracks : str or None, default "tracks"
        For `MpdPairings`: the table of tracks. With None the pairs have the URIs themselves.
    playlists : str or None, default "playlists"
        For `MpdPairings`: the table of playlists. With None it is not written.

    Raises
    ------
    DatabaseReadError
        If the database cannot be reached, or refuses to be written to.
    InvalidInputError
        If a table exists and `if_exists` is ``"error"``, a value is not finite, a text cannot be
        encoded, there are no weights although `weight` is given, or the names of the columns or
        tables are not different.
    """
    check_choice(if_exists, "if_exists", ("error", "replace", "append"))
    check_pairings(pairings)
    check_names(
        {"table": table, "row": row, "col": col},
        {
            "value": value,
            "weight": weight,
            "tracks": tracks,
            "playlists": playlists,
            "schema": schema,
        },
    )
    check_different("columns", row, col, value, weight)
    if weight is not None and pairings.weights is None:
        raise InvalidInputError(f"weight is {weight!r}, but the pairings have no weights")
    if isinstance(pairings, MpdPairings):
        check_different("tables", table, tracks, playlists)
    matrix = pairings.matrix
    row_of_entry = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    if value is not None:
        _check_finite(pairings, row_of_entry)
    with transaction(target) as connection:
        col_ids = pairings.col_ids
        if isinstance(pairings, MpdPairings) and playlists is not None:
            made = prepare_table(
                connection, named_table(playlists, schema, PLAYLIST_FIELDS), if_exists
            )
            insert_columns(connection, made, {"pid": pairings.row_ids, **pairings.playlists})
        if isinstance(pairings, MpdPairings) and tracks is not None:
            described = named_table(tracks, schema, TRACK_FIELDS)
            made = prepare_table(connection, described, if_exists)
            col_ids = _write_tracks(connection, made, {"uri": col_ids, **pairings.tracks})
        columns: list[sa.Column[Any]] = [
            sa.Column(row, id_type(pairings.row_ids), key="row", nullable=False, index=True),
            sa.Column(col, id_type(col_ids), key="col", nullable=False),
        ]
        entries = {
            "row": pairings.row_ids[row_of_entry],
            "col": col_ids[matrix.indices[: matrix.nnz]],
        }
        numbers = {"value": (value, matrix.data), "weight": (weight, pairings.weights)}
        for key, (name, data) in numbers.items():
            if name is not None:
                columns.append(sa.Column(name, sa.Double(), key=key, nullable=False))
                entries[key] = data
        made = prepare_table(
            connection, sa.Table(table, sa.MetaData(), *columns, schema=schema), if_exists
        )
        insert_columns(connection, made, entries)


@contextmanager
def transaction(target: Source) -> Iterator[Connection]:
    """Connect in a transaction; a file that was not there before does not survive a failure."""
    new = None if isinstance(target, Connection) else new_file(target)
    try:
        with connected(target, create=True) as connection:
            inside = connection.in_transaction()
            with nullcontext() if inside else connection.begin():
                _begin_sqlite(connection)
                with connection.begin_nested() if inside else nullcontext():
                    yield connection
    except BaseException as error:
        if new is not None:
            if isinstance(target, Engine):
                target.dispose()  # its pool would go on writing to the file that is gone
            new.unlink(missing_ok=True)
        if isinstance(error, UnicodeEncodeError):
            raise InvalidInputError(
                f"the text {error.object!r} cannot be encoded as UTF-8: replace its surrogates"
            ) from error
        raise


def new_file(target: str | URL | Engine) -> Path | None:
    """Return the SQLite file that connecting is going to make."""
    with suppress(SQLAlchemyError, ValueError):  # explained when connecting
        file = sqlite_file(target.url if isinstance(target, Engine) else sa.make_url(target))
        return file if file is not None and not file.exists() else None
    return None


def is_in_memory(target: str | URL) -> bool:
    """Whether a URL is one of an SQLite database without a file."""
    with suppress(SQLAlchemyError, ValueError):  # explained when connecting
        url = sa.make_url(target)
        return url.get_backend_name() == "sqlite" and sqlite_file(url) is None
    return False


def _begin_sqlite(connection: Connection) -> None:
    """Begin in earnest: Python's sqlite3 would do so at the first INSERT only."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def check_different(what: str, *names: str | None) -> None:
    """Raise if two of the names are the same to a database, which may not tell a from A."""
    given = [name for name in names if name is not None]
    if len({name.lower() for name in given}) < len(given):
        raise InvalidInputError(f"the {what} are named {given}: give each another name")


def _check_finite(pairings: Pairings, row_of_entry: NDArray[Any]) -> None:
    matrix = pairings.matrix
    bad = np.flatnonzero(~np.isfinite(matrix.data[: row_of_entry.size]))
    if bad.size:
        row = pairings.row_ids.item(row_of_entry[bad[0]])
        col = pairings.col_ids.item(matrix.indices[bad[0]])
        raise InvalidInputError(
            f"the value of row {row!r}, column {col!r} is {matrix.data[bad[0]]}: "
            "values must be finite"
        )


def id_type(ids: NDArray[Any]) -> Any:
    """Return the type of a column that has room for the ids."""
    if ids.dtype != object:
        return sa.BigInteger()
    return sa.Unicode(max([255, *map(len, ids.tolist())]))


def named_table(name: str, schema: str | None, fields: dict[str, str]) -> sa.Table:
    """Table of tracks or playlists; numbers are numbers and all else is text."""
    columns: list[sa.Column[Any]] = [
        sa.Column(field, sa.BigInteger() if field in NUMBERS else sa.UnicodeText())
        for field in fields
        if field not in ("uri", "pid")
    ]
    if "uri" in fields:
        key = sa.Column("tid", ROW_NUMBER, primary_key=True, autoincrement=False)
        columns = [key, sa.Column("uri", sa.Unicode(255), nullable=False, index=True), *columns]
    else:
        columns.insert(0, sa.Column("pid", ROW_NUMBER, primary_key=True, autoincrement=False))
    return sa.Table(name, sa.MetaData(), *columns, schema=schema)


def prepare_table(connection: Connection, table: sa.Table, if_exists: IfExists) -> sa.Table:
    """Make the table, or see to the one that exists."""
    exists = sa.inspect(connection).has_table(table.name, schema=table.schema)
    if exists and if_exists == "error":
        raise InvalidInputError(
            f'table {table.name!r} exists: use if_exists="replace" or "append", or another name'
        )
    if exists and if_exists == "append":
        there = columns_of(connection, table.name, table.schema)
        for column in table.columns:
            find_column(column.name, there, f"table {table.name!r}")
        return table
    if exists:
        table.drop(connection)
    table.create(connection)
    return table


def _write_tracks(
    connection: Connection, table: sa.Table, columns: dict[str, NDArray[Any]]
) -> NDArray[np.int64]:
    """Write the tracks that the table does not have yet, and return the tid of each."""
    rows = connection.execute(sa.select(table.c.uri, table.c.tid))
    known = {row.uri: row.tid for row in rows}
    start = max(known.values(), default=-1) + 1
    is_new = np.array([uri not in known for uri in columns["uri"].tolist()], dtype=bool)
    tids = np.array([known.get(uri, 0) for uri in columns["uri"].tolist()], dtype=np.int64)
    tids[is_new] = start + np.arange(np.count_nonzero(is_new))
    fresh = {name: column[is_new] for name, column in columns.items()}
    insert_columns(connection, table, {"tid": tids[is_new], **fresh})
    return tids


def insert_columns(
    connection: Connection, table: sa.Table, columns: dict[str, NDArray[Any]]
) -> None:
    """Insert parallel arrays, named by the keys of the table's columns, in chunks."""
    size = len(next(iter(columns.values())))
    insert = sa.insert(table)
    compiled = insert.compile(dialect=connection.dialect, column_keys=list(columns))
    for start in range(0, size, _CHUNK):
        parts = {key: column[start : start + _CHUNK].tolist() for key, column in columns.items()}
        if connection.dialect.name == "postgresql":
            connection.execute(_insert_arrays(table, parts))
        elif compiled.positiontup is not None:  # twice as fast as through dicts
            rows = list(zip(*(parts[key] for key in compiled.positiontup), strict=True))
            connection.exec_driver_sql(str(compiled), rows)
        else:
            items = zip(*parts.values(), strict=True)
            connection.execute(insert, [dict(zip(parts, item, strict=True)) for item in items])


def _insert_arrays(table: sa.Table, parts: dict[str, list[Any]]) -> Any:
    """INSERT with one array for each column, which PostgreSQL takes far faster than rows."""
    columns = [table.c[key] for key in parts]
    arrays = [
        sa.cast(sa.literal(part, sa.ARRAY(column.type)), sa.ARRAY(column.type))
        for part, column in zip(parts.values(), columns, strict=True)
    ]
    names = [f"column_{position}" for position in range(len(columns))]
    source = sa.func.unnest(*arrays).table_valued(*names).render_derived()
    return sa.insert(table).from_select(columns, sa.select(source))
