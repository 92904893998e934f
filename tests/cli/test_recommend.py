"""Recommendations, similar tracks and explanations, by name, and their files."""

import csv
import gzip
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from twofold import FactorModel, Pairings
from twofold.io import TrackName, import_mpd, write_names, write_sql
from twofold.solvers import ALS


@pytest.fixture(scope="module")
def files(tmp_path_factory, playlists):
    """A database with the names of all tracks but 1, and a model of it."""
    folder = tmp_path_factory.mktemp("files")
    database, path = folder / "lists.db", folder / "m.twofold"
    url = f"sqlite:///{database}"
    pairings = playlists.pairings
    write_sql(pairings, url)
    names = {track: TrackName(f"song {track}", "Käptn Peng") for track in range(2, 151)}
    write_names(names, url)
    model = FactorModel(solver=ALS(n_factors=4, max_epochs=3, rng=0)).fit(pairings)
    model.save(path)
    return SimpleNamespace(database=database, path=path, url=url, model=model, names=names)


def as_json(track, score, names):
    name = names.get(track)
    found = {"track": track, "name": name and name.name}
    return found | ({"artist": name.artist} if name else {}) | {"score": pytest.approx(score)}


def lists_of(ranking, names):
    return [
        {"playlist": row, "tracks": [as_json(*one, names) for one in found]}
        for row, found in ranking
    ]


def test_json_has_every_playlist_with_names_and_scores(twofold, files):
    result = twofold("fold-in", files.path, files.url, "--json", "--quiet", "--top", 150)
    found = json.loads(result.out)["recommendations"]
    assert len(found) == 300
    expected = files.model.recommend(files.model.pairings, 150)
    assert found == lists_of(expected, files.names)
    assert any(track["name"] is None for one in found for track in one["tracks"])
    words = ("recommend", files.path, files.database, "--top", 3, "--json")
    found = json.loads(twofold(*words, "--row", 4, "--row", 2).out)["recommendations"]
    assert found == lists_of(files.model.recommend([4, 2], 3), files.names)
    everything = json.loads(twofold(*words).out)["recommendations"]
    assert everything == lists_of(files.model.recommend(files.model.row_ids, 3), files.names)
    found = json.loads(twofold("similar", *words[1:], "--track", 1, "--track", 7).out)["tracks"]
    ranking = files.model.similar_cols([1, 7], 3)
    assert [one["similar"] for one in found] == [
        one["tracks"] for one in lists_of(ranking, files.names)
    ]
    assert [(one["track"], one["name"]) for one in found] == [(1, None), (7, "song 7")]


def test_text_has_names_and_ids_without_a_name(twofold, files):
    out = twofold("fold-in", files.path, files.url, "--top", 150, "--show", 2, "--quiet").out
    lines = [line for line in out.splitlines() if line.startswith("playlist ")]
    assert [line.partition(":")[0] for line in lines] == ["playlist 1", "playlist 2"]
    tracks = lines[0].partition(": ")[2].split(", ")
    expected = files.model.recommend(files.model.pairings.take_rows([0]), 150)
    found = [col for _, list_ in expected for col, _ in list_]
    assert tracks == [str(files.names.get(track, track)) for track in found]
    assert "1" in tracks
    lines = twofold("recommend", files.path, files.url, "--row", 4, "--top", 2).out.splitlines()
    ((_, found),) = files.model.recommend([4], 2)
    assert lines[0] == "playlist 4"
    for line, (track, score) in zip(lines[1:], found, strict=True):
        assert line.endswith(f"{score:.4g}  song {track} (Käptn Peng)  [{track}]")
    lines = twofold("similar", files.path, files.url, "--track", 1, "--top", 2).out.splitlines()
    assert lines[0] == "similar to 1"
    assert len(lines) == 3


def test_a_list_of_tracks_is_a_new_playlist(twofold, files):
    words = ("recommend", files.path, files.url, "--top", 4, "--track", 3, "--track", 9)
    new = Pairings.from_arrays([0, 0], [3, 9])
    ((_, expected),) = files.model.recommend(new, 4)
    found = json.loads(twofold(*words, "--track", 999, "--json").out)
    (one,) = found["recommendations"]
    assert (found["unknown_tracks"], one["playlist"]) == (1, "new")
    assert one["tracks"] == [as_json(*each, files.names) for each in expected]
    assert "unknown tracks dropped: 1" in twofold(*words, "--track", 999).out


