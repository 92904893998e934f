import logging
import sqlite3
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from twofold import Pairings
from twofold.data import PairBuilder
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_sql
from twofold.io.connect import sqlite_file

THREE = (
    "CREATE TABLE pairings (pid INTEGER, tid INTEGER, score REAL)",
    "INSERT INTO pairings VALUES (3, 7, 0.5), (1, 7, 1.5), (3, 9, 2)",
)


def cells(pairings: Pairings) -> set[tuple[object, object, float]]:
    entries = pairings.matrix.tocoo()
    rows, cols = pairings.row_ids[entries.row].tolist(), pairings.col_ids[entries.col].tolist()
    return set(zip(rows, cols, entries.data.tolist(), strict=True))


def values_of(*pairs: tuple[str, str]) -> tuple[str, str]:
    listed = ", ".join(f"({row}, {col})" for row, col in pairs)
    return "CREATE TABLE pairings (pid, tid)", f"INSERT INTO pairings VALUES {listed}"


def test_ids_and_values(make_db):
    url = make_db(*THREE)
    pairings = read_sql(url)
    assert pairings.row_ids.tolist() == [1, 3]
    assert pairings.col_ids.tolist() == [7, 9]
    assert cells(pairings) == {(1, 7, 1.0), (3, 7, 1.0), (3, 9, 1.0)}
    assert cells(read_sql(url, value="score")) == {(1, 7, 1.5), (3, 7, 0.5), (3, 9, 2.0)}


def test_chunks_of_any_size_give_the_same(make_db):
    url = make_db(*THREE)
    for chunk_size in (1, 2, 3, 100):
        assert cells(read_sql(url, value="score", chunk_size=chunk_size)) == {
            (1, 7, 1.5), (3, 7, 0.5), (3, 9, 2.0)
        }  # fmt: skip


def test_max_rows_counts_playlists_by_ascending_id_after_where(make_db):
    pairs = [(str(pid), str(tid)) for pid in (30, 10, 40, 20) for tid in (1, 2)]
    url = make_db(*values_of(*pairs))
    assert read_sql(url, max_rows=2).row_ids.tolist() == [10, 20]
    assert read_sql(url, max_rows=2).n_pairs == 4
    assert read_sql(url, max_rows=2, where="pid > 10").row_ids.tolist() == [20, 30]
    assert read_sql(url, max_rows=2, where="pid = 40 OR pid = 30").row_ids.tolist() == [30, 40]
    assert read_sql(url, max_rows=2**80).row_ids.tolist() == [10, 20, 30, 40]
    assert read_sql(url, max_rows=99).row_ids.tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize("max_rows", [0, -1, 1.0, "5", True])
def test_max_rows_is_a_whole_number_from_1(make_db, max_rows):
    with pytest.raises(InvalidInputError, match="max_rows"):
        read_sql(make_db(*THREE), max_rows=max_rows)


@pytest.mark.parametrize(
    "where",
    [
        "pid = 1 -- the first",
        sa.text("pid = :p").bindparams(p=1),
        sa.column("pid") == 1,
        sa.Table("pairings", sa.MetaData(), sa.Column("pid", sa.Integer)).c.pid == 1,
        lambda c: c.pid == 1,
        lambda c: c.score == 1.5,
        lambda c: "pid = 1",
    ],
)
def test_where_in_all_its_forms(make_db, where):
    assert cells(read_sql(make_db(*THREE), where=where)) == {(1, 7, 1.0)}
    assert cells(read_sql(make_db(*THREE[1:]), where=where, max_rows=1)) == {(1, 7, 1.0)}


@pytest.mark.parametrize("where", ["", " \n"])
def test_an_empty_where_is_refused(make_db, where):
    with pytest.raises(InvalidInputError, match="where is an empty text"):
        read_sql(make_db(*THREE), where=where)


def test_colons_in_where_are_text(make_db):
    url = make_db(*values_of(("'a'", "':x'"), ("'a'", "'spotify:track'")))
    assert read_sql(url, where="tid = ':x'").col_ids.tolist() == [":x"]
    assert read_sql(url, where="tid = 'spotify:track'").col_ids.tolist() == ["spotify:track"]


def test_where_of_another_kind_is_refused(make_db):
    url = make_db(*THREE)
    with pytest.raises(InvalidInputError, match="where is a int"):
        read_sql(url, where=5)
    with pytest.raises(InvalidInputError, match="where returns a NoneType"):
        read_sql(url, where=lambda c: None)


