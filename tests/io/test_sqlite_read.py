"""The quick way out of SQLite."""

import _sqlite3
import ctypes
import sqlite3
import threading

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
    n = 3 * twofold.io.sqlite_read._ROWS + 5
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


def test_connections_that_return_something_else(make_db, path_of):
    def latin(text: bytes) -> str:
        return text.decode("latin-1")

    url = make_db(*TYPED)
    for options, change, reason in (
        ({}, lambda driver: setattr(driver, "text_factory", latin), "text_factory"),
        ({"detect_types": sqlite3.PARSE_DECLTYPES}, lambda driver: None, "converts"),
    ):
        sqlite3.register_converter("BIGINT", lambda text: int(text) + 1)
        engine = sa.create_engine(url, connect_args=options)
        sa.event.listen(engine, "connect", lambda driver, _, change=change: change(driver))
        path, line = path_of(engine)
        assert path == "sqlalchemy"
        assert reason in line
        engine.dispose()
    sqlite3.converters.pop("BIGINT")


def test_without_the_library_sqlalchemy_reads(make_db, path_of, monkeypatch):
    url = make_db(*TYPED)
    fresh = twofold.io.sqlite_read._Library  # instead of the one that is kept
    monkeypatch.setattr(twofold.io.sqlite_read, "_library", fresh)
    assert path_of(url)[0] == "sqlite"
    with monkeypatch.context() as patch:
        patch.setattr(_sqlite3, "__file__", ctypes.pythonapi._name or "/nowhere/at all", False)
        assert "library is not found" in path_of(url)[1]
    with monkeypatch.context() as patch:
        patch.setattr(twofold.io.sqlite_read, "_meet", ctypes.CFUNCTYPE(None)(lambda: None))
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
    for source in (url, sa.create_engine(url)):
        report = read_sql(source, on_null="drop").report
        assert (report.n_read, report.n_pairs, report.n_rows, report.n_cols) == (5, 2, 2, 2)
        assert (report.n_duplicates, report.n_null_dropped) == (2, 1)
        assert report.seconds > 0
        assert "5 pairs read" in str(report)
        assert "2 duplicates merged" in str(report)
        assert "1 with a NULL id dropped" in str(report)
