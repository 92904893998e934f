import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_data import entries, make_pairings

from twofold import Pairings
from twofold.exceptions import InvalidInputError
from twofold.splits import Unknown, split_pairs

row_lengths = st.lists(st.integers(0, 40), min_size=1, max_size=30)
seeds = st.integers(0, 2**32)


@given(row_lengths, st.floats(0, 0.999), seeds)
def test_pair_split_is_disjoint_exhaustive_and_counted(lengths, fraction, seed):
    pairings = make_pairings(lengths)
    seen, heldout = split_pairs(pairings, fraction=fraction, rng=seed)
    assert not entries(seen) & entries(heldout)
    assert entries(seen) | entries(heldout) == entries(pairings)
    expected = [min(round(fraction * n), max(n - 1, 0)) for n in lengths]
    np.testing.assert_array_equal(np.diff(heldout.matrix.indptr), expected)
    for part in (seen, heldout):
        np.testing.assert_array_equal(part.row_ids, pairings.row_ids)
        np.testing.assert_array_equal(part.col_ids, pairings.col_ids)
        assert part.matrix.has_canonical_format


def test_every_pair_of_a_row_is_held_out_equally_often():
    n_rows, length = 4_000, 10
    pairings = make_pairings([length] * n_rows, n_cols=length)
    heldout = split_pairs(pairings, fraction=0.3).heldout
    counts = np.bincount(heldout.matrix.indices, minlength=length)
    deviation = np.sqrt(n_rows * 0.3 * 0.7)
    assert np.abs(counts - 0.3 * n_rows).max() < 4 * deviation


def test_the_choice_is_that_of_earlier_versions():
    seen, heldout = split_pairs(make_pairings([10, 7, 1]), rng=11)
    assert entries(heldout) == {(0, 5, 4.0), (0, 22, 7.0), (1, 17, 15.0)}
    assert seen.n_pairs == 15


def test_train_has_the_seen_columns_only():
    pairings = Pairings.from_arrays([1, 1, 2, 2], ["a", "b", "c", "d"])
    split = split_pairs(pairings, fraction=0.5)
    assert split.seen.shape == split.heldout.shape == (2, 4)
    assert split.train.shape == (2, 2)
    assert split.train.n_pairs == split.seen.n_pairs == 2
    assert split.unknown == Unknown(2, 2)
    assert repr(split) == (
        "<PairSplit: 2 rows x 4 columns, 2 pairs seen, 2 held out (2 with 2 columns not seen)>"
    )


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, np.nan, "0.2", None, True])
def test_the_fraction_must_be_from_0_to_1(share):
    with pytest.raises(InvalidInputError, match="fraction is"):
        split_pairs(make_pairings([5]), fraction=share)


@given(row_lengths, st.integers(0, 20), seeds)
def test_limited_splits_keep_the_held_out_pairs_and_are_nested(lengths, n, seed):
    split = split_pairs(make_pairings(lengths), rng=0)
    less, more = split.limit_seen(n, rng=seed), split.limit_seen(n + 1, rng=seed)
    assert less.heldout is split.heldout
    assert entries(less.seen) <= entries(more.seen) <= entries(split.seen)
    expected = np.minimum(n, np.diff(split.seen.matrix.indptr))
    np.testing.assert_array_equal(np.diff(less.seen.matrix.indptr), expected)
    np.testing.assert_array_equal(less.seen.row_ids, split.seen.row_ids)


def test_limits_and_seeds_of_limited_splits_are_checked():
    split = split_pairs(make_pairings([5]))
    with pytest.raises(InvalidInputError, match="n is -1"):
        split.limit_seen(-1)
    with pytest.raises(InvalidInputError, match="rng is 'a'"):
        split.limit_seen(1, rng="a")
