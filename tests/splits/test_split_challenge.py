"""The tasks of the challenge, by the rules of its documentation."""

import re

import numpy as np
import pytest

from twofold import Pairings
from twofold.datasets import make_playlists
from twofold.exceptions import InvalidInputError
from twofold.splits import CHALLENGE_TASKS, split_challenge

# The list of https://recsys-challenge.spotify.com/challenge_readme, as it is published.
PUBLISHED = """
1. Predict tracks for a playlist given its title only
2. Predict tracks for a playlist given its title and the first track
3. Predict tracks for a playlist given its title and the first 5 tracks
4. Predict tracks for a playlist given its first 5 tracks (no title)
5. Predict tracks for a playlist given its title and the first 10 tracks
6. Predict tracks for a playlist given its first ten tracks (no title)
7. Predict tracks for a playlist given its title and the first 25 tracks
8. Predict tracks for a playlist given its title and 25 random tracks
9. Predict tracks for a playlist given its title and the first 100 tracks
10. Predict tracks for a playlist given its title and 100 random tracks
"""


def ordered(n_playlists=400, n_tracks=300, mean_length=150.0):
    """Playlists with the positions of their tracks as times, in a random order."""
    pairings = make_playlists(n_playlists, n_tracks, mean_length=mean_length, rng=1).pairings
    rng = np.random.default_rng(2)
    positions = [rng.permutation(n) for n in np.diff(pairings.matrix.indptr)]
    ids = (pairings.row_ids, pairings.col_ids)
    return Pairings(pairings.matrix, *ids, times=np.concatenate(positions))


@pytest.fixture(scope="module")
def playlists_in_order():
    return ordered()


@pytest.fixture(scope="module")
def challenge(playlists_in_order):
    return split_challenge(playlists_in_order, 7)


def columns_by_position(pairings, row):
    start, stop = pairings.matrix.indptr[row : row + 2]
    by_position = np.argsort(pairings.times[start:stop])
    return pairings.matrix.indices[start:stop][by_position].tolist()


def test_the_tasks_are_those_published():
    for line in PUBLISHED.strip().splitlines():
        number, text = line.split(". Predict tracks for a playlist given its ")
        task = CHALLENGE_TASKS[int(number)]
        count = re.search(r"\d+", text.replace("ten", "10").replace("first track", "first 1 track"))
        assert task.n_seeds == (int(count[0]) if count else 0)
        assert task.has_title == ("no title" not in text)
        assert task.is_random == ("random" in text)
    assert len(CHALLENGE_TASKS) == 10


def test_each_task_has_its_rows_and_seeds(playlists_in_order, challenge):
    pairings = playlists_in_order
    assert list(challenge.tasks) == list(range(1, 11))
    n_in_order = {}
    for number, (seen, heldout) in challenge.tasks.items():
        task = CHALLENGE_TASKS[number]
        assert seen.shape == heldout.shape == (7, 300)
        assert (np.diff(seen.matrix.indptr) == task.n_seeds).all()
        assert (np.diff(heldout.matrix.indptr) > 0).all()
        n_in_order[number] = 0
        for row, original in enumerate(pairings.row_index(seen.row_ids).tolist()):
            cols = columns_by_position(pairings, original)
            found = columns_by_position(seen, row)
            n_in_order[number] += found == cols[: task.n_seeds]
            assert sorted(found + columns_by_position(heldout, row)) == sorted(cols)
    assert n_in_order == {n: 0 if task.is_random else 7 for n, task in CHALLENGE_TASKS.items()}


def test_the_rows_of_the_tasks_are_not_in_train_and_their_columns_are(
    playlists_in_order, challenge
):
    parts = [challenge.train, *(split.seen for split in challenge.tasks.values())]
    ids = np.concatenate([part.row_ids for part in parts])
    assert np.sort(ids).tolist() == playlists_in_order.row_ids.tolist()
    assert np.unique(challenge.train.matrix.indices).size == challenge.train.shape[1]
    for seen, heldout in challenge.tasks.values():
        for part in (seen, heldout):
            assert part.align(challenge.train).n_dropped_pairs == 0
            assert (np.diff(part.row_ids) > 0).all()


