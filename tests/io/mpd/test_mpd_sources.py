"""Where slices come from: files of each form, folders and zip archives."""

import gzip
import json
import os
import subprocess
import sys
import threading
import zipfile
import zlib

import numpy as np
import pytest

from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import import_mpd, json_documents, read_mpd


@pytest.fixture
def folder(make_slice, tmp_path):
    """Eleven slices that share tracks, two of them compressed, one without playlists."""
    rng = np.random.default_rng(0)
    (tmp_path / "slices").mkdir()
    for number in range(11):
        lists = {
            10 * number + i: [f"t:{track}" for track in rng.integers(0, 40, rng.integers(0, 9))]
            for i in range(0 if number == 2 else 8)
        }
        path = make_slice(lists, f"slices/mpd.slice.{number}-{number}.json")
        if number in (1, 4):
            path.with_suffix(".json.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    return tmp_path / "slices"


@pytest.fixture
def archive(folder, tmp_path):
    """The dataset as it is distributed, with the members in the order of an alphabet."""
    path = tmp_path / "spotify_million_playlist_dataset.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("README.md", "license.txt", "md5sums", "stats.txt", "src/stats.py"):
            archive.writestr(name, "not a slice")
        for file in sorted(folder.iterdir(), key=str):
            archive.write(file, f"data/{file.name}")
            archive.writestr(f"__MACOSX/data/._{file.name}", b"\x00\x05\x16\x07")
    return path


def content(mpd):
    arrays = (mpd.row_ids, mpd.col_ids, mpd.matrix.data, mpd.matrix.indices, mpd.matrix.indptr)
    tables = {name: column.tolist() for name, column in (mpd.tracks | mpd.playlists).items()}
    return [(array.tolist(), array.dtype) for array in arrays], tables


def lists_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["playlists"]


def test_the_standard_library_gives_the_same(folder, monkeypatch):
    pytest.importorskip("orjson")
    fast = content(read_mpd(folder))
    monkeypatch.setattr(json_documents, "orjson", None)
    assert content(read_mpd(folder)) == fast


def test_a_zip_archive_is_read_as_the_folder_in_it(folder, archive):
    mpd = read_mpd(folder)
    assert mpd.row_ids[::8].tolist() == [0, 10, 30, 40, 50, 60, 70, 80, 90, 100]
    assert content(read_mpd(archive)) == content(mpd)
    assert content(read_mpd([archive, str(archive)])) == content(mpd)
    renamed = archive.rename(archive.with_name("dataset"))
    assert content(read_mpd(renamed)) == content(mpd)


def test_an_archive_and_the_folder_in_it_are_the_same_slices(folder, archive, tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    first = import_mpd(sorted(folder.iterdir())[:3], url)
    done = import_mpd(archive, url)
    assert (first.n_new_slices, done.n_slices, done.n_new_slices) == (3, 11, 8)
    assert import_mpd(folder, url).n_new_slices == 0
    assert done.n_pairs == read_mpd(folder).n_pairs


def test_an_archive_that_is_interrupted_is_continued(archive, tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    read = zipfile.ZipFile.open

    def interrupt(self, name, *args, **kwargs):
        if "mpd.slice.6-" in str(name):
            raise KeyboardInterrupt
        return read(self, name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "open", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_mpd(archive, url)
    done = import_mpd(archive, url)
    assert (done.n_slices, done.n_new_slices) == (11, 5)
    assert done.n_pairs == read_mpd(archive).n_pairs


def test_a_clash_names_the_archive_and_its_member(folder, archive):
    with pytest.raises(
        FileFormatError, match=r"playlist 0 .*/slices/mpd.*dataset\.zip/data/mpd\.slice\.0-0\.json"
    ):
        read_mpd([folder, archive])


def test_what_is_wrong_with_an_archive(archive, tmp_path):
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-50])
    with pytest.raises(FileFormatError, match=r"dataset\.zip' is a damaged zip file .*copy it"):
        read_mpd(archive)
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("README.md", "{}")
    with pytest.raises(FileFormatError, match=r"is a zip archive that has no file mpd\.slice\."):
        read_mpd(archive)
    with zipfile.ZipFile(archive, "w"):
        pass
    with pytest.raises(FileFormatError, match="is a zip archive that has no file"):
        read_mpd(archive)


def damage_first_member(path, offset, value):
    """Change 16 bits of the headers of the first member."""
    blob = bytearray(path.read_bytes())
    central = blob.index(b"PK\x01\x02")
    for start in (offset, central + offset + 2):
        blob[start : start + 2] = value.to_bytes(2, "little")
    path.write_bytes(blob)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [(6, 1, "encrypted"), (8, 9, "compression"), (14, 7, "CRC")],
)
def test_a_member_that_cannot_be_unpacked(make_slice, tmp_path, offset, value, message):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.write(make_slice({1: ["t:a"]}), "mpd.slice.0-0.json")
    damage_first_member(path, offset, value)
    with pytest.raises(FileFormatError, match=rf"a\.zip/mpd\.slice\.0-0.*unpacked.*{message}"):
        read_mpd(path)


@pytest.mark.parametrize("form", ["list", "lines", "one line", "mark", "compact"])
@pytest.mark.parametrize("packed", [False, True])
def test_forms_of_a_slice(make_slice, tmp_path, form, packed):
    path = make_slice({7: ["t:é", "t:a"], 2: [], 5: ["t:b", "t:é"]})
    if form == "one line":
        path = make_slice({7: ["t:é"]})
    right, lists = content(read_mpd(path)), lists_of(path)
    texts = {
        "list": json.dumps(lists, indent=1),
        "lines": "\n".join(json.dumps(item, ensure_ascii=False) for item in lists) + "\r\n\n",
        "one line": json.dumps(lists[0]),
        "mark": "\ufeff" + json.dumps({"playlists": lists}, ensure_ascii=False),
        "compact": json.dumps({"playlists": lists}) + "\n",
    }
    blob = texts[form].encode()
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(blob) if packed else blob)
    assert content(read_mpd(path)) == right
    done = import_mpd(path, f"sqlite:///{tmp_path / 'a.db'}")
    assert done.n_playlists == len(lists)


