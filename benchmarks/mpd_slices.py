"""How fast slices of the Million Playlist Dataset are read, and imported into SQLite.

    python -m benchmarks.mpd_slices [--megabytes 100] [--repeats 3]

generates slices of the dataset's shape (1000 playlists of 66 tracks with all fields, 33 MB each) in
a temporary folder, and prints the megabytes a second of the best repeat: by the standard library's
json and by orjson, and the import into a new SQLite file. The files are in the cache of the system.
"""

import argparse
import contextlib
import json
import random
import string
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.machine import machine
from twofold.io import import_mpd, json_documents, read_mpd

_TRACKS_EACH = 66
_PLAYLISTS_EACH = 1000

_TRACK = """
                {{
                    "pos": %d,
                    "artist_name": {artist},
                    "track_uri": "spotify:track:{key}",
                    "artist_uri": "spotify:artist:{key}",
                    "track_name": {name},
                    "album_uri": "spotify:album:{key}",
                    "duration_ms": {duration},
                    "album_name": {album}
                }}"""
_PLAYLIST = """
        {
            "name": "%s",
            "collaborative": "false",
            "pid": %d,
            "modified_at": 1493424000,
            "num_tracks": 66,
            "num_albums": 47,
            "num_followers": 1,
            "tracks": [%s
            ],
            "num_edits": 6,
            "duration_ms": 11532414,
            "num_artists": 37
        }"""


def make_tracks(n: int, rng: random.Random) -> list[str]:
    """Return tracks as the dataset spells them, with a place for their position."""
    letters = string.ascii_letters + string.digits

    def words(length: float) -> str:
        text = "".join(rng.choices(letters + "   é'", k=max(1, int(rng.gauss(length, 5)))))
        return json.dumps(text)

    return [
        _TRACK.format(
            key="".join(rng.choices(letters, k=22)),
            artist=words(12),
            name=words(20),
            album=words(20),
            duration=rng.randint(100_000, 400_000),
        )
        for _ in range(n)
    ]


def make_slices(folder: Path, megabytes: float) -> list[Path]:
    """Write slices until they are as large; few tracks are popular and most are not."""
    rng = random.Random(0)
    tracks = make_tracks(100_000, rng)
    files: list[Path] = []
    size = 0
    while size < 1e6 * megabytes:
        first = _PLAYLISTS_EACH * len(files)
        lists = []
        for pid in range(first, first + _PLAYLISTS_EACH):
            chosen = [tracks[int(len(tracks) * rng.random() ** 2)] for _ in range(_TRACKS_EACH)]
            body = ",".join(track % pos for pos, track in enumerate(chosen))
            lists.append(_PLAYLIST % (f"list {pid}", pid, body))
        name = f"{first}-{first + _PLAYLISTS_EACH - 1}"
        head = f'{{\n    "info": {{"slice": "{name}", "version": "v1"}},\n    "playlists": ['
        files.append(folder / f"mpd.slice.{name}.json")
        files[-1].write_text(head + ",".join(lists) + "\n    ]\n}", encoding="utf-8")
        size += files[-1].stat().st_size
    return files


@contextlib.contextmanager
def without_orjson() -> Iterator[None]:
    """Hide orjson."""
    found, json_documents.orjson = json_documents.orjson, None
    try:
        yield
    finally:
        json_documents.orjson = found


def best(run: Callable[[], object], repeats: int) -> float:
    """Return the seconds of the quickest run."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def main() -> None:
    """Generate, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    words = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_slices(folder, words.megabytes)
        size = sum(file.stat().st_size for file in files) / 1e6
        print(f"{len(files)} slices, {size:.0f} MB; MB/s:\n")
        print("parser      read  SQLite")
        parsers = {"json": without_orjson()}
        if json_documents.orjson is not None:
            parsers["orjson"] = contextlib.nullcontext()
        for parser_name, chosen in parsers.items():
            with chosen:
                url = f"sqlite:///{folder / 'mpd.db'}"
                runs = (
                    lambda: read_mpd(files),
                    lambda url=url: import_mpd(files, url, if_exists="replace"),
                )
                shown = "".join(f"{size / best(run, words.repeats):8.0f}" for run in runs)
                print(f"{parser_name:<8}{shown}", flush=True)


if __name__ == "__main__":
    main()
