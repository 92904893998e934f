"""`read_mpd`: slices of the Million Playlist Dataset."""

import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from twofold._common.checks import check_choice
from twofold.data import Duplicates, Pairings
from twofold.data.csr import build_csr
from twofold.data.report import reported
from twofold.io.mpd_files import Paths, find_slices
from twofold.io.mpd_slices import (
    PLAYLIST_FIELDS,
    TRACK_FIELDS,
    Numbers,
    Slice,
    pid_clash,
)
from twofold.io.mpd_workers import count_workers, read_slices

__all__ = ["MpdPairings", "read_mpd"]

Table = dict[str, NDArray[Any]]


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
    paths: Paths,
    *,
    duplicates: Duplicates = "keep-one",
    n_workers: int | None = None,
    progress: bool = False,
) -> MpdPairings:
    """Read slices of the Million Playlist Dataset (``mpd.slice.0-999.json`` and so on).

    Parameters
    ----------
    paths : str, path, or iterable of these
        Files; folders, of which every ``mpd.slice.*.json`` and ``mpd.slice.*.json.gz`` is read; or
        patterns such as ``"data/mpd.slice.?-*.json"``. Files from folders and patterns come in the
        order of the numbers in their names. Files may be compressed by gzip.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a track that a playlist repeats becomes: one entry; one entry whose value counts the
        repetitions; or an error.
    n_workers : int, optional
        How many processes parse files, this one included. Without it as many as there are CPUs, or
        1 if the files are small. The result is the same for any number.
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
    started = time.perf_counter()
    check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
    files = find_slices(paths)
    merged = _Merged()
    numbers = Numbers({})
    with closing(read_slices(files, count_workers(n_workers, files), numbers)) as slices:
        for file in tqdm(files, unit=" files", disable=not progress):
            merged.add(next(slices), file)
    return reported(merged.pairings(duplicates), "mpd", merged.n_pairs, started)


class _Merged:
    """Playlists and tracks of the slices read so far."""

    def __init__(self) -> None:
        self.file_of: dict[int, Path] = {}  # by pid
        self.tracks: dict[str, list[Any]] = {name: [] for name in TRACK_FIELDS}
        self.playlists: dict[str, list[Any]] = {name: [] for name in PLAYLIST_FIELDS}
        self.lengths: list[NDArray[np.intc]] = []
        self.entries: list[NDArray[np.intc]] = []
        self.n_pairs = 0

    def add(self, slice_: Slice, file: Path) -> None:
        for pid in slice_.playlists["pid"]:
            if pid in self.file_of:
                raise pid_clash(pid, str(self.file_of[pid]), str(file))
            self.file_of[pid] = file
        for name, values in slice_.playlists.items():
            self.playlists[name] += values
        for name, values in slice_.tracks.items():
            self.tracks[name] += values
        self.lengths.append(np.asarray(slice_.lengths))
        self.entries.append(np.asarray(slice_.codes))
        self.n_pairs += self.entries[-1].size

    def pairings(self, duplicates: Duplicates) -> MpdPairings:
        tracks, playlists = as_table(self.tracks), as_table(self.playlists)
        row_ids = np.array(self.playlists["pid"], dtype=np.int64)
        cols = np.concatenate(self.entries, dtype=np.int32)
        rows = np.repeat(np.arange(row_ids.size, dtype=np.int32), np.concatenate(self.lengths))
        matrix, _ = build_csr(rows, cols, {}, row_ids, tracks["uri"], duplicates)
        return MpdPairings(matrix, row_ids, tracks["uri"], tracks=tracks, playlists=playlists)


def as_table(columns: dict[str, list[Any]]) -> Table:
    """Return each column as an array of objects."""
    return {
        name: np.fromiter(items, dtype=object, count=len(items)) for name, items in columns.items()
    }
