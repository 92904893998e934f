"""`import_mpd`: tables, going on after any end, and what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa

from twofold import Pairings
from twofold.exceptions import DatabaseReadError, FileFormatError, InvalidInputError
from twofold.io import ImportedMpd, import_mpd, read_mpd, read_sql, write_sql
from twofold.io.sql_write import transaction

TABLES = ("playlists", "tracks", "pairings", "imported_slices")


def content(url):
    """Return all rows of all tables, and the indexes."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        found = {}
        for table in inspector.get_table_names():
            rows = connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1, 2")
            names = sorted(str(index["name"]) for index in inspector.get_indexes(table))
            found[table] = (names, [tuple(row) for row in rows])
    engine.dispose()
    return found


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'mpd.db'}"


@pytest.fixture
def folder(make_slice, tmp_path):
    """Twelve slices of 20 playlists over 300 tracks."""
    rng = np.random.default_rng(1)
    for number in range(12):
        lists = {
            20 * number + i: [f"t:{track}" for track in rng.integers(0, 300, rng.integers(0, 40))]
            for i in range(20)
        }
        make_slice(lists, f"mpd.slice.{20 * number}-{20 * number + 19}.json")
    return tmp_path


def test_the_tables(make_slice, url, tmp_path):
    first = make_slice({4: ["t:b", "t:a", "t:b"], 3: [], 9: ["t:a"]}, "a.json")
    second = make_slice({1: ["t:c", "t:b"]}, "b.json")
    assert import_mpd([first, second], url) == ImportedMpd(4, 3, 5, 2, 2)
    found = content(url)
    assert found["pairings"] == (
        ["ix_pairings_tid"],
        [(1, 0, 1), (1, 2, 0), (4, 0, 0), (4, 1, 1), (9, 1, 0)],
    )
    names, tracks = found["tracks"]
    assert names == ["ix_tracks_uri"]
    assert tracks[0] == (0, "t:b", "name of t:b", "Käptn Peng", 'an "album"', 1000)
    assert [row[1] for row in tracks] == ["t:b", "t:a", "t:c"]
    assert [(row[0], row[1], row[5]) for row in found["playlists"][1]] == [
        (1, "list 1", 1), (3, "list 3", 0), (4, "list 4", 0), (9, "list 9", 0)
    ]  # fmt: skip
    size = first.stat().st_size
    assert found["imported_slices"][1][0][:3] == (0, "a.json", size)
    assert found["imported_slices"][1][0][4:] == (3, 3)
    assert set(found) == set(TABLES)
    read = read_sql(url)
    assert read.row_ids.tolist() == [1, 4, 9]
    np.testing.assert_array_equal(read.matrix.toarray(), [[1, 0, 1], [1, 1, 0], [0, 1, 0]])
    with pytest.raises(DatabaseReadError, match=r"UNIQUE constraint failed: tracks\.uri"):
        run(url, "INSERT INTO tracks (tid, uri) VALUES (7, 't:a')")


def run(url, statement):
    with transaction(url) as connection:
        connection.exec_driver_sql(statement)


def test_the_pairs_are_those_of_read_mpd(folder, url):
    done = import_mpd(folder, url)
    mpd = read_mpd(folder)
    assert (done.n_playlists, done.n_tracks, done.n_pairs) == (*mpd.shape, mpd.n_pairs)
    uris = [row[1] for row in content(url)["tracks"][1]]
    assert uris == mpd.col_ids.tolist()
    read = read_sql(url).align(np.arange(len(uris)))
    np.testing.assert_array_equal(read.row_ids, mpd.row_ids[np.diff(mpd.matrix.indptr) > 0])
    np.testing.assert_array_equal(read.matrix.indices, mpd.matrix.indices)


def test_slices_are_added_and_none_is_imported_twice(folder, url, tmp_path):
    files = sorted(folder.glob("*.json"))
    whole = f"sqlite:///{tmp_path / 'whole.db'}"
    import_mpd(files, whole)
    assert import_mpd(files[:5], url).n_new_slices == 5
    done = import_mpd(files, url)
    assert (done.n_slices, done.n_new_slices) == (12, 7)
    assert content(url) == content(whole)
    assert import_mpd(folder, url).n_new_slices == 0
    moved = folder / "moved"
    moved.mkdir()
    for file in files:
        file.rename(moved / file.name)
    assert import_mpd(moved, url).n_new_slices == 0
    assert content(url) == content(whole)


