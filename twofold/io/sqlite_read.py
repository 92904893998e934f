"""The quick way out of SQLite: its C interface, called from compiled code.

Python's `sqlite3` makes a tuple and an object for each number, which is most of its time. Here the
same connection, and so the same transaction and temporary tables, hands the numbers over by a
prepared statement of its own. `sqlite3` does not tell the address of SQLite's connection, but
SQLite calls a function with it whenever one is opened (`sqlite3_auto_extension`), and where it
stands in Python's object is the same in all of them. Where anything is not as expected the plain
path is taken (`Slow` says why).
"""

import ctypes
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import numba
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from twofold._kernels.sqlite import DONE, FUNCTIONS, NO_ROOM, ODD, ROW, read_rows
from twofold.io.connect import UNBUFFERED
from twofold.io.decode import PairReader, Slow

__all__ = ["fetch_sqlite"]

_FEW, _MANY = 1 << 6, 1 << 16  # rows at a time: at first, and at most
_SECONDS = 0.1  # for so many: between them Ctrl-C is heard
_TEXT_BYTES = 1 << 22  # of these rows, at first
_KEEP_A_COPY = ctypes.c_void_p(-1)  # SQLITE_TRANSIENT


def fetch_sqlite(
    connection: Connection,
    query: sa.Select[Any],
    reader: PairReader,
    advance: Callable[[int], Any],
) -> None:
    """Give all that the query finds to the reader.

    ``advance`` is told how many rows were read. Raises `Slow`, perhaps when some pairs were read:
    the reader must not be used then.
    """
    if len(reader.names) > 3:
        raise Slow("the kernel reads one column of numbers, not values and weights")
    library = _library()
    with connection.execute(query, execution_options=UNBUFFERED) as result:
        cursor: Any = result.cursor
        driver = getattr(cursor, "connection", None)
        if type(driver) is not sqlite3.Connection or type(cursor) is not sqlite3.Cursor:
            raise Slow(f"the driver is {connection.dialect.driver}, or one made of sqlite3")
        if driver.text_factory is not str or cursor.row_factory is not None:
            raise Slow("the connection has a text_factory or a row_factory")
        parameters: Any = result.context.parameters[0]
        with library.prepared(driver, result.context.statement, parameters) as statement:
            first = _first(cursor)
            # The result stays open: both statements see the same state of the database.
            status = _read(library.addresses, statement, first, reader, advance)
            message = library.message(driver)
    for ids, name in zip(reader.ids, reader.names, strict=False):
        if ids.texts is not None and not ids.texts.is_utf8():
            raise Slow(f"column {name!r} holds text that is not UTF-8")
    if status != DONE:
        raise sa.exc.OperationalError(None, None, sqlite3.OperationalError(message))


def _first(cursor: sqlite3.Cursor) -> Sequence[Any]:
    """Return the first row without a NULL id."""
    try:
        rows = cursor.fetchmany(1000)
    except sqlite3.Error as error:  # which the plain path will meet and explain
        raise Slow(str(error)) from error
    for row in rows:
        if None not in row[:2]:
            return row  # type: ignore[no-any-return]
    raise Slow("the first ids are NULL")


def _read(
    functions: tuple[int, ...],
    statement: int,
    first: Sequence[Any],
    reader: PairReader,
    advance: Callable[[int], Any],
) -> int:
    """Read the statement, whose ids are of the types of ``first``; return SQLite's last answer."""
    is_text = isinstance(first[0], str), isinstance(first[1], str)
    n_bytes = [_TEXT_BYTES * flag for flag in is_text]
    n_rows = _FEW
    status = ROW
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[None]] = []
        while status in (ROW, NO_ROOM):
            ids = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)  # of texts: their ends
            texts = np.empty(n_bytes[0], np.uint8), np.empty(n_bytes[1], np.uint8)
            values = np.empty(n_rows if len(reader.names) == 3 else 0)
            started = time.perf_counter()
            n, n_null, status = read_rows(
                functions, statement, status == NO_ROOM, reader.drop_nulls, is_text, ids, texts,
                values,
            )  # fmt: skip
            seconds = time.perf_counter() - started
            if status == ODD:
                raise Slow("there is a row with something else")
            found = [_kept(array, n) for array in ids]
            columns = [
                (texts[axis], found[axis]) if is_text[axis] else found[axis] for axis in (0, 1)
            ]
            advance(n + n_null)
            while len(waiting) > 1:
                waiting.pop(0).result()
            work = partial(reader.add_columns, columns, _kept(values, n), n_null)
            try:
                waiting.append(pool.submit(work))  # while the next rows are read
            except RuntimeError:  # Python is about to end, and starts no threads any more
                pool.shutdown()
                work()
            if status == NO_ROOM and not n:
                n_bytes = [2 * size for size in n_bytes]
            n_rows = min(2 * n_rows, max(_FEW, int(n_rows * _SECONDS / seconds)), _MANY)
        for future in waiting:
            future.result()
    return int(status)


