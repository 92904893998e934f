"""SQLite: what its drivers and connections may do, which the rows that are read show."""

import sqlite3
import threading

import pytest
import sqlalchemy as sa
from subprocesses import run_python

from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_sql

TYPED = (
    "CREATE TABLE pairings (pid INTEGER, tid BIGINT, name TEXT, v DOUBLE, w REAL, x, b BOOLEAN)",
    "INSERT INTO pairings VALUES (1, 2, 'a', 1.5, 0.1, 5, 1), (3, 4, 'b', 2.5, 0.2, 6, 0)",
)


def latin(text: bytes) -> str:
    return text.decode("latin-1").upper()


def test_a_connection_is_read_with_its_transaction_and_temporary_tables(make_db):
    engine = sa.create_engine(make_db(*TYPED))
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO pairings (pid, tid) VALUES (5, 6)")
        assert read_sql(connection).n_pairs == 3
        connection.rollback()
        connection.exec_driver_sql("CREATE TEMPORARY TABLE mine AS SELECT 7 AS pid, 8 AS tid")
        assert read_sql(connection, "mine").row_ids.tolist() == [7]
    engine.dispose()


@pytest.mark.parametrize(
    ("options", "text_factory", "ids"),
    [
        ({}, latin, ["A", "B"]),
        ({"detect_types": sqlite3.PARSE_DECLTYPES}, str, ["a", "b"]),
    ],
)
def test_factories_and_converters_are_heard(make_db, monkeypatch, options, text_factory, ids):
    monkeypatch.setitem(sqlite3.converters, "BIGINT", lambda text: int(text) % 3)
    engine = sa.create_engine(make_db(*TYPED), connect_args=options)

    @sa.event.listens_for(engine, "connect")
    def changed(driver: sqlite3.Connection, record: object) -> None:
        driver.text_factory = text_factory

    pairings = read_sql(engine, row="name")
    assert pairings.row_ids.tolist() == ids
    assert pairings.col_ids.tolist() == ([1, 2] if options else [2, 4])
    engine.dispose()


def test_events_of_sqlalchemy_are_heard(make_db):
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
        assert read_sql(engine, where=where).row_ids.tolist() == [3]
        engine.dispose()


def test_adapters_of_parameters_are_heard(make_db):
    url = make_db(*TYPED)
    assert read_sql(url, where=lambda c: c.pid == 1).row_ids.tolist() == [1]
    key = (int, sqlite3.PrepareProtocol)
    sqlite3.register_adapter(int, lambda number: number + 2)
    try:
        assert read_sql(url, where=lambda c: c.pid == 1).row_ids.tolist() == [3]
    finally:
        del sqlite3.adapters[key]


@pytest.mark.parametrize("option", [{"stream_results": True}, {"yield_per": 2}])
def test_options_of_the_engine_take_no_rows_away(make_db, option):
    engine = sa.create_engine(make_db(*TYPED)).execution_options(**option)
    assert read_sql(engine).n_pairs == 2
    engine.dispose()


SLOWLY = """
    import _thread, threading, time
    import sqlalchemy as sa
    from twofold.io import read_sql
    many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    slow = f"({many.format('3000 + 0 * o.i')} SELECT count(*) FROM n)"
    with sa.create_engine("sqlite://").connect() as connection:
        connection.exec_driver_sql(
            f"CREATE TEMP VIEW slowly AS {many.format(60_000)} "
            f"SELECT i + 0 * {slow} pid, i tid FROM n o"
        )
        threading.Timer(2.0, _thread.interrupt_main).start()
        started = time.perf_counter()
        try:
            read_sql(connection, "slowly")  # which takes 40 seconds
        except KeyboardInterrupt:
            print(time.perf_counter() - started)
"""


def test_ctrl_c_in_a_slow_view_is_heard_soon():
    assert float(run_python(SLOWLY)) < 15


def test_rows_with_null_and_a_text_that_is_not_utf8(make_db):
    url = make_db(
        "CREATE TABLE pairings (pid INTEGER, tid TEXT)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1500) "
        "INSERT INTO pairings SELECT i, 'x' FROM n",
        "INSERT INTO pairings VALUES (NULL, CAST(X'FF' AS TEXT))",
    )
    with pytest.raises(DatabaseReadError, match="Could not decode to UTF-8 column 'tid'"):
        read_sql(url, on_null="drop")


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
