"""The quick way out of SQLite: its C interface, called from compiled code.

Python's `sqlite3` makes a tuple and an object for each number, which is most of its time. Here the
same connection, and so the same transaction and temporary tables, hands the numbers over by a
prepared statement of its own. `sqlite3` does not tell the address of SQLite's connection, but
SQLite calls a function with it whenever one is opened (`sqlite3_auto_extension`), and where it
stands in Python's object is the same in all of them. Where anything is not as expected the plain
path is taken (`Slow` says why).
"""

import ctypes
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import numba
import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from twofold._kernels.sqlite import DONE, FUNCTIONS, NO_ROOM, ODD, ROW, read_rows
from twofold.io.decode import PairReader, Slow

__all__ = ["fetch_sqlite"]

_ROWS = 1 << 16  # at a time: between them Ctrl-C is heard
_TEXT_BYTES = 1 << 22  # of so many rows, at first
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
    library = _library()
    with connection.execute(query) as result:
        cursor: Any = result.cursor
        driver = getattr(cursor, "connection", None)
        if not isinstance(driver, sqlite3.Connection):
            raise Slow(f"the driver is {connection.dialect.driver}")
        if driver.text_factory is not str:
            raise Slow("the connection has a text_factory")
        try:
            rows = cursor.fetchmany(1000)
        except sqlite3.Error as error:  # which the plain path will meet and explain
            raise Slow(str(error)) from error
        if not rows:
            return
        first = next((row for row in rows if None not in row[:2]), None)
        if first is None:
            raise Slow("the first ids are NULL")
        (parameters,) = result.context.parameters
        if not isinstance(parameters, tuple):
            raise Slow("the parameters have names")
        # The result stays open: both statements see the same state of the database.
        with library.prepared(driver, result.context.statement, parameters) as statement:
            if _read(library.addresses, statement, first, reader, advance) != DONE:
                reason = sqlite3.OperationalError(library.message(driver))
                raise sa.exc.OperationalError(None, None, reason)
    for ids, name in zip(reader.ids, reader.names, strict=False):
        if ids.texts is not None and not ids.texts.is_utf8():
            raise Slow(f"column {name!r} holds text that is not UTF-8")


def _read(
    functions: tuple[int, ...],
    statement: int,
    first: Sequence[Any],
    reader: PairReader,
    advance: Callable[[int], Any],
) -> int:
    """Read the statement, and return SQLite's last answer.

    ``first`` is the first row without NULL, as `sqlite3` returned it.
    """
    is_text = isinstance(first[0], str), isinstance(first[1], str)
    n_bytes = [_TEXT_BYTES * flag for flag in is_text]
    n_values = _ROWS if len(reader.names) == 3 else 0
    has_row, is_first = False, True
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[None]] = []
        while True:
            ids = np.empty(_ROWS, np.int64), np.empty(_ROWS, np.int64)  # of texts: where they end
            texts = np.empty(n_bytes[0], np.uint8), np.empty(n_bytes[1], np.uint8)
            values = np.empty(n_values)
            n, n_null, status = read_rows(
                functions, statement, has_row, reader.drop_nulls, is_text, ids, texts, values
            )
            advance(n + n_null)
            columns = [
                (texts[axis], ids[axis][:n]) if is_text[axis] else ids[axis][:n] for axis in (0, 1)
            ]
            if n and is_first:
                _check_first(columns, values[:1], first)
                is_first = False
            while len(waiting) > 1:
                waiting.pop(0).result()
            # While the next rows are read.
            waiting.append(pool.submit(reader.add_columns, columns, values[:n], n_null))
            if status == DONE:
                break
            has_row = status == NO_ROOM
            if has_row and not n:
                n_bytes = [2 * size for size in n_bytes]
            elif status == ODD:
                raise Slow("there is a row with something else")
            elif status not in (NO_ROOM, ROW):
                return int(status)
        for future in waiting:
            future.result()
        return DONE


def _check_first(columns: Sequence[Any], values: Any, first: Sequence[Any]) -> None:
    """Raise `Slow` if `sqlite3` returned something else, as it can be made to."""
    found = [
        column[0][: column[1][0]].tobytes().decode(errors="replace")
        if isinstance(column, tuple)
        else column[0]
        for column in columns
    ]
    if [*found, *values] != list(first):
        raise Slow("sqlite3 converts what a column holds")


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
            self._function("errmsg").restype = text
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
        """Prepare a statement for the length of a ``with`` block."""
        statement = ctypes.c_void_p()
        status = self._function("prepare_v2")(
            self._handle(driver), text.encode(), -1, ctypes.byref(statement), None
        )
        if status or not statement.value:
            raise Slow(f"SQLite does not prepare the query: error {status}")
        try:
            for place, item in enumerate(parameters, start=1):
                if self._bind(statement, place, item):
                    raise Slow(f"the query has a parameter of type {type(item).__name__}")
            yield statement.value
        finally:
            self._function("finalize")(statement)

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


_library = cache(_Library)
_met: list[int] = []  # addresses of SQLite's connections that were opened


def _append(handle: int, message: Any, functions: Any) -> int:
    _met.append(handle)
    return 0


# Never freed: another thread may open a connection at any time.
_meet = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(_append)
