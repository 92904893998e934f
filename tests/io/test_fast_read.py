import logging

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twofold import Pairings
from twofold.exceptions import DatabaseReadError, InvalidInputError, TwofoldError
from twofold.io import read_sql

pytest.importorskip("connectorx")
pytest.importorskip("pyarrow")

NAMES = ("select", 'the "Order\'s" id', "100% :x {y}")
INTEGERS = st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
IDS = st.sampled_from([(sa.Integer, st.integers(-9, 9)), (sa.BigInteger, INTEGERS),
                       (sa.Text, TEXTS), (sa.String(9), TEXTS)])  # fmt: skip
VALUES = st.sampled_from(
    [(sa.Double, st.floats(-1e9, 1e9)), (sa.Integer, st.integers(-99, 99)), None]
)


def outcome(source, *names, **options):
    """What reading gives, in a form that can be compared."""
    try:
        found = read_sql(source, "pairs of", *names, **options)
    except TwofoldError as error:
        return str(error)
    return (
        found.row_ids.tolist(), found.col_ids.tolist(), found.matrix.indptr.tolist(),
        found.matrix.indices.tolist(), found.matrix.data.tobytes(), found.matrix.data.dtype,
        found.n_null_dropped, found.report.n_read, found.report.n_duplicates,
    )  # fmt: skip


def compare(url, ids, value, data):
    """Make a table of drawn pairs, and read it both ways."""
    (row_type, rows), (col_type, cols) = ids
    kinds = [row_type, col_type, *([value[0]] if value else [])]
    names = NAMES[: len(kinds)]
    items = [st.none() | rows, st.none() | cols, *([value[1]] if value else [])]
    listed = data.draw(st.lists(st.tuples(*items), max_size=12))
    listed += data.draw(st.lists(st.sampled_from(listed), max_size=4)) if listed else []
    engine = sa.create_engine(url)
    columns = [sa.Column(name, kind) for name, kind in zip(names, kinds, strict=True)]
    table = sa.Table("pairs of", sa.MetaData(), *columns)
    options = {
        "duplicates": data.draw(st.sampled_from(["keep-one", "count", "error"])),
        "on_null": data.draw(st.sampled_from(["error", "drop"])),
        "max_rows": data.draw(st.none() | st.integers(1, 3)),
    }
    with engine.begin() as connection:
        table.drop(connection, checkfirst=True)
        table.create(connection)
        if listed:
            keyed = [dict(zip(names, pair, strict=True)) for pair in listed]
            connection.execute(sa.insert(table), keyed)
    assert outcome(url, *names, **options) == outcome(engine, *names, **options)
    engine.dispose()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(ids=st.tuples(IDS, IDS), value=VALUES, data=st.data())
def test_both_paths_are_the_same_for_sqlite(tmp_path, ids, value, data):
    compare(f"sqlite:///{tmp_path / 'any one?.db'}", ids, value, data)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(ids=st.tuples(IDS, IDS), value=VALUES, data=st.data())
def test_both_paths_are_the_same_for_postgresql(postgres, ids, value, data):
    compare(postgres, ids, value, data)


