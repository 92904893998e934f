"""SOURCE: what a path or a URL is, and what is said where it is something else."""

import gzip
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from twofold.cli import sources
from twofold.cli.options import OptionError
from twofold.cli.sources import read_source, reader_options
from twofold.data import Pairings
from twofold.exceptions import TwofoldError
from twofold.io import read_sql, write_mtx, write_sql
from twofold.model import FactorModel

OPTIONS = reader_options()
QUICK = ("--n-factors", 2, "--max-epochs", 1, "--quiet")
LINES = [("pid", "tid"), (1, 1), (1, 2), (2, 1), (3, 3)]
TEXT = "".join(f"{a},{b}\n" for a, b in LINES)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name):
    """Write the pairs of LINES to a file of the format that its name says."""
    rows, cols = zip(*LINES[1:], strict=True)
    pairings = Pairings.from_arrays(rows, cols)
    if "csv" in name:
        content = TEXT.encode()
        Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    elif "tsv" in name:
        Path(name).write_text(TEXT.replace(",", "\t"))
    elif "parquet" in name:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = pytest.importorskip("pyarrow").table({"pid": rows, "tid": cols})
        parquet.write_table(table, name)
    elif "npz" in name or "pairings" in name:
        pairings.save(name)
    elif "mtx" in name:
        write_mtx(pairings, name)
    elif "json" in name:
        tracks = [{"track_uri": f"spotify:track:{i}", "track_name": "T", "artist_name": "A",
                   "album_name": "B", "duration_ms": 1} for i in range(4)]  # fmt: skip
        lists = [{"pid": p, "name": "P", "tracks": [tracks[t] for q, t in LINES[1:] if q == p]}
                 for p in (1, 2, 3)]  # fmt: skip
        Path(name).write_text(json.dumps({"playlists": lists}))
    else:
        write_sql(pairings, f"sqlite:///{name}")
    return name


FILES = [
    "r.csv", "r.csv.gz", "r.tsv", "r.parquet", "r.npz", "r.pairings", "r.mtx", "r.db",
    "mpd.slice.0-2.json",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_source_is_recognised_by_its_name(name):
    pairings = read_source(write(name), OPTIONS)
    assert pairings.shape == (3, 3)
    assert pairings.n_pairs == 4


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("r.csv.gz", "r.tsv")])
def test_or_by_its_first_bytes(name, folder):
    shutil.move(write(name), "nameless")
    assert read_source("nameless", OPTIONS).n_pairs == 4


def test_a_database_by_its_url_and_options_of_reading(url):
    assert read_source(url, OPTIONS, max_rows=7, progress=False).shape[0] == 7
    given = {"where": "pid < 4", "duplicates": "error", "max_rows": None}
    assert read_source(url, OPTIONS, **given).row_ids.tolist() == [1, 2, 3]


def test_connectorx_reads_a_database(url):
    pytest.importorskip("connectorx")
    found = read_source(url, OPTIONS, engine="connectorx")
    assert found.report.reader == "connectorx"
    assert (found.matrix != read_sql(url).matrix).nnz == 0


def test_folders_of_parquet_and_of_slices(folder):
    (folder / "parts").mkdir()
    write("parts/a.parquet")
    assert read_source("parts", OPTIONS).n_pairs == 4
    (folder / "mpd" / "data").mkdir(parents=True)
    write("mpd/data/mpd.slice.0-2.json")
    for source in ("mpd", "mpd/data", "mpd/data/mpd.slice.*.json"):
        assert read_source(source, OPTIONS).n_pairs == 4


def test_the_distributed_zip_is_given_to_the_reader_of_slices(folder, monkeypatch):
    write("mpd.slice.0-2.json")
    with zipfile.ZipFile("spotify.zip", "w") as file:
        file.write("mpd.slice.0-2.json", "data/mpd.slice.0-2.json")
    monkeypatch.setattr("twofold.io.read_mpd", lambda paths, progress=False: paths)
    assert read_source("spotify.zip", OPTIONS) == Path("spotify.zip")


def test_fields_of_a_csv_file(folder, twofold):
    (folder / "a.csv").write_text("list;song;w\n1;2;0.5\n1;;1\n")
    words = ("--row", "list", "--col", "song", "--delimiter", ";", "--weight-column", "w")
    twofold("fit", "a.csv", *words).failed("use --on-null drop to leave such pairs out")
    assert "1 pairs" in twofold("fit", "a.csv", *words, "--on-null", "drop", *QUICK).out
    (folder / "b.txt").write_text("7\t8\n")
    words = ("--column-names", "pid,tid", "--delimiter", r"\t")
    assert "1 pairs" in twofold("fit", "b.txt", *words, *QUICK).out


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("r.csv", {"where": "pid < 3"}, "--where is for databases only, and r.csv is a CSV file"),
        ("r.csv", {"max_rows": 3}, "--max-rows is for"),
        ("r.npz", {"row": "pid"}, "--row is for databases, CSV and Parquet only, and r.npz is a"),
        ("r.db", {"delimiter": ";"}, "--delimiter is for CSV only, and r.db is an SQLite database"),
    ],
)
def test_an_option_that_the_reader_does_not_have_is_refused(name, given, words):
    with pytest.raises(OptionError, match=words):
        read_source(write(name), OPTIONS, **given)


