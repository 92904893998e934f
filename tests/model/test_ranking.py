"""Ranking: ties and their order."""

import numpy as np
import pytest

from twofold.model.ranking import best_columns


@pytest.mark.parametrize("n", [1, 5, 700, 2000])
def test_equal_scores_are_ordered_by_position_also_at_the_cut(n):
    rng = np.random.default_rng(0)
    Q = rng.integers(0, 3, size=(2000, 1)).astype(float)
    P = np.array([[1.0], [0.0], [-1.0]])
    positions, scores = best_columns(P, Q, n)
    for row, found in zip(P @ Q.T, positions, strict=True):
        assert found.tolist() == np.argsort(-row, kind="stable")[:n].tolist()
    assert (np.diff(scores, axis=1) <= 0).all()
