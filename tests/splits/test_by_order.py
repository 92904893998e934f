import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from split_data import entries, make_pairings

from twofold import Pairings
from twofold.exceptions import InvalidInputError
from twofold.splits import parts, split_last


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(1, 14), st.data())
def test_the_last_n_by_order_and_then_column(lengths, n, data):
    pairings = make_pairings(lengths, n_cols=12)
    size = sum(lengths)
    order = data.draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size))
    seen, heldout = split_last(pairings, n, order=order)
    expected, start = set(), 0
    for row, length in enumerate(lengths):
        stored = range(start, start + length)
        ordered = sorted(stored, key=lambda entry: (order[entry], pairings.matrix.indices[entry]))
        for entry in ordered[max(length - n, 1) :]:
            column = int(pairings.matrix.indices[entry])
            expected.add((row, column, float(pairings.matrix.data[entry])))
        start += length
    assert entries(heldout) == expected
    assert entries(seen) == entries(pairings) - expected


@pytest.mark.parametrize("block", [1, 3, 7, 1000])
def test_rows_are_sorted_in_blocks_of_any_size(block, monkeypatch):
    monkeypatch.setattr(parts, "_BLOCK", block)
    lengths = [0, 0, 5, 0, 40, 1, 3, 0, 8, 2, 0]
    keys = np.random.default_rng(0).integers(0, 4, sum(lengths))
    expected = []
    for row in np.split(keys, np.cumsum(lengths)[:-1]):
        expected += np.argsort(np.argsort(row, kind="stable")).tolist()
    assert parts.ranks(make_pairings(lengths).matrix, keys).tolist() == expected


def test_times_are_the_default_order():
    days = np.array(["2017-03-01", "2017-01-01", "2017-02-01"], "datetime64[D]")
    pairings = Pairings.from_arrays([1, 1, 1], ["a", "b", "c"], times=days)
    assert split_last(pairings).heldout.matrix.toarray().tolist() == [[1, 0, 0]]
    assert split_last(pairings, 2).heldout.matrix.toarray().tolist() == [[1, 0, 1]]
    assert split_last(pairings, order=days[::-1]).heldout.matrix.toarray().tolist() == [[0, 0, 1]]


def test_values_can_be_positions():
    pairings = Pairings.from_arrays([1, 1, 1, 2], [7, 8, 9, 7], [2, 0, 1, 0])
    seen, heldout = split_last(pairings, order="values")
    assert entries(heldout) == {(0, 0, 2.0)}
    assert seen.n_pairs == 3


def test_a_row_keeps_its_first_pair():
    pairings = make_pairings([0, 1, 2, 5])
    seen, heldout = split_last(pairings, 5, order="values")
    assert np.diff(seen.matrix.indptr).tolist() == [0, 1, 1, 1]
    assert np.diff(heldout.matrix.indptr).tolist() == [0, 0, 1, 4]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("times", "no times to order them by"),
        ("time", "order is 'time': give"),
        ([1, 2], r"order is int64 of shape \(2,\)"),
        ([[1, 2, 3]], r"of shape \(1, 3\)"),
        (["a", "b", "c"], "order is <U1 of shape"),
        ([1.0, np.nan, 2.0], r"order\[1\] is nan"),
        (np.array(["2017", "NaT", "2018"], "datetime64[D]"), r"order\[1\] is NaT"),
    ],
)
def test_a_wrong_order_is_an_error(order, message):
    with pytest.raises(InvalidInputError, match=message):
        split_last(make_pairings([3]), order=order)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None])
def test_n_must_be_a_whole_number(n):
    with pytest.raises(InvalidInputError, match="n is"):
        split_last(make_pairings([3]), n, order="values")


def test_a_matrix_is_an_error():
    with pytest.raises(InvalidInputError, match="make Pairings of it"):
        split_last(make_pairings([3]).matrix)
