import json

import numpy as np
import pytest
import sqlalchemy as sa
from scipy import sparse

from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.io import MpdPairings, read_mpd, read_sql, write_mpd_sql, write_sql


def rows_of(url: str, query: str) -> list[tuple[object, ...]]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return rows


def tables_of(url: str) -> list[str]:
    return [str(row[0]) for row in rows_of(url, "SELECT name FROM sqlite_master ORDER BY name")]


def test_the_notebooks_tables_from_a_slice(make_slice, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    mpd = read_mpd(make_slice({4: ["t:b", "t:a"], 3: ["t:a"], 9: []}))
    write_mpd_sql(mpd, url)
    assert rows_of(url, "SELECT tid, uri, name FROM tracks") == [
        (0, "t:b", "name of t:b"),
        (1, "t:a", "name of t:a"),
    ]
    assert rows_of(url, "SELECT pid, name, num_followers FROM playlists") == [
        (3, "list 3", None),
        (4, "list 4", None),
        (9, "list 9", None),
    ]
    joined = "SELECT pid, uri FROM pairings JOIN tracks USING (tid) ORDER BY pid, tid"
    assert rows_of(url, joined) == [(3, "t:a"), (4, "t:b"), (4, "t:a")]
    assert read_sql(url).col_ids.tolist() == [0, 1]
    plain = f"sqlite:///{tmp_path / 'plain.db'}"
    write_sql(mpd, plain)
    assert tables_of(plain) == ["ix_pairings_pid", "pairings"]
    read = read_sql(plain).align(mpd.col_ids)
    assert (read.row_ids.tolist(), read.col_ids.tolist()) == ([3, 4], ["t:b", "t:a"])
    np.testing.assert_array_equal(read.matrix.toarray(), mpd.take_rows([1, 0]).matrix.toarray())


@pytest.mark.parametrize("table", ["tracks", "Playlists"])
def test_the_three_tables_have_different_names(make_slice, table):
    with pytest.raises(InvalidInputError, match="the tables are named"):
        write_mpd_sql(read_mpd(make_slice({0: ["t:a"]})), "sqlite://", table, if_exists="replace")


def test_slices_without_names(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    write_mpd_sql(MpdPairings(sparse.csr_array([[0, 1]]), [5], ["t:a", "t:b"]), url)
    assert rows_of(url, "SELECT tid, uri, name FROM tracks") == [(0, "t:a", None), (1, "t:b", None)]
    assert rows_of(url, "SELECT pid, name FROM playlists") == [(5, None)]
    assert rows_of(url, "SELECT * FROM pairings") == [(5, 1)]


def test_appended_slices_share_their_tracks(make_slice, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    write_mpd_sql(read_mpd(make_slice({0: ["t:a", "t:b"]})), url)
    more = read_mpd(make_slice({1: ["t:c", "t:b"]}))
    write_mpd_sql(more, url, if_exists="append")
    assert rows_of(url, "SELECT tid, uri FROM tracks") == [(0, "t:a"), (1, "t:b"), (2, "t:c")]
    assert rows_of(url, "SELECT * FROM pairings ORDER BY 1, 2") == [(0, 0), (0, 1), (1, 1), (1, 2)]
    with pytest.raises(DatabaseReadError, match=r"UNIQUE constraint failed: playlists\.pid"):
        write_mpd_sql(more, url, if_exists="append")
    assert len(rows_of(url, "SELECT * FROM pairings")) == 4


def test_lone_surrogates_of_a_slice_are_explained(make_slice, tmp_path):
    path = make_slice({0: ["t:a"]})
    content = json.loads(path.read_text())
    content["playlists"][0]["name"] = "\ud83d"
    path.write_text(json.dumps(content))
    with pytest.raises(InvalidInputError, match="cannot be encoded"):
        write_mpd_sql(read_mpd(path), f"sqlite:///{tmp_path / 'a.db'}")


def test_counts_are_the_values(make_slice, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    mpd = read_mpd(make_slice({0: ["t:a", "t:b", "t:a"]}), duplicates="count")
    write_mpd_sql(mpd, url, "pairs", "n", tracks="songs", playlists="lists")
    assert rows_of(url, "SELECT pid, uri, n FROM pairs JOIN songs USING (tid) ORDER BY tid") == [
        (0, "t:a", 2.0), (0, "t:b", 1.0)
    ]  # fmt: skip
    assert rows_of(url, "SELECT pid FROM lists") == [(0,)]


def test_a_failure_changes_nothing(make_slice, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    mpd = read_mpd(make_slice({0: ["t:a"]}))
    mpd.matrix.data[:] = np.nan
    with pytest.raises(InvalidInputError, match="row 0, column 0 is nan"):
        write_mpd_sql(mpd, url, value="n")
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
    write_sql(mpd, url)
    with pytest.raises(InvalidInputError, match="'pairings' exists"):
        write_mpd_sql(mpd, url)
    assert tables_of(url) == ["ix_pairings_pid", "pairings"]


def test_a_gap_in_the_tids_is_kept(make_slice, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    write_mpd_sql(read_mpd(make_slice({0: ["t:a", "t:b", "t:c"]})), url)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM tracks WHERE tid = 1")
    engine.dispose()
    write_mpd_sql(read_mpd(make_slice({1: ["t:b", "t:c"]})), url, if_exists="append")
    assert rows_of(url, "SELECT tid, uri FROM tracks ORDER BY tid") == [
        (0, "t:a"), (2, "t:c"), (3, "t:b")
    ]  # fmt: skip


def test_what_is_refused(make_slice, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    mpd = read_mpd(make_slice({0: ["t:a"]}))
    with pytest.raises(InvalidInputError, match=r"mpd is a Pairings: give the result of read_mpd"):
        write_mpd_sql(mpd.take_rows([0]), url)
    with pytest.raises(InvalidInputError, match="columns are named"):
        write_mpd_sql(mpd, url, value="TID")
    with pytest.raises(InvalidInputError, match="tracks is ''"):
        write_mpd_sql(mpd, url, tracks="")
    with pytest.raises(InvalidInputError, match="if_exists"):
        write_mpd_sql(mpd, url, if_exists="resume")
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]
