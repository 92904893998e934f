import json
from pathlib import Path

import numpy as np
import pytest

from twofold import Pairings
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import MpdPairings, read_mpd


def test_ids_and_names_in_order_of_appearance(make_slice):
    mpd = read_mpd(make_slice({7: ["t:c", "t:a"], 2: [], 5: ["t:b", "t:a"]}))
    assert mpd.row_ids.tolist() == [7, 2, 5]
    assert mpd.col_ids.tolist() == ["t:c", "t:a", "t:b"]
    assert mpd.matrix.toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert mpd.n_empty_playlists == 1
    assert mpd.tracks["name"].tolist() == ["name of t:c", "name of t:a", "name of t:b"]
    assert mpd.tracks["artist"][0] == "Käptn Peng"
    assert mpd.tracks["duration_ms"].tolist() == [1000] * 3
    assert mpd.playlists["name"].tolist() == ["list 7", "list 2", "list 5"]
    assert mpd.playlists["description"].tolist() == [None] * 3
    assert repr(mpd) == "<MpdPairings: 3 rows x 3 columns, 4 pairs>"


def test_the_report(make_slice):
    report = read_mpd(make_slice({1: ["a", "b", "a"], 2: []})).report
    assert (report.reader, report.n_read, report.n_duplicates, report.n_pairs) == ("mpd", 3, 1, 2)
    assert (report.n_rows, report.n_cols) == (2, 2)


def test_names_are_found_after_selecting(make_slice):
    mpd = read_mpd(make_slice({7: ["t:c", "t:a"], 5: ["t:b"]}))
    for plain in (mpd.take_rows([0]), mpd.align(["t:a", "t:z"])):
        assert type(plain) is Pairings
    aligned = mpd.align(["t:b", "t:z"])
    assert aligned.matrix.toarray().tolist() == [[0, 0], [1, 0]]
    assert aligned.n_dropped_pairs == 2
    assert mpd.tracks["name"][mpd.col_index(["t:b"])].tolist() == ["name of t:b"]


def test_repeated_tracks(make_slice):
    path = make_slice({1: ["t:a", "t:b", "t:a"]})
    assert read_mpd(path).matrix.toarray().tolist() == [[1, 1]]
    assert read_mpd(path, duplicates="count").matrix.toarray().tolist() == [[2, 1]]
    with pytest.raises(InvalidInputError, match=r"row 1 and column 't:a' occurs more than once"):
        read_mpd(path, duplicates="error")


@pytest.fixture
def three(make_slice, tmp_path) -> Path:
    for number in (10, 2, 1):
        make_slice({number: [f"t:{number}"]}, f"mpd.slice.{number}-{number}.json")
    (tmp_path / "challenge_set.json").write_text("{}")
    return tmp_path


def test_files_folders_and_patterns(three):
    assert read_mpd(three).row_ids.tolist() == [1, 2, 10]
    assert read_mpd(str(three / "mpd.slice.?-*.json")).row_ids.tolist() == [1, 2]
    files = [three / "mpd.slice.10-10.json", str(three / "mpd.slice.1-1.json")]
    assert read_mpd(files).row_ids.tolist() == [10, 1]
    assert read_mpd([*files, three]).row_ids.tolist() == [10, 1, 2]


def test_no_file_found(tmp_path):
    for paths in (tmp_path, str(tmp_path / "*.json"), [tmp_path / "missing.json"]):
        with pytest.raises(InvalidInputError, match=f"{tmp_path}.*(has no|matches no) file"):
            read_mpd(paths)
    with pytest.raises(InvalidInputError, match="no paths were given"):
        read_mpd([])


def test_a_playlist_id_in_two_files_names_both(make_slice):
    paths = [make_slice({1: [], 2: []}, "first.json"), make_slice({2: []}, "second.json")]
    with pytest.raises(FileFormatError, match=r"playlist 2 is in .*first.json.*second.json"):
        read_mpd(paths)


