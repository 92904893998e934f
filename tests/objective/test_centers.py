"""Centers of L2 compared with the reference, and the array of centers as a part of an objective."""

import copy
import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold import L1, L2, HuberLoss, Objective, SquaredLoss
from twofold.exceptions import InvalidInputError
from twofold.objective import Problem
from twofold.solvers import ALS, Support
from twofold.testing import reference


@st.composite
def problems(draw):
    """Return an objective with centers, a matrix with repeated pairs, and factors."""
    n_rows, n_cols, n_entries, k = (draw(st.integers(low, 9)) for low in (1, 1, 0, 1))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    at = (rng.integers(n_rows, size=2 * n_entries), rng.integers(n_cols, size=2 * n_entries))
    matrix = sparse.coo_array((rng.integers(0, 6, 2 * n_entries), at), shape=(n_rows, n_cols))
    centers = draw(
        st.sampled_from([("row_center",), ("col_center",), ("row_center", "col_center")])
    )
    shapes = {"row_center": (n_rows, k), "col_center": (n_cols, k)}
    objective = Objective(
        draw(st.sampled_from([SquaredLoss(), HuberLoss(0.6)])),
        L2(
            0.3,
            draw(st.sampled_from([0.0, 0.5, 1.0])),
            **{name: rng.normal(size=shapes[name]) for name in centers},
        ),
        data=draw(st.sampled_from(["ones", "targets", "weights", "signed"])),
        unobserved_weight=draw(st.sampled_from([0.0, 0.3])),
        unobserved=draw(st.sampled_from(["all", "missing"])),
        biases=draw(st.booleans()),
    )
    P, Q = rng.normal(size=(n_rows, k)), rng.normal(size=(n_cols, k))
    if objective.biases:
        b_u, b_i = rng.normal(size=(n_rows, 1)), rng.normal(size=(n_cols, 1))
        P, Q = np.hstack([P, b_u, np.ones_like(b_u)]), np.hstack([Q, np.ones_like(b_i), b_i])
    return objective, matrix, P, Q


@given(problems())
def test_value_and_gradient_equal_the_reference(problem):
    objective, matrix, P, Q = problem
    value = objective.value(matrix, P, Q)
    for part, expected in reference.value(objective, matrix, P, Q).items():
        assert getattr(value, part) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    computed = objective.gradient(matrix, P, Q)
    for found, expected in zip(computed, reference.gradient(objective, matrix, P, Q), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_the_penalty_of_the_centers_is_zero(small):
    C, D = (np.random.default_rng(0).normal(size=(n, 3)) for n in small.shape)
    objective = Objective(regularizer=L2(1.0, row_center=C, col_center=D))
    assert objective.value(small, C, D).penalty == 0.0
    assert objective.value(small, C + 1.0, D).penalty == pytest.approx(C.size)


def test_centers_of_zero_change_nothing(small):
    zeros = {"row_center": np.zeros((30, 2)), "col_center": np.zeros((20, 2), int)}
    plain, centered = Objective(regularizer=L2(0.2)), Objective(regularizer=L2(0.2, **zeros))
    P, Q = (np.random.default_rng(0).normal(size=(n, 2)) for n in small.shape)
    totals = [objective.value(small, P, Q).total for objective in (plain, centered)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-12)


def test_value_and_gradient_have_the_same_bits_at_any_number_of_threads():
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((3000, 2000), density=0.02, random_state=rng)
    C, D, P, Q = (rng.normal(size=(n, 5)) for n in (*matrix.shape, *matrix.shape))
    objective = Objective(regularizer=L2(0.1, row_center=C, col_center=D), unobserved_weight=0.1)
    one, two = (objective.value(matrix, P, Q, n_threads=n) for n in (1, 2))
    assert one == two
    one, two = (objective.gradient(matrix, P, Q, n_threads=n) for n in (1, 2))
    assert all(map(np.array_equal, one, two))


def test_regularizers_with_equal_centers_are_equal():
    center = np.arange(6.0).reshape(3, 2)
    one, same = (L2(0.1, row_center=array) for array in (center, center.astype(np.float32)))
    assert one == same
    assert hash(one) == hash(same)
    assert repr(one) == repr(same)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert replace(one, weight=0.2).row_center is one.row_center
    assert L2(row_center=[[0.0]]) == L2(row_center=[[-0.0]])
    assert hash(L2(row_center=[[0.0]])) == hash(L2(row_center=[[-0.0]]))
    others = [L2(0.1), L2(0.1, col_center=center), L2(0.1, row_center=center + 1e-9)]
    for other in others:
        assert one != other
        assert repr(one) != repr(other)


def test_the_array_is_copied_and_not_printed():
    center = np.zeros((500, 4))
    regularizer = L2(0.1, col_center=center)
    center[0, 0] = 1.0
    assert not regularizer.col_center.values.any()
    with pytest.raises(ValueError, match="read-only"):
        regularizer.col_center.values[0, 0] = 1.0
    assert "500 x 4 centers" in repr(regularizer)
    assert len(repr(Objective(regularizer=regularizer))) < 300


def test_the_fingerprint_depends_on_the_centers(small):
    center = np.ones((30, 2))
    objectives = [Objective(regularizer=L2(row_center=c)) for c in (None, center, center + 1e-12)]
    assert len({Problem.of(objective, small).fingerprint for objective in objectives}) == 3


@pytest.mark.parametrize(
    ("center", "message"),
    [
        ([1.0, 2.0], "row_center must be a 2-d array of numbers"),
        ([["a"]], "row_center must be a 2-d array of numbers"),
        ([[0.0, 1.0], [0.0, np.nan]], r"row_center\[1, 1\] is nan: centers must be finite"),
    ],
)
def test_invalid_centers(center, message):
    with pytest.raises(InvalidInputError, match=message):
        L2(row_center=center)


def test_nonnegative_factors_have_no_centers():
    with pytest.raises(InvalidInputError, match="nonnegative=True does not go with row_center"):
        Objective(regularizer=L2(col_center=[[1.0]]), nonnegative=True)


@pytest.mark.parametrize(
    ("name", "shape"), [("row_center", (29, 3)), ("row_center", (30, 2)), ("col_center", (30, 3))]
)
def test_shapes_are_compared_with_the_factors(small, name, shape):
    objective = Objective(regularizer=L2(**{name: np.zeros(shape)}))
    with pytest.raises(InvalidInputError, match=rf"{name} has shape \({shape[0]}, {shape[1]}\)"):
        objective.value(small, np.ones((30, 3)), np.ones((20, 3)))
    with pytest.raises(InvalidInputError, match=f"{name} has shape"):
        ALS(n_factors=3).solve(objective, small)


def test_a_solver_without_centers_says_so():
    message = Support(centers=False).missing(Objective(regularizer=L2(row_center=[[1.0]])))
    assert message == "row_center and col_center of the regularizer"
    assert not Support(centers=False).missing(Objective(regularizer=L1()))


def test_a_regularizer_of_your_own_may_inherit_centers(small):
    @dataclass(frozen=True)
    class Quartic(L2):
        def value(self, x):
            return x**4

        def derivative(self, x):
            return 4.0 * x**3

    rng = np.random.default_rng(0)
    P, Q = (rng.normal(size=(n, 2)) for n in small.shape)
    objective = Objective(regularizer=Quartic(0.1, row_center=P + 0.5))
    value = objective.value(small, P, Q)
    assert value.total == pytest.approx(reference.value(objective, small, P, Q)["total"])