def path_of(source, caplog, *args, **options):
    """Which path is taken, and what the log says about it."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="twofold.io.sql_read"):
        report = read_sql(source, *args, **options).report
    (line,) = (record.message for record in caplog.records if record.levelname == "DEBUG")
    assert ("ConnectorX" in line) == (report.path == "fast") or report.path == "plain"
    return report.path, line


TYPED = (
    "CREATE TABLE pairings (pid INTEGER, tid BIGINT, name TEXT, v DOUBLE, w REAL, x, b BOOLEAN)",
    "INSERT INTO pairings VALUES (1, 2, 'a', 1.5, 0.1, 5, 1), (3, 4, 'b', 2.5, 0.2, 6, 0)",
)


def test_postgresql_takes_the_fast_path(postgres, caplog, monkeypatch):
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE pairings (pid integer, tid bigint, name varchar(9), v double precision, "
            "w real, x uuid)",
            "INSERT INTO pairings VALUES (1, 2, 'a', 1.5, 0.1), (3, 4, 'b', 2.5, 0.2)",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()
    assert path_of(postgres, caplog)[0] == "fast"
    assert path_of(postgres, caplog, col="name", value="v", max_rows=1)[0] == "fast"
    monkeypatch.setenv("PGOPTIONS", "-c search_path=public")
    assert "PGOPTIONS" in path_of(postgres, caplog)[1]
    monkeypatch.delenv("PGOPTIONS")
    short = sa.URL.create("postgresql+psycopg", "music", host="127.0.0.1",
                          port=sa.make_url(postgres).port)  # fmt: skip
    with pytest.raises(DatabaseReadError, match='database "music" does not exist'):
        read_sql(short)
    monkeypatch.setenv("PGDATABASE", "postgres")
    assert path_of(short, caplog)[0] == "plain"
    monkeypatch.delenv("PGDATABASE")
    assert path_of(postgres, caplog, value="w")[0] == "plain"  # 0.1 in four bytes is not 0.1
    with pytest.raises(InvalidInputError, match="column 'x' holds NULL"):
        read_sql(postgres, col="x")
    with pytest.raises(DatabaseReadError):
        read_sql(postgres, where="true); DROP TABLE pairings; --")
    assert read_sql(postgres).n_pairs == 2


def test_what_takes_which_path(make_db, caplog):
    url = make_db(*TYPED, "CREATE VIEW seen AS SELECT * FROM pairings")
    assert path_of(url, caplog)[0] == "fast"
    assert path_of(url, caplog, col="name", value="v")[0] == "fast"
    assert path_of(sa.make_url(url), caplog, max_rows=5)[0] == "fast"
    for options, reason in (
        ({"where": "pid < 2"}, "`where` is given"),
        ({"table": "seen"}, "it is a view"),
        ({"col": "x"}, "column 'x' is NullType"),
        ({"value": "b"}, "column 'b' is BOOLEAN"),
        ({"value": "w"}, "column 'w' is REAL"),
    ):
        path, line = path_of(url, caplog, **options)
        assert path == "plain"
        assert reason in line
    engine = sa.create_engine(url)
    assert "this Engine sees" in path_of(engine, caplog)[1]
    with engine.connect() as connection:
        assert "this Connection sees" in path_of(connection, caplog)[1]
    engine.dispose()
    file = url.removeprefix("sqlite:///")
    assert "has options" in path_of(f"sqlite:///file:{file}?mode=ro&uri=true", caplog)[1]


def test_a_column_that_does_not_keep_its_promise(make_db, caplog):
    url = make_db(*TYPED, "INSERT INTO pairings (pid, tid) VALUES (1, 'x')")
    with (
        caplog.at_level(logging.DEBUG, logger="twofold.io.sql_read"),
        pytest.raises(InvalidInputError, match="column 'tid' holds 'x' where pid is 1"),
    ):
        read_sql(url)
    assert "ConnectorX: Invalid column type Text" in caplog.text


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


def test_many_ids_far_apart_are_sorted_and_near_ones_looked_up(make_db):
    rng = np.random.default_rng(0)
    near = rng.integers(10**15, 10**15 + 1000, 5000)
    far = rng.integers(-(2**62), 2**62, 5000)
    pairings = Pairings.from_arrays(near, far)
    entries = pairings.matrix.tocoo()
    found = set(zip(pairings.row_ids[entries.row], pairings.col_ids[entries.col], strict=True))
    assert found == set(zip(near, far, strict=True))
    assert (np.diff(pairings.row_ids) > 0).all()
    assert (np.diff(pairings.col_ids) > 0).all()


def test_sums_do_not_depend_on_the_order():
    values = np.array([0.1, 0.2, 0.3, 1e9, -1e9, 0.7])
    one, other = (
        Pairings.from_arrays([1] * 6, [2] * 6, values[order], duplicates="count")
        for order in ([0, 1, 2, 3, 4, 5], [3, 0, 5, 2, 1, 4])
    )
    assert one.matrix.data.tobytes() == other.matrix.data.tobytes()