def test_a_folder_of_json_lines(make_slice, tmp_path):
    for number in (10, 9):
        path = make_slice({number: ["t:a"], 2 * number: []}, "a.json")
        lines = "\n".join(map(json.dumps, lists_of(path)))
        (tmp_path / f"mpd.slice.{number}-{number}.jsonl").write_text(lines)
    assert read_mpd(tmp_path).row_ids.tolist() == [9, 18, 10, 20]


def test_an_empty_list_has_no_playlists(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[]")
    assert read_mpd(path).shape == (0, 0)


def test_the_challenge_set(tmp_path):
    track = {"pos": 3, "track_uri": "t:a", "track_name": "A", "artist_name": "B"}
    content = {
        "date": "2018-01-16", "version": "v1",
        "playlists": [
            {"num_holdouts": 1, "pid": 1000002, "num_tracks": 1, "tracks": [], "num_samples": 0,
             "name": "Party"},
            {"num_holdouts": 1, "pid": 1000000, "num_tracks": 2, "tracks": [track],
             "num_samples": 1},
        ],
    }  # fmt: skip
    path = tmp_path / "challenge_set.json"
    path.write_text(json.dumps(content))
    with zipfile.ZipFile(tmp_path / "challenge.zip", "w") as archive:
        archive.write(path, "spotify/challenge_set.json")
        archive.writestr("__MACOSX/spotify/._challenge_set.json", b"\x00")
    for source in (path, tmp_path, tmp_path / "challenge.zip"):
        mpd = read_mpd(source)
        assert mpd.row_ids.tolist() == [1000002, 1000000]
        assert mpd.playlists["name"].tolist() == ["Party", None]
        assert mpd.n_empty_playlists == 1
    done = import_mpd(tmp_path / "challenge.zip", f"sqlite:///{tmp_path / 'a.db'}")
    assert (done.n_playlists, done.n_pairs) == (2, 1)
    assert import_mpd(path, f"sqlite:///{tmp_path / 'a.db'}").n_new_slices == 0


def test_the_challenge_set_is_not_read_beside_slices(make_slice, tmp_path):
    make_slice({1: ["t:a"]})
    (tmp_path / "challenge_set.json").write_text("damaged")
    assert read_mpd(tmp_path).row_ids.tolist() == [1]


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "is empty: copy it again"),
        (b" \n\n", "is empty: copy it again"),
        (b"\xef\xbb\xbf", "is empty: copy it again"),
        (gzip.compress(b"", mtime=0), "is empty: copy it again"),
        (b"pid,tid\n1,2\n", r"is not JSON, because it begins with 'pid,tid.*read_csv"),
        (b"<!DOCTYPE html><html>", "is not JSON, because it begins with '<!DOCTYPE html><html'"),
        (b"\x93NUMPY\x01\x00", r"is not JSON, because it begins with '\\\\x93NUMPY"),
        ('{"a": "\u20ac"}'.encode("utf-16"), "is UTF-16 text: convert it to UTF-8"),
        (
            '{"name": "caf\u00e9", "pid": 1}'.encode("latin-1"),
            "is not UTF-8 text at byte 13 of 26: c",
        ),
        ('{"name": "\u00e9'.encode()[:-1], "ends within a character at byte 10 of 11: it is trunc"),
        (
            b'{"playlists": [{"pid": 1',
            r"not complete JSON \(.* at byte 24 of 24\): it is truncated",
        ),
        (b"\xef\xbb\xbf" + b'{"playlists": [', r"at byte 18 of 18\)"),
        (
            b'{"pid": 1, "tracks": []}\n\n{"pid": 2, "tra\n',
            r"\(Invalid control character at byte 41 of 42\)",
        ),
        (b'{"pid": 1, "tracks": []}\n{"pid": 2}\n', "has no list 'tracks'"),
        (b'{"pid": 1, "tracks": []}\n{}\n', "no list 'playlists'"),
        (b'{"playlists": []} {"playlists": []}', r"\(Extra data at byte 18 of 35\): give one"),
        (b'{"playlists": ' + b"1" * 5000 + b"}", r"cannot be parsed \(Exceeds the limit"),
        (gzip.compress(b'{"playlists": [', mtime=0), "byte 15 of 15 when unpacked"),
    ],
)
def test_messages_say_what_a_file_is(tmp_path, monkeypatch, blob, message):
    path = tmp_path / "a.json"
    path.write_bytes(blob)
    for parser in (json_documents.orjson, None):
        monkeypatch.setattr(json_documents, "orjson", parser)
        with pytest.raises(FileFormatError, match=rf"a\.json.*{message}"):
            read_mpd(path)
        with pytest.raises(FileFormatError, match=rf"a\.json.*{message}"):
            import_mpd(path, f"sqlite:///{tmp_path / 'a.db'}")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0.5, -4, 20])
