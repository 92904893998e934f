import pytest
import sqlalchemy as sa

from twofold import Pairings
from twofold.exceptions import InvalidInputError
from twofold.io import import_mpd, read_mpd, read_sql, write_mpd_sql, write_sql


@pytest.fixture
def engine(mariadb):
    engine = sa.create_engine(mariadb)
    yield engine
    engine.dispose()


def test_round_trip_with_extreme_ids_and_odd_texts(mariadb):
    rows = [-(2**63), 2**63 - 1, 0, 0, 0, 0]
    cols = ["it's", 'quo"te', "", "100% 🎵", "a", "A"]
    pairings = Pairings.from_arrays(rows, cols, [0.1, -2.5, 1e300, 0.0, 1, 2])
    write_sql(pairings, mariadb, value="v")
    found = read_sql(mariadb, value="v", chunk_size=3)
    assert found.row_ids.tolist() == pairings.row_ids.tolist()
    assert found.col_ids.tolist() == pairings.col_ids.tolist()
    assert found.matrix.data.tolist() == pairings.matrix.data.tolist()


def test_odd_names_and_types(engine):
    with engine.begin() as connection:
        for statement in (
            "CREATE TABLE `pairs of` (`select` BIGINT UNSIGNED, `100%% :x` VARCHAR(20), "
            "d DECIMAL(10, 2))",
            "INSERT INTO `pairs of` VALUES (7, 'a', 1.0), (8, 'b', 2), (NULL, 'c', 3)",
        ):
            connection.execute(sa.text(statement.replace(":", r"\:")))
    names = [column["name"] for column in sa.inspect(engine).get_columns("pairs of")]
    found = read_sql(engine, "pairs of", *names[:2], on_null="drop")
    assert found.row_ids.tolist() == [7, 8]
    assert found.n_null_dropped == 1
    assert read_sql(engine, "pairs of", "d", names[1]).row_ids.tolist() == [1, 2, 3]
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO `pairs of` VALUES (18446744073709551615, 'a', 1)")
    with pytest.raises(InvalidInputError, match="'select' holds 18446744073709551615"):
        read_sql(engine, "pairs of", *names[:2], on_null="drop")


def test_max_rows_and_where(mariadb):
    write_sql(Pairings.from_arrays([1, 2, 2, 3], [1, 1, 2, 1]), mariadb)
    assert read_sql(mariadb, max_rows=2).row_ids.tolist() == [1, 2]
    assert read_sql(mariadb, where="pid LIKE '2%'").row_ids.tolist() == [2]
    assert read_sql(mariadb, where=lambda c: c.tid == 2).row_ids.tolist() == [2]
    with pytest.raises(InvalidInputError, match="it is for SQLite and PostgreSQL, not for mysql"):
        read_sql(mariadb, engine="connectorx")


def test_slices(mariadb, make_slice):
    first = make_slice({0: ["t:a", "t:A", "t:b"], 1: []})
    second = make_slice({2: ["t:b", "t:c"]}, "mpd.slice.10-19.json")
    import_mpd(first, mariadb)
    assert import_mpd([first, second], mariadb).n_new_slices == 1
    found = read_sql(mariadb)
    assert found.n_pairs == read_mpd([first, second]).n_pairs == 5
    write_mpd_sql(read_mpd(first), mariadb, if_exists="replace")
    assert read_sql(mariadb).n_pairs == 3