KILLED = """
import os, random, signal, sys, warnings
from sqlalchemy import event
from sqlalchemy.engine import Engine
warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which sleep here
from twofold.io import import_mpd

def attempt(url, moment):
    "Import in a process of its own, which SIGKILL ends after `moment` x 20 steps of SQLite."
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        steps = 0

        def step():
            nonlocal steps
            steps += 1
            if steps == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        @event.listens_for(Engine, "connect")
        def watch(connection, record):
            connection.set_progress_handler(step, 20)

        try:
            import_mpd(".", url)
            os.write(writes, str(steps).encode())
        finally:
            os._exit(0)
    os.close(writes)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(reads) as pipe:
        return code, int(pipe.read() or 0)

code, whole = attempt("sqlite:///whole.db", -1)
print(code, whole)
moments = random.Random(0)
for trial in range(10):
    url = f"sqlite:///{trial}.db"
    codes = [attempt(url, moments.randrange(whole // 10, whole // 2))[0] for _ in range(2)]
    print(*codes, import_mpd(".", url).n_new_slices)
"""


def test_a_killed_import_goes_on(folder):
    ran = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=folder, capture_output=True, text=True, timeout=150
    )
    assert ran.stderr == ""
    (code, steps), *lines = [list(map(int, line.split())) for line in ran.stdout.splitlines()]
    assert code == 0
    assert steps > 100
    assert [first for first, *_ in lines] == [-9] * 10
    assert any(0 < n_new < 12 for *_, n_new in lines)  # killed between the first and the last
    whole = content(f"sqlite:///{folder / 'whole.db'}")
    assert len(whole["imported_slices"][1]) == 12
    for trial in range(len(lines)):
        assert content(f"sqlite:///{folder / f'{trial}.db'}") == whole


@pytest.mark.parametrize("fails", ["pairings", "imported_slices"])
def test_a_slice_is_imported_whole_or_not_at_all(folder, url, monkeypatch, fails):
    files = sorted(folder.glob("*.json"))
    import_mpd(files[:1], url)
    before = content(url)
    stop = "BEGIN SELECT RAISE(ABORT, 'no more'); END"
    run(url, f"CREATE TRIGGER stop BEFORE INSERT ON {fails} {stop}")
    with pytest.raises(DatabaseReadError, match="no more"):
        import_mpd(files, url)
    assert content(url) == before
    run(url, "DROP TRIGGER stop")
    assert import_mpd(files, url).n_new_slices == 11


def test_a_bad_slice_keeps_those_before_it(folder, url):
    bad = folder / "mpd.slice.60-79.json"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-9])
    with pytest.raises(FileFormatError, match=r"60-79\.json.*byte"):
        import_mpd(folder, url)
    assert len(content(url)["imported_slices"][1]) == 3
    bad.write_bytes(whole)
    assert import_mpd(folder, url).n_new_slices == 9


def test_the_same_slice_twice_names_both(make_slice, url, tmp_path):
    first = make_slice({1: ["t:a"]}, "a.json")
    copy = tmp_path / "b.json"
    copy.write_bytes(first.read_bytes())
    with pytest.raises(FileFormatError, match=r"b\.json' is the same slice as .*/a\.json'"):
        import_mpd([first, copy], url)
    with pytest.raises(FileFormatError, match=r"b\.json' is the same slice as 'a\.json'"):
        import_mpd(copy, url)
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "a.json").write_bytes(first.read_bytes())
    with pytest.raises(FileFormatError, match=r"other/a\.json' is the same slice as .*/a\.json'"):
        import_mpd([first, folder / "a.json"], url)
    assert len(content(url)["playlists"][1]) == 1


def test_a_playlist_that_is_there_names_both_files(make_slice, url):
    import_mpd(make_slice({pid: [] for pid in range(1200)}, "a.json"), url)
    with pytest.raises(
        FileFormatError, match=r"playlist 1199 is in 'a\.json' and again in .*b\.json"
    ):
        import_mpd(make_slice({pid: ["t:b"] for pid in range(1199, 3000)}, "b.json"), url)
    with pytest.raises(
        FileFormatError, match=r"playlist 7 is in 'a\.json' and again in .*/a\.json"
    ):
        import_mpd(make_slice({7: ["t:b"]}, "a.json"), url)
    run(url, "INSERT INTO playlists (pid) VALUES (5000)")
    with pytest.raises(FileFormatError, match="playlist 5000 is in 'the database' and again"):
        import_mpd(make_slice({5000: []}, "c.json"), url)
    path = make_slice({1: []}, "d.json")
    path.write_text('{"playlists": [{"pid": 8, "tracks": []}, {"pid": 8, "tracks": []}]}')
    with pytest.raises(FileFormatError, match=r"playlist 8 is in .*d\.json.* again in .*d\.json"):
        import_mpd(path, url)
    assert len(content(url)["imported_slices"][1]) == 1


