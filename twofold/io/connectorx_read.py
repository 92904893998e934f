"""The quick way out of PostgreSQL: ConnectorX, where its answer is the same as SQLAlchemy's.

It opens a connection of its own, so it must see what the first one sees, and it must read every
type the same way. It would get a condition's numbers and texts written into the query, where
databases take them for other types: so it reads whole tables only. What is not known to be the
same takes the plain path (`Slow` says why). SQLite files it does not read: it brings an SQLite of
its own, and two of them in a process release each other's locks (https://sqlite.org/howtocorrupt
.html, 2.2.1).
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from twofold._frames import text_buffers
from twofold.io.decode import PairReader, Slow

__all__ = ["fetch_connectorx"]


def fetch_connectorx(
    connection: Connection,
    source: Any,
    query: sa.Select[Any],
    has_condition: bool,
    types: Sequence[Any],
    reader: PairReader,
) -> None:
    """Give all that the query finds to the reader.

    ``types`` are SQLAlchemy's types of the columns. Raises `Slow`, perhaps when some pairs were
    read: the reader must not be used then.
    """
    url = _url(connection, source)
    if has_condition:
        raise Slow("`where` is given")
    for name, type_, wanted in zip(
        reader.names, types, (_ID_TYPES, _ID_TYPES, _VALUE_TYPES, _VALUE_TYPES), strict=False
    ):
        if not isinstance(type_, wanted) or isinstance(type_, _OTHER_TYPES):
            raise Slow(f"column {name!r} is {type_!r}")
    try:
        import connectorx
        import pyarrow as pa
    except ImportError as error:
        raise Slow(f'{error.name} is not installed: pip install "twofold[sql-fast]"') from error
    columns = _columns(connectorx, url, _text(connection, query))
    for axis, name in enumerate(reader.names):
        kind = columns[axis].type
        if not (_is_integer(pa, kind) or _is_other(pa, kind, is_id=axis < 2)):
            raise Slow(f"column {name!r} arrives as {kind}")
    _read(pa, columns, reader)


_ID_TYPES: tuple[type, ...] = (sa.Integer, sa.String)
_VALUE_TYPES: tuple[type, ...] = (sa.Integer, sa.Double, sa.Float)
_OTHER_TYPES = (sa.Enum, sa.CHAR, sa.NCHAR, sa.REAL)


def _url(connection: Connection, source: Any) -> str:
    """Return the URL for a second connection, if it would see the same database."""
    if not isinstance(source, str | URL):
        raise Slow(f"a second connection may not see what this {type(source).__name__} sees")
    url = connection.engine.url
    if url.query:
        raise Slow("the URL has options")
    # The driver takes what the URL leaves out from libpq's variables and files.
    variables = [name for name in os.environ if name.startswith("PG") and "_" not in name]
    if variables:
        raise Slow(f"the environment has {variables[0]}")
    if not (url.username and url.host and url.database):
        raise Slow("the URL leaves out the user, the host or the database")
    driver: Any = connection.connection.dbapi_connection
    if not url.password and getattr(getattr(driver, "info", None), "password", None):
        raise Slow("the URL leaves out the password")
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _text(connection: Connection, query: sa.Select[Any]) -> str:
    """Return the query as text with its numbers and texts in it."""
    make: Any = type(connection.dialect)
    dialect = make(paramstyle="named")  # where % is not written twice
    try:
        return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    except (SQLAlchemyError, NotImplementedError) as error:
        raise Slow(f"the condition cannot be written as text: {error}") from error


def _columns(connectorx: Any, url: str, text: str) -> list[Any]:
    found: list[Any] = []

    def work() -> None:
        try:
            table = connectorx.read_sql(url, text, return_type="arrow")
            found.append([table.column(axis) for axis in range(table.num_columns)])
        except BaseException as error:  # its panics are no Exception
            found.append(error)

    # In a thread of its own, since nothing else would hear Ctrl-C until everything is read.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    (answer,) = found
    if isinstance(answer, BaseException):
        raise Slow(f"ConnectorX: {str(answer).partition(chr(10))[0]}") from answer
    return list(answer)


def _is_integer(pa: Any, kind: Any) -> bool:
    return bool(pa.types.is_integer(kind)) and kind != pa.uint64()


def _is_other(pa: Any, kind: Any, *, is_id: bool) -> bool:
    if is_id:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return bool(kind == pa.float64())


def _read(pa: Any, columns: list[Any], reader: PairReader) -> None:
    """Give Arrow columns to the reader, which counts NULL ids or lets the plain path name them."""
    import pyarrow.compute as pc

    n = len(columns[0])
    if columns[0].null_count or columns[1].null_count:
        if not reader.drop_nulls:
            raise Slow("an id is NULL")
        known = pc.and_(columns[0].is_valid(), columns[1].is_valid())
        columns[:] = [column.filter(known) for column in columns]
    reader.n_read += n
    reader.n_null += n - len(columns[0])
    for parts in reversed(reader.numbers):
        values = columns.pop()
        if values.null_count:
            raise Slow("a value is NULL")
        numbers = np.asarray(values.to_numpy(), dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise Slow("a value is not finite")
        parts.append(numbers)
    for ids in (reader.ids[1], reader.ids[0]):
        column = columns.pop()
        if pa.types.is_integer(column.type):
            for chunk in column.chunks:
                ids.add_integers(chunk.to_numpy())
            continue
        for chunk in column.chunks:
            ids.add_texts(*text_buffers(chunk))