def test_columns_of_few_rows_stay_in_train():
    """Two rows have the columns 8 and 9 alone, so one of them has to stay; a third is alone."""
    rows = [*range(6), *range(6), 6, 6, 7, 7, 8, 8]
    cols = [0] * 6 + [1] * 6 + [8, 9, 8, 9, 0, 7]
    pairings = Pairings.from_arrays(rows, cols)
    for seed in range(20):
        train, tasks = split_challenge(pairings, 6, tasks=[2], order="values", rng=seed)
        chosen = set(tasks[2].seen.row_ids.tolist())
        assert len(chosen & {6, 7}) <= 1
        assert 8 not in chosen
        assert set(train.col_ids.tolist()) == {0, 1, 7, 8, 9}


def test_a_row_is_longer_than_its_seeds():
    lengths = [5, 5, 5, 6, 6, 7]
    rows = np.repeat(np.arange(6), lengths)
    cols = np.concatenate([np.arange(length) for length in lengths])
    pairings = Pairings.from_arrays(rows, cols)
    for seed in range(10):
        split = split_challenge(pairings, 1, tasks=[3], order="values", rng=seed)
        assert split.tasks[3].seen.row_ids.tolist() in ([3], [4])
        assert split.tasks[3].heldout.n_pairs == 1


def test_rows_are_chosen_equally_often():
    pairings = Pairings.from_arrays(np.repeat(np.arange(4), 2), [0, 1] * 4)
    n = 1000
    counts = np.zeros(4)
    for seed in range(n):
        split = split_challenge(pairings, 1, tasks=[1], order="values", rng=seed)
        counts[split.tasks[1].seen.row_ids] += 1
    assert np.abs(counts - n / 4).max() < 4 * np.sqrt(n * 0.25 * 0.75)


def test_random_seeds_are_chosen_equally_often():
    n_rows, length = 2_000, 50
    rows, cols = np.divmod(np.arange(n_rows * length), length)
    pairings = Pairings.from_arrays(rows, cols)
    split = split_challenge(pairings, n_rows - 1, tasks=[8], order="values")
    counts = np.bincount(split.tasks[8].seen.matrix.indices, minlength=length)
    assert np.abs(counts - n_rows / 2).max() < 4 * np.sqrt(n_rows / 4)


def test_dates_can_be_the_order(playlists_in_order, challenge):
    days = np.datetime64("2017-01-01") + playlists_in_order.times
    by_day = split_challenge(playlists_in_order, 7, order=days)
    for number, (seen, _) in by_day.tasks.items():
        np.testing.assert_array_equal(
            seen.matrix.indices, challenge.tasks[number].seen.matrix.indices
        )


def test_some_of_the_tasks(playlists_in_order):
    split = split_challenge(playlists_in_order, 3, tasks=(9, 1))
    assert list(split.tasks) == [9, 1]
    assert repr(split).startswith("<ChallengeSplit: train 394 rows x 300 columns; 9: 3 rows, ")


@pytest.mark.parametrize("tasks", [[0], [11], [1, 1], ["1"]])
def test_wrong_tasks_are_an_error(playlists_in_order, tasks):
    with pytest.raises(InvalidInputError, match="numbers from 1 to 10"):
        split_challenge(playlists_in_order, 1, tasks=tasks)


def test_too_few_rows_are_an_error_that_names_the_task():
    with pytest.raises(
        InvalidInputError,
        match=r"task 9 \(title, 100 first tracks\) needs 5 rows with more than 100 .* only 2 are",
    ):
        split_challenge(ordered(mean_length=20.0), 5)


def test_an_order_is_needed():
    pairings = make_playlists(50, 20, mean_length=5.0, rng=0).pairings
    with pytest.raises(InvalidInputError, match=r"read_mpd\(positions=True\)"):
        split_challenge(pairings, 1)
    with pytest.raises(InvalidInputError, match="n_rows is 0"):
        split_challenge(pairings, 0)
