"""`read_mpd`: slices of the Million Playlist Dataset."""

import glob
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from twofold._checks import check_choice
from twofold._csr import build_csr
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.pairings import Duplicates, Pairings

__all__ = ["MpdPairings", "read_mpd"]

Path_ = str | os.PathLike[str]
Table = dict[str, NDArray[Any]]

# Our names, and those of the dataset. A value that a slice does not have is None.
TRACK_FIELDS = {
    "uri": "track_uri",
    "name": "track_name",
    "artist": "artist_name",
    "album": "album_name",
    "duration_ms": "duration_ms",
}
PLAYLIST_FIELDS = {
    "pid": "pid",
    "name": "name",
    "description": "description",
    "num_followers": "num_followers",
    "modified_at": "modified_at",
}
NUMBERS = ("pid", "duration_ms", "num_followers", "modified_at")


@dataclass(frozen=True, eq=False, repr=False)
class MpdPairings(Pairings):
    """Pairings of the Million Playlist Dataset, with what it says about playlists and tracks.

    `row_ids` are the dataset's playlist ids (pid). `col_ids` are Spotify URIs such as
    ``spotify:track:7nn9F7GffyZdg1EeJxycvi``, so a model trained on some slices knows the tracks of
    others. Both are in the order in which they first appear.

    `take_rows` and `align` return plain `Pairings`; names are still found through this object:
    ``mpd.tracks["name"][mpd.col_index(uris)]``.

    Parameters
    ----------
    tracks : dict of str to ndarray of object, each of shape (n_cols,), default empty
        Columns ``uri``, ``name``, ``artist``, ``album`` and ``duration_ms``, in the order of
        `col_ids`.
    playlists : dict of str to ndarray of object, each of shape (n_rows,), default empty
        Columns ``pid``, ``name``, ``description``, ``num_followers`` and ``modified_at``, in the
        order of `row_ids`.
    """

    tracks: Table = field(default_factory=dict, kw_only=True)
    playlists: Table = field(default_factory=dict, kw_only=True)

    @property
    def n_empty_playlists(self) -> int:
        """How many playlists have no track: they are kept, as empty rows."""
        return int(np.count_nonzero(np.diff(self.matrix.indptr) == 0))


def read_mpd(
    paths: Path_ | Iterable[Path_],
    *,
    duplicates: Duplicates = "keep-one",
    progress: bool = False,
) -> MpdPairings:
    """Read slices of the Million Playlist Dataset (``mpd.slice.0-999.json`` and so on).

    Parameters
    ----------
    paths : str, path, or iterable of these
        Files; folders, of which every ``mpd.slice.*.json`` is read; or patterns such as
        ``"data/mpd.slice.?-*.json"``. Files from folders and patterns come in the order of the
        numbers in their names.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a track that a playlist repeats becomes: one entry; one entry whose value counts the
        repetitions; or an error.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    MpdPairings
        Every stored value is 1, or a count. Playlists without tracks are kept as empty rows, and
        counted in `n_empty_playlists`.

    Raises
    ------
    FileFormatError
        If a file is not complete JSON (with the byte where reading stopped), lacks a key that is
        needed (with the playlist), or has a playlist id that another file has too (naming both).
    InvalidInputError
        If no file is found, one cannot be opened, or a playlist repeats a track although
        `duplicates` is ``"error"``.
    """
    check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
    reader = _Reader()
    for file in tqdm(_find(paths), unit=" files", disable=not progress):
        reader.read(file)
    return reader.pairings(duplicates)