def test_unknown_tracks_only(twofold, files):
    Pairings.from_arrays([5, 5, 6], [3, 9, 999]).save("new.npz")
    counts = np.bincount(files.model.pairings.matrix.indices)
    best = files.model.col_ids[np.argsort(-counts, kind="stable")[:2]].tolist()
    for words in (("recommend", files.path, "--track", 999), ("fold-in", files.path, "new.npz")):
        plain = json.loads(twofold(*words, "--json", "--top", 2).out)["recommendations"][-1]
        assert plain["tracks"] == []
        assert "none" in twofold(*words, "--top", 2).out
        words = (*words, "--top", 2, "--fallback", "popular")
        filled = json.loads(twofold(*words, "--json").out)["recommendations"]
        assert [one.get("fallback", False) for one in filled] == [False] * (len(filled) - 1) + [
            True
        ]
        assert [one["track"] for one in filled[-1]["tracks"]] == best
    assert (
        "playlist new (the most popular tracks)"
        in twofold("recommend", files.path, "--track", 999, "--fallback", "popular").out
    )


@pytest.mark.parametrize("name", ["all.csv", "all.csv.gz"])
def test_files_of_recommendations(twofold, files, name):
    def read():
        opener = gzip.open if name.endswith(".gz") else open
        with opener(name, "rt", encoding="utf-8", newline="") as file:
            return [*csv.reader(file)]

    def expected(rows):
        yield ["pid", "place", "tid", "score", "name", "artist"]
        for row, found in files.model.recommend(rows, 3):
            for place, (track, score) in enumerate(found, 1):
                own = files.names.get(track, ("", ""))
                yield [str(row), str(place), str(track), str(score), *own]

    result = twofold("recommend", files.path, files.url, "--top", 3, "--output", name)
    assert result.out == f"The recommendations for 300 playlists are in {name}.\n"
    assert read() == [*expected(files.model.row_ids)]
    new = files.model.pairings
    words = ("--top", 3, "-o", name, "--show", 1, "--quiet")
    out = twofold("fold-in", files.path, files.url, *words).out
    assert f"The recommendations are in {name}." in out
    assert out.count("\nplaylist ") == 1
    assert read() == [*expected(new)]
    twofold("recommend", files.path, "--row", 7, "--top", 3, "-o", name)
    assert [line[:4] for line in expected([7])] == read()


def lines_of(database, query="SELECT * FROM recommendations ORDER BY pid, place"):
    engine = sa.create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        lines = [tuple(line) for line in connection.exec_driver_sql(query)]
    engine.dispose()
    return lines


def test_from_a_query_to_a_table(twofold, files):
    """People who never leave SQL: two commands, and their own names beside the lists."""
    query = ("--query", "SELECT pid, tid FROM pairings WHERE pid <= 50")
    assert twofold("fit", files.url, *query, "--n-factors", 4, "--quiet").code == 0
    model = FactorModel.load("model.twofold")
    result = twofold("recommend", "model.twofold", "--into", "out.db", "--top", 3)
    assert result.out == (
        f"The recommendations for {model.row_ids.size} playlists are in the table recommendations "
        "of out.db.\n"
    )
    expected = [
        (row, place, track, pytest.approx(score))
        for row, found in model.recommend(model.row_ids, 3)
        for place, (track, score) in enumerate(found, 1)
    ]
    assert lines_of("out.db") == sorted(expected, key=lambda line: line[:2])
    words = ("--into", "sqlite:///out.db", "--into-table", "named", "--top", 1, "--json")
    values = json.loads(twofold("recommend", "model.twofold", files.url, *words).out)
    n_playlists = model.row_ids.size
    assert values == {"into": "sqlite:///out.db", "table": "named", "playlists": n_playlists}
    for _, _, track, _, name, artist in lines_of("out.db", "SELECT * FROM named"):
        assert (name, artist) == tuple(files.names.get(track, (None, None)))


def test_the_same_command_goes_on_after_an_interrupt(twofold, files, monkeypatch):
    monkeypatch.setattr("twofold.model.export.BLOCK", 100)
    words = ("recommend", files.path, "--into", "out.db", "--top", 2)
    recommend, asked = FactorModel.recommend, []

    def interrupted(model, rows, n):
        asked.append(rows[0])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return recommend(model, rows, n)

    monkeypatch.setattr(FactorModel, "recommend", interrupted)
    assert twofold(*words).code == 130
    ids = files.model.row_ids
    assert {pid for pid, *_ in lines_of("out.db")} == {*ids[:100].tolist()}
    assert twofold(*words).code == 0
    assert asked == [ids[0], ids[100], ids[100], ids[200]]
    lines = lines_of("out.db")
    assert twofold(*words).code == 0  # complete: nothing is ranked or written again
    assert len(asked) == 4
    assert lines_of("out.db") == lines
    assert [line[:3] for line in lines] == [
        (row, place, track)
        for row, found in recommend(files.model, ids, 2)
        for place, (track, _) in enumerate(found, 1)
    ]