def test_where_with_an_unknown_column_lists_the_columns(make_db):
    url = make_db(*THREE)
    for where in (lambda c: c.user == 1, lambda c: c["user"] == 1):
        with pytest.raises(DatabaseReadError, match=r"no column 'user'.*'pid', 'score', 'tid'"):
            read_sql(url, where=where)
    with pytest.raises(AttributeError, match="'int' object"):  # not about columns
        read_sql(url, where=lambda c: (5).user)


def test_max_rows_of_text_ids(make_db):
    url = make_db(*values_of(("'b'", "1"), ("'a'", "1"), ("'c'", "1"), ("'a'", "2")))
    assert cells(read_sql(url, max_rows=2)) == {("a", 1, 1.0), ("a", 2, 1.0), ("b", 1, 1.0)}


def test_where_with_an_error_is_the_databases_to_explain(make_db):
    with pytest.raises(DatabaseReadError, match="nonsense") as caught:
        read_sql(make_db(*THREE), where="nonsense > 1")
    assert isinstance(caught.value.__cause__, sa.exc.SQLAlchemyError)


def test_nothing_to_read(make_db):
    url = make_db(THREE[0])
    with pytest.raises(DatabaseReadError, match="'pairings' has no pairs: there is nothing"):
        read_sql(url)
    with pytest.raises(DatabaseReadError, match="has no pairs that `where` leaves"):
        read_sql(url, where="pid > 100")


def test_null_ids(make_db, caplog):
    url = make_db(*values_of(("1", "5"), ("2", "NULL"), ("NULL", "6"), ("NULL", "NULL")))
    with pytest.raises(InvalidInputError, match=r"column 'tid' holds NULL where pid is 2: .*drop"):
        read_sql(url)
    with pytest.raises(InvalidInputError, match=r"column 'pid' holds NULL where tid is 6"):
        read_sql(url, where="tid = 6")
    with pytest.raises(InvalidInputError, match="NULL"):
        read_sql(url, max_rows=1)
    with caplog.at_level(logging.WARNING):
        pairings = read_sql(url, on_null="drop")
    assert cells(pairings) == {(1, 5, 1.0)}
    assert pairings.n_null_dropped == 3
    assert read_sql(url, on_null="drop", where="pid = 1").n_null_dropped == 0
    assert "3 pairs" in caplog.text
    with pytest.raises(DatabaseReadError, match="apart from 3 with a NULL id"):
        read_sql(url, on_null="drop", where="tid IS NULL OR pid IS NULL")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("1.5", r"column 'tid' holds 1.5 where pid is 2"),
        ("'x'", r"column 'tid' holds 'x' where pid is 2: another id is 5"),
        ("x'00ff'", r"column 'tid' holds b'\\x00\\xff' where pid is 2"),
        ("1e300", r"column 'tid' holds 1e\+300 where pid is 2"),
    ],
)
@pytest.mark.parametrize("chunk_size", [1, 10])
def test_ids_that_are_no_ids(make_db, bad, message, chunk_size):
    url = make_db(*values_of(("1", "5"), ("2", bad)))
    with pytest.raises(InvalidInputError, match=message):
        read_sql(url, chunk_size=chunk_size)


def test_an_integer_among_texts(make_db):
    with pytest.raises(InvalidInputError, match=r"'pid' holds 3 where tid is 1: another id is 'a'"):
        read_sql(make_db(*values_of(("'a'", "1"), ("3", "1"))))


@pytest.mark.parametrize(
    ("item", "whole"),
    [
        (3.0, 3), (Decimal("3.00"), 3), (Decimal(2**63 - 1), 2**63 - 1), (True, None),
        (Decimal("3.5"), None), (Decimal("NaN"), None), (Decimal(2**63), None), (2**63, None),
        (2.0**60, None), (float("nan"), None), (float("inf"), None), (object(), None),
    ],
)  # fmt: skip
def test_what_counts_as_a_whole_number(item, whole):
    builder = PairBuilder("pid", "tid")
    if whole is None:
        with pytest.raises(InvalidInputError, match="column 'pid' holds"):
            builder.add([[item], [1]])
    else:
        builder.add([[item], [1]])
        assert builder.build("arrays")["row_ids"].tolist() == [whole]


