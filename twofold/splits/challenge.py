"""The tasks of the Million Playlist Dataset Challenge, made from any ordered pairings."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_whole, seed_of
from twofold.data.csr import with_data
from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.splits.parts import PairSplit, canonical, order_of, pair_split, ranks

__all__ = ["CHALLENGE_TASKS", "ChallengeSplit", "ChallengeTask", "split_challenge"]


class ChallengeTask(NamedTuple):
    """One of the ten tasks: what is given of each playlist.

    Attributes
    ----------
    has_title : bool
        Whether the title of the playlist may be used. Pairings have no titles; `read_mpd` has them.
    n_seeds : int
        Number of tracks that are given.
    is_random : bool
        Whether these are chosen at random; otherwise they are the first ones.

    Examples
    --------
    >>> print(CHALLENGE_TASKS[8])
    title, 25 random tracks
    """

    has_title: bool
    n_seeds: int
    is_random: bool

    def __str__(self) -> str:
        kind = "random" if self.is_random else "first"
        return f"{'title' if self.has_title else 'no title'}, {self.n_seeds} {kind} tracks"


CHALLENGE_TASKS = {
    1: ChallengeTask(True, 0, False),
    2: ChallengeTask(True, 1, False),
    3: ChallengeTask(True, 5, False),
    4: ChallengeTask(False, 5, False),
    5: ChallengeTask(True, 10, False),
    6: ChallengeTask(False, 10, False),
    7: ChallengeTask(True, 25, False),
    8: ChallengeTask(True, 25, True),
    9: ChallengeTask(True, 100, False),
    10: ChallengeTask(True, 100, True),
}
"""The tasks by their numbers in the documentation of the challenge set."""


class ChallengeSplit(NamedTuple):
    """A training part, and playlists to complete by task.

    Attributes
    ----------
    train : Pairings
        All rows that are in no task, with the columns that have a pair in them. All columns of the
        tasks are among these.
    tasks : dict of int to PairSplit
        By the number of the task: its rows, which are in no other task, with their seed tracks
        (`PairSplit.seen`) and those to predict (`PairSplit.heldout`), and all columns.

    Examples
    --------
    >>> from twofold.datasets import make_playlists
    >>> playlists = make_playlists(300, 100).pairings
    >>> split_challenge(playlists, 5, tasks=[2, 3], order=range(playlists.n_pairs))
    <ChallengeSplit: train 290 rows x 100 columns; 2: 5 rows, 126 held out; 3: 5 rows, 81 held out>
    """

    train: Pairings
    tasks: dict[int, PairSplit]

    def __repr__(self) -> str:
        """Return the size of each part."""
        (n_rows, n_cols), tasks = self.train.shape, ""
        for number, split in self.tasks.items():
            tasks += f"; {number}: {split.seen.shape[0]} rows, {split.heldout.n_pairs} held out"
        return f"<{type(self).__name__}: train {n_rows} rows x {n_cols} columns{tasks}>"


def split_challenge(
    pairings: Pairings,
    n_rows: int = 1000,
    *,
    tasks: Iterable[int] = tuple(CHALLENGE_TASKS),
    order: Any = "times",
    rng: int | np.random.Generator | None = 11,
) -> ChallengeSplit:
    """Make a challenge set by the rules of the Million Playlist Dataset Challenge.

    The challenge set (RecSys Challenge 2018, and its continuation at AIcrowd) has 1,000 playlists
    for each of ten tasks, with these tracks given: (1) none, (2) the first, (3, 4) the first 5,
    (5, 6) the first 10, (7) the first 25, (8) 25 at random, (9) the first 100, (10) 100 at random.
    The title is given, too, except in tasks 4 and 6: see `CHALLENGE_TASKS`. All given and all
    held-out tracks occur in the training set.

    Here, rows are drawn at random for the tasks with the most seeds first, among those that are
    longer than the seeds and whose columns all occur in a row of the training part. In contrast to
    the challenge, a track that a playlist repeats counts once, at its position in `order`.

    Parameters
    ----------
    pairings : Pairings
        Playlists. They are not changed.
    n_rows : int, default 1000
        Rows for each task, >= 1.
    tasks : iterable of int, default all ten
        Numbers of the tasks, from 1 to 10, each once.
    order : {"times", "values"} or array_like, shape (n_pairs,), default "times"
        What orders the tracks of a playlist, ascending: see `split_last`. ``read_mpd(paths,
        positions=True)`` and, of a database by `import_mpd`, ``read_sql(url, time="pos")`` return
        positions as times.
    rng : int, numpy.random.Generator or None, default 11
        Seed of the random choices. None draws a new one from the operating system.

    Returns
    -------
    ChallengeSplit
        The training part and the tasks, each with its rows in their order in `pairings`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range, there is no order, or too few rows can be chosen for a task.

    References
    ----------
    "Challenge Set Readme", version 1, https://recsys-challenge.spotify.com/challenge_readme;
    https://www.aicrowd.com/challenges/spotify-million-playlist-dataset-challenge.

    Zamani, Schedl, Lamere, Chen, "An Analysis of Approaches Taken in the ACM RecSys Challenge 2018
    for Automatic Music Playlist Continuation", ACM Transactions on Intelligent Systems and
    Technology 10(5), 2019.

    Examples
    --------
    >>> from twofold.datasets import make_playlists
    >>> pairings = make_playlists(200, 50, rng=0).pairings
    >>> positions = np.arange(pairings.n_pairs)
    >>> train, tasks = split_challenge(pairings, 5, tasks=[1, 2, 4], order=positions)
    >>> train.shape[0], {number: split.seen.n_pairs for number, split in tasks.items()}
    (185, {1: 0, 2: 5, 4: 25})
    """
    check_whole(n_rows, "n_rows", 1)
    numbers = list(tasks) if isinstance(tasks, Iterable) else [tasks]
    if (
        not all(isinstance(number, int | np.integer) for number in numbers)
        or not set(numbers) <= set(CHALLENGE_TASKS)
        or len(set(numbers)) < len(numbers)
    ):
        raise InvalidInputError(f"tasks is {numbers}: give numbers from 1 to 10, each at most once")
    pairings, keys = canonical(pairings, order_of(pairings, order))
    generator = np.random.default_rng(seed_of(rng))
    chosen = _choose(pairings, n_rows, numbers, generator.permutation(pairings.shape[0]))
    draws = generator.random(pairings.n_pairs)
    numbered = with_data(pairings.matrix, np.arange(pairings.n_pairs))
    splits = {}
    for number in numbers:
        task, rows = CHALLENGE_TASKS[number], np.sort(chosen[number])
        part, entries = pairings.take_rows(rows), numbered[rows].data
        keys_of_part = (draws if task.is_random else keys)[entries]
        splits[number] = pair_split(part, ranks(part.matrix, keys_of_part) >= task.n_seeds)
    in_train = np.ones(pairings.shape[0], dtype=bool)
    in_train[[row for rows in chosen.values() for row in rows]] = False
    return ChallengeSplit(pairings.take_rows(np.flatnonzero(in_train)).drop_empty_cols(), splits)


def _choose(
    pairings: Pairings, n_rows: int, numbers: list[int], shuffled: NDArray[np.int64]
) -> dict[int, list[int]]:
    """Choose rows for each task, in a random order, whose columns remain in the other rows."""
    matrix = pairings.matrix
    lengths = np.diff(matrix.indptr)
    n_remaining = np.bincount(matrix.indices, minlength=matrix.shape[1])
    is_free = np.ones(lengths.size, dtype=bool)
    chosen: dict[int, list[int]] = {}
    for number in sorted(numbers, key=lambda number: -CHALLENGE_TASKS[number].n_seeds):
        n_seeds, rows = CHALLENGE_TASKS[number].n_seeds, chosen.setdefault(number, [])
        for row in shuffled[is_free[shuffled] & (lengths[shuffled] > n_seeds)].tolist():
            if len(rows) == n_rows:
                break
            is_free[row] = False  # chosen now, or never: counts only decrease
            cols = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
            if (n_remaining[cols] > 1).all():
                n_remaining[cols] -= 1
                rows.append(row)
        if len(rows) < n_rows:
            raise InvalidInputError(
                f"task {number} ({CHALLENGE_TASKS[number]}) needs {n_rows} rows with more than "
                f"{n_seeds} pairs whose columns all occur in the training part, but only "
                f"{len(rows)} are left: use a smaller n_rows or fewer tasks"
            )
    return chosen
