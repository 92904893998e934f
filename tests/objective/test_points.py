"""Points that were evaluated."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, Objective
from twofold.objective import Point, Problem

MATRIX = sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])


@pytest.mark.parametrize("a0", [0.0, 0.1])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_a_factor_that_is_not_finite_is_found(a0, number, side):
    problem = Problem.of(Objective(regularizer=L2(0.1), unobserved_weight=a0), MATRIX)
    factors = np.ones((2, 8), np.float32), np.ones((3, 8), np.float32)
    assert problem.is_finite(problem.evaluated(Point.of(*factors)))
    factors[side][1, 3] = number
    with np.errstate(all="ignore"):
        point = problem.evaluated(Point.of(*factors))
    assert not problem.is_finite(point)
    assert not problem.is_finite(replace(point, gramians=(None, None)))


def test_finite_factors_may_have_a_gramian_that_is_not():
    problem = Problem.of(Objective(regularizer=L2(0.1), unobserved_weight=0.1), MATRIX)
    with np.errstate(all="ignore"):
        point = problem.evaluated(Point.of(np.full((2, 1), 1e200), np.ones((3, 1))))
    assert not np.isfinite(point.gramians[0]).all()
    assert problem.is_finite(point)
