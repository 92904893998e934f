"""Connections to databases, and what is in them."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session

from twofold.data.files import kind_of_file
from twofold.exceptions import DatabaseReadError, InvalidInputError

__all__ = ["UNBUFFERED", "Source", "columns_of", "connected", "find_column", "sqlite_file"]

UNBUFFERED = {"stream_results": False, "yield_per": None}
"""Options for taking rows from the driver's cursor: SQLAlchemy must not fetch any before."""

Source = str | URL | Engine | Connection

# Drivers whose package has another name than the module that is missing.
_PACKAGES = {
    "psycopg": '"twofold[postgres]"',
    "psycopg2": 'psycopg2-binary, or "twofold[postgres]" and a URL that begins postgresql+psycopg:',
    "MySQLdb": 'mysqlclient, or "twofold[mysql]" and a URL that begins mysql+pymysql:',
    "pymysql": '"twofold[mysql]"',
    "mariadb": "mariadb",
    "cx_Oracle": "cx-Oracle",
}


@contextmanager
def connected(
    source: "Source | Session | scoped_session[Any]", *, create: bool = False
) -> Iterator[Connection]:
    """Connect for the length of a ``with`` block; a caller's connection is passed on as it is.

    Errors of the database become `DatabaseReadError`. An SQLite file that does not exist is an
    error too, unless ``create``.
    """
    if isinstance(source, Session | scoped_session):
        source = source.connection()
    if isinstance(source, Connection):
        with _explained("use", source.engine.url):
            yield source
        return
    engine = source if isinstance(source, Engine) else _make_engine(source)
    file = sqlite_file(engine.url)
    try:
        if file is not None and not create and not file.exists():
            raise DatabaseReadError(f"there is no SQLite file {str(file)!r}: check the path")
        if file is not None and not file.parent.exists():
            raise DatabaseReadError(f"there is no folder {str(file.parent)!r}: make it first")
        kind = None if file is None else kind_of_file(file)
        unknown = "a binary file of an unknown kind"
        if kind not in (None, "an empty file", "an SQLite database", unknown):
            raise DatabaseReadError(
                f"{str(file)!r} is {kind}, not an SQLite database: for files there are "
                "read_csv, read_parquet and read_npz"
            )
        # Drivers raise the others for options that they cannot use.
        refusals = (SQLAlchemyError, AttributeError, TypeError, ValueError, OSError)
        with _explained("connect to", engine.url, refusals):
            connection = engine.connect()
        with connection, _explained("use", engine.url):
            yield connection
    finally:
        if engine is not source:
            engine.dispose()


@contextmanager
def _explained(
    action: str, url: URL, errors: tuple[type[Exception], ...] = (SQLAlchemyError,)
) -> Iterator[None]:
    """Turn errors of SQLAlchemy into one sentence that shows no password."""
    try:
        yield
    except errors as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        if url.password:
            reason = reason.replace(str(url.password), "***")
        raise DatabaseReadError(f"cannot {action} the database {_shown(url)}: {reason}") from error


def _shown(url: URL) -> str:
    secret = {key: "***" for key in url.query if "pass" in key.lower() or "pwd" in key.lower()}
    return url.update_query_dict(secret).render_as_string(hide_password=True)


def _make_engine(source: str | URL) -> Engine:
    if not isinstance(source, str | URL):
        raise InvalidInputError(
            f"the database is given as a {type(source).__module__}.{type(source).__name__}: give a "
            'URL such as "sqlite:///my.db", or an Engine, Connection or Session of SQLAlchemy'
        )
    try:
        url = sa.make_url(source)
    except (ArgumentError, ValueError) as error:  # the text may hold a password: not shown
        raise DatabaseReadError(
            "the database URL is not of the form dialect://user:password@host:port/name, for "
            "instance sqlite:///my.db or postgresql+psycopg://me@localhost/music"
        ) from error
    try:
        return sa.create_engine(url)
    except NoSuchModuleError as error:
        raise DatabaseReadError(
            f"SQLAlchemy knows no database {url.drivername!r} ({_shown(url)}): check the spelling "
            "or install the package with its dialect"
        ) from error
    except ImportError as error:
        module = error.name or url.get_driver_name()
        raise DatabaseReadError(
            f"{_shown(url)} needs the Python module {module!r}: "
            f"pip install {_PACKAGES.get(module, module)}"
        ) from error
    except (ArgumentError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DatabaseReadError(f"cannot use the database URL {_shown(url)}: {reason}") from error


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite URL; None for databases in memory and other databases."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name:
        return None
    if name.startswith("file:") and url.query.get("uri"):
        if url.query.get("mode") == "memory" or "vfs" in url.query:
            return None
        name = unquote(name.removeprefix("file:"))
        if name.startswith("//"):  # a host, which is empty or localhost, and then the path
            name = "/" + name.removeprefix("//localhost").lstrip("/")
    return None if name == ":memory:" else Path(name)


def columns_of(connection: Connection, table: str, schema: str | None) -> dict[str, Any]:
    """Names of the columns of a table or view, and SQLAlchemy's types of them.

    A connection outside of a transaction is so afterwards, too.

    Raises
    ------
    DatabaseReadError
        If there is no such table, listing those that exist.
    """
    inspector, is_outside = sa.inspect(connection), not connection.in_transaction()
    try:
        described = inspector.get_columns(table, schema=schema)
        columns: dict[str, Any] = {column["name"]: column["type"] for column in described}
        if connection.dialect.name in ("mysql", "mariadb"):  # SQLAlchemy leaves ` doubled
            columns = {name.replace("``", "`"): kind for name, kind in columns.items()}
    except NoSuchTableError:
        columns = {}
    except (NotImplementedError, SQLAlchemyError):  # a dialect that cannot describe tables
        if is_outside:
            connection.rollback()  # which the error may have aborted
        query = sa.select(sa.text("*")).select_from(sa.table(table, schema=schema)).limit(0)
        columns = dict.fromkeys(connection.execute(query).keys(), sa.types.NULLTYPE)
    if not columns:
        names = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
        place = _shown(connection.engine.url) + (f", schema {schema!r}" if schema else "")
        raise DatabaseReadError(
            f"there is no table or view {table!r} in {place}: {_listed(names, 'it has')}"
        )
    if is_outside:
        connection.rollback()
    return columns


def find_column(name: str, columns: Collection[str], table: str) -> str:
    """Return the column's name as the database spells it.

    Raises
    ------
    DatabaseReadError
        If there is no such column, listing those that exist.
    """
    if name in columns:
        return name
    similar = [column for column in columns if column.lower() == str(name).lower()]
    if len(similar) == 1:
        return similar[0]
    raise DatabaseReadError(
        f"{table} has no column {name!r}: {_listed(columns, 'its columns are')}"
    )


def _listed(names: Collection[str], words: str) -> str:
    shown: list[Any] = sorted(set(names))
    more = f" and {len(shown) - 50} more" if len(shown) > 50 else ""
    return f"{words} " + (", ".join(map(repr, shown[:50])) or "none") + more
