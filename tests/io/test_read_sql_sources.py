"""Sources of `read_sql` beside a table: queries, sessions, lists of rows, times, parameters."""

import datetime

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

from twofold import L2, FactorModel, Objective, Pairings
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_sql, write_sql
from twofold.model import write_factors
from twofold.solvers import ALS

TABLES = (
    "CREATE TABLE pairings (pid BIGINT, tid BIGINT, added VARCHAR(30), kind VARCHAR(5))",
    "INSERT INTO pairings VALUES (1, 10, '2024-01-02 03:04:05', 'a'), (2, 10, '2024-01-01', 'A'),"
    " (2, 11, '2023-01-01T00:00:00+02:00', 'b'), (4, 12, '2022-01-01', 'B')",
    "CREATE TABLE playlists (pid BIGINT, name VARCHAR(5))",
    "INSERT INTO playlists VALUES (1, 'x'), (2, 'y'), (3, 'z'), (NULL, 'n'), (4, 'w')",
)
BACKENDS = ["sqlite", "postgres", "mariadb"]


@pytest.fixture(params=BACKENDS)
def engine(request, tmp_path):
    is_file = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'a.db'}" if is_file else request.getfixturevalue(request.param)
    made = sa.create_engine(url)
    with made.begin() as connection:
        for text in TABLES:
            connection.execute(sa.text(text.replace(":", r"\:")))
    yield made
    with made.begin() as connection:
        for table in ("pairings", "playlists"):
            connection.execute(sa.text(f"DROP TABLE {table}"))
    made.dispose()


def pairs(pairings: Pairings) -> list[tuple[object, object]]:
    entries = pairings.matrix.tocoo()
    rows, cols = pairings.row_ids[entries.row], pairings.col_ids[entries.col]
    return list(zip(rows.tolist(), cols.tolist(), strict=True))


ALL = [(1, 10), (2, 10), (2, 11), (4, 12)]


@pytest.mark.parametrize(
    "where",
    [
        lambda c: c.pid.not_in(np.array([1, 4])),
        lambda c: c.pid.not_in(list(np.array([1, 4]))),
        lambda c: c.pid == np.int64(2),
        lambda c: c.pid == np.uint8(2),
        lambda c: (c.pid > np.float32(1.5)) & (c.pid < np.float64(3)),
        lambda c: sa.cast(c.pid, sa.Integer) == np.int32(2),
        lambda c: sa.column("pid", sa.BigInteger).between(np.int64(2), np.int16(3)),
        sa.text("pid = :x").bindparams(x=np.int64(2)),
        lambda c: c.pid.in_(sa.bindparam("x", [np.int64(2)], expanding=True)),
    ],
)
def test_parameters_of_numpy_are_numbers(engine, where):
    assert pairs(read_sql(engine, where=where)) == [(2, 10), (2, 11)]


def test_queries(engine):
    joined = "SELECT p.name AS pid, kind, tid FROM pairings JOIN playlists p USING (pid)"
    found = read_sql(engine, query=joined)
    assert pairs(found) == [("w", 12), ("x", 10), ("y", 10), ("y", 11)]
    table = sa.table("pairings", sa.column("pid"), sa.column("tid"))
    selected = sa.select(table.c.tid, table.c.pid.label("who")).where(table.c.pid < np.int64(3))
    assert pairs(read_sql(engine, query=selected, row="who")) == ALL[:3]
    text = sa.text("SELECT pid, tid FROM pairings WHERE pid = :x").bindparams(x=np.int64(4))
    assert pairs(read_sql(engine, query=text)) == ALL[3:]
    assert pairs(read_sql(engine, query="SELECT pid, tid FROM pairings WHERE kind <> ':x'")) == ALL
    with pytest.raises(DatabaseReadError, match=r"query has no column 'song': .*'pid', 'tid'"):
        read_sql(engine, query="SELECT pid, tid FROM pairings", col="song")
    with pytest.raises(DatabaseReadError, match="the query has no pairs"):
        read_sql(engine, query="SELECT pid, tid FROM pairings WHERE pid > 9")
    with pytest.raises(InvalidInputError, match="query is a int: give a text or a select"):
        read_sql(engine, query=5)
    for options in ({"where": "pid = 1"}, {"max_rows": 1}, {"engine": "connectorx"}):
        with pytest.raises(InvalidInputError, match=f"{next(iter(options))} is for a table"):
            read_sql(engine, query="SELECT pid, tid FROM pairings", **options)


def test_a_session_keeps_its_transaction(engine):
    with orm.Session(engine) as session:
        session.execute(sa.text("INSERT INTO pairings VALUES (9, 9, '2020-01-01', 'c')"))
        assert read_sql(session).n_pairs == 5
        session.rollback()
        assert read_sql(session).n_pairs == 4
    scoped = orm.scoped_session(orm.sessionmaker(engine))
    assert pairs(read_sql(scoped)) == ALL
    scoped.remove()


def test_rows_without_pairs(engine):
    found = read_sql(engine, rows="playlists")
    assert found.row_ids.tolist() == [1, 2, 3, 4]
    assert pairs(found) == ALL
    assert found.report.n_read == 4
    with pytest.raises(DatabaseReadError, match="no table or view 'lists'"):
        read_sql(engine, rows="lists")
    with pytest.raises(DatabaseReadError, match="table 'playlists' has no column 'tid'"):
        read_sql(engine, row="tid", col="pid", rows="playlists")


