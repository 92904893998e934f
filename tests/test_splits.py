import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.splits import split_pairs, split_rows


def make_pairings(lengths, n_cols=40):
    """Rows of the given lengths; every stored value is different."""
    rng = np.random.default_rng(3)
    cols = [np.sort(rng.choice(n_cols, size=n, replace=False)) for n in lengths]
    indices = np.concatenate([*cols, np.empty(0, dtype=np.int64)]).astype(np.int64)
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    matrix = sparse.csr_array(
        (np.arange(1.0, indices.size + 1), indices, indptr), shape=(len(lengths), n_cols)
    )
    return Pairings(matrix, 100 + np.arange(len(lengths)), np.arange(n_cols))


def entries(pairings):
    """The stored entries as a set of (row, column, value)."""
    coo = pairings.matrix.tocoo()
    return set(zip(coo.row.tolist(), coo.col.tolist(), coo.data.tolist(), strict=True))


shares = st.floats(0, 0.49)
row_lengths = st.lists(st.integers(0, 40), min_size=1, max_size=30)
seeds = st.integers(0, 2**32)


@given(st.integers(3, 60), shares, shares, seeds)
def test_row_split_is_disjoint_exhaustive_and_in_order(n_rows, validation, test, seed):
    pairings = make_pairings([1] * n_rows)
    n_validation, n_test = round(validation * n_rows), round(test * n_rows)
    if n_validation + n_test == n_rows:
        with pytest.raises(InvalidInputError, match="none for train"):
            split_rows(pairings, validation=validation, test=test, rng=seed)
        return
    parts = split_rows(pairings, validation=validation, test=test, rng=seed)
    sizes = [part.shape[0] for part in parts]
    assert sizes == [n_rows - n_validation - n_test, n_validation, n_test]
    for part in parts:
        assert (np.diff(part.row_ids) > 0).all()
    ids = np.concatenate([part.row_ids for part in parts])
    np.testing.assert_array_equal(np.sort(ids), pairings.row_ids)


def test_rows_keep_their_pairs_and_all_columns():
    pairings = make_pairings(range(20))
    for part in split_rows(pairings):
        np.testing.assert_array_equal(part.col_ids, pairings.col_ids)
        positions = pairings.row_index(part.row_ids)
        assert (part.matrix != pairings.matrix[positions]).nnz == 0


def test_default_shares_are_seventy_fifteen_fifteen():
    train, validation, test = split_rows(make_pairings([1] * 200))
    assert (train.shape[0], validation.shape[0], test.shape[0]) == (140, 30, 30)


def test_zero_shares_leave_empty_parts():
    split = split_rows(make_pairings([2, 3]), validation=0, test=0)
    assert split.train.shape[0] == 2
    assert split.validation.shape == split.test.shape == (0, 40)


def test_half_is_rounded_to_even():
    sizes = [
        split_rows(make_pairings([1] * n), validation=0.25, test=0).validation.shape[0]
        for n in (2, 6, 10)  # shares of 0.5, 1.5 and 2.5 rows
    ]
    assert sizes == [0, 2, 2]


@pytest.mark.parametrize("split", [split_rows, split_pairs])
def test_seed_decides(split):
    pairings = make_pairings([20] * 40)

    def parts(rng):
        return [(part.row_ids.tolist(), entries(part)) for part in split(pairings, rng=rng)]

    assert parts(4) == parts(4)
    assert parts(4) != parts(5)
    generator = np.random.default_rng(4)
    assert parts(generator) != parts(generator)
    assert parts(np.random.default_rng(4)) == parts(np.random.default_rng(4))
    assert parts(None) != parts(None)


@pytest.mark.parametrize("split", [split_rows, split_pairs])
@pytest.mark.parametrize("rng", [-1, "seed", np.random.RandomState(0)])
def test_bad_seed_is_refused(split, rng):
    with pytest.raises(InvalidInputError, match="rng is"):
        split(make_pairings([5] * 10), rng=rng)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, np.nan, "0.2", None, True])
def test_bad_share_is_refused_by_name(share):
    pairings = make_pairings([5] * 10)
    with pytest.raises(InvalidInputError, match="validation is"):
        split_rows(pairings, validation=share)
    with pytest.raises(InvalidInputError, match="test is"):
        split_rows(pairings, test=share)
    with pytest.raises(InvalidInputError, match="fraction is"):
        split_pairs(pairings, fraction=share)


def test_shares_that_add_up_to_one_are_refused():
    with pytest.raises(InvalidInputError, match=r"validation \+ test is 1\.0"):
        split_rows(make_pairings([1] * 10), validation=0.5, test=0.5)


def test_no_rows_cannot_be_split():
    with pytest.raises(InvalidInputError, match="0 of 0 rows"):
        split_rows(make_pairings([]))


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


def test_pair_stored_twice_is_not_torn_apart():
    matrix = sparse.csr_array(([1.0, 2.0, 3.0], [1, 0, 1], [0, 3]), shape=(1, 2))
    pairings = Pairings(matrix, [1], [1, 2])
    seen, heldout = split_pairs(pairings, fraction=0.5)
    assert entries(seen) | entries(heldout) == {(0, 0, 2.0), (0, 1, 4.0)}
    assert seen.n_pairs == heldout.n_pairs == 1


def test_splitting_changes_nothing_of_the_input():
    pairings = make_pairings([5, 0, 12])
    before = pairings.matrix.copy()
    for part in (*split_pairs(pairings), *split_rows(pairings, validation=0.3, test=0.3)):
        part.matrix.data[:] = -1
    np.testing.assert_array_equal(pairings.matrix.data, before.data)
    np.testing.assert_array_equal(pairings.matrix.indices, before.indices)