def test_a_truncated_gzip_file(folder, keep):
    path = folder / "mpd.slice.4-4.json.gz"
    blob = path.read_bytes()
    path.write_bytes(blob[: int(len(blob) * keep) if keep == 0.5 else keep])
    with pytest.raises(FileFormatError, match=r"4-4\.json\.gz' is not a whole gzip file .*copy it"):
        read_mpd(folder)


def test_damage_inside_a_gzip_file(folder):
    path = folder / "mpd.slice.4-4.json.gz"
    packer = zlib.compressobj(wbits=31)
    damaged = bytearray(packer.compress(b"[" * 9999) + packer.flush())
    damaged[15] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(FileFormatError, match=r"4-4\.json\.gz' is not a whole gzip file"):
        read_mpd(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_once(make_slice, tmp_path):
    path, pipe = make_slice({1: ["t:a"]}), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    writer.start()
    assert read_mpd(pipe).row_ids.tolist() == [1]
    writer.join()


@pytest.mark.parametrize("paths", [None, 3, b"a.json", [b"a.json"], [["a.json"]]])
def test_what_is_no_path(paths):
    with pytest.raises(InvalidInputError, match=r"the path is a .*: give"):
        read_mpd(paths)


def test_reading_slices_does_not_import_sqlalchemy():
    code = "import sys; from twofold.io import read_mpd; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