def test_times(engine):
    found = read_sql(engine, time="added")
    assert found.times.dtype == "datetime64[us]"
    assert found.times[0] == np.datetime64("2024-01-02T03:04:05")
    assert found.times[2] == np.datetime64("2022-12-31T22:00:00")  # in UTC
    assert read_sql(engine, time="tid").times.tolist() == [10, 10, 11, 12]
    with pytest.raises(InvalidInputError, match=r"'kind' holds 'a' where .* times must be"):
        read_sql(engine, time="kind")
    stamps = sa.select(
        sa.literal_column("pid"), sa.literal_column("tid"),
        sa.literal(datetime.datetime(2024, 5, 1), sa.DateTime).label("at"),
    ).select_from(sa.table("pairings"))  # fmt: skip
    assert set(read_sql(engine, query=stamps, time="at").times.tolist()) == {
        datetime.datetime(2024, 5, 1)
    }


def test_max_rows_counts_ids_that_differ_in_case_only(engine):
    """Also where the database compares without case."""
    collation = {"sqlite": "COLLATE NOCASE", "postgresql": "", "mysql": ""}[engine.dialect.name]
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE playlists"))
        connection.execute(
            sa.text(f"CREATE TABLE playlists (pid VARCHAR(5) {collation}, tid BIGINT)")
        )
        connection.execute(
            sa.text("INSERT INTO playlists VALUES ('a', 1), ('A', 2), ('b', 3), ('B', 4), ('A', 5)")
        )
    assert pairs(read_sql(engine, "playlists", max_rows=1)) == [("A", 2), ("A", 5)]
    assert read_sql(engine, "playlists", max_rows=3).row_ids.tolist() == ["A", "B", "a"]
    assert read_sql(engine, max_rows=2).row_ids.tolist() == [1, 2]


def test_ids_in_floats_of_four_bytes(engine):
    kind = {"sqlite": "DOUBLE", "postgresql": "REAL", "mysql": "FLOAT"}[engine.dialect.name]
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE playlists"))
        connection.execute(sa.text(f"CREATE TABLE playlists (pid {kind}, tid {kind})"))
        connection.execute(sa.text("INSERT INTO playlists VALUES (1234567, 16777215)"))
    assert pairs(read_sql(engine, "playlists")) == [(1234567, 16777215)]
    values = read_sql(engine, "playlists", value="tid")
    assert values.matrix.data.tolist() == [16777215]
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO playlists VALUES (1, 16777217)"))
    if engine.dialect.name == "sqlite":
        assert read_sql(engine, "playlists").n_pairs == 2
    else:
        with pytest.raises(InvalidInputError, match="4 bytes hold integers exactly below 16777216"):
            read_sql(engine, "playlists")


def test_a_dialect_that_cannot_describe_tables(engine, monkeypatch):
    def refuse(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr(type(engine.dialect), "get_columns", refuse)
    monkeypatch.setattr(type(engine.dialect), "get_multi_columns", refuse, raising=False)
    assert pairs(read_sql(engine)) == ALL
    with pytest.raises(DatabaseReadError, match="no column 'song'"):
        read_sql(engine, col="song")


TEXTS = ["Beyonce", "Beyoncé", "aB", "Ab", "a", "a ", "ß", "ss", "🎵", "🎶"]


def test_ids_that_a_database_may_take_for_the_same(engine):
    pairings = Pairings.from_arrays(TEXTS, TEXTS[::-1])
    model = FactorModel(Objective(regularizer=L2(1.0)), ALS(n_factors=2, max_epochs=1, rng=0))
    model.fit(pairings)
    with engine.begin() as connection:
        for table in ("col_factors", "exact"):
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {table}"))
    write_factors(model, engine, "col")
    write_sql(pairings, engine, "exact")
    assert pairs(read_sql(engine, "exact")) == pairs(pairings)
    for limit in range(1, len(TEXTS)):
        found = read_sql(engine, "exact", max_rows=limit)
        assert found.row_ids.tolist() == sorted(TEXTS)[:limit]
    found = read_sql(engine, "col_factors", row="tid", col="tid")
    assert found.row_ids.tolist() == sorted(TEXTS)


@pytest.mark.parametrize(
    "name", ['a"b', "a%b", "a:b", "a`b", "a b", "größe", "select", "%(x)s", "a.b"]
)
def test_names_are_data(engine, name):
    if "%(" in name and sa.__version__ < "2.1":
        pytest.skip("SQLAlchemy 2.0 does not escape it")
    pairings = Pairings.from_arrays([1, 2], ["x", "y"], [0.5, 2.0])
    other = f"{name}2"
    write_sql(pairings, engine, name, name, other, value=f"{name}3", if_exists="replace")
    found = read_sql(engine, name, name, other, f"{name}3", rows=name, max_rows=5)
    assert pairs(found) == [(1, "x"), (2, "y")]
    assert found.matrix.data.tolist() == [0.5, 2.0]
    found = read_sql(engine, name, name, other, where=lambda c: c[name] > 1)
    assert pairs(found) == [(2, "y")]
    with engine.begin() as connection:
        sa.Table(name, sa.MetaData()).drop(connection)