def test_a_refused_option_does_not_show_a_password():
    source = "postgresql://me:secret@localhost/music"
    with pytest.raises(OptionError) as caught:
        read_source(source, OPTIONS, delimiter=";")
    assert "SOURCE is a database" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_no_source_is_called_what_it_is(folder, twofold):
    write("r.csv")
    write("r.db")
    shutil.copy("r.csv", "list.db")
    shutil.copy("r.db", "list.csv")
    (folder / "empty.csv").touch()
    (folder / "empty.db").touch()
    (folder / "nothing").mkdir()
    (folder / "bytes").write_bytes(b"\0\1\2\3" * 30)
    assert twofold("fit", "r.csv", *QUICK).code == 0
    for source, words in {
        "sqlite:///r.csv": "'r.csv' is a CSV file, not an SQLite database: give 'r.csv' as SOURCE",
        "list.db": "'list.db' is a CSV file, but has the suffix of an SQLite database: rename it",
        "list.csv": "'list.csv' is an SQLite database, but has the suffix of a CSV file: rename it",
        "empty.csv": "'empty.csv' is empty: give another file",
        "empty.db": "'empty.db' is empty",
        "sqlite:///empty.db": "'empty.db' is empty",
        "nothing": "'nothing' is a folder without Parquet files and slices",
        "sqlite:///nothing": "'nothing' is a folder: give a file",
        "missing.csv": "there is no file 'missing.csv': check the path",
        "missing": "there is no file 'missing'",
        "sqlite:///missing.db": "missing.db",
        "bytes": "'bytes' is of unknown kind",
        "model.twofold": "'model.twofold' is a model of twofold; SOURCE can be",
        "": "SOURCE is an empty text",
        "://": "dialect://user:password@host:port/name",
    }.items():
        twofold("fit", source).failed(words)


def test_what_cannot_be_opened_is_named(folder, twofold):
    Path("loop").symlink_to("loop")
    twofold("fit", "loop").failed("cannot read 'loop': Too many levels of symbolic links")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_read_for_its_kind(folder, twofold):
    os.mkfifo("pipe")
    twofold("fit", "pipe").failed("'pipe' is of unknown kind")


def test_what_is_no_model_is_called_what_it_is(folder, twofold):
    write("r.csv")
    write("r.db")
    (folder / "nothing").mkdir()
    for model, words in {
        "r.db": "'r.db' is an SQLite database, not a file that `twofold fit` wrote",
        "nothing": "'nothing' is a folder: give a file",
        "missing": "there is no file 'missing'",
    }.items():
        twofold("fold-in", model, "r.csv").failed(words)
        twofold("evaluate", model, "r.csv").failed(words)
        twofold("fit", "r.csv", "--resume", model).failed(words)


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "pairs.csv", "--output"),
        ("fit", "pairs.csv", "--checkpoint"),
        ("tune", "pairs.csv", "--grid", "n-factors=2", "--output"),
        ("recommend", "pairs.csv", "--into", "o.db", "--model"),
    ],
)
def test_a_model_overwrites_only_a_model(words, twofold, monkeypatch):
    Path("pairs.csv").write_text(TEXT)
    write("pairs.npz")
    Path("unknown").write_bytes(b"a\0b")
    with monkeypatch.context() as patched:
        patched.setattr(FactorModel, "fit", None)
        for name in ("pairs.csv", "pairs.npz", "unknown"):
            before = Path(name).read_bytes()
            twofold(*words, name).failed(f"'{name}' exists, but is not a file", "another file")
            assert Path(name).read_bytes() == before
    Path("empty").touch()
    for _ in range(2):
        assert twofold("fit", "pairs.csv", "--n-factors", 1, "--quiet", "-o", "empty").code == 0


def test_the_demo_overwrites_only_a_model(twofold):
    Path("demo.twofold").write_text("a,b\n")
    twofold("demo", "--folder", ".").failed("'demo.twofold' exists")
    assert not Path("demo.db").exists()


def test_a_table_of_held_out_pairs_needs_a_database(twofold):
    twofold("fit", write("r.csv"), *QUICK)
    twofold("evaluate", "model.twofold", "r.csv", "--heldout-table", "h").failed(
        "--heldout-table is for databases only"
    )
    twofold("evaluate", "model.twofold", "r.csv", "--hide", 2).failed("--hide is 2.0")


def test_what_is_no_database_to_write_to(folder, twofold):
    write("mpd.slice.0-2.json")
    write("r.csv")
    (folder / "nothing").mkdir()
    for url, words in {
        "r.csv": "'r.csv' is a CSV file, not an SQLite database",
        "new.csv": "'new.csv' is named like a CSV file, not an SQLite database: give another",
        "sqlite:///r.csv": "'r.csv' is a CSV file",
        "nothing": "'nothing' is a folder",
        "mpd.slice.0-2.json": "is a slice of the Million Playlist Dataset, not an SQLite database",
    }.items():
        twofold("import-mpd", "mpd.slice.0-2.json", url, "--quiet").failed(words)
    assert not (folder / "new.csv").exists()
    (folder / "empty.db").touch()
    assert twofold("import-mpd", "mpd.slice.0-2.json", "empty.db", "--quiet").code == 0


def test_objects_of_python_are_not_read(folder):
    np.savez("r.npz", rows=np.array([object()], dtype=object), cols=np.array([1]))
    with pytest.raises(TwofoldError) as caught:
        read_source("r.npz", OPTIONS)
    assert "holds Python objects" in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_every_reader_of_files_has_a_name(folder):
    assert {*sources._SUFFIXES.values()} == {*sources._OWNERS, "a model of twofold"}
