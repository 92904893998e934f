"""The blocks of rows and of columns."""

import numpy as np
from scipy import sparse

from twofold import Objective
from twofold.distributed.blocks import both_divided, divided
from twofold.objective import Problem


def test_both_sides_have_the_same_number_of_blocks():
    """Each worker has a block of rows and a block of columns."""
    matrix = sparse.csr_array(np.ones((2, 100_000), np.float32))
    problem = Problem.of(Objective(), matrix)
    sides = {"row": problem.rows, "col": problem.cols}
    assert [divided(one, 4, 8).n_blocks for one in sides.values()] == [2, 4]
    found = both_divided(sides, 4, 8)
    assert [one.n_blocks for one in found.values()] == [2, 2]
    assert [one.rows[-1] for one in found.values()] == [2, 100_000]
