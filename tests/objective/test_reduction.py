from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.objective.reduction import nodes_of, total_of


@given(n=st.integers(1, 200), cuts=st.lists(st.integers(1, 199)), seed=st.integers(0, 100))
def test_the_sum_has_the_same_bits_however_the_tasks_are_divided(n, cuts, seed):
    values = np.random.default_rng(seed).normal(size=n) * 10.0 ** np.arange(n).__mod__(9)
    whole = nodes_of(values)
    bounds = [0, *sorted({cut for cut in cuts if cut < n}), n]
    parts = [node for low, high in pairwise(bounds) for node in nodes_of(values[low:high], low)]
    assert total_of(parts) == total_of(whole)
    assert total_of(whole) == pytest.approx(values.sum(), rel=1e-12, abs=1e-6 * abs(values).max())
    assert len(whole) == n.bit_count()


def test_the_order_is_that_of_a_binary_tree():
    a, b, c, d, e = 1.0, 1e-16, 3.0, 1e16, -1e16
    assert total_of(nodes_of(np.array([a, b, c, d, e]))) == ((a + b) + (c + d)) + e
    assert [node[:2] for node in nodes_of(np.array([a, b, c, d]), first=3)] == [
        (0, 3),
        (1, 2),
        (0, 6),
    ]