def _kept(array: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the first n elements, without holding on to many others."""
    return array[:n] if 2 * n > array.size else array[:n].copy()


class _Library:
    """The SQLite that Python's `sqlite3` works with."""

    def __init__(self) -> None:
        if numba.config.DISABLE_JIT:
            raise Slow("numba's compiler is switched off")
        if sys.implementation.name != "cpython":
            raise Slow(f"{sys.implementation.name} keeps its objects in another way")
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        try:
            import _sqlite3

            # Where it is part of Python itself: what Python exports.
            self.dll = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
            for name, *kinds in (
                ("auto_extension", pointer),
                ("column_count", pointer),
                ("column_decltype", pointer, ctypes.c_int),
                ("column_name", pointer, ctypes.c_int),
                ("expanded_sql", pointer),
                ("free", pointer),
                ("next_stmt", pointer, pointer),
                ("stmt_busy", pointer),
                ("cancel_auto_extension", pointer),
                ("prepare_v2", pointer, text, ctypes.c_int, pointer, pointer),
                ("errmsg", pointer),
                ("finalize", pointer),
                ("bind_int64", pointer, ctypes.c_int, ctypes.c_int64),
                ("bind_double", pointer, ctypes.c_int, ctypes.c_double),
                ("bind_text", pointer, ctypes.c_int, text, ctypes.c_int, pointer),
                ("bind_null", pointer, ctypes.c_int),
            ):
                self._function(name).argtypes = kinds
            for name in ("column_decltype", "column_name", "errmsg"):
                self._function(name).restype = text
            for name in ("expanded_sql", "next_stmt"):
                self._function(name).restype = pointer
            found = [ctypes.cast(self._function(name), pointer).value for name in FUNCTIONS]
        except (ImportError, OSError, AttributeError, TypeError) as error:
            raise Slow(f"SQLite's library is not found: {error}") from error
        self.addresses = tuple(int(address or 0) for address in found)
        self._place = self._find_place()

    def _function(self, name: str) -> Any:
        return getattr(self.dll, f"sqlite3_{name}")

    def _find_place(self) -> int:
        """Return where the address of SQLite's connection stands in the object of Python's."""
        self._function("auto_extension")(_meet)
        try:
            connection = sqlite3.connect(":memory:")
        except sqlite3.Error as error:
            raise Slow(f"no connection can be made to try: {error}") from error
        finally:
            self._function("cancel_auto_extension")(_meet)
        size = ctypes.sizeof(ctypes.c_void_p)
        n_words = sqlite3.Connection.__basicsize__ // size
        words = (ctypes.c_void_p * n_words).from_address(id(connection))
        places = [size * place for place, word in enumerate(words) if word and word in _met]
        connection.close()
        _met.clear()
        if len(places) != 1:
            raise Slow("SQLite's connection is not found in Python's")
        return places[0]

    @contextmanager
    def prepared(
        self, driver: sqlite3.Connection, text: str, parameters: Sequence[Any]
    ) -> Iterator[int]:
        """Prepare the statement that a cursor is at, for the length of a ``with`` block.

        Raises
        ------
        Slow
            If `sqlite3` was made to run something else (by SQLAlchemy's events, or by adapters of
            parameters), or to convert what its columns hold.
        """
        statement = ctypes.c_void_p()
        try:
            status = self._function("prepare_v2")(
                self._handle(driver), text.encode(), -1, ctypes.byref(statement), None
            )
            if status or not statement.value:
                raise Slow(f"SQLite does not prepare the query: error {status}")
            for place, item in enumerate(parameters, start=1):
                if not isinstance(parameters, tuple) or self._bind(statement, place, item):
                    raise Slow(f"the query has a parameter of type {type(item).__name__}")
            if self._expanded(statement) not in self._running(driver):
                raise Slow("sqlite3 runs another query, or it finds nothing")
            for place in range(self._function("column_count")(statement)):
                self._check_column(statement, place)
            yield statement.value
        finally:
            self._function("finalize")(statement)

    def _running(self, driver: sqlite3.Connection) -> Iterator[bytes | None]:
        """Yield the texts of statements that stand at a row, with their parameters in them."""
        statement = None
        while statement := self._function("next_stmt")(self._handle(driver), statement):
            if self._function("stmt_busy")(statement):
                yield self._expanded(statement)

    def _expanded(self, statement: Any) -> bytes | None:
        address = self._function("expanded_sql")(statement)
        try:
            return ctypes.string_at(address) if address else None
        finally:
            self._function("free")(address)

    def _check_column(self, statement: Any, place: int) -> None:
        """Raise if a converter of `sqlite3` could be meant for a column."""
        name: bytes = self._function("column_name")(statement, place)
        declared: bytes = self._function("column_decltype")(statement, place) or b""
        key = re.split(r"[ (]", declared.decode(errors="replace"), maxsplit=1)[0].upper()
        if b"[" in name or key in sqlite3.converters:
            raise Slow(f"sqlite3 has a converter for {key or name.decode(errors='replace')!r}")

    def _handle(self, driver: sqlite3.Connection) -> Any:
        return ctypes.c_void_p.from_address(id(driver) + self._place)

    def message(self, driver: sqlite3.Connection) -> str:
        """Return what SQLite says about the last error."""
        text: bytes = self._function("errmsg")(self._handle(driver))
        return text.decode(errors="replace")

    def _bind(self, statement: Any, place: int, item: Any) -> Any:
        """Return 0 if SQLite took the parameter."""
        if type(item) is int and -(2**63) <= item < 2**63:
            return self._function("bind_int64")(statement, place, item)
        if type(item) is float:
            return self._function("bind_double")(statement, place, item)
        if type(item) is str:
            data = item.encode(errors="surrogatepass")
            return self._function("bind_text")(statement, place, data, len(data), _KEEP_A_COPY)
        return item is not None or self._function("bind_null")(statement, place)


_lock = threading.Lock()


@cache
def _found() -> _Library:
    return _Library()


def _library() -> _Library:
    """Return the library; raise `Slow` if it is not as expected."""
    with _lock:  # as all of them would meet the same connections
        return _found()


_met: list[int] = []  # addresses of SQLite's connections that were opened


def _append(handle: int, message: Any, functions: Any) -> int:
    _met.append(handle)
    return 0


# Never freed: another thread may open a connection at any time.
_meet = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(_append)
