"""By ConnectorX and through SQLAlchemy: the same matrix, or the same error."""

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twofold.exceptions import TwofoldError
from twofold.io import read_sql

pytest.importorskip("connectorx")
pytest.importorskip("pyarrow")

NAMES = ("select", 'the "Order\'s" id', "100% :x {y}", "weight")
INTEGERS = st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
IDS = st.sampled_from([(sa.Integer, st.integers(-9, 9)), (sa.BigInteger, INTEGERS),
                       (sa.Text, TEXTS), (sa.String(9), TEXTS)])  # fmt: skip
VALUES = st.sampled_from(
    [(sa.Double, st.floats(-1e9, 1e9)), (sa.Integer, st.integers(-99, 99)), None]
)
WEIGHTS = st.sampled_from(
    [(sa.Double, st.floats(0, 1e9) | st.just(-1.0)), (sa.Integer, st.integers(-1, 99)), None, None]
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
        None if found.weights is None else found.weights.tobytes(),
        found.n_null_dropped, found.report.n_read, found.report.n_duplicates,
    )  # fmt: skip


def compare(engine, ids, value, weight, data):
    """Make a table of drawn pairs, and read it both ways."""
    url = engine.url.render_as_string(hide_password=False)
    (row_type, rows), (col_type, cols) = ids
    numbers = [number for number in (value, weight) if number]
    kinds = [row_type, col_type, *(number[0] for number in numbers)]
    names = [*NAMES[:2], *NAMES[2:3] * bool(value), *NAMES[3:] * bool(weight)]
    items = [st.none() | rows, st.none() | cols, *(number[1] for number in numbers)]
    listed = data.draw(st.lists(st.tuples(*items), max_size=12))
    listed += data.draw(st.lists(st.sampled_from(listed), max_size=4)) if listed else []
    columns = [sa.Column(name, kind) for name, kind in zip(names, kinds, strict=True)]
    table = sa.Table("pairs of", sa.MetaData(), *columns)
    options = {
        "duplicates": data.draw(st.sampled_from(["keep-one", "count", "error"])),
        "on_null": data.draw(st.sampled_from(["error", "drop"])),
        "max_rows": data.draw(st.none() | st.integers(1, 3)),
        "value": NAMES[2] if value else None,
        "weight": NAMES[3] if weight else None,
    }
    with engine.begin() as connection:
        connection.exec_driver_sql('DROP TABLE IF EXISTS "pairs of"')
        table.create(connection, checkfirst=False)
        if listed:
            keyed = [dict(zip(names, pair, strict=True)) for pair in listed]
            connection.execute(sa.insert(table), keyed)
    assert outcome(url, *names[:2], **options, engine="connectorx") == outcome(
        engine, *names[:2], **options
    )


@pytest.fixture
def sqlite_engine(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'any one?.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine(postgres):
    engine = sa.create_engine(postgres)
    yield engine
    engine.dispose()


FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(ids=st.tuples(IDS, IDS), value=VALUES, weight=WEIGHTS, data=st.data())
def test_sqlite(sqlite_engine, ids, value, weight, data):
    compare(sqlite_engine, ids, value, weight, data)


ANYTHING = st.one_of(INTEGERS, TEXTS, st.floats(), st.binary(max_size=3), st.none())


@FEW
@given(pairs=st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING), max_size=6), data=st.data())
def test_anything_in_sqlite_is_the_same_or_refused(tmp_path, pairs, data):
    """SQLite's columns may hold what they are not declared for."""
    url = f"sqlite:///{tmp_path / 'any.db'}"
    kinds = data.draw(st.tuples(*[st.sampled_from(["INTEGER", "BIGINT", "TEXT"])] * 2))
    names = ("a", "b", "c")[: data.draw(st.sampled_from([2, 3]))]
    options = {"on_null": data.draw(st.sampled_from(["error", "drop"]))}
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql('DROP TABLE IF EXISTS "pairs of"')
        connection.exec_driver_sql(
            f'CREATE TABLE "pairs of" (a {kinds[0]}, b {kinds[1]}, c DOUBLE)'
        )
        for pair in pairs:
            connection.exec_driver_sql('INSERT INTO "pairs of" VALUES (?, ?, ?)', pair)
    engine.dispose()
    quick = outcome(url, *names, **options, engine="connectorx")
    assert isinstance(quick, str) or quick == outcome(url, *names, **options)


@FEW
@given(ids=st.tuples(IDS, IDS), value=VALUES, weight=WEIGHTS, data=st.data())
def test_postgresql(postgres_engine, ids, value, weight, data):
    compare(postgres_engine, ids, value, weight, data)