def test_a_truncated_slice_names_the_byte(make_slice):
    path = make_slice({1: ["t:ä"]})
    content = json.dumps(json.loads(path.read_text()), ensure_ascii=False).encode()
    whole = content.index(b"artist_name")
    for end in (whole - 2, whole + 30, content.index("ä".encode()) + 1):
        path.write_bytes(content[:end])
        with pytest.raises(FileFormatError, match=rf"{path.name}.* byte (\d+) of {end}") as caught:
            read_mpd(path)
        assert caught.value.__cause__ is not None
    path.write_bytes(content[: whole - 2])  # the byte, not the character: the ä counts twice
    with pytest.raises(FileFormatError, match=f"byte {whole - 2} of"):
        read_mpd(path)


@pytest.mark.parametrize("text", ["", "not JSON", "[" * 100_000, "\x00\x01"])
def test_a_file_that_is_not_json(tmp_path, text):
    path = tmp_path / "mpd.slice.0-0.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=r"mpd\.slice\.0-0\.json"):
        read_mpd(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (5, "is not JSON, because it begins with '5'"),
        ({}, "no list 'playlists'"),
        ({"playlists": 5}, "no list 'playlists'"),
        ({"playlists": [{"pid": 1, "tracks": []}, {}]}, "number 1 .*no 'pid'"),
        ({"playlists": ["x"]}, "number 0 .*no 'pid'"),
        ({"playlists": [{"pid": "1"}]}, "number 0 .*no 'pid'"),
        ({"playlists": [{"pid": 2**63}]}, "number 0 .*no 'pid'"),
        ({"playlists": [{"pid": 8}]}, "playlist 8 .*no list 'tracks'"),
        ({"playlists": [{"pid": 8, "tracks": [{}]}]}, "track of playlist 8 .*no 'track_uri'"),
        ({"playlists": [{"pid": 8, "tracks": [5]}]}, "track of playlist 8 .*no 'track_uri'"),
    ],
)
def test_missing_keys_name_the_file_and_the_playlist(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match=message) as caught:
        read_mpd(path)
    assert "a.json" in str(caught.value)


def test_details_may_be_missing(tmp_path):
    path = tmp_path / "a.json"
    track = {"track_uri": "t:a", "duration_ms": "long"}
    path.write_text(json.dumps({"playlists": [{"pid": 8, "name": 5, "tracks": [track]}]}))
    mpd = read_mpd(path)
    assert mpd.tracks["name"].tolist() == [None]
    assert mpd.tracks["duration_ms"].tolist() == [None]
    assert mpd.playlists["name"].tolist() == ["5"]


def test_a_file_that_cannot_be_opened(three, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InvalidInputError, match=r"cannot read .*Permission denied"):
        read_mpd(three)


def test_progress_goes_to_standard_error(three, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    read_mpd(three, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3/3" in captured.err


def test_no_playlists_at_all(make_slice):
    mpd = read_mpd(make_slice({}))
    assert isinstance(mpd, MpdPairings)
    assert mpd.shape == (0, 0)
    np.testing.assert_array_equal(mpd.matrix.indptr, [0])


def test_positions_are_the_first_of_each_track(make_slice):
    path = make_slice({7: ["t:c", "t:a", "t:c", "t:b"], 2: [], 5: ["t:b", "t:b", "t:a"]})
    for duplicates in ("keep-one", "count"):
        mpd = read_mpd(path, duplicates=duplicates, positions=True)
        plain = read_mpd(path, duplicates=duplicates)
        assert plain.times is None
        np.testing.assert_array_equal(mpd.matrix.toarray(), plain.matrix.toarray())
        assert mpd.matrix.dtype == plain.matrix.dtype
        dense = np.full(mpd.shape, -1)
        rows = np.repeat(np.arange(3), np.diff(mpd.matrix.indptr))
        dense[rows, mpd.matrix.indices] = mpd.times
        assert dense.tolist() == [[0, 1, 3], [-1, -1, -1], [-1, 2, 0]]
