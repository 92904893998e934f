"""Pairings united with later ones, compared with dictionaries of pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold import Pairings
from twofold.data.united import united
from twofold.exceptions import InvalidInputError

pairs = st.dictionaries(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(1, 9), min_size=1, max_size=20
)


def made(pairs, *, as_text=False, weighted=True, order=None):
    """Return pairings with the values, and the same numbers times 10 as weights."""
    items = [list(pairs.items())[place] for place in (order or range(len(pairs)))]
    rows, cols = ([pair[axis] for pair, _ in items] for axis in (0, 1))
    if as_text:
        rows, cols = ([f"id {number}" for number in ids] for ids in (rows, cols))
    values = np.array([float(value) for _, value in items])
    return Pairings.from_arrays(rows, cols, values, weights=10 * values if weighted else None)


def as_dict(pairings):
    matrix = pairings.matrix
    rows = np.repeat(pairings.row_ids, np.diff(matrix.indptr)).tolist()
    found = list(zip(rows, pairings.col_ids[matrix.indices].tolist(), strict=True))
    assert len(set(found)) == len(found)
    weights = np.full(len(found), np.nan) if pairings.weights is None else pairings.weights
    return dict(zip(found, zip(matrix.data, weights, strict=True), strict=True))


@given(pairs, pairs, st.booleans())
def test_the_pairs_are_those_of_both(old, new, as_text):
    first, second = made(old, as_text=as_text), made(new, as_text=as_text)
    union = united(first, second)
    assert as_dict(union.pairings) == as_dict(first) | as_dict(second)
    assert union.n_replaced == len(old.keys() & new.keys())
    for name in ("row", "col"):
        ids = getattr(union.pairings, f"{name}_ids")
        known, given_ids = getattr(first, f"{name}_ids"), getattr(second, f"{name}_ids")
        assert ids[: known.size].tolist() == known.tolist()
        assert ids[known.size :].tolist() == sorted(set(given_ids) - set(known))
        np.testing.assert_array_equal(ids[getattr(union, f"{name}s")], given_ids)
    assert union.pairings.matrix.has_canonical_format


@given(pairs, pairs, st.randoms())
def test_the_order_of_the_new_rows_and_columns_has_no_effect(old, new, random):
    first, second = made(old), made(new)
    order = random.sample(range(second.shape[0]), second.shape[0])
    shuffled = second.take_rows(order).align(second.col_ids[::-1])
    one, other = united(first, second).pairings, united(first, shuffled).pairings
    np.testing.assert_array_equal(one.row_ids, other.row_ids)
    np.testing.assert_array_equal(one.col_ids, other.col_ids)
    assert as_dict(one) == as_dict(other)
    np.testing.assert_array_equal(one.matrix.indices, other.matrix.indices)


@pytest.mark.parametrize("which", ["old", "new"])
def test_pairs_without_weights_have_weight_1(which):
    old, new = {(0, 0): 2, (0, 1): 3}, {(0, 1): 4, (1, 0): 5}
    union = united(made(old, weighted=which != "old"), made(new, weighted=which != "new"))
    expected = {"old": [1.0, 40.0, 50.0], "new": [20.0, 1.0, 1.0]}[which]
    np.testing.assert_array_equal(union.pairings.weights, expected)
    np.testing.assert_array_equal(union.pairings.matrix.data, [2.0, 4.0, 5.0])


def test_times_are_kept_if_both_have_them():
    old = Pairings.from_arrays([0, 0], [0, 1], times=[5, 6])
    new = Pairings.from_arrays([0, 1], [0, 0], times=[8, 7])
    np.testing.assert_array_equal(united(old, new).pairings.times, [8, 6, 7])
    undated = Pairings.from_arrays([0, 1], [0, 0])
    dated = Pairings.from_arrays([0], [1], times=np.array(["2026-01-01"], "datetime64[D]"))
    for other in (undated, dated):
        assert united(old, other).pairings.times is None


def test_all_entries_of_a_repeated_pair_are_replaced():
    repeated = sparse.csr_array(([1.0, 2.0, 3.0], [0, 0, 1], [0, 3]), shape=(1, 2))
    old = Pairings(repeated, [7], [8, 9])
    union = united(old, Pairings.from_arrays([7], [8], [4.0]))
    assert union.n_replaced == 2
    np.testing.assert_array_equal(union.pairings.matrix.data, [4.0, 3.0])
    kept = united(old, Pairings.from_arrays([7], [9], [4.0])).pairings.matrix
    np.testing.assert_array_equal(kept.data, [1.0, 2.0, 4.0])


def test_rows_and_columns_without_pairs_are_added():
    old = Pairings.from_arrays(["a"], [1])
    union = united(old, Pairings(sparse.csr_array((2, 1)), ["c", "b"], [2]))
    assert union.pairings.row_ids.tolist() == ["a", "b", "c"]
    assert union.pairings.shape == (3, 2)
    assert union.pairings.n_pairs == 1


def test_ids_of_another_kind_are_an_error():
    with pytest.raises(InvalidInputError, match="row ids are strings such as 'a'"):
        united(Pairings.from_arrays([1], [1]), Pairings.from_arrays(["a"], [1]))
