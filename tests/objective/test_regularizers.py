"""Formulas, scale and parameters of the regularisers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import L1, L2, Objective, Regularizer
from twofold.exceptions import InvalidInputError

few_examples = settings(max_examples=30, deadline=None)
numbers = st.floats(-50, 50)


@few_examples
@given(numbers, st.floats(0, 5))
def test_l2(x, step):
    assert L2().value(x) == x * x
    assert L2().derivative(x) == 2 * x
    z = L2().proximal(x, step)
    assert step * L2().derivative(z) + (z - x) == pytest.approx(0.0, abs=1e-9)


@few_examples
@given(numbers, st.floats(0, 5))
def test_l1_is_soft_thresholding(x, step):
    assert L1().value(x) == abs(x)
    assert L1().derivative(x) == np.sign(x)
    assert L1().proximal(x, step) == pytest.approx(np.sign(x) * max(abs(x) - step, 0.0))
    assert L1().proximal(x, abs(x)) == 0.0


@pytest.mark.parametrize("regularizer", [L1, L2])
def test_scale_is_a_power_of_the_summed_weights(regularizer):
    summed = np.array([0.0, 1.0, 4.0])
    assert regularizer().scale(summed, 0.0).tolist() == [1, 1, 1]  # also 0^0
    assert regularizer(exponent=1.0).scale(summed, 0.0).tolist() == [0, 1, 4]
    assert regularizer(exponent=0.5).scale(summed, 5.0).tolist() == pytest.approx(
        [5**0.5, 6**0.5, 3]
    )


def test_exponents_in_the_objective():
    matrix = sparse.csr_array(np.array([[1.0, 3.0, 0.0], [0.0, 2.0, 0.0]]))
    P, Q = np.array([[1.0], [2.0]]), np.array([[1.0], [1.0], [3.0]])

    def penalty(exponent, **options):
        objective = Objective(regularizer=L2(0.1, exponent=exponent), **options)
        return objective.value(matrix, P, Q).penalty

    assert penalty(0.0) == pytest.approx(0.1 * (1 + 4 + 1 + 1 + 9))
    assert penalty(1.0) == pytest.approx(0.1 * (2 * 1 + 1 * 4 + 1 * 1 + 2 * 1))
    weights = penalty(1.0, data="weights")
    assert weights == pytest.approx(0.1 * (4 * 1 + 2 * 4 + 1 * 1 + 5 * 1))
    everywhere = penalty(1.0, unobserved_weight=0.5)
    assert everywhere == pytest.approx(0.1 * (3.5 * 1 + 2.5 * 4 + 2 * 1 + 3 * 1 + 1 * 9))


@pytest.mark.parametrize("regularizer", [L1, L2])
@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf, "0.1", None])
def test_parameters_must_be_finite_and_nonnegative(regularizer, value):
    with pytest.raises(InvalidInputError, match=r"the regularizer's weight is .* >= 0"):
        regularizer(value)
    with pytest.raises(InvalidInputError, match=r"the regularizer's exponent is .* >= 0"):
        regularizer(0.1, exponent=value)


def test_missing_derivative_or_proximal_step():
    class WithoutDerivative(Regularizer):
        def value(self, x):
            return x * x

    class WithoutProximal(WithoutDerivative):
        smooth = False

    with pytest.raises(TypeError, match=r"WithoutDerivative is smooth: define derivative\(x\)"):
        WithoutDerivative().derivative(1.0)
    with pytest.raises(TypeError, match=r"WithoutProximal is not smooth: define proximal"):
        WithoutProximal().proximal(1.0, 1.0)
