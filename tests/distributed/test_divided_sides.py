"""The blocks of rows and of columns."""

import numpy as np
import pytest
from scipy import sparse

from twofold import Objective
from twofold.distributed.blocks import both_divided, divided
from twofold.objective import Problem
from twofold.objective.side import Margin


def test_both_sides_have_the_same_number_of_blocks():
    """Each worker has a block of rows and a block of columns."""
    matrix = sparse.csr_array(np.ones((2, 100_000), np.float32))
    problem = Problem.of(Objective(), matrix)
    sides = {"row": problem.rows, "col": problem.cols}
    assert [divided(one, 4, 8).n_blocks for one in sides.values()] == [2, 4]
    found = both_divided(sides, 4, 8)
    assert [one.n_blocks for one in found.values()] == [2, 2]
    assert [one.rows[-1] for one in found.values()] == [2, 100_000]


@pytest.mark.parametrize("n_blocks", [1, 2, 7, 64])
@pytest.mark.parametrize("at", [0, 5_000, 19_999])
def test_a_dominant_column_leaves_a_block_for_each_worker(n_blocks, at):
    counts = np.full(20_000, 2_000, np.int64)
    counts[at] = 10_000_000
    margins = {
        "row": Margin(np.full(1_000_000, 50, np.int64), np.empty(0), np.empty(0)),
        "col": Margin(counts, np.empty(0), np.empty(0)),
    }
    for one, n in zip(
        both_divided(margins, n_blocks, 80).values(), (1_000_000, 20_000), strict=True
    ):
        assert one.n_blocks == n_blocks
        assert (np.diff(one.rows) > 0).all()
        assert one.rows[[0, -1]].tolist() == [0, n]
