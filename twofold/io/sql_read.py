"""`read_sql`: pairings from any database that SQLAlchemy reaches."""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from itertools import chain
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.sql import visitors
from sqlalchemy.sql.operators import in_op

from twofold._common.checks import check_choice, check_flags, check_names, check_whole
from twofold._common.progress import progress_bar
from twofold.data import Duplicates, PairBuilder, Pairings
from twofold.data.builder import IdType, OnNull
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io.connect import UNBUFFERED, Source, columns_of, connected, find_column
from twofold.io.connectorx_read import ConnectorXQuery

__all__ = ["read_sql"]

Where = str | sa.ColumnElement[bool] | sa.TextClause | Callable[[Any], Any]

_AT_ONCE = 1000  # rows decoded together: freed before Python's garbage collector scans them

_log = logging.getLogger(__name__)


def read_sql(
    source: "Source | Session | scoped_session[Any]",
    table: str = "pairings",
    row: str = "pid",
    col: str = "tid",
    value: str | None = None,
    *,
    weight: str | None = None,
    time: str | None = None,
    query: str | sa.Select[Any] | sa.TextClause | None = None,
    schema: str | None = None,
    where: Where | None = None,
    max_rows: int | None = None,
    rows: str | None = None,
    duplicates: Duplicates = "keep-one",
    on_null: OnNull = "error",
    id_type: IdType | None = None,
    progress: bool = False,
    chunk_size: int = 10_000,
    engine: Literal["sqlalchemy", "connectorx"] = "sqlalchemy",
) -> Pairings:
    """Read pairings from a table, view or query: one SQL row for each pair.

    Rows are read through SQLAlchemy, from any database, and some at a time. ``engine="connectorx"``
    reads SQLite and PostgreSQL two to three times as fast, with the same result.

    Parameters
    ----------
    source : str, sqlalchemy.URL, Engine, Connection or orm.Session
        An SQLAlchemy URL, such as ``"sqlite:///my.db"``, or an object of SQLAlchemy that is
        connected to the database. A connection or session of the caller stays as it is, with its
        transaction and temporary tables; only Ctrl-C while the database executes the query makes
        SQLAlchemy invalidate the connection.
    table : str, default "pairings"
        The table or view.
    row : str, default "pid"
        Its column with the playlist (row) ids: 64-bit integers, text or UUIDs. Whole numbers in a
        column of decimals or floats count as integers.
    col : str, default "tid"
        Its column with the track (column) ids, likewise.
    value : str, optional
        Its column with a finite number for each pair. Without it every stored value is 1.
    weight : str, optional
        Its column with a finite weight >= 0 for each pair, beside its value.
    time : str, optional
        Its column that says when a pair was made: integers, or dates and times.
    query : str, sqlalchemy.Select or sqlalchemy.text, optional
        A SELECT to read instead of a table; `row`, `col` and so on name its columns. A `table`,
        `where` and `max_rows` beside it are refused, and so is a `schema` without `rows`.
    schema : str, optional
        The schema of the tables. By default the one that the database searches first.
    where : str, SQLAlchemy expression or callable, optional
        Which SQL rows of the table to read: a condition in SQL such as ``"pid < 10000"``, used as
        it stands; or an expression; or a function that makes either of the table's columns, such as
        ``lambda c: c.pid < 10000``.
    max_rows : int, optional
        Read only this many playlists (matrix rows, not SQL rows) of the table, >= 1: those with the
        lowest ids, among the ones that `where` leaves. Without an index on `row` the database sorts
        to find them, which may take longer than reading everything.
    rows : str, optional
        A table whose column `row` lists all playlists: those without a pair become empty rows.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair that occurs several times becomes; see `Pairings.from_arrays`.
    on_null : {"error", "drop"}, default "error"
        What to do with a pair whose row or column id is NULL: raise; or leave it out, and say how
        many in `n_null_dropped` and in a log message.
    id_type : {"text", "integer"}, optional
        What ids become. By default integers stay integers and text stays text.
    progress : bool, default False
        Show a progress bar on standard error.
    chunk_size : int, default 10000
        How many SQL rows to fetch at a time, >= 1; ConnectorX fetches all at once.
    engine : {"sqlalchemy", "connectorx"}, default "sqlalchemy"
        What reads the rows. ConnectorX (extra ``sql-fast``) holds all of them in memory at once,
        about 50 bytes for each pair of integers. It opens a connection of its own: `source` must be
        a complete URL without options, `where` SQL text, ids declared as integers or text, values
        and weights as integers or double precision; it reads neither `query` nor `time`. It
        contains an SQLite of its own, and two of them in a process release each other's locks of a
        file (https://sqlite.org/howtocorrupt.html, 2.2.1): other threads must not write to that
        file meanwhile.

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

    Examples
    --------
    >>> from twofold.io import write_sql
    >>> write_sql(Pairings.from_arrays([1, 1, 2], [7, 9, 7]), "sqlite:///music.db")
    >>> read_sql("sqlite:///music.db")
    <Pairings: 2 rows x 2 columns, 3 pairs>
    >>> read_sql("sqlite:///music.db", where=lambda columns: columns.pid < 2).n_pairs
    2
    """
    check_choice(engine, "engine", ("sqlalchemy", "connectorx"))
    check_whole(chunk_size, "chunk_size", 1)
    check_flags(progress=progress)
    check_names({"table": table}, {"schema": schema, "rows": rows})
    if max_rows is not None:
        check_whole(max_rows, "max_rows", 1)
        max_rows = min(int(max_rows), np.iinfo(np.int32).max)  # a matrix has no more
    builder = PairBuilder(
        row, col, value, weight, time, duplicates=duplicates, on_null=on_null, id_type=id_type
    )
    what = "the query" if query is not None else f"table {table!r}"
    with connected(source) as connection, ExitStack() as stack:
        quick, existing = None, None
        # Before the transaction, which some databases abort if they cannot describe tables.
        types = {} if query is not None else columns_of(connection, table, schema)
        listed = {} if rows is None else columns_of(connection, rows, schema)
        stack.enter_context(_undisturbed(connection))
        if query is not None:
            _check_query(query)
            _refuse_beside_query(
                table=None if table == "pairings" else table,
                schema=schema if rows is None else None,
                where=where,
                max_rows=max_rows,
                engine=None if engine == "sqlalchemy" else engine,
            )
            selected = query if isinstance(query, sa.ClauseElement) else sa.text(_escaped(query))
        else:
            builder.names = [find_column(name, types, what) for name in builder.names]
            columns = _columns(connection, table, schema, types, builder)
            condition = None if where is None else _condition(columns, where, table)
            selected = _select(connection, columns, types, builder.names, condition, max_rows)
        if rows is not None:
            key: Any = sa.column(find_column(row, listed, f"table {rows!r}"))
            all_rows = sa.select(key).select_from(sa.table(rows, schema=schema))
            existing = list(connection.scalars(all_rows.where(key.is_not(None))))
        selected = _with_plain_parameters(selected)
        if engine == "connectorx":
            kinds = [(name, types[name]) for name in builder.names]
            quick = ConnectorXQuery(source, connection, selected, where, kinds)
        else:
            _add_all(
                builder, _chunks(connection, selected, chunk_size, builder.names, what), progress
            )
    if quick is not None:  # when SQLAlchemy's connection is closed: see the locks of SQLite
        _add_all(builder, quick.chunks(), progress)
    if builder.n_read == builder.n_null:
        reason = "has no pairs" if where is None else "has no pairs that `where` leaves"
        nulls = f", apart from {builder.n_null} with a NULL id" if builder.n_null else ""
        raise DatabaseReadError(f"{what} {reason}{nulls}: there is nothing to read")
    if builder.n_null:
        _log.warning("%d pairs of %s have a NULL id and were dropped", builder.n_null, what)
    pairings = Pairings(**builder.build(engine, existing))
    _log.info("%s: %s", table, pairings.report)
    return pairings