def test_a_folder_of_parts_goes_on_after_an_interrupt(twofold, files, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason='needs pip install "twofold[frames]"')
    monkeypatch.setattr("twofold.model.export.BLOCK", 100)
    words = ("recommend", files.path, files.url, "--top", 2, "--output", "lists/")
    recommend, asked = FactorModel.recommend, []

    def interrupted(model, rows, n):
        asked.append(rows[0])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return recommend(model, rows, n)

    monkeypatch.setattr(FactorModel, "recommend", interrupted)
    assert twofold(*words).code == 130
    assert [path.name for path in Path("lists").iterdir()] == ["part-00000.parquet"]
    assert twofold(*words).out == "The recommendations for 300 playlists are in lists.\n"
    ids = files.model.row_ids
    assert asked == [ids[0], ids[100], ids[100], ids[200]]
    assert json.loads(twofold(*words, "--json").out) == {"output": "lists", "playlists": 300}
    assert len(asked) == 4
    found = parquet.read_table("lists").to_pydict()
    assert list(found) == ["pid", "place", "tid", "score", "name", "artist"]
    assert list(zip(found["pid"], found["tid"], strict=True)) == [
        (row, track) for row, list_ in recommend(files.model, ids, 2) for track, _ in list_
    ]
    for more in (("--row", 4), ("--track", 4), ("--fallback", "popular")):
        twofold(*words, *more).failed(
            f"{more[0]} and --output lists", "leave one of them out",
            "a file for some playlists ends in .csv, .csv.gz or .parquet",
        )  # fmt: skip
    twofold(*words[:-1], "none/lists/").failed("cannot write to the folder 'none/lists'")


def test_what_cannot_be_written_into_a_table(twofold, files):
    into = ("recommend", files.path, "--into", "out.db")
    twofold(*into, "--row", 4).failed("--row and --into", "leave one of them out")
    twofold(*into, "--track", 4).failed("--track and --into")
    twofold(*into, "--output", "a.csv").failed("--output and --into")
    twofold(*into, "--fallback", "popular").failed("--fallback and --into")
    twofold(*into, "--top", 0).failed("--top is 0")
    twofold(*into, "--into-table", "").failed("--into-table")
    twofold("recommend", files.path, "--row", 4, "--into-table", "t").failed("--into URL")
    twofold("recommend", files.path, "--into", files.path).failed("not an SQLite database")
    twofold("recommend", files.path, "--into", "sqlite://").failed("in memory")
    assert not Path("out.db").exists()
    write_sql(files.model.pairings, "sqlite:///out.db", "recommendations")
    twofold(*into).failed("'recommendations' exists", "drop it, or give another name")
    files.model.save("served", serving=True)
    twofold("recommend", "served", "--into", "new.db").failed("no trained rows")


def test_the_tables_of_names(twofold, files, playlists):
    words = ("recommend", files.path, "--row", 4, "--top", 1, "--json")

    def track(*more):
        result = twofold(*words, *more)
        assert result.code == 0, result
        return json.loads(result.out)["recommendations"][0]["tracks"][0]

    plain, named = track(), track(files.database)
    assert plain["name"] is None
    assert named["name"] == f"song {named['track']}"
    assert track("--names-from", files.database) == named
    assert track("--names", "tracks:tid:name:artist", files.url) == named
    swapped = track("--names", "tracks:tid:artist:name", "--names-from", files.url)
    assert (swapped["name"], swapped["artist"]) == (named["artist"], named["name"])
    write_sql(playlists.pairings.take_rows([0, 1]), "sqlite:///bare.db")
    folded = ("fold-in", files.path, "bare.db", "--json", "--top", 1)
    (first, *_) = json.loads(twofold(*folded).out)["recommendations"]
    assert first["tracks"][0]["name"] is None
    (first, *_) = json.loads(twofold(*folded, "--names-from", files.url).out)["recommendations"]
    assert first["tracks"][0]["name"] == f"song {first['tracks'][0]['track']}"


def test_names_belong_to_the_column_that_is_read(twofold, files, playlists):
    """The table tracks has ids of its column tid, which are not those of a column song."""
    write_sql(playlists.pairings, "sqlite:///songs.db", col="song")
    write_names(dict.fromkeys(range(151), "other"), "sqlite:///songs.db")
    words = ("fold-in", files.path, "songs.db", "--col", "song", "--top", 1, "--show", 1)
    assert "other" not in twofold(*words).out
    assert "other" in twofold(*words, "--names", "tracks:tid:name").out


def test_only_names_of_what_is_printed_are_read(twofold, files, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "twofold.cli.names.read_names", lambda source, ids, *_, **__: asked.append(len(ids)) or {}
    )
    twofold("fold-in", files.path, files.url, "--top", 4, "--show", 3)
    twofold("recommend", files.path, files.url, "--top", 5, "--row", 3)
    twofold("similar", files.path, files.url, "--top", 2, "--track", 3)
    twofold("explain", files.path, files.url, "--top", 1, "--track", 3, "--row", 5)
    twofold("fold-in", files.path, files.url, "--top", 0)
    assert asked == [12, 5, 3, 2, 0]


