"""Synthetic playlists with planted taste groups, for tests, examples and benchmarks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.checks import check_real, check_whole, seed_of
from twofold.data.pairings import Pairings

__all__ = ["PlaylistData", "make_playlists"]

SHORTEST, LONGEST = 5, 250  # tracks in a playlist, as in the Million Playlist Dataset
LENGTH_SPREAD = 0.9  # standard deviation of log(length)
CONTRAST = 25.0  # (1 + CONTRAST)^2 is the ratio of the largest to the smallest probability
CHUNK = 10_000  # playlists drawn at a time; each chunk has its own seed
MAX_ROUNDS = 50  # maximum number of rounds that replace repeated tracks


@dataclass(frozen=True, eq=False)
class PlaylistData:
    """Playlists with the taste groups from which they were drawn.

    Parameters
    ----------
    pairings : Pairings, shape (n_playlists, n_tracks)
        Playlist ids are 1 to n_playlists and track ids 1 to n_tracks. Every stored value is 1.
    playlist_groups : ndarray of int64, shape (n_playlists, 2)
        The two groups of each playlist, which are equal if it has only one.
    track_groups : ndarray of int64, shape (n_tracks,)
        The group of each track, from 0 to n_groups - 1.

    Examples
    --------
    >>> data = make_playlists(100, 50, n_groups=2)
    >>> data.playlist_groups.shape, int(data.track_groups.max())
    ((100, 2), 1)
    """

    pairings: Pairings
    playlist_groups: NDArray[np.int64]
    track_groups: NDArray[np.int64]


def make_playlists(
    n_playlists: int = 2_000,
    n_tracks: int = 1_000,
    *,
    n_groups: int = 8,
    mean_length: float = 30.0,
    noise: float = 0.1,
    rng: int | np.random.Generator | None = 0,
) -> PlaylistData:
    """Draw random playlists with planted taste groups.

    Each track belongs to one of the groups, which have equal sizes. A playlist has one or two
    groups. Each of its tracks is drawn from one of these or, with probability `noise`, from a
    random group. In a group of n tracks, the probability of the track of rank r = 0, 1, ... is
    approximately proportional to 1 / (1 + 25 r / n)^2, a Zipf-Mandelbrot law: 4% of the tracks
    account for half of the draws, and most tracks occur rarely.

    The number of tracks in a playlist is log-normal with median 0.67 `mean_length`, clipped to
    5 to 250. Tracks do not repeat in a playlist, so it is shorter if its groups contain too few
    tracks.

    Parameters
    ----------
    n_playlists : int, default 2000
        Number of playlists, >= 1.
    n_tracks : int, default 1000
        Number of tracks, >= n_groups. With few playlists, some tracks do not occur.
    n_groups : int, default 8
        Number of taste groups, >= 1.
    mean_length : float, default 30.0
        Mean number of tracks in a playlist before clipping, from 5 to 250. The Million Playlist
        Dataset has 66.
    noise : float, default 0.1
        Share of the tracks that are drawn from random groups, from 0 to 1.
    rng : int, numpy.random.Generator or None, default 0
        Seed. The playlists are determined by the parameters and the seed. None draws a new seed
        from the operating system.

    Returns
    -------
    PlaylistData

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> make_playlists(100, 50, n_groups=2).pairings.shape
    (100, 50)
    """
    check_whole(n_playlists, "n_playlists", 1)
    check_whole(n_groups, "n_groups", 1)
    check_whole(n_tracks, "n_tracks", n_groups)
    check_real(mean_length, "mean_length", minimum=SHORTEST, maximum=LONGEST)
    check_real(noise, "noise", minimum=0.0, maximum=1.0)

    generator = np.random.default_rng(seed_of(rng))
    tracks = _Tracks(n_tracks, n_groups, generator)
    playlist_groups = _draw_playlist_groups(n_playlists, n_groups, generator)
    lengths = _draw_lengths(n_playlists, mean_length, generator)

    starts = range(0, n_playlists, CHUNK)
    indices, counts = [], []
    for start, child in zip(starts, generator.spawn(len(starts)), strict=True):
        part = slice(start, start + CHUNK)
        row, track = _draw_pairs(lengths[part], playlist_groups[part], tracks, noise, child)
        indices.append(track.astype(np.int32))
        counts.append(np.bincount(row, minlength=lengths[part].size))
    cols = np.concatenate(indices)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    matrix = sparse.csr_array(
        (np.ones(cols.size, dtype=np.float32), cols, indptr), shape=(n_playlists, n_tracks)
    )
    pairings = Pairings(matrix, np.arange(1, n_playlists + 1), np.arange(1, n_tracks + 1))
    return PlaylistData(pairings, playlist_groups, tracks.groups)


class _Tracks:
    """Tracks in groups of equal size, ordered by popularity within each group."""

    def __init__(self, n_tracks: int, n_groups: int, generator: np.random.Generator) -> None:
        self.order = generator.permutation(n_tracks)  # group by group, most popular first
        self.starts = np.arange(n_groups + 1) * n_tracks // n_groups
        self.groups = np.empty(n_tracks, dtype=np.int64)
        self.groups[self.order] = np.repeat(np.arange(n_groups), np.diff(self.starts))

    def draw(self, groups: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """Draw one track of each given group by inverting the distribution of the popularity."""
        share = generator.random(groups.size)
        place = (1.0 / (1.0 - share * CONTRAST / (1.0 + CONTRAST)) - 1.0) / CONTRAST
        size = self.starts[groups + 1] - self.starts[groups]
        rank = np.minimum((place * size).astype(np.int64), size - 1)
        return np.asarray(self.order[self.starts[groups] + rank], dtype=np.int64)


def _draw_playlist_groups(
    n_playlists: int, n_groups: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    groups = generator.integers(n_groups, size=(n_playlists, 2))
    has_one_group = generator.random(n_playlists) < 0.5
    groups[has_one_group, 1] = groups[has_one_group, 0]
    return groups


def _draw_lengths(
    n_playlists: int, mean_length: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    median = mean_length * np.exp(-(LENGTH_SPREAD**2) / 2)
    lengths = generator.lognormal(np.log(median), LENGTH_SPREAD, n_playlists)
    return np.clip(np.rint(lengths), SHORTEST, LONGEST).astype(np.int64)


def _draw_pairs(
    lengths: NDArray[np.int64],
    playlist_groups: NDArray[np.int64],
    tracks: _Tracks,
    noise: float,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw distinct tracks for each playlist; return playlist and track of every pair, sorted.

    Each round draws as many tracks as a playlist is missing and drops repeated ones. A playlist
    thus contains the first `length` distinct tracks of a sequence of independent draws, which is
    weighted sampling without replacement. The memory is one entry for each pair.
    """
    n_tracks, n_groups = tracks.order.size, tracks.starts.size - 1
    targets = np.minimum(lengths, n_tracks)
    n_missing = targets
    complete = []
    keys = np.empty(0, dtype=np.int64)  # playlist * n_tracks + track, of incomplete playlists
    for _ in range(MAX_ROUNDS):
        playlist = np.repeat(np.arange(lengths.size), n_missing)
        group = playlist_groups[playlist, generator.integers(2, size=playlist.size)]
        from_any_group = generator.random(playlist.size) < noise
        group[from_any_group] = generator.integers(n_groups, size=int(from_any_group.sum()))
        drawn = playlist * n_tracks + tracks.draw(group, generator)
        keys = np.sort(np.concatenate([keys, drawn]))
        keys = keys[np.diff(keys, prepend=-1) > 0]
        owner = keys // n_tracks
        n_missing = np.where(n_missing > 0, targets - np.bincount(owner, minlength=targets.size), 0)
        is_complete = n_missing[owner] == 0
        complete.append(keys[is_complete])
        keys = keys[~is_complete]
        if not keys.size:
            break
    keys = np.sort(np.concatenate([*complete, keys]))
    return keys // n_tracks, keys % n_tracks
