import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold import datasets
from twofold.datasets import make_playlists
from twofold.exceptions import InvalidInputError


@pytest.fixture(scope="module")
def data():
    return make_playlists()


def lengths_of(data):
    return np.diff(data.pairings.matrix.indptr)


def assert_same(first, second):
    for name in ("indices", "indptr", "data"):
        np.testing.assert_array_equal(
            getattr(first.pairings.matrix, name), getattr(second.pairings.matrix, name)
        )
    np.testing.assert_array_equal(first.playlist_groups, second.playlist_groups)
    np.testing.assert_array_equal(first.track_groups, second.track_groups)


def share_outside(data):
    """Share of the pairs whose track is in neither group of its playlist."""
    playlist = np.repeat(np.arange(data.pairings.shape[0]), lengths_of(data))
    track_group = data.track_groups[data.pairings.matrix.indices]
    return np.mean((data.playlist_groups[playlist] != track_group[:, None]).all(axis=1))


def test_ids_and_values(data):
    assert data.pairings.shape == (2_000, 1_000)
    np.testing.assert_array_equal(data.pairings.row_ids, np.arange(1, 2_001))
    np.testing.assert_array_equal(data.pairings.col_ids, np.arange(1, 1_001))
    assert data.pairings.row_ids.dtype == data.pairings.col_ids.dtype == np.int64
    assert data.pairings.matrix.dtype == np.float32
    assert (data.pairings.matrix.data == 1).all()


@settings(max_examples=40, deadline=None)
@given(
    n_playlists=st.integers(1, 50),
    n_groups=st.integers(1, 6),
    tracks_per_group=st.integers(1, 30),
    mean_length=st.floats(5, 250),
    noise=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_any_size_gives_sorted_distinct_tracks(
    n_playlists, n_groups, tracks_per_group, mean_length, noise, seed
):
    made = make_playlists(
        n_playlists,
        n_groups * tracks_per_group,
        n_groups=n_groups,
        mean_length=mean_length,
        noise=noise,
        rng=seed,
    )
    assert made.pairings.matrix.has_canonical_format
    assert made.pairings.shape == (n_playlists, n_groups * tracks_per_group)
    assert 1 <= lengths_of(made).min() <= lengths_of(made).max() <= 250
    assert made.playlist_groups.shape == (n_playlists, 2)
    assert (np.bincount(made.track_groups, minlength=n_groups) == tracks_per_group).all()
    if noise == 0:
        assert share_outside(made) == 0


def test_lengths_are_like_those_of_real_playlists(data):
    lengths = lengths_of(data)
    assert lengths.min() == 5
    assert 17 <= np.median(lengths) <= 23
    assert 27 <= lengths.mean() <= 33
    assert 200 <= lengths.max() <= 250


def test_mean_length_is_followed():
    made = make_playlists(3_000, 20_000, mean_length=60, rng=1)
    assert np.median(lengths_of(made)) == pytest.approx(0.67 * 60, rel=0.05)
    assert lengths_of(made).mean() == pytest.approx(60, rel=0.07)


def test_popularity_has_a_heavy_tail():
    made = make_playlists(5_000, 10_000)
    counts = np.sort(np.bincount(made.pairings.matrix.indices, minlength=10_000))[::-1]
    assert np.mean((counts >= 1) & (counts <= 15)) > 0.5
    assert counts[:1_000].sum() > 0.5 * counts.sum()
    assert counts[0] > 50 * np.median(counts)


def test_groups_are_planted():
    for noise in (0.0, 0.1, 0.5):
        made = make_playlists(4_000, 20_000, mean_length=8, noise=noise, rng=2)
        two = made.playlist_groups[:, 0] != made.playlist_groups[:, 1]
        # A track of a random group is outside the 1 or 2 groups of its playlist this often.
        n_own = 1 + two.mean()
        assert share_outside(made) == pytest.approx(noise * (1 - n_own / 8), abs=0.02)
        assert 0.35 < two.mean() < 0.55


def test_groups_differ_in_size_by_one_at_most():
    sizes = np.bincount(make_playlists(10, 23, n_groups=5).track_groups)
    assert sizes.tolist().count(4) == 2
    assert sizes.tolist().count(5) == 3


def test_track_id_says_nothing_about_popularity(data):
    counts = np.bincount(data.pairings.matrix.indices, minlength=1_000)
    assert abs(np.corrcoef(np.arange(1_000), counts)[0, 1]) < 0.1


def test_small_catalogue_shortens_playlists():
    lengths = lengths_of(make_playlists(50, 3, n_groups=1, noise=0))
    assert set(lengths.tolist()) <= {2, 3}


def test_seed_decides(data):
    assert_same(data, make_playlists())
    other = make_playlists(rng=1)
    assert (data.track_groups != other.track_groups).any()
    assert data.pairings.n_pairs != other.pairings.n_pairs
    assert_same(
        make_playlists(rng=np.random.default_rng(7)), make_playlists(rng=np.random.default_rng(7))
    )
    generator = np.random.default_rng(7)
    first, second = make_playlists(rng=generator), make_playlists(rng=generator)
    assert (first.track_groups != second.track_groups).any()


def test_chunks_are_independent_of_each_other(monkeypatch):
    monkeypatch.setattr(datasets, "CHUNK", 100)
    made = make_playlists(250, 400)
    assert made.pairings.shape == (250, 400)
    assert lengths_of(made).min() >= 5
    # Equal seeds in the chunks would repeat the same random numbers: no two playlists are equal.
    dense = made.pairings.matrix.toarray()
    assert np.unique(dense, axis=0).shape[0] == 250


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("n_playlists", [0, -1, 1.5, "10", None, True]),
        ("n_tracks", [0, 7, 9.0]),
        ("n_groups", [0, 2.0, False]),
        ("mean_length", [4.9, 251, np.nan, "30"]),
        ("noise", [-0.1, 1.1, np.nan, None]),
        ("rng", [-1, 0.5, "seed"]),
    ],
)
def test_bad_parameters_are_refused_by_name(name, bad):
    for value in bad:
        with pytest.raises(InvalidInputError, match=f"{name} is"):
            make_playlists(**{name: value})
