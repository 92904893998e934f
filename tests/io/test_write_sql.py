import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import read_sql, write_sql

integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
ODD_NAMES = ["select", "order by", 'quo"te', "it's", "100%", ":pid", "a.b", "tête 🎵", "?"]


@st.composite
def some_pairings(draw) -> Pairings:
    rows = draw(st.sampled_from([integers, texts]))
    cols = draw(st.sampled_from([integers, texts]))
    pairs = draw(
        st.lists(st.tuples(rows, cols, numbers), min_size=1, unique_by=lambda pair: pair[:2])
    )
    return Pairings.from_arrays(*(list(column) for column in zip(*pairs, strict=True)))


def assert_same(left: Pairings, right: Pairings) -> None:
    assert left.row_ids.tolist() == right.row_ids.tolist()
    assert left.col_ids.tolist() == right.col_ids.tolist()
    np.testing.assert_array_equal(left.matrix.indptr, right.matrix.indptr)
    np.testing.assert_array_equal(left.matrix.indices, right.matrix.indices)
    np.testing.assert_array_equal(left.matrix.data, right.matrix.data)


def rows_of(url: str, query: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return rows


def tables_of(url: str) -> list[str]:
    return [str(row[0]) for row in rows_of(url, "SELECT name FROM sqlite_master ORDER BY name")]


@settings(max_examples=60, deadline=None)
@given(some_pairings(), st.integers(1, 4))
def test_round_trip(pairings, chunk_size):
    engine = sa.create_engine("sqlite://")
    write_sql(pairings, engine, value="v")
    assert_same(read_sql(engine, value="v", chunk_size=chunk_size), pairings)
    engine.dispose()


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_any_name_will_do(name, database, tmp_path, request):
    url = f"sqlite:///{tmp_path / 'a.db'}" if database == "sqlite" else None
    url = url or request.getfixturevalue("postgres")
    pairings = Pairings.from_arrays([1, 2], ["a", "b"], [0.5, 2])
    write_sql(pairings, url, name, name, f"{name} 2", f"{name} 3")
    found = read_sql(url, name, name, f"{name} 2", f"{name} 3", where=lambda c: c[name] < 9)
    assert_same(found, pairings)


def test_several_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("twofold.io.sql_write._CHUNK", 700)
    rng = np.random.default_rng(0)
    pairings = Pairings.from_arrays(rng.integers(0, 99, 3000), rng.integers(0, 99, 3000))
    url = f"sqlite:///{tmp_path / 'a.db'}"
    write_sql(pairings, url)
    assert_same(read_sql(url), pairings)


def test_one_sql_row_for_each_stored_pair_and_an_index_on_the_rows(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    repeated = sparse.coo_array((np.ones(3), ([0, 0, 2], [1, 1, 0])), shape=(3, 2))
    write_sql(Pairings(repeated, [5, 6, 7], [1, 2]), url)
    assert rows_of(url, "SELECT * FROM pairings") == [(5, 2), (5, 2), (7, 1)]
    assert tables_of(url) == ["ix_pairings_pid", "pairings"]


def test_if_exists(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    write_sql(Pairings.from_arrays([1], [2]), url)
    more = Pairings.from_arrays([3], [4])
    with pytest.raises(InvalidInputError, match="'pairings' exists"):
        write_sql(more, url)
    assert rows_of(url, "SELECT * FROM pairings") == [(1, 2)]
    write_sql(more, url, if_exists="append")
    assert rows_of(url, "SELECT * FROM pairings") == [(1, 2), (3, 4)]
    with pytest.raises(DatabaseReadError, match="no column 'user'"):
        write_sql(more, url, row="user", if_exists="append")
    write_sql(more, url, if_exists="replace")
    assert rows_of(url, "SELECT * FROM pairings") == [(3, 4)]
    with pytest.raises(InvalidInputError, match="if_exists"):
        write_sql(more, url, if_exists="fail")


@pytest.mark.parametrize("names", [("a", "a", None), ("a", "b", "A")])
def test_columns_have_different_names(names):
    with pytest.raises(InvalidInputError, match="give each another name"):
        write_sql(Pairings.from_arrays([1], [2]), "sqlite://", "pairings", *names)


def test_values_are_finite():
    bad = Pairings(sparse.csr_array([[1.0, np.nan]]), ["mon"], [7, 9])
    with pytest.raises(InvalidInputError, match="row 'mon', column 9 is nan"):
        write_sql(bad, "sqlite://", value="v")


def test_a_failed_write_through_an_engine_leaves_no_file(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(InvalidInputError, match="cannot be encoded"):
        write_sql(Pairings.from_arrays([1], ["\udcff"]), engine)
    assert list(tmp_path.iterdir()) == []
    write_sql(Pairings.from_arrays([1], [2]), engine)
    assert read_sql(engine).n_pairs == 1
    engine.dispose()


@pytest.mark.parametrize(
    ("target", "message"),
    [("a.db", "URL is not of the form"), ("nosuchsql://h/x", "no database 'nosuchsql'")],
)
def test_targets_that_lead_nowhere(target, message):
    with pytest.raises(DatabaseReadError, match=message):
        write_sql(Pairings.from_arrays([1], [2]), target)


@pytest.mark.parametrize("if_exists", ["replace", "append"])
def test_a_failure_changes_nothing(tmp_path, monkeypatch, if_exists):
    monkeypatch.setattr("twofold.io.sql_write._CHUNK", 1)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    write_sql(Pairings.from_arrays([1], ["b"]), url)
    bad = Pairings.from_arrays([1, 2], ["a", "\udcff"])
    with pytest.raises(InvalidInputError, match=r"'\\udcff' cannot be encoded"):
        write_sql(bad, url, if_exists=if_exists)
    assert rows_of(url, "SELECT * FROM pairings") == [(1, "b")]
    new = tmp_path / "new.db"
    with pytest.raises(InvalidInputError, match="cannot be encoded"):
        write_sql(bad, f"sqlite:///{new}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


def test_a_schema_is_a_name():
    with pytest.raises(InvalidInputError, match="schema is 3"):
        write_sql(Pairings.from_arrays([1], [2]), "sqlite://", schema=3)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(DatabaseReadError, match=r"no folder '.*nowhere': make it first"):
        write_sql(Pairings.from_arrays([1], [2]), f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}")


def test_the_callers_transaction_is_the_callers(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")  # the caller's transaction begins
        write_sql(Pairings.from_arrays([1], [2]), connection)
        with pytest.raises(InvalidInputError, match="exists"):
            write_sql(Pairings.from_arrays([1], [2]), connection)
        assert read_sql(connection).n_pairs == 1
        connection.rollback()
        with pytest.raises(DatabaseReadError, match="no table"):
            read_sql(connection)
    with engine.connect() as connection:
        connection.rollback()
        write_sql(Pairings.from_arrays([1], [2]), connection)
        assert not connection.in_transaction()
    assert read_sql(engine).n_pairs == 1
    engine.dispose()


def test_what_is_no_pairings_or_no_name_is_refused(tmp_path):
    pairings = Pairings.from_arrays([1], [2])
    with pytest.raises(InvalidInputError, match="from_arrays"):
        write_sql(pairings.matrix, f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(InvalidInputError, match="table is 5"):
        write_sql(pairings, f"sqlite:///{tmp_path / 'a.db'}", 5)
    with pytest.raises(InvalidInputError, match="row is ''"):
        read_sql(f"sqlite:///{tmp_path / 'a.db'}", row="")
    assert not list(tmp_path.iterdir())


def test_the_writer_does_not_depend_on_a_dataset():
    code = "import sys, twofold.io.sql_write; print([m for m in sys.modules if '.mpd' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
