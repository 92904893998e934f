import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_data import make_pairings

from twofold import L2, FactorModel, Objective, Pairings
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS
from twofold.splits import RowSplit, Unknown, split_rows
from twofold.tuning import grid_search

shares = st.floats(0, 0.49)
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


def test_shares_that_add_up_to_one_are_refused():
    with pytest.raises(InvalidInputError, match=r"validation \+ test is 1\.0"):
        split_rows(make_pairings([1] * 10), validation=0.5, test=0.5)


def test_no_rows_cannot_be_split():
    with pytest.raises(InvalidInputError, match="0 of 0 rows"):
        split_rows(make_pairings([]))


def test_rows_keep_their_pairs_and_only_train_loses_columns():
    pairings = make_pairings([*range(20), 0])
    split = split_rows(pairings)
    used = np.unique(pairings.matrix[pairings.row_index(split.train.row_ids)].indices)
    assert 0 < used.size < 40
    np.testing.assert_array_equal(split.train.col_ids, pairings.col_ids[used])
    for part in split:
        if part is not split.train:
            np.testing.assert_array_equal(part.col_ids, pairings.col_ids)
        expected = pairings.matrix[pairings.row_index(part.row_ids)].toarray()
        found = np.zeros_like(expected)
        found[:, part.col_ids] = part.matrix.toarray()
        np.testing.assert_array_equal(found, expected)


def test_rows_without_pairs_stay_in_train():
    pairings = make_pairings([0] * 10 + [3])
    assert split_rows(pairings, validation=0, test=0).train.shape == (11, 3)


def few_tracks():
    """Twenty rows, of which each has the columns 0 and 1 and one that no other has."""
    rows, cols = np.repeat(np.arange(20), 3), np.zeros(60, dtype=int)
    cols[1::3], cols[2::3] = 1, 2 + np.arange(20)
    return Pairings.from_arrays(rows, cols)


def test_unknown_columns_and_pairs_are_counted():
    train, validation, test = split = split_rows(few_tracks(), validation=0.1, test=0.2)
    assert train.shape == (14, 16)
    assert validation.shape == (2, 22)
    assert split.unknown == {"validation": Unknown(2, 2), "test": Unknown(4, 4)}
    assert test.align(train.col_ids).n_dropped_pairs == 4
    assert repr(split) == (
        "<RowSplit: train 14 rows x 16 columns; "
        "validation 2 rows, 6 pairs (2 with 2 columns not in train); "
        "test 4 rows, 12 pairs (4 with 4 columns not in train)>"
    )


def test_unknown_pairs_are_no_error_of_the_model():
    """The notebook removes tracks that training does not have: they would each count as 1."""
    train, validation, _ = split_rows(few_tracks(), validation=0.1, test=0.2)
    solver = ALS(n_factors=2, max_epochs=20, rng=0)
    objective = Objective(regularizer=L2(0.005))
    (trial,) = grid_search(solver, objective, train, validation, {}, score="loss")
    assert trial.score < 0.01
    model = FactorModel(objective, solver).fit(train)
    assert model.fold_in(validation).n_dropped_pairs == 2
    assert np.isin(model.recommend(validation, 14).col_ids, train.col_ids).all()


def test_split_is_a_tuple_of_three():
    split = split_rows(make_pairings([2] * 10))
    assert isinstance(split, RowSplit)
    assert isinstance(split, tuple)
    assert split[0] is split.train
    assert split[2] is split.test


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, np.nan, "0.2", None, True])
def test_shares_must_be_from_0_to_1(share):
    pairings = make_pairings([5] * 10)
    with pytest.raises(InvalidInputError, match="validation is"):
        split_rows(pairings, validation=share)
    with pytest.raises(InvalidInputError, match="test is"):
        split_rows(pairings, test=share)


def test_a_matrix_without_ids_is_an_error():
    with pytest.raises(InvalidInputError, match=r"is a csr_array: make Pairings of it"):
        split_rows(make_pairings([5]).matrix)