@pytest.mark.parametrize("target", ["sqlite://", sa.make_url("sqlite:///:memory:")])
def test_a_database_that_would_be_gone(make_slice, target):
    with pytest.raises(InvalidInputError, match="ends with its connection: give an Engine"):
        import_mpd(make_slice({1: ["a"]}), target)


def test_replace(make_slice, url):
    import_mpd(make_slice({1: ["t:a"]}, "a.json"), url)
    before = content(url)
    bad = make_slice({2: ["t:b"]}, "b.json")
    whole = bad.read_bytes()
    bad.write_bytes(b"{")
    with pytest.raises(FileFormatError):
        import_mpd(bad, url, if_exists="replace")
    assert content(url) == before
    bad.write_bytes(whole)
    assert import_mpd(bad, url, if_exists="replace") == ImportedMpd(1, 1, 1, 1, 1)
    assert content(url)["pairings"][1] == [(2, 0, 0)]
    with pytest.raises(InvalidInputError, match="if_exists"):
        import_mpd(bad, url, if_exists="append")


def test_tables_that_are_not_from_an_import(make_slice, url):
    path = make_slice({1: ["t:a"]})
    write_sql(Pairings.from_arrays([1], [2]), url)
    with pytest.raises(InvalidInputError, match=r"'pairings' exists but 'playlists' .*replace"):
        import_mpd(path, url)
    assert import_mpd(path, url, if_exists="replace").n_pairs == 1


def test_a_failure_at_the_first_slice_leaves_no_file(make_slice, url, tmp_path):
    path = make_slice({1: ["t:a"]})
    text = path.read_text()
    path.write_text(text.replace("list 1", "\\ud83d"))
    with pytest.raises(FileFormatError, match=r"mpd\.slice\.0-9\.json' has the text '\\ud83d'"):
        import_mpd(path, url)
    assert list(tmp_path.iterdir()) == [path]


def test_no_tracks_and_no_playlists(make_slice, url):
    files = [make_slice({}, "a.json"), make_slice({3: []}, "b.json")]
    assert import_mpd(files, url) == ImportedMpd(1, 0, 0, 2, 2)
    assert content(url)["pairings"] == (["ix_pairings_tid"], [])


def test_the_callers_engine_and_connection(folder):
    engine = sa.create_engine("sqlite://")
    assert import_mpd(folder, engine).n_new_slices == 12
    assert import_mpd(folder, engine).n_new_slices == 0
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert import_mpd(folder, connection, if_exists="replace").n_new_slices == 12
        connection.rollback()
    assert import_mpd(folder, engine).n_new_slices == 0
    engine.dispose()


def test_progress_goes_to_standard_error(folder, url, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    import_mpd(folder, url, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "12/12" in captured.err


def test_postgres(folder, url, postgres):
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA other")
    files = sorted(folder.glob("*.json"))
    import_mpd(files[:4], postgres, schema="other")
    done = import_mpd(files, postgres, schema="other")
    assert done.n_new_slices == 8
    import_mpd(files, url)
    with engine.connect() as connection:
        for name in TABLES:
            rows = connection.exec_driver_sql(f"SELECT * FROM other.{name} ORDER BY 1, 2")
            assert [tuple(row) for row in rows] == content(url)[name][1]
    engine.dispose()
    found = read_sql(postgres, schema="other")
    np.testing.assert_array_equal(found.matrix.indices, read_sql(url).matrix.indices)
    copy = files[0].with_name("copy.json")
    copy.write_text(json.dumps(json.loads(files[0].read_text()), indent=1))
    with pytest.raises(FileFormatError, match=r"playlist 0 is in 'mpd\.slice\.0-19\.json' and"):
        import_mpd(copy, postgres, schema="other")


def test_a_gap_in_the_tids_is_kept(make_slice, url):
    import_mpd(make_slice({0: ["t:a", "t:b"]}, "a.json"), url)
    run(url, "DELETE FROM tracks WHERE tid = 0")
    done = import_mpd(make_slice({1: ["t:c", "t:a"]}, "b.json"), url)
    assert done.n_tracks == 3
    assert [row[:2] for row in content(url)["tracks"][1]] == [(1, "t:b"), (2, "t:c"), (3, "t:a")]


def test_playlists_in_any_order(make_slice, url):
    import_mpd(make_slice({9: ["t:a"], 2: ["t:b", "t:a"], 500: []}, "a.json"), url)
    assert content(url)["pairings"][1] == [(2, 0, 1), (2, 1, 0), (9, 0, 0)]
    import_mpd(make_slice({-4: ["t:b"], 300: ["t:a"]}, "b.json"), url)
    with pytest.raises(FileFormatError, match=r"playlist 9 is in 'a\.json' and again in .*c\.json"):
        import_mpd(make_slice({-5: [], 9: [], 600: []}, "c.json"), url)
