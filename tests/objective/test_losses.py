"""Formulas, relations and parameters of the losses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import HuberLoss, LogisticLoss, Objective, SquaredLoss
from twofold.exceptions import InvalidInputError

few_examples = settings(max_examples=30, deadline=None)
numbers = st.floats(-50, 50)
deltas = st.floats(0.01, 10)


@few_examples
@given(numbers, numbers)
def test_squared_loss(r, x):
    assert SquaredLoss().value(r, x) == (r - x) * (r - x)
    assert SquaredLoss().derivative(r, x) == 2 * (x - r)


@few_examples
@given(numbers, numbers, deltas)
def test_huber_loss_is_quadratic_near_the_target_and_linear_otherwise(r, x, delta):
    loss, distance = HuberLoss(delta), abs(r - x)
    if distance <= delta:
        assert loss.value(r, x) == pytest.approx(distance**2)
        assert loss.derivative(r, x) == 2 * (x - r)
    else:
        assert loss.value(r, x) == pytest.approx(delta * (2 * distance - delta))
        assert loss.derivative(r, x) == math.copysign(2 * delta, x - r)
    assert loss.value(r, x) <= SquaredLoss().value(r, x) * (1 + 1e-12)


@few_examples
@given(st.sampled_from([-1.0, 1.0]), numbers)
def test_logistic_loss(r, x):
    loss = LogisticLoss()
    assert loss.value(r, x) == pytest.approx(math.log1p(math.exp(-r * x)), rel=1e-12)
    assert loss.derivative(r, x) == pytest.approx(-r / (1 + math.exp(r * x)), rel=1e-12)


@pytest.mark.parametrize("x", [-800.0, 800.0, 1e8])
def test_logistic_loss_does_not_overflow(x):
    assert LogisticLoss().value(1.0, x) == pytest.approx(max(-x, 0.0))
    assert LogisticLoss().derivative(1.0, x) == (-1.0 if x < 0 else 0.0)
    objective = Objective(LogisticLoss())
    single_entry = sparse.csr_array(np.ones((1, 1)))
    assert objective.value(single_entry, [[x]], [[1.0]]).loss == pytest.approx(max(-x, 0.0))


@pytest.mark.parametrize("delta", [0.0, -1.0, np.nan, np.inf, "1", True])
def test_delta_must_be_positive(delta):
    with pytest.raises(InvalidInputError, match=r"delta is .*: it must be a finite number > 0"):
        HuberLoss(delta)


def test_losses_are_equal_by_value():
    assert HuberLoss(0.5) == HuberLoss(0.5) != HuberLoss(0.6)
    assert {SquaredLoss(), SquaredLoss(), LogisticLoss()} == {SquaredLoss(), LogisticLoss()}


def test_error_if_numba_cannot_compile_a_loss():
    class Uncompilable(SquaredLoss):
        def value(self, target, prediction):
            return open(str(target)).read()

    single_entry = sparse.csr_array(np.ones((1, 1)))
    with pytest.raises(InvalidInputError, match=r"Uncompilable.value cannot be compiled by numba"):
        Objective(Uncompilable()).value(single_entry, [[1.0]], [[1.0]])


def test_subclass_uses_its_own_formula():
    class Doubled(SquaredLoss):
        def value(self, target, prediction):
            return 2.0 * (target - prediction) ** 2

        def derivative(self, target, prediction):
            return 4.0 * (prediction - target)

    single_entry = sparse.csr_array(np.ones((1, 1)))
    assert Objective(Doubled()).value(single_entry, [[3.0]], [[1.0]]).loss == 8.0
    assert Objective(SquaredLoss()).value(single_entry, [[3.0]], [[1.0]]).loss == 4.0
