"""`write_sql`: pairings into any database that SQLAlchemy reaches."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from twofold._common.checks import check_choice, check_names
from twofold.data.csr import pair_at
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError
from twofold.io.connect import Source, columns_of, connected, find_column, sqlite_file

__all__ = [
    "ROW_NUMBER", "IfExists", "check_different", "check_lasting", "describe_table", "id_type",
    "insert_columns", "new_file", "prepare_table", "transaction", "write_pairs", "write_sql",
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
) -> None:
    """Write pairings to a table: one SQL row for each pair, with an index on the row ids.

    Everything happens in one transaction, so on failure nothing is changed (but MySQL and Oracle
    cannot take back that a table was made or dropped). On a connection of the caller that is in a
    transaction already, the caller commits. Rows and columns without a pair are not stored.

    Of the Million Playlist Dataset the pairs are written, with the URIs of the tracks;
    `write_mpd_sql` writes the tables of its playlists and tracks too.

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
        The schema of the table, which has to exist.
    if_exists : {"error", "replace", "append"}, default "error"
        What to do with a table of this name: raise, leaving everything as it is; drop it; or add
        to it.

    Raises
    ------
    DatabaseReadError
        If the database cannot be reached, or refuses to be written to.
    InvalidInputError
        If the table exists and `if_exists` is ``"error"``, a value is not finite, a text cannot be
        encoded, there are no weights although `weight` is given, or the names of the columns are
        not different.

    Examples
    --------
    >>> from twofold.io import read_sql
    >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
    >>> write_sql(pairings, "sqlite:///music.db", if_exists="replace")
    >>> read_sql("sqlite:///music.db").row_ids.tolist()
    ['mon', 'tue']
    """
    check_choice(if_exists, "if_exists", ("error", "replace", "append"))
    check_pairings(pairings)
    check_names(
        {"table": table, "row": row, "col": col},
        {"value": value, "weight": weight, "schema": schema},
    )
    check_different("columns", row, col, value, weight)
    if weight is not None and pairings.weights is None:
        raise InvalidInputError(f"weight is {weight!r}, but the pairings have no weights")
    with transaction(target) as connection:
        write_pairs(
            connection, pairings, table, row, col, value, weight,
            schema=schema, if_exists=if_exists,
        )  # fmt: skip


def write_pairs(
    connection: Connection,
    pairings: Pairings,
    table: str,
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    weight: str | None = None,
    *,
    schema: str | None,
    if_exists: IfExists,
) -> None:
    """Write pairings as `write_sql` does, in the transaction of a connection."""
    matrix = pairings.matrix
    if value is not None:
        _check_finite(pairings)
    columns: list[sa.Column[Any]] = [
        sa.Column(row, id_type(pairings.row_ids), key="row", nullable=False, index=True),
        sa.Column(col, id_type(pairings.col_ids), key="col", nullable=False),
    ]
    entries: dict[str, Any] = {
        "row": np.repeat(pairings.row_ids, np.diff(matrix.indptr)),
        "col": pairings.col_ids[matrix.indices[: matrix.nnz]],
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
    new = new_file(target)
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


def new_file(target: Source) -> Path | None:
    """Return the SQLite file that connecting is going to create, if it does not exist yet."""
    if isinstance(target, Connection):
        return None
    with suppress(SQLAlchemyError, ValueError):  # explained when connecting
        file = sqlite_file(target.url if isinstance(target, Engine) else sa.make_url(target))
        return file if file is not None and not file.exists() else None
    return None


def check_lasting(target: Source) -> None:
    """Raise if a database is in memory and ends with each connection."""
    if isinstance(target, Connection | Engine):
        return
    in_memory = False
    with suppress(SQLAlchemyError, ValueError):  # explained when connecting
        url = sa.make_url(target)
        in_memory = url.get_backend_name() == "sqlite" and sqlite_file(url) is None
    if in_memory:
        raise InvalidInputError(
            f"{str(target)!r} is in memory and ends with its connection: give an Engine or a file"
        )


def _begin_sqlite(connection: Connection) -> None:
    """Begin a transaction of SQLite now: Python's sqlite3 begins it at the first INSERT."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")


def check_different(what: str, *names: str | None) -> None:
    """Raise if two of the names are the same to a database, which may not tell a from A."""
    given = [name for name in names if name is not None]
    if len({name.lower() for name in given}) < len(given):
        raise InvalidInputError(f"the {what} are named {given}: give each another name")


def _check_finite(pairings: Pairings) -> None:
    """Raise if a value of the matrix is not finite."""
    matrix = pairings.matrix
    bad = np.flatnonzero(~np.isfinite(matrix.data[: matrix.nnz]))
    if bad.size:
        ids = (pairings.row_ids, pairings.col_ids)
        row, col = pair_at(matrix.indptr, matrix.indices, *ids)(bad[0])
        raise InvalidInputError(
            f"the value of row {row!r}, column {col!r} is {matrix.data[bad[0]]}: "
            "values must be finite"
        )


def id_type(ids: NDArray[Any]) -> Any:
    """Return the type of a column of these ids."""
    if ids.dtype != object:
        return sa.BigInteger()
    return sa.Unicode(max([255, *map(len, ids.tolist())]))


def describe_table(
    name: str, kinds: dict[str, Any], metadata: sa.MetaData, *, indexed: str = "", n_keys: int = 1
) -> sa.Table:
    """Describe a table by the types of its columns, the first of which are the primary key."""
    columns: list[sa.Column[Any]] = [
        sa.Column(
            column,
            kind,
            primary_key=position < n_keys,
            autoincrement=False,
            nullable=position >= n_keys and column != indexed,
            index=column == indexed,
        )
        for position, (column, kind) in enumerate(kinds.items())
    ]
    return sa.Table(name, metadata, *columns)


def prepare_table(connection: Connection, table: sa.Table, if_exists: IfExists) -> sa.Table:
    """Create the table or apply `if_exists`."""
    exists = check_absent(connection, table, if_exists)
    if exists and if_exists == "append":
        there = columns_of(connection, table.name, table.schema)
        for column in table.columns:
            find_column(column.name, there, f"table {table.name!r}")
        return table
    if exists:
        table.drop(connection)
    if connection.dialect.name in ("mysql", "mariadb"):
        _compare_exactly(
            table, "nopad_bin" if getattr(connection.dialect, "is_mariadb", False) else "0900_bin"
        )
    table.create(connection)
    return table


def check_absent(connection: Connection, table: sa.Table, if_exists: str) -> bool:
    """Return whether the table exists; raise if it does and `if_exists` is "error"."""
    exists = sa.inspect(connection).has_table(table.name, schema=table.schema)
    if exists and if_exists == "error":
        raise InvalidInputError(
            f'table {table.name!r} exists: use if_exists="replace" or "append", or another name'
        )
    return exists


def _compare_exactly(table: sa.Table, collation: str) -> None:
    """Let MySQL distinguish ids as Python does: its default ignores case, accents, blanks."""
    for column in table.columns:
        if isinstance(column.type, sa.Unicode):
            column.type = mysql.VARCHAR(
                column.type.length, charset="utf8mb4", collation=f"utf8mb4_{collation}"
            )


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
