"""Damaged slices: a clear error or a right answer, the same by both parsers."""

import json
import random
import zipfile

import numpy as np
import pytest

from twofold.exceptions import FileFormatError, TwofoldError
from twofold.io import import_mpd, json_documents, read_mpd

ODD_VALUES = [
    None, True, -0.0, 1.5, 1e300, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30),
    "", "7", "x" * 10_000, "\x00", "é🎵", "\ud83d", "\udc00 low", [], {}, [[1]], {"a": {}},
]  # fmt: skip
ODD_TEXTS = [
    "NaN", "-Infinity", "1e999", "1" * 5000, "[" * 500 + "]" * 500, "[" * 100_000, "01", "1.",
    "'x'", '"\\ud83d\\ude00"', '"\\u12"', '"\n"', '{"pid": 1, "pid": 2}', "tru", "",
]  # fmt: skip
PLACE = "@place@"


def slice_of(rng: random.Random) -> dict:
    def track(number):
        return {
            "pos": number, "artist_name": f"Käptn {number}", "track_uri": f"spotify:track:{number}",
            "artist_uri": "spotify:artist:0", "track_name": f"N{number} 🎵",
            "album_uri": "spotify:album:0", "duration_ms": 1000 + number, "album_name": '"album"',
        }  # fmt: skip

    lists = [
        {
            "name": f"list {pid}", "collaborative": "false", "pid": pid, "modified_at": 1493424000,
            "num_followers": 1,
            "tracks": [track(rng.randrange(9)) for _ in range(rng.randrange(5))],
        }
        for pid in range(4)
    ]  # fmt: skip
    return {"info": {"slice": "0-3", "version": "v1"}, "playlists": lists}


def places(item, found):
    """List all (container, key) of nested lists and dicts."""
    for key in item if isinstance(item, dict) else range(len(item)):
        found.append((item, key))
        if isinstance(item[key], dict | list):
            places(item[key], found)
    return found


def damaged(rng: random.Random) -> bytes:
    """Return a slice with one or two faults."""
    content = slice_of(rng)
    kind = rng.randrange(8)
    container, key = rng.choice(places(content, []))
    text = None
    if kind == 0:
        container[key] = rng.choice(ODD_VALUES)
    elif kind == 1:
        container[key] = PLACE
        text = rng.choice(ODD_TEXTS)
    elif kind == 2:
        del container[key]
    elif kind == 3:
        other, its_key = rng.choice(places(content, []))
        container[key], other[its_key] = json.loads(json.dumps([other[its_key], container[key]]))
    elif kind == 4 and isinstance(container, dict):
        container["again" + key] = rng.choice(ODD_VALUES)
    written = json.dumps(
        content, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1, 4, "\t"])
    )
    blob = bytearray(written.replace('"again', '"').encode("utf-8", "surrogatepass"))
    if text is not None:
        blob = bytearray(bytes(blob).replace(json.dumps(PLACE).encode(), text.encode()))
    if kind == 5:
        del blob[rng.randrange(len(blob)) :]
    elif kind == 6:
        for _ in range(rng.randint(1, 3)):
            blob[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
    elif kind == 7:
        at = rng.randrange(len(blob))
        blob[at:at] = rng.choice(
            [b"\xff", b"\xed\xa0\xbd", b"\x00", b"\xc3", b"\xef\xbb\xbf", b"{"]
        )
    return bytes(blob)


def outcome(path):
    """Return what is read, or the error; any other exception fails the test."""
    try:
        mpd = read_mpd(path)
    except TwofoldError as caught:
        error = caught
    else:
        return (
            mpd.row_ids.tolist(),
            mpd.col_ids.tolist(),
            mpd.matrix.toarray().tolist(),
            {name: column.tolist() for name, column in (mpd.tracks | mpd.playlists).items()},
        )
    assert path.name in str(error)
    return type(error), str(error)


@pytest.mark.parametrize("seed", range(200))
def test_damage_is_an_error_or_a_right_answer(tmp_path, monkeypatch, seed):
    path = tmp_path / "mpd.slice.0-3.json"
    blob = damaged(random.Random(seed))
    path.write_bytes(blob)
    found = outcome(path)
    monkeypatch.setattr(json_documents, "orjson", None)
    plain = outcome(path)
    assert found == plain
    if plain[0] is FileFormatError:
        return
    rows = json.loads(blob)["playlists"]
    assert plain[0] == [row["pid"] for row in rows]
    for row, line in zip(rows, plain[2], strict=True):
        uris = {track["track_uri"] for track in row["tracks"]}
        assert uris == {plain[1][col] for col in np.flatnonzero(line)}
    try:
        done = import_mpd(path, f"sqlite:///{tmp_path / 'a.db'}")
    except FileFormatError as error:
        assert "cannot be encoded" in str(error)  # noqa: PT017 - or there is no error
    else:
        assert (done.n_playlists, done.n_pairs) == (len(rows), np.count_nonzero(plain[2]))


def test_the_damage_is_of_both_kinds():
    valid = 0
    for seed in range(200):
        try:
            json.loads(damaged(random.Random(seed)))
            valid += 1
        except (ValueError, RecursionError):
            pass
    assert 50 < valid < 150


@pytest.mark.parametrize("kind", ["list", "lines", "zip"])
@pytest.mark.parametrize("seed", range(60))
def test_damage_of_other_sources(tmp_path, monkeypatch, kind, seed):
    rng = random.Random(seed)
    path = tmp_path / "mpd.slice.0-3.json"
    lists = slice_of(rng)["playlists"]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data/mpd.slice.0-3.json", json.dumps({"playlists": lists}))
    elif kind == "list":
        path.write_text(json.dumps(lists))
    else:
        path.write_text("".join(json.dumps(playlist) + "\n" for playlist in lists))
    right = outcome(path)
    blob = bytearray(path.read_bytes())
    if seed % 3:
        for _ in range(rng.randint(1, 3)):
            blob[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
    else:
        del blob[rng.randrange(len(blob)) :]
    path.write_bytes(blob)
    found = outcome(path)
    if kind == "zip":
        assert found[0] is FileFormatError or found == right
    monkeypatch.setattr(json_documents, "orjson", None)
    assert outcome(path) == found