@pytest.mark.parametrize("bad", ["NULL", "'high'", "1e999"])
def test_values_are_finite_numbers(make_db, bad):
    url = make_db(
        "CREATE TABLE pairings (pid, tid, v)", f"INSERT INTO pairings VALUES (1, 2, {bad})"
    )
    for on_null in ("error", "drop"):
        with pytest.raises(InvalidInputError, match=r"column 'v' holds .* pid is 1 and tid is 2"):
            read_sql(url, value="v", on_null=on_null)


def test_a_signalling_nan_is_no_value():
    builder = PairBuilder("pid", "tid", "v")
    with pytest.raises(InvalidInputError, match="values must be finite numbers"):
        builder.add([[1], [2], [Decimal("sNaN")]])


def test_duplicates(make_db):
    url = make_db(*values_of(("1", "2"), ("1", "2"), ("1", "3")))
    assert cells(read_sql(url)) == {(1, 2, 1.0), (1, 3, 1.0)}
    assert cells(read_sql(url, duplicates="count")) == {(1, 2, 2.0), (1, 3, 1.0)}
    with pytest.raises(InvalidInputError, match="row 1 and column 2 occurs more than once"):
        read_sql(url, duplicates="error")


@pytest.mark.parametrize("name", ["duplicates", "on_null"])
def test_choices_are_checked_before_reading(name):
    with pytest.raises(InvalidInputError, match=name):
        read_sql("sqlite:///nowhere.db", **{name: "maybe"})


def test_missing_names_list_those_that_exist(make_db):
    url = make_db(*THREE, "CREATE VIEW recent AS SELECT pid, tid FROM pairings WHERE pid > 1")
    with pytest.raises(DatabaseReadError, match=r"no table or view 'songs'.*'pairings', 'recent'"):
        read_sql(url, "songs")
    with pytest.raises(DatabaseReadError, match=r"no column 'user'.*'pid', 'score', 'tid'"):
        read_sql(url, row="user")
    assert read_sql(url, "recent").row_ids.tolist() == [3]
    assert read_sql(url, row="PID").row_ids.tolist() == [1, 3]


