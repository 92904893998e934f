"""The contract tests pass for built-in and custom classes and fail for invalid ones.

`LogCosh`, `SmoothedL1` and `SignDescent` are the examples in the docstrings.
"""

import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from twofold import L1, L2, HuberLoss, LogisticLoss, Loss, Regularizer, SquaredLoss, fold_in
from twofold.objective import Objective
from twofold.solvers import ALS, GD, SGD, Solver, Support
from twofold.testing import check_loss, check_regularizer, check_solver


@dataclass(frozen=True)
class LogCosh(Loss):
    scale: float = 1.0

    def value(self, target, prediction):
        distance = np.abs(prediction - target)
        return self.scale * (distance + np.log1p(np.exp(-2.0 * distance)) - np.log(2.0))

    def derivative(self, target, prediction):
        return self.scale * np.tanh(prediction - target)


@dataclass(frozen=True)
class SmoothedL1(Regularizer):
    width: float = 0.1

    def value(self, x):
        return np.sqrt(x * x + self.width**2) - self.width

    def derivative(self, x):
        return x / np.sqrt(x * x + self.width**2)


@dataclass(frozen=True)
class ElasticNet(Regularizer):
    smooth: ClassVar[bool] = False

    def value(self, x):
        return np.abs(x) + x * x

    def proximal(self, x, step):
        return (x - np.maximum(-step, np.minimum(step, x))) / (1.0 + 2.0 * step)


@dataclass(kw_only=True)
class SignDescent(Solver):
    learning_rate: float = 0.01

    def step(self, problem, state):
        P, Q = state.row_factors, state.col_factors
        dP, dQ = problem.gradient(P, Q, n_threads=self.n_threads)
        return state.moved(
            P - P.dtype.type(self.learning_rate) * np.sign(dP),
            Q - Q.dtype.type(self.learning_rate) * np.sign(dQ),
        )


SOLVERS = [
    (ALS, {"epochs": 150, "stationary": True, "n_threads": 1}),
    (GD, {"epochs": 300, "stationary": True, "n_threads": 1}),
    (GD, {"learning_rate": 0.02}),
    (GD, {"learning_rate": 0.02, "n_batches": 3}),
    (SGD, {}),
    (SGD, {"schedule": "constant", "learning_rate": 0.05}),
    (SGD, {"schedule": "inverse-time", "learning_rate": 0.05}),
    (SignDescent, {}),
]


