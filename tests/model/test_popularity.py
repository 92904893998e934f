"""`Popularity`: the most frequent columns that a row does not have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings
from twofold.exceptions import InvalidInputError, UnknownIdError
from twofold.model import Popularity
from twofold.model.popularity import count_rows, most_popular


@given(st.integers(0, 6), st.integers(0, 8), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_lists_are_those_of_a_loop(n_rows, n_cols, n, seed):
    rng = np.random.default_rng(seed)
    trained = sparse.csr_array(rng.random((5, n_cols)) < 0.4)
    known = sparse.csr_array(rng.random((n_rows, n_cols)) < 0.5)
    found, scores = most_popular(count_rows(trained), np.arange(n_rows), n, known)
    counts = trained.toarray().sum(axis=0)
    for row in range(n_rows):
        order = sorted(range(n_cols), key=lambda col: (-counts[col], col))
        wanted = [col for col in order if not known.toarray()[row, col]][:n]
        padding = n - len(wanted)
        assert found[row].tolist() == [*wanted, *[-1] * padding]
        np.testing.assert_array_equal(scores[row], [*counts[wanted], *[np.nan] * padding])


def test_a_pair_stored_twice_is_one_known_column():
    known = sparse.csr_array((np.ones(2), [1, 1], [0, 2]), shape=(1, 3))
    found, _ = most_popular(np.ones(3, int), np.array([0]), 3, known)
    assert found.tolist() == [[0, 2, -1]]
    assert known.nnz == 2  # the caller's matrix is not changed


def test_a_pair_stored_twice_counts_once():
    matrix = sparse.csr_array((np.ones(3), [1, 1, 0], [0, 2, 3]), shape=(2, 3))
    popularity = Popularity().fit(Pairings(matrix, [7, 8], ["a", "b", "c"]))
    assert popularity.recommend([7], 2, exclude_known=False).scores.tolist() == [[1.0, 1.0]]
    assert matrix.nnz == 3


PAIRINGS = Pairings.from_arrays(["a", "a", "b", "c"], [10, 20, 20, 30])


def test_trained_rows_and_new_ones():
    popularity = Popularity().fit(PAIRINGS)
    assert popularity.recommend(["a"], 3).col_ids.tolist() == [[30, -1, -1]]
    everything = popularity.recommend(["a"], 3, exclude_known=False)
    assert everything.col_ids.tolist() == [[20, 10, 30]]
    new = Pairings.from_arrays(["x", "x"], [20, 77])
    assert popularity.recommend(new, 2).col_ids.tolist() == [[10, 30]]
    with pytest.raises(UnknownIdError, match="'z'"):
        popularity.recommend(["z"])


def test_only_pairings_are_fitted():
    with pytest.raises(InvalidInputError, match="make Pairings of it"):
        Popularity().fit(PAIRINGS.matrix)


def test_before_fit():
    with pytest.raises(InvalidInputError, match="call fit"):
        Popularity().recommend(["a"])
    assert repr(Popularity()) == "<Popularity: not fitted>"
    assert repr(Popularity().fit(PAIRINGS)) == "<Popularity: 3 columns>"