def test_an_sqlite_file_that_does_not_exist_is_not_made(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in (
        "sqlite:///missing.db",
        f"sqlite:///{tmp_path}/missing.db",
        "sqlite:///file:missing.db?uri=true",
    ):
        with pytest.raises(DatabaseReadError, match=r"no SQLite file .*missing.db"):
            read_sql(url)
        engine = sa.create_engine(url)
        with pytest.raises(DatabaseReadError, match="no SQLite file"):
            read_sql(engine)
        engine.dispose()
    assert list(tmp_path.iterdir()) == []


def test_paths_in_the_url(make_db, tmp_path: Path, monkeypatch):
    make_db(*THREE, name="a file.db")
    monkeypatch.chdir(tmp_path)
    for url in (
        "sqlite:///a file.db",
        "sqlite:///file:a file.db?mode=ro&uri=true",
        f"sqlite:///file://{tmp_path}/a%20file.db?uri=true",
        f"sqlite:///file://localhost{tmp_path}/a%20file.db?uri=true",
    ):
        assert read_sql(url).n_pairs == 3
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(DatabaseReadError, match="it has none"):
            read_sql(url)


def test_databases_in_memory_have_no_file():
    for url in ("sqlite:///file:x?mode=memory&uri=true", "sqlite:///file::memory:?uri=true"):
        assert sqlite_file(sa.make_url(url)) is None
    url = sa.URL.create("sqlite", database="file:///a%20b", query={"uri": "true"})
    assert sqlite_file(url) == Path("/a b")
    assert sqlite_file(sa.make_url("postgresql://host/name")) is None


def test_text_that_is_not_utf8(make_db):
    with pytest.raises(DatabaseReadError, match="Could not decode to UTF-8 column 'tid'"):
        read_sql(make_db(*values_of(("1", "CAST(x'ff' AS TEXT)"))))


def test_a_file_that_is_no_database(tmp_path: Path):
    path = tmp_path / "notes.db"
    path.write_text("no database at all, but long enough to have a header of a hundred bytes" * 9)
    with pytest.raises(DatabaseReadError, match="is a text file, not an SQLite database"):
        read_sql(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("spotify.db", "URL is not of the form"),
        ("postgresql://me:secret@host:port/x", "URL is not of the form"),
        ("nosuchsql://me:secret@host/x", r"no database 'nosuchsql' \(nosuchsql://me:\*\*\*@host/x"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x?connect_timeout=3", "cannot connect"),
        ("postgresql+psycopg://me:secret@nowhere.invalid/x", "cannot connect .*me:\\*\\*\\*@"),
        ("sqlite+aiosqlite:////nowhere/secret", "aiosqlite|no SQLite file"),
        ("sqlite://me:secret@host/x", r"cannot use the database URL .*: Invalid SQLite URL: \S+$"),
        ("sqlite:///nowhere/secret?timeout=soon", "cannot use the database URL .*'soon'$"),
        ("mysql+pymysql://me:secret@127.0.0.1:1/x?ssl=1", "cannot connect to the database"),
    ],
)
def test_urls_that_lead_nowhere_show_no_password(url, message):
    with pytest.raises(DatabaseReadError, match=message) as caught:
        read_sql(url)
    assert "me:secret" not in str(caught.value)
    assert caught.value.__cause__ is not None or "nowhere" in url


def test_passwords_in_the_query_are_hidden_too():
    url = "postgresql+psycopg://127.0.0.1:1/x?user=me&password=secret&connect_timeout=3"
    with pytest.raises(DatabaseReadError, match=r"127.0.0.1:1/x") as caught:
        read_sql(url)
    assert "secret" not in str(caught.value)


def test_a_missing_driver_names_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(DatabaseReadError, match="'MySQLdb': pip install mysqlclient") as caught:
        read_sql("mysql://me:secret@host/music")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("source", [None, 5, Path("x.db")])
def test_sources_of_another_kind_are_refused(source):
    with pytest.raises(InvalidInputError, match="give a URL"):
        read_sql(source)


def test_engines_and_connections_stay_usable():
    engine = sa.create_engine("sqlite://")  # in memory: gone as soon as it is disposed of
    with engine.begin() as connection:
        for statement in THREE:
            connection.exec_driver_sql(statement)
    assert read_sql(engine).n_pairs == 3
    assert read_sql(engine).n_pairs == 3
    with engine.connect() as connection:
        assert read_sql(connection).n_pairs == 3
        assert not connection.in_transaction()
        connection.exec_driver_sql("CREATE TEMP TABLE own (pid, tid)")
        connection.exec_driver_sql("INSERT INTO own VALUES (1, 2)")
        assert read_sql(connection, "own").n_pairs == 1
        assert connection.in_transaction()
        connection.rollback()
        with pytest.raises(DatabaseReadError, match="has no pairs"):
            read_sql(connection, "own")
    engine.dispose()


def test_progress_goes_to_standard_error(make_db, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    read_sql(make_db(*THREE), progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3.00" in captured.err


def test_a_view_of_64_bit_extremes(make_db):
    low, high = -(2**63), 2**63 - 1
    pairings = read_sql(make_db(*values_of((str(low), str(high)), (str(high), str(low)))))
    assert pairings.row_ids.tolist() == [low, high]
    np.testing.assert_array_equal(pairings.matrix.toarray(), [[0, 1], [1, 0]])


def test_what_is_no_schema_or_no_database_of_sqlalchemy(make_db):
    with pytest.raises(InvalidInputError, match="schema is 3"):
        read_sql(make_db(*THREE), schema=3)
    connection = sqlite3.connect(":memory:")
    with pytest.raises(InvalidInputError, match=r"given as a sqlite3\.Connection: .*SQLAlchemy"):
        read_sql(connection)
    connection.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"table": "others"}, "table is for a table, not for a query"),
        ({"schema": "main"}, "schema is for a table, not for a query"),
        ({"where": sa.column("pid") < 3}, "where is for a table, not for a query"),
        ({"max_rows": 3}, "max_rows is for a table, not for a query"),
        ({"engine": "connectorx"}, "engine is for a table, not for a query"),
        ({"query": " "}, "query is an empty text: give a SELECT"),
        ({"query": "DELETE FROM pairings"}, "the query returns no rows: give a SELECT"),
        ({"query": None, "progress": "yes"}, "progress is a str: it must be True or False"),
    ],
)
def test_options_without_a_use_are_refused(make_db, options, message):
    url = make_db(*THREE)
    with pytest.raises(InvalidInputError, match=message):
        read_sql(url, **{"query": "SELECT pid, tid FROM pairings"} | options)
    assert read_sql(url).n_pairs == 3


def test_the_schema_of_rows_beside_a_query(make_db):
    url = make_db(
        *THREE, "CREATE TABLE playlists (pid INTEGER)", "INSERT INTO playlists VALUES (9)"
    )
    query = "SELECT pid, tid FROM pairings"
    assert read_sql(url, query=query, rows="playlists", schema="main").row_ids.tolist() == [1, 3, 9]