@pytest.mark.parametrize(("solver", "options"), SOLVERS)
def test_solvers_pass_without_a_warning(solver, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_solver(solver, **options)


@pytest.mark.parametrize(
    "loss", [SquaredLoss(), HuberLoss(), HuberLoss(0.3), LogisticLoss(), LogCosh(), LogCosh(3)]
)
def test_losses_pass(loss):
    check_loss(loss)


@pytest.mark.parametrize(
    "regularizer",
    [L2(), L2(2.0, exponent=0.7), L1(), L1(0.3, exponent=1.0), SmoothedL1(), ElasticNet()],
)
def test_regularizers_pass(regularizer):
    check_regularizer(regularizer)


# Solvers that violate one requirement each


class ValidSolver(SignDescent):
    """A solver that satisfies all requirements."""


class WritesIntoInit(SignDescent):
    def solve(self, objective, matrix, init=None, callback=None, *, checkpoint=None):
        if isinstance(init, tuple) and init[0].flags.writeable and np.isfinite(init[0]).all():
            init[0][0, 0] = 0.0
        return super().solve(objective, matrix, init, callback, checkpoint=checkpoint)


class WritesIntoTheMatrix(SignDescent):
    def solve(self, objective, matrix, init=None, callback=None, *, checkpoint=None):
        if matrix.data.flags.writeable:
            matrix.data[:] = 1
        return super().solve(objective, matrix, init, callback, checkpoint=checkpoint)


class IgnoresTheSeed(SignDescent):
    def step(self, problem, state):
        moved = super().step(problem, state)
        noise = np.random.default_rng().normal(scale=1e-3, size=moved.row_factors.shape)
        return moved.moved((moved.row_factors + noise).astype(self.dtype), moved.col_factors)


class StepDependsOnThreads(SignDescent):
    def step(self, problem, state):
        rate = self.learning_rate * (1.1 if self.n_threads == 2 else 1.0)
        return SignDescent(learning_rate=rate, n_threads=self.n_threads).step(problem, state)


class ReportsALowerObjective(SignDescent):
    def solve(self, objective, matrix, init=None, callback=None, *, checkpoint=None):
        found = super().solve(objective, matrix, init, callback, checkpoint=checkpoint)
        last = replace(found.history[-1], total=0.9 * found.history[-1].total)
        return replace(found, history=(*found.history[:-1], last))


class IncreasesTheObjective(SignDescent):
    def step(self, problem, state):
        return SignDescent(learning_rate=-self.learning_rate).step(problem, state)


class WritesIntoTheState(SignDescent):
    def step(self, problem, state):
        moved = super().step(problem, state)
        state.row_factors[...] = moved.row_factors
        return moved.moved(state.row_factors, moved.col_factors)


class ChangesItsParameters(SignDescent):
    def step(self, problem, state):
        moved = super().step(problem, state)
        self.learning_rate *= 0.9
        return moved


class KeepsStateInTheWorkspace(SignDescent):
    def step(self, problem, state):
        steps = 1 + (state.workspace or 0)  # not in the memory, which a solution contains
        moved = SignDescent(learning_rate=self.learning_rate / steps).step(problem, state)
        return replace(moved, workspace=steps)


class DoesNotValidate(SignDescent):
    supports: ClassVar[Support] = Support(unobserved_weight=False)

    def validate(self, objective):
        pass


@dataclass(kw_only=True)
class ValidatesInTheConstructor(SignDescent):
    def __post_init__(self):
        if not isinstance(self.learning_rate, float):
            raise TypeError("learning_rate must be a float")


class RaisesAnErrorOfItsOwn(SignDescent):
    def validate(self, objective):
        if self.n_factors == 0:
            raise ZeroDivisionError("no factors")
        super().validate(objective)


class WritesIntoReadOnlyArrays(SignDescent):
    def solve(self, objective, matrix, init=None, callback=None, *, checkpoint=None):
        if isinstance(init, tuple):
            init[0].ravel()[:1] += 0
        return super().solve(objective, matrix, init, callback, checkpoint=checkpoint)


class HasNoWeights(SignDescent):
    supports: ClassVar[Support] = Support(unobserved_weight=False)

    def solve(self, objective, matrix, init=None, callback=None, *, checkpoint=None):
        return super().solve(objective, matrix, init, callback, checkpoint=checkpoint)


@dataclass(kw_only=True)
class HasANonstandardName(SignDescent):
    n_components: int = 3


class DividesByCounts(SignDescent):
    def step(self, problem, state):
        moved = super().step(problem, state)
        with np.errstate(all="ignore"):
            ones = (problem.rows.counts / problem.rows.counts).astype(self.dtype)
        return moved.moved(moved.row_factors * ones[:, None], moved.col_factors)


@pytest.mark.parametrize(
    ("solver", "sentence"),
    [
        (WritesIntoInit, "modifies the matrix or the initial factors"),
        (WritesIntoTheMatrix, "modifies the matrix"),
        (IgnoresTheSeed, "factors differ for the same rng"),
        (StepDependsOnThreads, "n_threads changes"),
        (ReportsALowerObjective, "total in the history at epoch 6 is"),
        (IncreasesTheObjective, "did not decrease"),
        (WritesIntoTheState, "it must return new arrays"),
        (ChangesItsParameters, "solve changes attributes of the solver"),
        (KeepsStateInTheWorkspace, "continuing from a solution differs from an uninterrupted run"),
        (DoesNotValidate, "it must raise UnsupportedObjectiveError"),
        (ValidatesInTheConstructor, "the constructor must not validate its arguments: .* a float"),
        (RaisesAnErrorOfItsOwn, "must raise InvalidInputError, not ZeroDivisionError: no factors"),
        (WritesIntoReadOnlyArrays, "read-only arrays raise: .*read-only"),
        (HasNoWeights, "solve must accept weights="),
        (HasANonstandardName, "rename the parameter n_components to n_factors"),
        (DividesByCounts, "not finite"),
    ],
)
def test_invalid_solvers_fail(solver, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_solver(solver)


def test_stationarity_fails_before_convergence():
    check_solver(ValidSolver)
    with pytest.raises(AssertionError, match="after 6 epochs the gradient norm is"):
        check_solver(ValidSolver, stationary=True)


@pytest.mark.parametrize("not_a_solver", [int, ALS(), "als"])
def test_only_solver_classes_are_accepted(not_a_solver):
    with pytest.raises(AssertionError, match="not a subclass of"):
        check_solver(not_a_solver)


# Formulas that violate one requirement each


class WrongSlope(SquaredLoss):
    def derivative(self, target, prediction):
        return prediction - target


class ScalarsOnly(SquaredLoss):
    def value(self, target, prediction):
        return float(np.sum((target - prediction) ** 2))


class Overflows(LogCosh):
    def value(self, target, prediction):
        return self.scale * np.log(np.cosh(prediction - target))


@dataclass(frozen=True)
class DiffersFromTheKernel(HuberLoss):
    kernel_code: ClassVar[int] = SquaredLoss.kernel_code


class NotADataclass(Loss):
    def value(self, target, prediction):
        return (target - prediction) ** 2

    def derivative(self, target, prediction):
        return 2.0 * (prediction - target)


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (WrongSlope(), "WrongSlope.derivative is not the derivative of the values"),
        (ScalarsOnly(), "has shape"),
        (Overflows(), "Overflows.value is not finite"),
        (DiffersFromTheKernel(), "in the kernel is"),
        (NotADataclass(), "must be a dataclass"),
        (L2(), "must be a subclass of Loss"),
    ],
)
def test_invalid_losses_fail(loss, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_loss(loss)


class WrongProximal(L1):
    def proximal(self, x, step):
        return x / (1.0 + step)


class WrongDerivative(L2):
    def derivative(self, x):
        return x


class NotZeroAtZero(L2):
    def value(self, x):
        return x * x + 1.0


class Negative(L2):
    def value(self, x):
        return -x * x


@pytest.mark.parametrize(
    ("regularizer", "sentence"),
    [
        (WrongProximal(), "WrongProximal.proximal does not minimise"),
        (WrongDerivative(), "WrongDerivative.derivative is not the derivative"),
        (NotZeroAtZero(), r"value\(0\) is 1.0: it must be 0"),
        (Negative(), "is negative"),
        (SquaredLoss(), "must be a subclass of Regularizer"),
    ],
)
def test_invalid_regularizers_fail(regularizer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_regularizer(regularizer)


def test_custom_formulas_in_solvers_and_fold_in(small):
    objective = Objective(LogCosh(2.0), SmoothedL1(0.1), data="targets", unobserved_weight=0.01)
    solution = GD(n_factors=3, rng=0, dtype="float64", max_epochs=40).solve(objective, small)
    assert solution.objective_value < 0.5 * solution.history[0].total
    folded = fold_in(objective, small, solution.col_factors)
    refolded = objective.value(small, folded, solution.col_factors).total
    assert refolded <= solution.objective_value
    observed = replace(objective, unobserved_weight=0.0)
    history = SGD(n_factors=3, rng=0, max_epochs=10).solve(observed, small).history
    assert history[-1].total < history[0].total