def test_explain(twofold, files):
    words = ("explain", files.path, files.url, "--row", 5, "--track", 12, "--top", 2)
    values = json.loads(twofold(*words, "--json").out)
    terms = files.model.explain(5, 12, n=1000)
    assert values["terms"] == [as_json(*term, files.names) for term in terms[:2]]
    assert values["prediction"] == pytest.approx(sum(score for _, score in terms))
    assert (values["playlist"], values["track"], values["name"]) == (5, 12, "song 12")
    out = twofold(*words).out
    assert f"a sum over {len(terms)} tracks" in out
    assert f"song {terms[1][0]} (Käptn Peng)  [{terms[1][0]}]" in out


def test_an_imported_slice_has_names_of_its_own(twofold, tmp_path):
    tracks = [{"track_uri": f"spotify:track:{i}", "track_name": f"T{i}", "artist_name": "A",
               "album_name": "B", "duration_ms": 1000} for i in range(4)]  # fmt: skip
    lists = [{"pid": p, "name": f"P{p}", "tracks": tracks[p : p + 3]} for p in range(2)]
    (tmp_path / "mpd.slice.0-1.json").write_text(json.dumps({"playlists": lists}))
    import_mpd("mpd.slice.0-1.json", "sqlite:///mpd.db")
    twofold("fit", "mpd.db", "--n-factors", 2, "--quiet")
    assert "playlist 0: T3 (A)" in twofold("fold-in", "model.twofold", "mpd.db", "--quiet").out


def test_text_ids(twofold, tmp_path):
    pairings = Pairings.from_arrays(["a", "a", "7", "7"], ["x", "y", "y", "z"])
    FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings).save("m")
    (one,) = json.loads(twofold("recommend", "m", "--row", 7, "--json").out)["recommendations"]
    assert (one["playlist"], [track["track"] for track in one["tracks"]]) == ("7", ["x"])
    twofold("similar", "m", "--track", "w").failed("'w' is unknown")


def test_names_that_the_terminal_cannot_encode(twofold, files, monkeypatch):
    file = open("out.txt", "w", encoding="ascii")  # noqa: SIM115
    monkeypatch.setattr("sys.stdout", file)
    result = twofold("similar", files.path, files.database, "--track", 7, "--top", 1)
    file.close()
    assert result.code == 0, result
    assert Path("out.txt").read_text().startswith("similar to song 7 (K?ptn Peng)\n")


def test_errors(twofold, files, tmp_path):
    recommend = ("recommend", files.path)
    twofold(*recommend).failed("--row ID, --track ID, or --output FILE")
    twofold(*recommend, "--row", 1, "--track", 1).failed("--row and --track")
    twofold(*recommend, "--row", "one").failed("--row one", "whole numbers")
    twofold(*recommend, "--row", 9999).failed("9999 is unknown")
    twofold(*recommend, "--row", 1, "--top", 0).failed("--top is 0")
    twofold(*recommend, "--row", 1, "-o", "a.txt").failed(".csv, .csv.gz or .parquet")
    twofold(*recommend, "--row", 1, "-o", "none/a.csv").failed("none")
    twofold(*recommend, "--row", 1, "--fallback", "mean").failed("popular or none")
    twofold(*recommend, files.url, "--row", 1, "--names", "tracks:tid").failed("TABLE:ID:NAME")
    twofold(*recommend, files.url, "--row", 1, "--names", "tracks::name").failed("TABLE:ID:NAME")
    twofold(*recommend, files.url, "--row", 1, "--names", "songs:tid:name").failed("'songs'")
    twofold(*recommend, "--row", 1, "--names", "tracks:tid:name").failed("SOURCE is missing")
    twofold(*recommend, "none.db", "--row", 1).failed("none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "a.csv").write_text("pid,tid\n1,2\n")
    twofold(*recommend, "a.csv", "--row", 1).failed("a.csv is not a database")
    twofold("fold-in", files.path, "a.csv", "--names", "a:b:c").failed("a.csv is not a database")
    twofold("fold-in", files.path, "a.csv", "-o", "b.csv", "--top", 0).failed("--top 0")
    with closing(sqlite3.connect("bare.db")) as connection:
        connection.execute("CREATE TABLE a (b)")
    twofold(*recommend, "bare.db", "--row", 1).failed("no table tracks with columns tid and name")
    twofold("similar", files.path).failed("--track")
    twofold("explain", files.path, "--row", 1).failed("--track")
    twofold("explain", files.path, "--row", 1, "--track", 9999).failed("9999 is unknown")
