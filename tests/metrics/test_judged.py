import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_tables import random_table, rankings, relevant_of
from scipy import sparse

from twofold.exceptions import InvalidInputError
from twofold.metrics import judge, judged


@given(ranking=rankings(), block_bytes=st.integers(1, 40))
def test_hits_are_the_recommended_columns_that_are_relevant(ranking, block_bytes):
    lists, wanted, n_cols, k = ranking
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judged, "_MARKS", block_bytes)  # blocks of one row to all rows
        found = judge(lists, relevant_of(wanted, n_cols))
    expected = [[col in cols for col in row] for row, cols in zip(lists, wanted, strict=True)]
    np.testing.assert_array_equal(found.hits, expected)
    np.testing.assert_array_equal(found.n_relevant, [len(cols) for cols in wanted])
    rows, ranks = found.hits_within(k)
    assert list(zip(rows.tolist(), ranks.tolist(), strict=True)) == [
        (row, rank + 1) for row, hits in enumerate(expected) for rank in range(k) if hits[rank]
    ]


def test_a_judged_table_holds_what_was_given():
    lists, relevant = random_table(0)
    found = judge(lists, relevant)
    np.testing.assert_array_equal(found.recommended, lists)
    assert (found.n_rows, found.n_cols) == relevant.shape
    assert (found.relevant != relevant).nnz == 0
    assert found.n_relevant.dtype == np.int64
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.hits = found.hits


def test_pairs_that_are_stored_twice_count_once():
    relevant = sparse.csr_array(([1.0, 1.0], [2, 2], [0, 2]), shape=(1, 4))
    assert judge([[2]], relevant).n_relevant.tolist() == [1]
    assert relevant.nnz == 2


def test_n_relevant_is_at_least_what_is_stored():
    lists, relevant = [[0, 1], [2, 3]], relevant_of([{1}, {0, 1}], 4)
    assert judge(lists, relevant, n_relevant=[1, 5]).n_relevant.tolist() == [1, 5]
    with pytest.raises(InvalidInputError, match=r"n_relevant\[1\] is 1.* stores 2 columns"):
        judge(lists, relevant, n_relevant=[1, 1])


@pytest.mark.parametrize("n_relevant", [[1], [[1, 2]], [1.0, 2.0], 2])
def test_bad_n_relevant_is_refused(n_relevant):
    with pytest.raises(InvalidInputError, match="integer for each of 2 rows"):
        judge([[0, 1], [2, 3]], relevant_of([{1}, {0, 1}], 4), n_relevant=n_relevant)


def test_tables_without_rows_or_columns_of_lists():
    assert judge(np.empty((0, 3), dtype=int), sparse.csr_array((0, 5))).hits.shape == (0, 3)
    assert judge(np.empty((2, 0), dtype=int), sparse.csr_array((2, 5))).hits.shape == (2, 0)
