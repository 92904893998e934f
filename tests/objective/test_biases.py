"""Objectives with biases compared with the reference, and the layout of their factors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import L1, L2, HuberLoss, Objective, SquaredLoss
from twofold.exceptions import InvalidInputError
from twofold.objective import Problem
from twofold.testing import reference

few_examples = settings(max_examples=40, deadline=None)

objectives = st.builds(
    Objective,
    st.sampled_from([SquaredLoss(), HuberLoss(0.6)]),
    st.sampled_from([kind(0.3, nu) for kind in (L2, L1) for nu in (0.0, 0.5, 1.0)]),
    data=st.sampled_from(["ones", "targets", "weights"]),
    unobserved_weight=st.sampled_from([0.0, 0.3]),
    unobserved=st.sampled_from(["all", "missing"]),
    biases=st.just(True),
    mean=st.sampled_from([None, 2.5]),
)


@st.composite
def matrices(draw):
    """Return a COO array with repeated pairs, stored zeros and empty rows and columns."""
    n_rows, n_cols, n_entries = (draw(st.integers(low, 9)) for low in (1, 1, 0))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    at = (rng.integers(n_rows, size=2 * n_entries), rng.integers(n_cols, size=2 * n_entries))
    return sparse.coo_array((rng.integers(0, 6, 2 * n_entries), at), shape=(n_rows, n_cols))


def biased_factors(shape, k, seed=0):
    rng = np.random.default_rng(seed)
    p, q = (rng.normal(size=(n, k)) for n in shape)
    b_u, b_i = (rng.normal(loc, size=(n, 1)) for n, loc in zip(shape, (0.0, 3.0), strict=True))
    return np.hstack([p, b_u, np.ones_like(b_u)]), np.hstack([q, np.ones_like(b_i), b_i])


@few_examples
@given(matrices(), objectives, st.integers(1, 7))
def test_value_and_gradient_equal_the_reference(matrix, objective, k):
    P, Q = biased_factors(matrix.shape, k)
    value = objective.value(matrix, P, Q)
    for part, expected in reference.value(objective, matrix, P, Q).items():
        assert getattr(value, part) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    computed = objective.gradient(matrix, P, Q)
    for found, expected in zip(computed, reference.gradient(objective, matrix, P, Q), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("unobserved_weight", [0.0, 0.2])
def test_separate_weights(small, unobserved_weight):
    objective = Objective(data="targets", unobserved_weight=unobserved_weight, biases=True)
    weights = np.random.default_rng(1).uniform(0.0, 2.0, small.nnz)
    weights[::3] = 0.0
    P, Q = biased_factors(small.shape, 3)
    value = objective.value(small, P, Q, weights=weights)
    assert value.total == pytest.approx(
        reference.value(objective, small, P, Q, weights)["total"], rel=1e-10
    )


@pytest.mark.parametrize("unobserved", ["all", "missing"])
@pytest.mark.parametrize("unobserved_weight", [0.0, 0.2])
def test_mean_is_the_best_constant_prediction(small, unobserved, unobserved_weight):
    objective = Objective(
        regularizer=L2(0.0), data="targets", unobserved_weight=unobserved_weight,
        unobserved=unobserved, biases=True,
    )  # fmt: skip
    problem = Problem.of(objective, small)

    def constant(x):
        P, Q = problem.origin(1, np.float64)
        Q[:, -1] = x
        return objective.value(small, P, Q).total

    around = [constant(problem.mean + step) for step in (-1e-3, 0.0, 1e-3)]
    assert around[1] < min(around[0], around[2])
    assert problem.mean == pytest.approx(reference.mean(objective, small))


def test_the_penalty_of_the_mean_is_zero(small):
    objective = Objective(regularizer=L1(1.0), data="targets", biases=True)
    origin = Problem.of(objective, small).origin(3, np.float64)
    assert objective.value(small, *origin).penalty == pytest.approx(0.0, abs=1e-12)


def test_for_data_keeps_the_mean_of_the_training_data(small):
    objective = Objective(data="targets", biases=True)
    fixed = objective.for_data(small)
    assert fixed.mean == pytest.approx(small.data.mean())
    other = small.copy()
    other.data += 1.0
    assert Problem.of(fixed, other).mean == fixed.mean
    assert fixed.for_data(other) is fixed
    plain = Objective(data="targets")
    assert plain.for_data(small) is plain


def test_value_has_the_same_bits_at_any_number_of_threads():
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((3000, 2000), density=0.02, random_state=rng)
    objective = Objective(data="targets", unobserved_weight=0.1, biases=True)
    P, Q = biased_factors(matrix.shape, 5)
    one, two = (objective.value(matrix, P, Q, n_threads=n) for n in (1, 2))
    assert one == two
    one, two = (objective.gradient(matrix, P, Q, n_threads=n) for n in (1, 2))
    assert all(map(np.array_equal, one, two))


def test_parts():
    P, Q = biased_factors((4, 3), 2)
    parts = Objective(biases=True).parts(P, Q)
    X = parts.row_factors @ parts.col_factors.T + parts.row_biases[:, None] + parts.col_biases
    np.testing.assert_allclose(X, P @ Q.T)
    plain = Objective().parts(P, Q)
    assert plain.row_factors is P
    assert not plain.row_biases.any()
    assert plain.col_biases.shape == (3,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"biases": True, "nonnegative": True}, "nonnegative=True does not go with biases=True"),
        ({"biases": 1}, "biases is 1: it must be True or False"),
        ({"mean": 3.0}, "mean is 3.0: it needs biases=True"),
        ({"biases": True, "mean": np.nan}, "mean is nan"),
    ],
)
def test_invalid_parameters(parameters, message):
    with pytest.raises(InvalidInputError, match=message):
        Objective(**parameters)


def test_factors_need_the_columns_of_ones(small):
    objective = Objective(biases=True)
    P, Q = biased_factors(small.shape, 3)
    with pytest.raises(InvalidInputError, match="column 4 of row_factors must be 1"):
        objective.value(small, 2.0 * P, Q)
    with pytest.raises(InvalidInputError, match="column 3 of col_factors must be 1"):
        objective.value(small, P, 2.0 * Q)
    with pytest.raises(InvalidInputError, match="row_factors has 2 columns"):
        objective.value(small, P[:, 3:], Q[:, 3:])


def test_the_fingerprint_depends_on_biases_and_mean(small):
    plain = Objective(data="targets")
    biased = replace(plain, biases=True)
    objectives = (plain, biased, replace(biased, mean=1.0))
    assert len({Problem.of(each, small).fingerprint for each in objectives}) == 3
