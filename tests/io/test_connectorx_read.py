"""`read_sql(engine="connectorx")`: what it refuses, and what it says."""

import sys

import pytest
import sqlalchemy as sa

from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_sql
from twofold.io.connectorx_read import _url

pytest.importorskip("connectorx")
pytest.importorskip("pyarrow")

TABLE = (
    "CREATE TABLE pairings (pid integer, tid bigint, name varchar(9), v double precision, w real, "
    "x char(2))",
    "INSERT INTO pairings VALUES (1, 2, 'a', 1.5, 0.1, 'x'), (3, 4, 'b', 2.5, 0.2, 'y'), "
    "(3, 5, 'a', 2.5, 0.2, 'y')",
)


def quickly(source, *args, **options):
    return read_sql(source, *args, **options, engine="connectorx")


def check(url):
    found = quickly(url)
    assert found.report.reader == "connectorx"
    assert found.row_ids.tolist() == [1, 3]
    named = quickly(sa.make_url(url), col="name", value="v", weight="tid", max_rows=1)
    assert named.col_ids.tolist() == ["a"]
    assert (named.matrix.data.tolist(), named.weights.tolist()) == ([1.5], [2.0])
    assert quickly(url, where="name = 'a' AND tid > 3 -- all").row_ids.tolist() == [3]
    with pytest.raises(InvalidInputError, match="give the condition `where` as SQL text"):
        quickly(url, where=lambda c: c.pid > 1)
    with pytest.raises(DatabaseReadError, match="no pairs that `where` leaves"):
        quickly(url, where="pid > 9")
    with pytest.raises(DatabaseReadError):
        quickly(url, where="no_such_column = 1")
    engine = sa.create_engine(url)
    with pytest.raises(InvalidInputError, match="what this Engine sees; give a URL"):
        quickly(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO pairings (pid, tid) VALUES (NULL, 7)")
    with pytest.raises(InvalidInputError, match="'pid' holds NULL where tid is 7"):
        quickly(url)
    assert quickly(url, on_null="drop").report.n_null_dropped == 1
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO pairings (pid, tid) VALUES (5, 8)")
    with pytest.raises(InvalidInputError, match="'v' holds NULL where pid is 5 and tid is 8"):
        quickly(url, value="v", on_null="drop")
    engine.dispose()


def test_sqlite(make_db, tmp_path, monkeypatch):
    url = make_db(*TABLE, name="a file.db")
    assert quickly(url, col="x", value="w").matrix.toarray().tolist() == [[0.1, 0.0], [0.0, 0.2]]
    check(url)
    monkeypatch.chdir(tmp_path)
    assert quickly("sqlite:///a file.db", on_null="drop").n_pairs == 4
    with pytest.raises(InvalidInputError, match="the URL has options"):
        quickly(f"sqlite:///file:{tmp_path}/a%20file.db?uri=true")
    with pytest.raises(DatabaseReadError, match="no table or view 'pairings'"):
        quickly("sqlite://")


def test_postgresql(postgres, monkeypatch):
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        for statement in TABLE:
            connection.exec_driver_sql(statement)
    engine.dispose()
    # 0.1 in four bytes is not 0.1, and char(2) is filled up with blanks.
    for name, options in (("w", {"value": "w"}), ("x", {"col": "x"})):
        with pytest.raises(InvalidInputError, match=f"column '{name}' is declared as"):
            quickly(postgres, **options)
    check(postgres)
    monkeypatch.setenv("PGOPTIONS", "-c search_path=public")
    with pytest.raises(InvalidInputError, match="the environment has PGOPTIONS"):
        quickly(postgres)
    monkeypatch.delenv("PGOPTIONS")
    monkeypatch.setenv("PGDATABASE", "postgres")
    port = sa.make_url(postgres).port
    with pytest.raises(InvalidInputError, match="the environment has PGDATABASE"):
        quickly(sa.URL.create("postgresql+psycopg", "music", host="127.0.0.1", port=port))


@pytest.mark.parametrize("url", ["me@host", "host/music", "me@/music"])
def test_urls_of_postgresql_are_complete(url, monkeypatch):
    monkeypatch.setattr("os.environ", {})
    with pytest.raises(InvalidInputError, match="leaves out the user, the host or the database"):
        _url(sa.make_url(f"postgresql+psycopg://{url}"))


@pytest.mark.parametrize("name", ["connectorx", "pyarrow"])
def test_a_missing_package_is_named(make_db, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf'needs {name}: pip install "twofold\[sql-fast\]"'
    with pytest.raises(InvalidInputError, match=message):
        quickly(make_db(*TABLE))


def test_other_values_are_refused(make_db):
    with pytest.raises(InvalidInputError, match="engine is 'odd': it must be one of"):
        read_sql(make_db(*TABLE), engine="odd")