def _add_all(builder: PairBuilder, chunks: Iterator[list[Any]], progress: bool) -> None:
    with progress_bar(unit=" pairs", unit_scale=True, shown=progress) as bar:
        for chunk in chunks:
            builder.add(chunk)
            bar.update(len(chunk[0]))


def _check_query(query: Any) -> None:
    if not isinstance(query, str | sa.ClauseElement):
        raise InvalidInputError(
            f"query is a {type(query).__name__}: give a text or a select of SQLAlchemy"
        )
    if isinstance(query, str) and not query.strip():
        raise InvalidInputError("query is an empty text: give a SELECT, or None for a table")


def _refuse_beside_query(**options: Any) -> None:
    for name, given in options.items():
        if given is not None:
            raise InvalidInputError(
                f"{name} is for a table, not for a query: write it into the query, or leave it out"
            )


def _undisturbed(connection: Connection) -> Any:
    """Context in which reading does not disturb the connection's transaction."""
    if not connection.in_transaction():
        return connection.begin()
    if connection.dialect.name == "postgresql":  # where an error would spoil the transaction
        return connection.begin_nested()
    return nullcontext()


def _columns(
    connection: Connection,
    table: str,
    schema: str | None,
    types: dict[str, Any],
    builder: PairBuilder,
) -> dict[str, Any]:
    """Return the columns of the table by name; tell the builder which ids are floats of 4 bytes."""
    columns = dict(sa.table(table, *map(sa.column, types), schema=schema).c)
    for axis, name in enumerate(builder.names[:2]):
        if isinstance(types[name], sa.REAL | mysql.FLOAT) and connection.dialect.name != "sqlite":
            builder.float_bytes[axis] = 4
    return columns


def _select(
    connection: Connection,
    columns: dict[str, Any],
    types: dict[str, Any],
    names: list[str],
    condition: Any,
    max_rows: int | None,
) -> Any:
    """Return the SELECT of the named columns."""
    conditions = [] if condition is None else [condition]
    selected = dict(columns)
    for name in names:
        if isinstance(types[name], mysql.FLOAT):  # of which MySQL prints six digits
            selected[name] = sa.cast(columns[name], sa.Double).label(name)
    query = sa.select(*(selected[name] for name in names)).where(*conditions)
    if max_rows is None:
        return query
    row = _by_bytes(columns[names[0]], types[names[0]], connection.dialect.name)
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


