"""Names of tracks in databases."""

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import TrackName, import_mpd, read_names, write_names
from twofold.io.names import has_names


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}"
    return str(request.getfixturevalue(request.param))


def test_names_come_back_by_id(url):
    names = {7: TrackName("Yesterday", "The Beatles"), -2: TrackName("Höme"), 2**40: TrackName("x")}
    write_names(names, url)
    assert read_names(url, [[7, 2**40], [-2, 5]]) == names
    assert [*read_names(url, np.array([7]))] == [7]
    assert read_names(url, []) == {}


@given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.text(st.characters(codec="utf-8")))
    | st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
)
def test_any_ids_and_names(names):
    engine = sa.create_engine("sqlite://")
    write_names(names, engine)
    assert read_names(engine, list(names)) == {one: TrackName(name) for one, name in names.items()}
    engine.dispose()


def test_names_of_tables_and_columns_are_data(make_db):
    url = make_db(
        'CREATE TABLE "the ""tracks"" ; --" ("select" TEXT, "na me" TEXT, "by%s:x" TEXT)',
        """INSERT INTO "the ""tracks"" ; --" VALUES ('a''b', 'One', 'Two')""",
    )
    found = read_names(url, ["a'b"], 'the "tracks" ; --', "select", "na me", "by%s:x")
    assert found == {"a'b": TrackName("One", "Two")}


def test_each_id_is_read_once_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("twofold.io.names._CHUNK", 3)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    write_names({number: str(number) for number in range(100)}, engine)
    rows = []

    def count(connection, cursor, statement, parameters, *_):
        if "IN" in statement:
            rows.append(parameters)

    sa.event.listen(engine, "before_cursor_execute", count)
    assert len(read_names(engine, [*range(10, 17), 10, 11])) == 7
    assert rows == [(10, 11, 12), (13, 14, 15), (16,)]
    engine.dispose()


def test_integers_and_their_text_are_equal(url):
    write_names({7: "seven", 8: "eight"}, url)
    assert read_names(url, ["7", "x", "08", "-8", "²"]) == {"7": TrackName("seven")}
    write_names({"7": "seven", "x": "other"}, url, "texts")
    assert read_names(url, [7, 8], "texts") == {7: TrackName("seven")}


@pytest.mark.parametrize("kind", ["integer", "numeric(30)", "double precision"])
def test_every_kind_of_number_is_an_id(url, kind):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE tracks (tid {kind}, name text)")
        connection.exec_driver_sql("INSERT INTO tracks VALUES (7, 'seven'), (8, 'eight')")
    engine.dispose()
    assert read_names(url, [7, 9]) == {7: TrackName("seven")}
    assert read_names(url, ["8", "1" * 25, "x"]) == {"8": TrackName("eight")}


def test_numbers_of_more_than_64_bits(postgres):
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tracks (tid numeric(30), name text)")
        connection.exec_driver_sql(f"INSERT INTO tracks VALUES ({'1' * 25}, 'many')")
    engine.dispose()
    assert read_names(postgres, ["1" * 25]) == {"1" * 25: TrackName("many")}


def test_unsigned_numbers(mariadb):
    engine = sa.create_engine(mariadb)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE tracks (tid bigint unsigned, name text)")
        connection.exec_driver_sql(f"INSERT INTO tracks VALUES ({2**63}, 'half')")
    engine.dispose()
    assert read_names(mariadb, [str(2**63), "-1"]) == {str(2**63): TrackName("half")}


def test_padding_and_null_names_are_left_out(make_db):
    url = make_db(
        "CREATE TABLE tracks (tid TEXT, name TEXT, artist_name TEXT)",
        "INSERT INTO tracks VALUES ('a', NULL, 'A'), ('b', 'B', NULL), ('c', 'C', 'D')",
    )
    padded = np.array([["a", "b"], ["c", None]], dtype=object)
    found = read_names(url, padded)
    assert found == {"b": TrackName("B"), "c": TrackName("C", "D")}
    assert [str(found[one]) for one in "bc"] == ["B", "C (D)"]


def test_the_tables_of_import_mpd_have_names_and_artists(tmp_path, make_slice):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    import_mpd(make_slice({1: ["u", "v"]}), url)
    assert has_names(url)
    assert read_names(url, [1]) == {1: TrackName("name of v", "Käptn Peng")}
    assert read_names(url, ["v"], id_column="uri") == {"v": TrackName("name of v", "Käptn Peng")}


def test_a_connection_stays_outside_of_a_transaction(url):
    write_names({7: "seven"}, url)
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert read_names(connection, [7]) == {7: TrackName("seven")}
        assert not connection.in_transaction()
        with connection.begin():
            assert read_names(connection, [7])
            assert connection.in_transaction()
    engine.dispose()


def test_whether_there_are_names(make_db):
    url = make_db("CREATE TABLE tracks (tid INTEGER, title TEXT)")
    assert not has_names(url)
    assert has_names(url, name="title")
    assert not has_names(url, "others")


def test_errors(make_db):
    url = make_db("CREATE TABLE tracks (tid INTEGER, name TEXT)")
    with pytest.raises(DatabaseReadError, match=r"no table or view 'songs' .* 'tracks'"):
        read_names(url, [1], "songs")
    with pytest.raises(DatabaseReadError, match="table 'tracks' has no column 'title'"):
        read_names(url, [1], name="title")
    with pytest.raises(DatabaseReadError, match="table 'tracks' has no column 'by'"):
        read_names(url, [1], artist="by")
    with pytest.raises(InvalidInputError, match="table is ''"):
        read_names(url, [1], "")
    with pytest.raises(InvalidInputError, match="names is a list: give a dict of names by id"):
        write_names(["a"], url)
    with pytest.raises(InvalidInputError, match="'tracks' exists"):
        write_names({1: "a"}, url)
    with pytest.raises(InvalidInputError, match="columns are named"):
        write_names({1: "a"}, url, "other", id_column="Name")
    write_names({1: "a"}, url, if_exists="replace")
    with pytest.raises(DatabaseReadError, match=r"(?i)unique"):
        write_names({1: "b"}, url, if_exists="append")
    assert read_names(url, [1]) == {1: TrackName("a")}
