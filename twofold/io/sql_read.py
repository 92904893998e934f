"""`read_sql`: pairings from any database that SQLAlchemy reaches."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.operators import in_op
from sqlalchemy.sql.visitors import replacement_traverse
from tqdm import tqdm

from twofold._common.checks import check_choice, check_names, check_whole
from twofold.data.csr import Duplicates, build_csr
from twofold.data.pairings import Pairings
from twofold.data.report import reported
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io.connect import UNBUFFERED, Source, columns_of, connected, find_column
from twofold.io.connectorx_read import ConnectorXQuery
from twofold.io.decode import PairReader

__all__ = ["read_sql"]

Where = str | sa.ColumnElement[bool] | sa.TextClause | Callable[[Any], Any]

_AT_ONCE = 1000  # rows decoded together: gone before Python's garbage collector looks at them

_log = logging.getLogger(__name__)


def read_sql(
    source: Source,
    table: str = "pairings",
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    *,
    weight: str | None = None,
    schema: str | None = None,
    where: Where | None = None,
    max_rows: int | None = None,
    duplicates: Duplicates = "keep-one",
    on_null: Literal["error", "drop"] = "error",
    progress: bool = False,
    chunk_size: int = 10_000,
    engine: Literal["sqlalchemy", "connectorx"] = "sqlalchemy",
) -> Pairings:
    """Read pairings from a table or view: one SQL row for each pair.

    Rows are read through SQLAlchemy, from any database, and some at a time. ``engine="connectorx"``
    reads SQLite and PostgreSQL two to three times as fast, with the same result; see below for what
    it needs.

    Parameters
    ----------
    source : str, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        An SQLAlchemy URL, such as ``"sqlite:///my.db"``, or what it leads to. A connection of the
        caller stays as it is, with its transaction and temporary tables; only Ctrl-C while the
        database is still at work on the query makes SQLAlchemy give the connection up.
    table : str, default "pairings"
        The table or view.
    row : str, default "pid"
        Its column with the playlist (row) ids: 64-bit integers or text. Whole numbers in a column
        of decimals or floats count as integers.
    col : str, default "tid"
        Its column with the track (column) ids, likewise.
    value : str, optional
        Its column with a finite number for each pair. Without it every stored value is 1.
    weight : str, optional
        Its column with a finite weight >= 0 for each pair, beside its value.
    schema : str, optional
        The schema of the table. By default the one that the database looks in first.
    where : str, SQLAlchemy expression or callable, optional
        Which SQL rows to read: a condition in SQL such as ``"pid < 10000"``, used as it stands; or
        an expression; or a function that makes either of the table's columns, such as
        ``lambda c: c.pid < 10000``.
    max_rows : int, optional
        Read only this many playlists (matrix rows, not SQL rows), >= 1: those with the lowest ids
        in the database's order, among the ones that `where` leaves. Without an index on `row` the
        database sorts to find them, which may take longer than reading everything.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair that occurs several times becomes; see `Pairings.from_arrays`.
    on_null : {"error", "drop"}, default "error"
        What to do with a pair whose row or column id is NULL: raise; or leave it out, and say how
        many in `n_null_dropped` and in a log message.
    progress : bool, default False
        Show a progress bar on standard error.
    chunk_size : int, default 10000
        How many SQL rows to fetch at a time, >= 1.
    engine : {"sqlalchemy", "connectorx"}, default "sqlalchemy"
        What reads the rows. ConnectorX (extra ``sql-fast``) holds all of them in memory at once,
        about 50 bytes for each of integers. It opens a connection of its own: `source` must be a
        complete URL without options, `where` SQL text, ids declared as integers or text, and values
        and weights as integers or double precision. It has an SQLite of its own, and two of them in
        a process release each other's locks of a file (https://sqlite.org/howtocorrupt.html,
        2.2.1): other threads must not write to that file meanwhile.

    Returns
    -------
    Pairings
        With ids in ascending order, and a `report` of what was read.

    Raises
    ------
    DatabaseReadError
        If the database, the table or a column cannot be reached or read, or there is no pair to
        read.
    InvalidInputError
        If a parameter is out of range, or an id, value or weight cannot be used; the message names
        the column or the pair.
    """
    started = time.perf_counter()
    check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
    check_choice(on_null, "on_null", ("error", "drop"))
    check_choice(engine, "engine", ("sqlalchemy", "connectorx"))
    check_whole(chunk_size, "chunk_size", 1)
    check_names(
        {"table": table, "row": row, "col": col},
        {"value": value, "weight": weight, "schema": schema},
    )
    if max_rows is not None:
        check_whole(max_rows, "max_rows", 1)
        max_rows = min(int(max_rows), np.iinfo(np.int32).max)  # a matrix has no more
    with connected(source) as connection, _left_alone(connection):
        types = columns_of(connection, table, schema)
        existing = list(types)
        wanted = [name for name in (row, col, value, weight) if name is not None]
        names = [find_column(name, existing, table) for name in wanted]
        columns = sa.table(table, *map(sa.column, existing), schema=schema).c
        condition = None if where is None else _condition(columns, where, table)
        query = _query(columns, names, condition, max_rows)
        reader = PairReader(names, drop_nulls=on_null == "drop")
        if engine == "connectorx":
            kinds = [(name, types[name]) for name in names]
            quick = ConnectorXQuery(source, connection, query, where, kinds)
        else:
            with tqdm(unit=" pairs", unit_scale=True, disable=not progress) as bar:
                for chunk in _chunks(connection, query, chunk_size):
                    reader.add(chunk)
                    bar.update(len(chunk))
    if engine == "connectorx":  # when SQLAlchemy's connection is closed: see the locks of SQLite
        quick.read(reader)
    if reader.n_read == reader.n_null:
        reason = "has no pairs" if where is None else "has no pairs that `where` leaves"
        nulls = f", apart from {reader.n_null} with a NULL id" if reader.n_null else ""
        raise DatabaseReadError(f"table {table!r} {reason}{nulls}: there is nothing to read")
    if reader.n_null:
        _log.warning("%d pairs of table %r have a NULL id and were dropped", reader.n_null, table)
    pairings = _pairings(reader, value is not None, weight is not None, duplicates)
    pairings = reported(pairings, engine, reader.n_read, started)
    _log.info("%s: %s", table, pairings.report)
    return pairings


def _pairings(
    reader: PairReader, has_values: bool, has_weights: bool, duplicates: Duplicates
) -> Pairings:
    """Make pairings of all that the reader has collected, and empty it."""
    (row_ids, rows), (col_ids, cols) = (ids.encoded() for ids in reader.ids)
    numbers = reader.take_numbers()
    values = numbers[0] if has_values else None
    weights = numbers[-1] if has_weights else None
    matrix, weights = build_csr(rows, cols, values, row_ids, col_ids, duplicates, weights)
    return Pairings(matrix, row_ids, col_ids, weights=weights, n_null_dropped=reader.n_null)


def _left_alone(connection: Connection) -> Any:
    """Context in which reading does not disturb the connection's transaction."""
    if not connection.in_transaction():
        return connection.begin()
    if connection.dialect.name == "postgresql":  # where an error would spoil the transaction
        return connection.begin_nested()
    return nullcontext()