def _by_bytes(column: Any, kind: Any, dialect: str) -> Any:
    """Return an expression by which two texts are equal only if they are the same text."""
    if dialect == "sqlite":
        return sa.collate(column, "BINARY")
    if isinstance(kind, sa.Numeric | sa.Integer | sa.Uuid):
        return column
    if dialect == "postgresql":
        return sa.collate(sa.cast(column, sa.Text), "C")
    if dialect in ("mysql", "mariadb"):
        return sa.cast(column, sa.BINARY)
    return column


def _condition(columns: dict[str, Any], where: Where, table: str) -> Any:
    is_function = callable(where) and not isinstance(where, sa.ClauseElement)
    if is_function:
        where = _call(where, columns, table)
    if isinstance(where, str):
        if not where.strip():
            raise InvalidInputError("where is an empty text: give a condition, or None for all")
        where = sa.text(_escaped(where) + "\n")  # the line break ends a comment
    if isinstance(where, sa.TextClause):
        return where.self_group(against=in_op)  # in brackets
    if not isinstance(where, sa.ClauseElement):
        raise InvalidInputError(
            f"where {'returns' if is_function else 'is'} a {type(where).__name__}: give SQL text, "
            "an SQLAlchemy expression, or a function of the columns that returns one of these"
        )

    def own(element: Any, **_: Any) -> Any:
        """Return our column for one of the same table, which the caller may have described too."""
        theirs = getattr(element, "table", None)
        if isinstance(element, sa.ColumnClause) and getattr(theirs, "name", None) == table:
            return columns.get(element.name)
        return None

    return visitors.replacement_traverse(where, {}, own)


def _call(where: Any, columns: dict[str, Any], table: str) -> Any:
    collection = next(iter(columns.values())).table.c
    try:
        return where(collection)
    except (AttributeError, KeyError) as error:
        # SQLAlchemy's errors about a missing column; other errors are the caller's own.
        if error.args and isinstance(error.__cause__ or error, KeyError):
            find_column(str(error.args[0]), columns, f"table {table!r}")
        raise


def _escaped(text: str) -> str:
    """Return SQL text in which a colon is never the name of a bound parameter."""
    return text.replace(":", r"\:")


def _with_plain_parameters(query: Any) -> Any:
    """Replace numpy's numbers among the parameters, which drivers take for bytes."""
    plain = {}
    for element in visitors.iterate(query):
        if isinstance(element, sa.BindParameter):
            value = element.value
            if isinstance(value, np.ndarray | np.generic):
                plain[element.key] = value.tolist()
            elif isinstance(value, list | tuple):
                plain[element.key] = [
                    item.item() if isinstance(item, np.generic) else item for item in value
                ]
    return query.params(plain) if plain else query


def _chunks(
    connection: Connection, query: Any, chunk_size: int, names: list[str], what: str
) -> Iterator[list[Any]]:
    """Run the query; yield its columns, some rows at a time."""
    size = min(chunk_size, _AT_ONCE)
    # PostgreSQL's server-side cursors live in a transaction, which autocommit does without.
    autocommit = getattr(connection.connection.dbapi_connection, "autocommit", False) is True
    streams = connection.dialect.supports_server_side_cursors and not autocommit
    options = {"stream_results": True, "max_row_buffer": chunk_size} if streams else UNBUFFERED
    with connection.execute(query, execution_options=options) as result:
        if not result.returns_rows:
            raise InvalidInputError(f"{what} returns no rows: give a SELECT")
        found = list(result.keys())
        places = [found.index(find_column(name, found, what)) for name in names]
        pick = None if places == list(range(len(found))) else itemgetter(*places)
        cursor: Any = result.cursor
        try:
            # Of the driver, where possible: SQLAlchemy would only wrap its rows.
            parts = result.partitions(size) if streams else iter(lambda: cursor.fetchmany(size), [])
            only_integers = None
            for rows in parts:
                if not rows:  # drivers differ in the type of an empty sequence
                    break
                flat = list(chain.from_iterable(rows if pick is None else map(pick, rows)))
                if only_integers is None:
                    only_integers = set(map(type, flat)) == {int}
                yield _transposed(flat, len(names), only_integers)
        except connection.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DatabaseError(None, None, error) from error


def _transposed(flat: Sequence[Any], width: int, only_integers: bool) -> list[Any]:
    """Return the columns of rows that are given one after the other."""
    if only_integers:
        # The quickest way to an array that refuses everything but integers (and bool, which no
        # column mixes with integers).
        with suppress(struct.error):
            integers = np.frombuffer(struct.pack(f"{len(flat)}q", *flat), np.int64)
            return [integers[axis::width] for axis in range(width)]
    return [flat[axis::width] for axis in range(width)]
