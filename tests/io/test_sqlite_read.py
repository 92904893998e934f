"""The quick way out of SQLite."""

import _sqlite3
import _thread
import ctypes
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest
import sqlalchemy as sa

import twofold.io.sqlite_read
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_sql

TYPED = (
    "CREATE TABLE pairings (pid INTEGER, tid BIGINT, name TEXT, v DOUBLE, w REAL, x, b BOOLEAN)",
    "INSERT INTO pairings VALUES (1, 2, 'a', 1.5, 0.1, 5, 1), (3, 4, 'b', 2.5, 0.2, 6, 0)",
)


def test_every_source_takes_it(make_db, path_of):
    url = make_db(*TYPED, "CREATE VIEW seen AS SELECT pid, tid + 1 AS tid FROM pairings")
    assert path_of(url)[0] == "sqlite"
    assert path_of(sa.make_url(url), col="name", value="w", max_rows=5)[0] == "sqlite"
    assert path_of(url, "seen")[0] == "sqlite"
    assert path_of(url, value="x", where=lambda c: c.name.in_(["a", "it's"]))[0] == "sqlite"
    assert path_of(url, where=lambda c: c.v == 1.5)[0] == "sqlite"
    engine = sa.create_engine(url)
    assert path_of(engine)[0] == "sqlite"
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO pairings (pid, tid) VALUES (5, 6)")
        assert path_of(connection)[0] == "sqlite"
        assert read_sql(connection).n_pairs == 3
        connection.rollback()
        connection.exec_driver_sql("CREATE TEMPORARY TABLE mine AS SELECT 7 AS pid, 8 AS tid")
        assert path_of(connection, "mine")[0] == "sqlite"
        assert read_sql(connection, "mine").row_ids.tolist() == [7]
    engine.dispose()
    memory = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with memory.begin() as connection:
        connection.exec_driver_sql(TYPED[0])
        connection.exec_driver_sql(TYPED[1])
    assert path_of(memory)[0] == "sqlite"
    memory.dispose()


