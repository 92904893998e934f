"""Reading by ConnectorX: Arrow columns from a connection of its own, without Python's rows.

What it is not known to read as SQLAlchemy does is refused. A condition's numbers and texts would be
written into the query, where databases may take them for other types, so that a condition must be
SQL text; and what is not in the URL may lead elsewhere.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io.connect import sqlite_file

__all__ = ["ConnectorXQuery"]

_ID_TYPES: tuple[type, ...] = (sa.Integer, sa.String)
_NUMBER_TYPES: tuple[type, ...] = (sa.Integer, sa.Double, sa.Float)
# But not these, of four bytes or filled up with blanks; in SQLite all are the same.
_OTHER_TYPES = (sa.Enum, sa.CHAR, sa.NCHAR, sa.REAL)


_ROWS = 1 << 20  # of a chunk


def _refuse(reason: str) -> InvalidInputError:
    return InvalidInputError(f'engine="connectorx" is not possible: {reason}')


class ConnectorXQuery:
    """A query that ConnectorX gives the same answer to as SQLAlchemy.

    Parameters
    ----------
    source
        What the caller gave: a URL.
    connection : Connection
        Of SQLAlchemy, to the same database.
    query : Select
        The query.
    where
        The caller's condition.
    columns : sequence of (str, SQLAlchemy type)
        The columns of the query: two of ids, and any of numbers.

    Raises
    ------
    InvalidInputError
        If the answer could be another one.
    """

    def __init__(
        self,
        source: Any,
        connection: Connection,
        query: sa.Select[Any],
        where: Any,
        columns: Sequence[tuple[str, Any]],
    ) -> None:
        if not isinstance(source, str | URL):
            raise _refuse(
                f"it opens a connection of its own, which may not see what this "
                f"{type(source).__name__} sees; give a URL"
            )
        if not (where is None or isinstance(where, str)):
            raise _refuse("give the condition `where` as SQL text")
        refused = () if connection.dialect.name == "sqlite" else _OTHER_TYPES
        for axis, (name, kind) in enumerate(columns):
            wanted = _ID_TYPES if axis < 2 else _NUMBER_TYPES
            if not isinstance(kind, wanted) or isinstance(kind, refused):
                words = "integers or text" if axis < 2 else "integers or double precision"
                raise _refuse(f"column {name!r} is declared as {kind!r}, not as {words}")
        self.names = [name for name, _ in columns]
        self.url, self.password = _url(connection.engine.url), connection.engine.url.password
        make: Any = type(connection.dialect)
        dialect = make(paramstyle="named")  # where % is not written twice
        self.text = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))

    def chunks(self) -> Iterator[list[Any]]:
        """Yield the columns, as arrays of pyarrow, some rows at a time.

        Raises
        ------
        DatabaseReadError
            If ConnectorX cannot read them.
        InvalidInputError
            If ConnectorX is not installed, or reads a column as another type.
        """
        table = self._table()
        for axis, name in enumerate(self.names):
            if not _is_known(table.column(axis).type, is_id=axis < 2):
                raise _refuse(f"column {name!r} arrives as {table.column(axis).type}")
        batches = table.to_batches(max_chunksize=_ROWS)
        del table
        while batches:  # each is freed when it has been used
            yield list(batches.pop(0).columns)

    def _table(self) -> Any:
        try:
            import connectorx
            import pyarrow as pa  # noqa: F401 - which ConnectorX hands its columns to
        except ImportError as error:
            raise InvalidInputError(
                f'engine="connectorx" needs {error.name}: pip install "twofold[sql-fast]"'
            ) from error
        found: list[Any] = []

        def work() -> None:
            try:
                found.append(connectorx.read_sql(self.url, self.text, return_type="arrow"))
            except BaseException as error:  # its panics are no Exception
                found.append(error)

        # In a thread of its own, since nothing else would hear Ctrl-C until everything is read.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join()
        (answer,) = found
        if isinstance(answer, BaseException):
            reason = str(answer).partition("\n")[0].replace(str(self.password or "\0"), "***")
            raise DatabaseReadError(
                f'ConnectorX cannot read it: {reason}; use engine="sqlalchemy"'
            ) from answer
        return answer


def _url(url: URL) -> str:
    """Return the URL for ConnectorX, if it leads where SQLAlchemy's leads."""
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise _refuse(f"it is for SQLite and PostgreSQL, not for {backend}")
    if url.query:
        raise _refuse("the URL has options")
    if backend == "sqlite":
        file = sqlite_file(url)
        if file is None:
            raise _refuse("a database in memory belongs to one connection")
        return "sqlite://" + quote(str(Path(file).absolute()))
    # The driver takes what the URL leaves out from libpq's variables and files.
    variables = [name for name in os.environ if name.startswith("PG") and "_" not in name]
    if variables:
        raise _refuse(f"the environment has {variables[0]}, which it does not read")
    if not (url.username and url.host and url.database):
        raise _refuse("the URL leaves out the user, the host or the database")
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _is_known(kind: Any, *, is_id: bool) -> bool:
    """Tell whether Arrow columns of this type hold what SQLAlchemy's rows would."""
    name = str(kind)
    integers = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"}
    return name in integers | ({"string", "large_string"} if is_id else {"double"})
