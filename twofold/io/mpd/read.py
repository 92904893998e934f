"""`read_mpd`: slices of the Million Playlist Dataset become pairings."""

import time
from dataclasses import dataclass, field

import numpy as np

from twofold._common.checks import check_choice, check_flags
from twofold._common.progress import progress_bar
from twofold.data import Duplicates, Pairings, ReadReport
from twofold.data.csr import build_csr
from twofold.io.mpd.files import Paths, find_slices, read_content
from twofold.io.mpd.slices import Playlists, Table, as_table

__all__ = ["MpdPairings", "read_mpd"]


@dataclass(frozen=True, eq=False, repr=False)
class MpdPairings(Pairings):
    """Pairings of the Million Playlist Dataset: `row_ids` are playlist ids, `col_ids` are URIs.

    Both are in the order in which they first appear. `take_rows` and `align` return `Pairings`.

    Parameters
    ----------
    tracks : dict of str to ndarray of object, each of shape (n_cols,), default empty
        Columns ``uri``, ``name``, ``artist``, ``album`` and ``duration_ms``.
    playlists : dict of str to ndarray of object, each of shape (n_rows,), default empty
        Columns ``pid``, ``name``, ``description``, ``num_followers`` and ``modified_at``.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> track = {"track_uri": "spotify:track:1", "track_name": "Air", "artist_name": "Bach"}
    >>> playlists = [{"pid": 0, "name": "calm", "tracks": [track]}, {"pid": 1, "tracks": []}]
    >>> _ = Path("mpd.slice.0-1.json").write_text(json.dumps({"playlists": playlists}))
    >>> mpd = read_mpd("mpd.slice.0-1.json")
    >>> mpd.row_ids.tolist(), mpd.tracks["name"].tolist(), mpd.n_empty_playlists
    ([0, 1], ['Air'], 1)
    """

    tracks: Table = field(default_factory=dict, kw_only=True)
    playlists: Table = field(default_factory=dict, kw_only=True)

    @property
    def n_empty_playlists(self) -> int:
        """Number of playlists without tracks, which are kept as empty rows."""
        return int(np.count_nonzero(np.diff(self.matrix.indptr) == 0))


def read_mpd(
    paths: Paths,
    *,
    duplicates: Duplicates = "keep-one",
    positions: bool = False,
    progress: bool = False,
) -> MpdPairings:
    """Read slices of the Million Playlist Dataset (``mpd.slice.0-999.json`` and so on).

    A slice is a JSON object with a list ``playlists``, as is the challenge set; a list of
    playlists; or JSON lines of playlists. It may be compressed by gzip. With the extra
    ``twofold[mpd-fast]``, orjson parses it.

    Parameters
    ----------
    paths : str, path, or iterable of these
        Files; patterns such as ``"data/mpd.slice.?-*.json"``; folders and zip archives, of which
        every ``mpd.slice.*.json``, ``.json.gz`` and ``.jsonl`` is read, or ``challenge_set.json``
        if there are none; each of these in the order of the numbers in their names.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a track that a playlist repeats becomes: one entry; one that counts; or an error.
    positions : bool, default False
        Keep the first position of each track in its playlist, from 0, as `Pairings.times`, for
        `split_last` and `split_challenge`.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    MpdPairings
        Values are 1, or counts. Playlists without tracks are empty rows.

    Raises
    ------
    FileFormatError
        If a file is not a whole slice (naming the byte or the playlist), an archive has no slices,
        or two files have the same playlist id (naming both).
    InvalidInputError
        If no file is found or one cannot be read, or a repeated track is not allowed.

    Examples
    --------
    >>> import json
    >>> from pathlib import Path
    >>> track = {"track_uri": "spotify:track:1", "track_name": "Air", "artist_name": "Bach"}
    >>> playlists = [{"pid": 0, "name": "calm", "tracks": [track]}, {"pid": 1, "tracks": []}]
    >>> _ = Path("mpd.slice.0-1.json").write_text(json.dumps({"playlists": playlists}))
    >>> read_mpd("mpd.slice.0-1.json")
    <MpdPairings: 2 rows x 1 columns, 1 pairs>
    """
    started = time.perf_counter()
    check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
    check_flags(positions=positions, progress=progress)
    read = Playlists({}, 0)
    with find_slices(paths) as files:
        for file in progress_bar(files, unit=" files", shown=progress):
            read.add(read_content(file), str(file))
    playlists, tracks = as_table(read.playlists), as_table(read.tracks)
    row_ids, uris = playlists["pid"].astype(np.int64), tracks["uri"]
    lengths = np.asarray(read.lengths)
    rows = np.repeat(np.arange(row_ids.size, dtype=np.int32), lengths)
    cols = np.array(read.entries, dtype=np.int32)
    numbers, times = {}, None
    if positions:  # negative, because the largest number of a repeated pair is kept
        numbers["time"] = np.repeat(np.cumsum(lengths) - lengths, lengths) - np.arange(rows.size)
    matrix, beside = build_csr(rows, cols, numbers, row_ids, uris, duplicates)
    if positions:
        times = -beside["times"]
    report = ReadReport.of(matrix, "mpd", len(read.entries), 0, started)
    return MpdPairings(
        matrix, row_ids, uris, times=times, tracks=tracks, playlists=playlists, report=report
    )
