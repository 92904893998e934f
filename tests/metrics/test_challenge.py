"""The three metrics of the challenge, against its rules written out for one playlist."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_tables import rankings, relevant_of

from twofold.exceptions import InvalidInputError
from twofold.metrics import clicks_at_k, judge, mpd_ndcg_at_k, mpd_r_precision, r_precision


def naive_r_precision(row, wanted, artists, matches):
    suggested = [col for col in row[: len(wanted)] if col >= 0]
    hits = set(suggested) & wanted
    giving = set(suggested) - hits if matches == "missed" else suggested
    common = {artists[col] for col in giving} & {artists[col] for col in wanted}
    return (len(hits) + 0.25 * len(common)) / len(wanted)


@given(ranking=rankings(), seed=st.integers(0, 99))
def test_r_precision_is_its_formula(ranking, seed):
    lists, wanted, n_cols, _ = ranking
    artists = np.random.default_rng(seed).choice(["a", "b", "c", "d"], n_cols)
    judged = judge(lists, relevant_of(wanted, n_cols))
    for matches in ("all", "missed"):
        expected = [
            naive_r_precision(row, cols, artists, matches) if cols else np.nan
            for row, cols in zip(lists, wanted, strict=True)
        ]
        found = mpd_r_precision(judged, None, artists=artists, matches=matches, per_row=True)
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_r_precision_by_hand():
    # Ten tracks held out; of the first ten suggested, tracks 0 and 1 hit. Artist 7 of the held-out
    # track 2 is suggested twice by other tracks; artist 8 of track 3 only after the tenth track.
    relevant = relevant_of([set(range(10))], 40)
    artists = np.arange(100, 140)
    artists[[2, 20, 21]], artists[[3, 30]] = 7, 8
    lists = [[0, 20, 21, 1, 22, 23, 24, 25, 26, 27, 30]]
    # Artists of hits count in the printed formula: those of tracks 0 and 1, and artist 7.
    assert mpd_r_precision(lists, relevant, artists=artists) == (2 + 0.25 * 3) / 10
    missed = mpd_r_precision(lists, relevant, artists=artists, matches="missed")
    assert missed == (2 + 0.25 * 1) / 10


def test_a_perfect_list_of_different_artists_scores_5_quarters():
    relevant = relevant_of([{0, 1}], 3)
    assert mpd_r_precision([[1, 0]], relevant, artists=[1, 2, 3]) == 1.25
    assert mpd_r_precision([[1, 0]], relevant, artists=[1, 2, 3], matches="missed") == 1.0


def test_artists_in_common_with_other_playlists_do_not_count():
    relevant = relevant_of([{0}, {1}], 4)
    lists, artists = [[3], [2]], ["a", "b", "a", "b"]
    assert mpd_r_precision(lists, relevant, artists=artists) == 0.0


def test_without_artists_in_common_it_is_r_precision():
    relevant = relevant_of([{0, 1}, {2}], 6)
    lists = [[0, 4], [5, 2]]
    found = mpd_r_precision(lists, relevant, artists=range(6), matches="missed")
    assert found == r_precision(lists, relevant) == 0.25


def test_artists_of_another_length_are_refused():
    with pytest.raises(InvalidInputError, match="one artist for each of the 3 columns"):
        mpd_r_precision([[0]], relevant_of([{0}], 3), artists=[1, 2])


def test_ndcg_by_hand():
    # Hits at ranks 1, 3 and 4 of four: 1 + 1/log2(3) + 1/2 against 1 + 1 + 1/log2(3).
    relevant = relevant_of([{0, 2, 3, 9}], 10)
    expected = (1 + 1 / math.log2(3) + 1 / 2) / (1 + 1 + 1 / math.log2(3))
    assert mpd_ndcg_at_k([[0, 1, 2, 3]], relevant, 4) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("rank", "clicks"), [(1, 0), (10, 0), (11, 1), (20, 1), (491, 49), (500, 49), (501, 51)]
)
def test_clicks_of_500_tracks(rank, clicks):
    lists = np.arange(501)[None, :]
    relevant = relevant_of([{rank - 1}], 501)
    assert clicks_at_k(lists, relevant, 500) == clicks


def test_an_unanswered_playlist_has_51_clicks_and_scores_0():
    judged = judge(np.full((1, 500), -1), relevant_of([{3}], 600))
    assert clicks_at_k(judged, None, 500) == 51
    assert mpd_ndcg_at_k(judged, None, 500) == 0
    assert mpd_r_precision(judged, None, artists=np.zeros(600)) == 0