def test_many_rows_and_long_texts(only_sqlalchemy):
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    n = 3 * twofold.io.sqlite_read._MANY + 5
    rng = np.random.default_rng(0)
    long = 5 * "é" * twofold.io.sqlite_read._TEXT_BYTES
    texts = [long + "1", *(f"text {i}" for i in rng.integers(0, n // 3, n - 3)), long + "2", ""]
    ids = [None if i % 7 == 1 else int(i) for i in rng.integers(-(2**40), 2**40, n)]
    pairs = list(zip(ids, texts, rng.normal(size=n).tolist(), strict=True))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE pairings (pid INTEGER, tid TEXT, v REAL)")
        connection.exec_driver_sql("INSERT INTO pairings VALUES (?, ?, ?)", pairs)
    options = {"value": "v", "on_null": "drop", "duplicates": "count"}
    for row, col in (("pid", "tid"), ("tid", "pid")):
        quick = read_sql(engine, row=row, col=col, **options)
        assert quick.report.reader == "sqlite"
        with only_sqlalchemy():
            plain = read_sql(engine, row=row, col=col, **options)
        assert plain.report.reader == "sqlalchemy"
        assert quick.report.n_null_dropped == plain.report.n_null_dropped == ids.count(None)
        assert quick.row_ids.tolist() == plain.row_ids.tolist()
        assert quick.col_ids.tolist() == plain.col_ids.tolist()
        for part in ("indptr", "indices", "data"):
            assert (getattr(quick.matrix, part) == getattr(plain.matrix, part)).all()
    engine.dispose()


@pytest.mark.parametrize(
    ("statements", "options", "reason"),
    [
        (("INSERT INTO pairings (pid, tid) VALUES (1, 2.5)",), {}, "something else"),
        (("INSERT INTO pairings (pid, tid) VALUES (1, 'x')",), {}, "something else"),
        (("INSERT INTO pairings (pid, tid) VALUES (NULL, 1)",), {}, "something else"),
        (("INSERT INTO pairings (pid, tid, w) VALUES (2, 1, 9e999)",), {"value": "w"}, "something"),
        (("UPDATE pairings SET pid = NULL",), {}, "first ids are NULL"),
        (("UPDATE pairings SET x = 1.0",), {"row": "x"}, "something else"),
        (("UPDATE pairings SET name = CAST(X'FF' AS TEXT)",), {"row": "name"}, "UTF-8"),
        (
            ("INSERT INTO pairings (name, tid) VALUES (CAST(X'61C3' AS TEXT), 1), "
             "(CAST(X'A9' AS TEXT), 1)",),
            {"row": "name"},
            "UTF-8",
        ),
    ],
)  # fmt: skip
def test_what_sqlalchemy_has_to_look_at(make_db, path_of, caplog, statements, options, reason):
    url = make_db(*TYPED, *statements)
    try:
        assert path_of(url, **options)[0] == "sqlalchemy"
    except (InvalidInputError, DatabaseReadError):
        (line,) = (record.message for record in caplog.records if record.levelname == "DEBUG")
        assert reason in line
    else:
        assert reason in path_of(url, **options)[1]


class OddCursor(sqlite3.Cursor):
    pass


class OddConnection(sqlite3.Connection):
    def cursor(self, factory: type[sqlite3.Cursor] = OddCursor) -> sqlite3.Cursor:
        return super().cursor(factory)


def latin(text: bytes) -> str:
    return text.decode("latin-1")


@pytest.mark.parametrize(
    ("options", "change", "reason"),
    [
        ({}, {"text_factory": latin}, "text_factory"),
        (
            {},
            {"row_factory": lambda cursor, row: row[::-1] if len(row) == 2 else row},
            "row_factory",
        ),
        ({"factory": OddConnection}, {}, "made of sqlite3"),
        ({"detect_types": sqlite3.PARSE_DECLTYPES}, {}, "converter for 'BIGINT'"),
    ],
)
def test_connections_that_return_something_else(
    make_db, path_of, monkeypatch, options, change, reason
):
    monkeypatch.setitem(sqlite3.converters, "BIGINT", lambda text: int(text) % 3)
    engine = sa.create_engine(make_db(*TYPED), connect_args=options)

    @sa.event.listens_for(engine, "connect")
    def changed(driver: sqlite3.Connection, record: object) -> None:
        for name, value in change.items():
            setattr(driver, name, value)

    path, line = path_of(engine)
    assert path == "sqlalchemy"
    assert reason in line
    engine.dispose()


def test_converters_of_columns_by_their_names(path_of):
    engine = sa.create_engine("sqlite://", connect_args={"detect_types": sqlite3.PARSE_COLNAMES})
    with engine.connect() as connection:
        connection.exec_driver_sql('CREATE TABLE pairings ("pid [odd]" INTEGER, tid INTEGER)')
        connection.exec_driver_sql("INSERT INTO pairings VALUES (1, 2)")
        assert "converter for 'INTEGER'" in path_of(connection, row="pid [odd]")[1]
    engine.dispose()


def test_events_of_sqlalchemy_are_heard(make_db, path_of):
    """An engine that shows each tenant its own rows, or asks for other values."""
    url = make_db(*TYPED)

    def more(connection, cursor, statement, parameters, context, many):
        own = " WHERE pid = 3" if "FROM pairings" in statement else ""
        return statement + own, parameters

    def others(connection, cursor, statement, parameters, context, many):
        return statement, tuple(3 if item == 1 else item for item in parameters)

    for listener, where in ((more, None), (others, lambda c: c.pid == 1)):
        engine = sa.create_engine(url)
        sa.event.listen(engine, "before_cursor_execute", listener, retval=True)
        assert "another query" in path_of(engine, where=where)[1]
        assert read_sql(engine, where=where).row_ids.tolist() == [3]
        engine.dispose()


def test_adapters_of_parameters_are_heard(make_db, path_of, monkeypatch):
    url = make_db(*TYPED)
    assert path_of(url, where=lambda c: c.pid == 1)[0] == "sqlite"
    key = (int, sqlite3.PrepareProtocol)
    sqlite3.register_adapter(int, lambda number: number + 2)
    try:
        assert "another query" in path_of(url, where=lambda c: c.pid == 1)[1]
        assert read_sql(url, where=lambda c: c.pid == 1).row_ids.tolist() == [3]
    finally:
        del sqlite3.adapters[key]


@pytest.mark.parametrize("option", [{"stream_results": True}, {"yield_per": 2}])
def test_options_of_the_engine_take_no_rows_away(make_db, only_sqlalchemy, option):
    engine = sa.create_engine(make_db(*TYPED)).execution_options(**option)
    assert read_sql(engine).n_pairs == 2
    with only_sqlalchemy():
        assert read_sql(engine).n_pairs == 2
    engine.dispose()


def test_ctrl_c_in_a_slow_view_is_heard_soon(make_db):
    engine = sa.create_engine(make_db(*TYPED))
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    slow = f"({many.format('3000 + 0 * o.i')} SELECT count(*) FROM n)"
    with engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE TEMP VIEW slowly AS {many.format(60_000)} "
            f"SELECT i + 0 * {slow} pid, i tid FROM n o"
        )
        timer = threading.Timer(2.0, _thread.interrupt_main)
        timer.start()
        started = time.perf_counter()
        try:
            with pytest.raises(KeyboardInterrupt):
                read_sql(connection, "slowly")
        finally:
            timer.cancel()
        assert time.perf_counter() - started < 8  # the whole takes 40
    engine.dispose()


AT_THE_END = """
import sys, threading, time
from twofold.io import read_sql
read_sql(sys.argv[1])
def late():
    threading.main_thread().join()
    report = read_sql(sys.argv[1]).report
    print(report.reader, report.n_pairs)
threading.Thread(target=late).start()
"""


def test_a_thread_that_outlives_the_main_one(make_db):
    command = [sys.executable, "-c", AT_THE_END, make_db(*TYPED)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["sqlite", "2"], run.stderr


def test_memory_does_not_grow_with_the_texts(monkeypatch):
    monkeypatch.setattr(twofold.io.sqlite_read, "_TEXT_BYTES", 1 << 10)
    monkeypatch.setattr(twofold.io.sqlite_read, "_FEW", 1 << 12)
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE pairings (pid INTEGER, tid TEXT, v REAL)")
        rows = [(i, 500 * "x" + str(i % 3), 0.5) for i in range(5000)]
        connection.exec_driver_sql("INSERT INTO pairings VALUES (?, ?, ?)", rows)
    read_sql(engine)
    tracemalloc.start()
    try:
        assert read_sql(engine, value="v").n_pairs == 5000
        assert tracemalloc.get_traced_memory()[1] < 5e6  # 80 MB, were whole arrays kept
    finally:
        tracemalloc.stop()
    engine.dispose()


def test_rows_with_null_and_a_text_that_is_not_utf8(make_db, only_sqlalchemy):
    url = make_db(
        "CREATE TABLE pairings (pid INTEGER, tid TEXT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1500) "
        "INSERT INTO pairings SELECT i, 'x' FROM n",
        "INSERT INTO pairings VALUES (NULL, CAST(X'FF' AS TEXT))",
    )
    messages = []
    for way in (nullcontext, only_sqlalchemy):
        with way(), pytest.raises(DatabaseReadError) as caught:
            read_sql(url, on_null="drop")
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "Could not decode to UTF-8 column 'tid'" in messages[0]


def test_without_the_library_sqlalchemy_reads(make_db, path_of, monkeypatch):
    url = make_db(*TYPED)
    fresh = twofold.io.sqlite_read._Library  # instead of the one that is kept
    monkeypatch.setattr(twofold.io.sqlite_read, "_found", fresh)
    assert path_of(url)[0] == "sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(_sqlite3, "__file__", ctypes.pythonapi._name or "/nowhere/at all", False)
        assert "library is not found" in path_of(url)[1]
    with monkeypatch.context() as patch:
        patch.setattr(twofold.io.sqlite_read, "_meet", ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0))
        assert "is not found in Python's" in path_of(url)[1]
    with monkeypatch.context() as patch:
        patch.setattr("numba.config.DISABLE_JIT", 1)
        assert "switched off" in path_of(url)[1]
    with monkeypatch.context() as patch:
        patch.setattr("sys.implementation.name", "pypy")
        assert "pypy" in path_of(url)[1]


def test_an_interrupt_of_the_connection_is_an_error(make_db):
    url = make_db(*TYPED)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        connection.exec_driver_sql(f"CREATE TEMP VIEW endless AS {many} SELECT i pid, i tid FROM n")
        timer = threading.Timer(0.3, driver.interrupt)
        timer.start()
        with pytest.raises(DatabaseReadError, match="interrupted"):
            read_sql(connection, "endless")
        timer.join()
    engine.dispose()


def test_an_error_of_a_function_in_the_middle(make_db):
    engine = sa.create_engine(make_db(*TYPED))

    def odd(number: int) -> int:
        return 6 // (number - 3)

    with engine.connect() as connection:
        connection.connection.dbapi_connection.create_function("odd", 1, odd)
        connection.exec_driver_sql("CREATE TEMP VIEW v AS SELECT odd(pid) pid, tid FROM pairings")
        with pytest.raises(DatabaseReadError, match="user-defined function raised exception"):
            read_sql(connection, "v")
        assert read_sql(connection, "v", where="tid = 2").row_ids.tolist() == [-3]
    engine.dispose()


def test_statements_are_closed_and_locks_released(make_db):
    url = make_db(*TYPED)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        read_sql(connection)
        with pytest.raises(InvalidInputError):
            read_sql(connection, value="name")
        connection.rollback()
        other = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0)
        other.execute("DROP TABLE pairings")  # refused while a statement reads it
        other.close()
    engine.dispose()


def test_names_and_conditions_are_data(make_db):
    url = make_db(*TYPED)
    with pytest.raises(DatabaseReadError, match="no table or view 'pairings; DROP TABLE pairings'"):
        read_sql(url, "pairings; DROP TABLE pairings")
    odd = "'; DROP TABLE pairings; --"
    with pytest.raises(DatabaseReadError, match="no pairs that `where` leaves"):
        read_sql(url, where=lambda c: c.name == odd)
    assert read_sql(url).n_pairs == 2


def test_the_report(make_db):
    url = make_db(*TYPED, "INSERT INTO pairings (pid, tid) VALUES (1, 2), (1, 2), (NULL, 2)")
    engine = sa.create_engine(url)
    for source in (url, engine):
        report = read_sql(source, on_null="drop").report
        assert (report.n_read, report.n_pairs, report.n_rows, report.n_cols) == (5, 2, 2, 2)
        assert (report.n_duplicates, report.n_null_dropped) == (2, 1)
        assert report.seconds > 0
        assert "5 pairs read" in str(report)
        assert "2 duplicates merged" in str(report)
        assert "1 with a NULL id dropped" in str(report)
    engine.dispose()