class _Reader:
    """Playlists and tracks of the files read so far."""

    def __init__(self) -> None:
        self.file_of: dict[int, Path] = {}  # by pid
        self.position: dict[str, int] = {}  # by track URI
        self.tracks: dict[str, list[Any]] = {name: [] for name in TRACK_FIELDS}
        self.playlists: dict[str, list[Any]] = {name: [] for name in PLAYLIST_FIELDS}
        self.lengths: list[int] = []
        self.entries: list[NDArray[np.int64]] = []

    def read(self, file: Path) -> None:
        for index, playlist in enumerate(_playlists(file)):
            pid = playlist.get("pid") if isinstance(playlist, dict) else None
            if not isinstance(pid, int) or isinstance(pid, bool) or abs(pid) >= 2**63:
                raise FileFormatError(
                    f"playlist number {index} in {str(file)!r} has no 'pid' that is a whole number"
                )
            if pid in self.file_of:
                raise FileFormatError(
                    f"playlist {pid} is in {str(self.file_of[pid])!r} and again in {str(file)!r}: "
                    "leave one of the two out"
                )
            self.file_of[pid] = file
            self._append(self.playlists, PLAYLIST_FIELDS, playlist)
            found = playlist.get("tracks")
            if not isinstance(found, list):
                raise FileFormatError(f"playlist {pid} in {str(file)!r} has no list 'tracks'")
            self.lengths.append(len(found))
            self.entries.append(
                np.fromiter((self._track(t, pid, file) for t in found), np.int64, len(found))
            )

    def _track(self, track: Any, pid: int, file: Path) -> int:
        uri = track.get("track_uri") if isinstance(track, dict) else None
        if not isinstance(uri, str):
            raise FileFormatError(f"a track of playlist {pid} in {str(file)!r} has no 'track_uri'")
        position = self.position.setdefault(uri, len(self.position))
        if position == len(self.tracks["uri"]):
            self._append(self.tracks, TRACK_FIELDS, track)
        return position

    def _append(self, table: dict[str, list[Any]], fields: dict[str, str], item: Any) -> None:
        for name, key in fields.items():
            value = item.get(key)
            wanted = int if name in NUMBERS else str
            table[name].append(value if value is None else _convert(value, wanted))

    def pairings(self, duplicates: Duplicates) -> MpdPairings:
        tracks, playlists = _as_table(self.tracks), _as_table(self.playlists)
        row_ids = np.array(self.playlists["pid"], dtype=np.int64)
        cols = np.concatenate([np.empty(0, dtype=np.int64), *self.entries])
        rows = np.repeat(np.arange(row_ids.size), self.lengths)
        matrix = build_csr(
            rows.astype(np.int32), cols.astype(np.int32), None, row_ids, tracks["uri"], duplicates
        )
        return MpdPairings(matrix, row_ids, tracks["uri"], tracks=tracks, playlists=playlists)


def _convert(value: Any, wanted: type) -> Any:
    try:
        return wanted(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _as_table(columns: dict[str, list[Any]]) -> Table:
    table = {}
    for name, items in columns.items():
        table[name] = np.empty(len(items), dtype=object)
        table[name][:] = items
    return table


def _playlists(file: Path) -> Sequence[Any]:
    name = str(file)
    try:
        blob = file.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"cannot read {name!r}: {error.strerror or error}") from error
    advice = "it is truncated or not a slice of the Million Playlist Dataset; copy it again"
    try:
        text = blob.decode("utf-8")
        slice_ = json.loads(text)
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{name!r} is not UTF-8 text at byte {error.start} of {len(blob)}: {advice}"
        ) from error
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-8"))
        problem = error.msg.removesuffix(" starting at")
        raise FileFormatError(
            f"{name!r} is not complete JSON ({problem} at byte {offset} of {len(blob)}): {advice}"
        ) from error
    except RecursionError as error:
        raise FileFormatError(f"{name!r} is nested too deeply: {advice}") from error
    found = slice_.get("playlists") if isinstance(slice_, dict) else None
    if not isinstance(found, list):
        raise FileFormatError(
            f"{name!r} has no list 'playlists': it is not a slice of the Million Playlist Dataset"
        )
    return found


def _find(paths: Path_ | Iterable[Path_]) -> list[Path]:
    """Files that the paths, folders and patterns stand for, each once."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: dict[Path, None] = {}
    for item in [os.fspath(path) for path in given]:
        if os.path.isdir(item):
            files = _in_order(Path(item).glob("mpd.slice.*.json"))
            reason = "has no file mpd.slice.*.json"
        elif os.path.exists(item):
            files, reason = [Path(item)], ""
        else:
            files = _in_order(map(Path, glob.glob(item, recursive=True)))
            reason = "matches no file"
        if not files:
            raise InvalidInputError(f"{item!r} {reason}: check the path")
        found.update(dict.fromkeys(files))
    if not found:
        raise InvalidInputError("no paths were given: there is nothing to read")
    return list(found)


def _in_order(files: Iterable[Path]) -> list[Path]:
    def key(file: Path) -> list[Any]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(file))]

    return sorted((file for file in files if file.is_file()), key=key)