def _query(columns: Any, names: list[str], condition: Any, max_rows: int | None) -> Any:
    row = columns[names[0]]
    conditions = [] if condition is None else [condition]
    query = sa.select(*(columns[name] for name in names)).where(*conditions)
    if max_rows is None:
        return query
    first = (
        sa.select(row.label("id"))
        .where(row.is_not(None), *conditions)
        .distinct()
        .order_by(row)
        .limit(max_rows)
        .subquery()
    )
    last = sa.select(sa.func.max(first.c.id)).scalar_subquery()
    return query.where(sa.or_(row <= last, row.is_(None)))


def _condition(columns: Any, where: Where, table: str) -> Any:
    is_function = callable(where) and not isinstance(where, sa.ClauseElement)
    if is_function:
        where = _call(where, columns, table)
    if isinstance(where, str):
        if not where.strip():
            raise InvalidInputError("where is an empty text: give a condition, or None for all")
        # Escaped: a colon is the user's own text here, never the name of a bound parameter. The
        # line break ends a comment.
        where = sa.text(where.replace(":", r"\:") + "\n")
    if isinstance(where, sa.TextClause):
        return where.self_group(against=in_op)  # in brackets
    if not isinstance(where, sa.ClauseElement):
        raise InvalidInputError(
            f"where {'returns' if is_function else 'is'} a {type(where).__name__}: give SQL text, "
            "an SQLAlchemy expression, or a function of the columns that returns one of these"
        )

    def own(element: Any, **_: Any) -> Any:
        """Our column for one of the same table, which the caller may have described too."""
        theirs = getattr(element, "table", None)
        if isinstance(element, sa.ColumnClause) and getattr(theirs, "name", None) == table:
            return columns.get(element.name)
        return None

    return replacement_traverse(where, {}, own)


def _call(where: Any, columns: Any, table: str) -> Any:
    try:
        return where(columns)
    except (AttributeError, KeyError) as error:
        # SQLAlchemy's way to say that there is no such column; other errors are the caller's own.
        if error.args and isinstance(error.__cause__ or error, KeyError):
            find_column(str(error.args[0]), columns.keys(), table)
        raise


def _chunks(connection: Connection, query: Any, chunk_size: int) -> Iterator[Sequence[Any]]:
    """Run the query; yield its rows, some at a time."""
    size = min(chunk_size, _AT_ONCE)
    # PostgreSQL's server-side cursors live in a transaction, which autocommit does without.
    autocommit = getattr(connection.connection.dbapi_connection, "autocommit", False) is True
    if connection.dialect.supports_server_side_cursors and not autocommit:
        options = {"stream_results": True, "max_row_buffer": chunk_size}
        with connection.execute(query, execution_options=options) as result:
            yield from result.partitions(size)
        return
    with connection.execute(query, execution_options=UNBUFFERED) as result:
        cursor: Any = result.cursor
        try:
            while rows := cursor.fetchmany(size):  # of the driver: SQLAlchemy would only wrap them
                yield rows
        except connection.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DatabaseError(None, None, error) from error
