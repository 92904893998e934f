"""Evaluating the objective and its gradient."""

import numpy as np
import pytest

from twofold import L2, HuberLoss, Objective
from twofold.objective import Problem
from twofold.testing import reference

from .conftest import is_tiny

OBJECTIVES = {
    "observed": Objective(),
    "all-cells": Objective(regularizer=L2(0.1, 0.5), unobserved_weight=0.1),
    "missing-huber": Objective(HuberLoss(0.5), unobserved_weight=0.1, unobserved="missing"),
}


def factors(shape, n_factors):
    rng = np.random.default_rng(0)
    return [rng.normal(0.0, 0.3, (n, n_factors)).astype(np.float32) for n in shape]


@pytest.mark.parametrize("n_factors", [16, 64])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_value(benchmark, note, pairings, name, n_factors):
    objective = OBJECTIVES[name]
    P, Q = factors(pairings.shape, n_factors)
    problem = Problem.of(objective, pairings.matrix)
    value = problem.value(P, Q)
    if is_tiny(pairings):
        expected = reference.value(objective, pairings.matrix, P, Q)
        assert value.total == pytest.approx(expected["total"], rel=1e-12)
    assert benchmark(problem.value, P, Q) == value
    note(pairings, objective=value.total, n_factors=n_factors)


@pytest.mark.parametrize("n_factors", [16, 64])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient(benchmark, note, pairings, name, n_factors):
    objective = OBJECTIVES[name]
    P, Q = factors(pairings.shape, n_factors)
    problem = Problem.of(objective, pairings.matrix)
    if is_tiny(pairings):
        expected = reference.gradient(objective, pairings.matrix, P, Q)
        for found, wanted in zip(problem.gradient(P, Q), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    benchmark(problem.gradient, P, Q)
    note(pairings, n_factors=n_factors)
