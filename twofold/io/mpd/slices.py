"""Slices of the Million Playlist Dataset become columns."""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import FileFormatError
from twofold.io.json_documents import parse_documents

__all__ = ["Playlists", "Table", "as_table", "pid_clash"]

Table = dict[str, NDArray[Any]]
_Fields = dict[str, tuple[str, type]]

# The name and type of a column by the key of the dataset. A missing value is None.
_TRACK: _Fields = {
    "track_uri": ("uri", str), "track_name": ("name", str), "artist_name": ("artist", str),
    "album_name": ("album", str), "duration_ms": ("duration_ms", int),
}  # fmt: skip
_PLAYLIST: _Fields = {
    "pid": ("pid", int), "name": ("name", str), "description": ("description", str),
    "num_followers": ("num_followers", int), "modified_at": ("modified_at", int),
}  # fmt: skip
_LIMIT = 2**63


class Playlists:
    """Columns of playlists, and of tracks that are not in `numbers`, which has numbers by URI."""

    def __init__(self, numbers: dict[str, int], next_track: int) -> None:
        self.numbers, self.next_track = numbers, next_track
        self.path_of: dict[int, str] = {}  # by pid
        self.playlists: dict[str, list[Any]] = {name: [] for name, _ in _PLAYLIST.values()}
        self.tracks: dict[str, list[Any]] = {name: [] for name, _ in _TRACK.values()}
        self.lengths, self.entries = array("i"), array("i")  # an entry is the number of a track

    def add(self, content: bytes, path: str) -> None:
        """Add the content of a file, or raise FileFormatError if it is not a whole slice."""
        for index, playlist in enumerate(_playlists(content, path)):
            pid = playlist.get("pid") if isinstance(playlist, dict) else None
            if type(pid) is not int or not -_LIMIT < pid < _LIMIT:
                problem = f"playlist number {index} in {path!r} has no 'pid', an integer"
                raise FileFormatError(problem)
            if pid in self.path_of:
                raise pid_clash(pid, self.path_of[pid], path)
            tracks = playlist.get("tracks")
            if not isinstance(tracks, list):
                raise FileFormatError(f"playlist {pid} in {path!r} has no list 'tracks'")
            try:
                self._add_tracks(tracks)
            except (KeyError, TypeError) as error:
                problem = f"a track of playlist {pid} in {path!r} has no 'track_uri', a text"
                raise FileFormatError(problem) from error
            self.path_of[pid] = path
            _append(self.playlists, [playlist], _PLAYLIST)

    def _add_tracks(self, tracks: list[Any]) -> None:
        """Add the tracks of a playlist while they are in the cache."""
        new = []
        for track in tracks:
            uri = track["track_uri"]
            if uri not in self.numbers:
                if not isinstance(uri, str):
                    raise TypeError
                self.numbers[uri] = self.next_track
                self.next_track += 1
                new.append(track)
            self.entries.append(self.numbers[uri])
        self.lengths.append(len(tracks))
        _append(self.tracks, new, _TRACK)


def as_table(columns: dict[str, list[Any]]) -> Table:
    """Return columns as arrays of objects."""
    return {name: np.array(values, dtype=object) for name, values in columns.items()}


def pid_clash(pid: int, first: str, second: str) -> FileFormatError:
    """Return the error that two files, or two places in one, have the same playlist id."""
    return FileFormatError(f"playlist {pid} is in {first!r} and again in {second!r}: leave one out")


def _append(columns: dict[str, list[Any]], items: list[Any], fields: _Fields) -> None:
    for key, (name, kind) in fields.items():
        columns[name] += [_value(item.get(key), kind) for item in items]


def _value(value: Any, kind: type) -> Any:
    """Return a text or an integer of 64 bits; None if a value cannot be converted."""
    if kind is str and isinstance(value, str):
        return value
    with suppress(TypeError, ValueError, OverflowError):
        if -_LIMIT < int(value) < _LIMIT:  # beyond, orjson and json differ
            return kind(value)
    return None


def _playlists(content: bytes, path: str) -> Iterator[Any]:
    """Yield the playlists of a file, and free each before the next one."""
    for found in parse_documents(content, path):
        if isinstance(found, dict):
            found = found.get("playlists", [found] if "pid" in found else None)
        if not isinstance(found, list):
            raise FileFormatError(f"{path!r} has no list 'playlists': it is not a slice")
        found.reverse()
        while found:
            yield found.pop()
