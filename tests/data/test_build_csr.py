import numpy as np
import pytest

from twofold import Pairings
from twofold.exceptions import InvalidInputError


def test_many_ids_far_apart_are_sorted_and_near_ones_looked_up():
    rng = np.random.default_rng(0)
    near = rng.integers(10**15, 10**15 + 1000, 5000)
    far = rng.integers(-(2**62), 2**62, 5000)
    pairings = Pairings.from_arrays(near, far)
    entries = pairings.matrix.tocoo()
    found = set(zip(pairings.row_ids[entries.row], pairings.col_ids[entries.col], strict=True))
    assert found == set(zip(near, far, strict=True))
    assert (np.diff(pairings.row_ids) > 0).all()
    assert (np.diff(pairings.col_ids) > 0).all()


def test_sums_do_not_depend_on_the_order():
    values = np.array([0.1, 0.2, 0.3, 1e9, -1e9, 0.7])
    one, other = (
        Pairings.from_arrays([1] * 6, [2] * 6, values[order], duplicates="count")
        for order in ([0, 1, 2, 3, 4, 5], [3, 0, 5, 2, 1, 4])
    )
    assert one.matrix.data.tobytes() == other.matrix.data.tobytes()


def test_a_sum_beyond_float64_in_both_directions():
    values = [-1e308] * 10 + [1.0] * 13 + [1e308] * 12
    with pytest.raises(InvalidInputError, match="sum is beyond float64"):
        Pairings.from_arrays([1] * 35, [1] * 35, values, duplicates="count")
