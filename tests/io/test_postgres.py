import pytest
import sqlalchemy as sa

from twofold import Pairings
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_mpd, read_sql, write_mpd_sql, write_sql


@pytest.fixture
def engine(postgres):
    engine = sa.create_engine(postgres)
    yield engine
    engine.dispose()


def run(engine, *statements):
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_round_trip_with_extreme_ids_and_odd_texts(postgres):
    rows = [-(2**63), 2**63 - 1, 0, 0]
    cols = ["it's", 'quo"te', "", "100% 🎵"]
    pairings = Pairings.from_arrays(rows, cols, [0.1, -2.5, 1e300, 0.0])
    write_sql(pairings, postgres, value="v")
    found = read_sql(postgres, value="v", chunk_size=3)
    assert found.row_ids.tolist() == pairings.row_ids.tolist()
    assert found.col_ids.tolist() == pairings.col_ids.tolist()
    assert found.matrix.data.tolist() == pairings.matrix.data.tolist()


def test_a_failure_changes_nothing(postgres):
    write_sql(Pairings.from_arrays([1], [2]), postgres)
    with pytest.raises(DatabaseReadError, match="NUL"):
        write_sql(Pairings.from_arrays([1], ["\x00"]), postgres, if_exists="replace")
    with pytest.raises(InvalidInputError, match="cannot be encoded"):
        write_sql(Pairings.from_arrays([1], ["\udcff"]), postgres, if_exists="replace")
    assert read_sql(postgres).col_ids.tolist() == [2]


def test_numeric_ids_are_integers_if_whole(engine):
    run(
        engine,
        "CREATE TABLE pairings (pid numeric, tid double precision, flag boolean, data bytea)",
        "INSERT INTO pairings VALUES (1, 2.0, true, 'x'), (3.0, 4, false, 'y')",
    )
    pairings = read_sql(engine)
    assert pairings.row_ids.tolist() == [1, 3]
    assert pairings.col_ids.tolist() == [2, 4]
    for column in ("flag", "data"):
        with pytest.raises(InvalidInputError, match=f"column '{column}' holds"):
            read_sql(engine, col=column)
    run(engine, "INSERT INTO pairings VALUES (1.5, 1)")
    with pytest.raises(InvalidInputError, match=r"column 'pid' holds 1\.5 where tid is 1\.0"):
        read_sql(engine.execution_options(isolation_level="AUTOCOMMIT"), row="pid")


def test_nan_values_are_named(engine):
    run(
        engine,
        "CREATE TABLE pairings (pid int, tid int, v real)",
        "INSERT INTO pairings VALUES (1, 2, 'NaN')",
    )
    with pytest.raises(InvalidInputError, match="column 'v' holds nan where pid is 1 and tid is 2"):
        read_sql(engine, value="v")


def test_max_rows_and_where(postgres):
    write_sql(Pairings.from_arrays([1, 2, 2, 3], [1, 1, 2, 1]), postgres)
    assert read_sql(postgres, max_rows=2).row_ids.tolist() == [1, 2]
    assert read_sql(postgres, max_rows=1, where="pid::text > '1'").row_ids.tolist() == [2]
    assert read_sql(postgres, where=lambda c: c.tid == 2).row_ids.tolist() == [2]


def test_schemas_and_views(engine):
    run(engine, "CREATE SCHEMA other")
    write_sql(Pairings.from_arrays([1], [2]), engine, schema="other", if_exists="replace")
    run(engine, "CREATE MATERIALIZED VIEW other.seen AS SELECT * FROM other.pairings")
    with pytest.raises(DatabaseReadError, match="it has none"):
        read_sql(engine)
    with pytest.raises(DatabaseReadError, match="schema 'other': it has 'pairings'"):
        read_sql(engine, "songs", schema="other")
    assert read_sql(engine, "seen", schema="other").n_pairs == 1
    with pytest.raises(DatabaseReadError, match="nowhere"):
        write_sql(Pairings.from_arrays([1], [2]), engine, schema="nowhere")


def test_an_error_does_not_spoil_the_callers_transaction(engine):
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE own AS SELECT 1 AS pid, 2 AS tid")
        with pytest.raises(DatabaseReadError, match="nonsense"):
            read_sql(connection, "own", where="nonsense")
        with pytest.raises(DatabaseReadError, match="NUL"):
            write_sql(Pairings.from_arrays([1], ["\x00"]), connection)
        assert read_sql(connection, "own").n_pairs == 1
        assert connection.in_transaction()


def test_autocommit(engine):
    write_sql(Pairings.from_arrays([1], [2]), engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert read_sql(connection).n_pairs == 1


def test_slices(postgres, make_slice):
    mpd = read_mpd(make_slice({0: ["t:a", "t:b"], 1: []}))
    write_mpd_sql(mpd, postgres)
    write_mpd_sql(mpd, postgres, if_exists="replace")
    assert read_sql(postgres).n_pairs == 2
    assert read_sql(postgres, "tracks", "uri", "name").n_pairs == 2
    engine = sa.create_engine(postgres)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT pid, name, num_followers FROM playlists")
        assert sorted(found) == [(0, "list 0", None), (1, "list 1", None)]
    engine.dispose()


def test_several_chunks(postgres, monkeypatch):
    monkeypatch.setattr("twofold.io.sql_write._CHUNK", 2)
    pairings = Pairings.from_arrays([1, 1, 2, 3, 3], ["a", "b", "c", "a", "d"])
    write_sql(pairings, postgres)
    assert (read_sql(postgres).matrix != pairings.matrix).nnz == 0


def test_a_password_is_not_shown(postgres):
    url = sa.make_url(postgres).set(password="secret", database="nowhere")
    with pytest.raises(DatabaseReadError, match='database "nowhere" does not exist') as caught:
        read_sql(url)
    assert "secret" not in str(caught.value)
