"""Gradient and proximal steps and fold-in for losses and penalties of every kind, on few pairs."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import sparse

from twofold import L1, L2, HuberLoss, LogisticLoss, Objective, SquaredLoss, fold_in
from twofold.solvers import GD
from twofold.testing import reference

pytestmark = pytest.mark.plain

N_ROWS, N_COLS, K, ETA = 7, 9, 3, 0.01
C, D = (np.random.default_rng(n).normal(size=(n, K)) for n in (N_ROWS, N_COLS))
CENTERS = {"row_center": C, "col_center": D}


@dataclass(frozen=True)
class Quartic(L2):
    """A penalty that is called by its address."""

    def value(self, x):
        return x**4

    def derivative(self, x):
        return 4.0 * x**3


@dataclass(frozen=True)
class OwnL1(L1):
    """The same by its address, and its proximal step."""

    def value(self, x):
        return np.abs(x)


PENALTIES = [
    L2(0.3, 0.5), L2(0.3, **CENTERS), L1(0.3, 0.5), OwnL1(0.3), Quartic(0.1),
    Quartic(0.1, 0.5, **CENTERS),
]  # fmt: skip
OBJECTIVES = [
    Objective(loss, penalty, data="targets", unobserved_weight=a0, unobserved=which, biases=biases)
    for penalty in PENALTIES
    for loss, a0, which, biases in (
        (SquaredLoss(), 0.2, "all", False), (HuberLoss(0.5), 0.0, "all", True),
        (LogisticLoss(), 0.2, "missing", True),
    )
] + [Objective(regularizer=L2(0.3), data="targets", nonnegative=True)]  # fmt: skip


def signs():
    """Return +-1 in CSR format with repeated entries, in every row and every column."""
    rng = np.random.default_rng(0)
    more = rng.integers(N_ROWS, size=15), rng.integers(N_COLS, size=15)
    row, col = np.concatenate([[np.arange(9) % N_ROWS, np.arange(9)], more], axis=1)
    order = np.lexsort((col, row))
    indptr = np.searchsorted(row[order], np.arange(N_ROWS + 1))
    values = rng.choice([-1.0, 1.0], row.size)
    return sparse.csr_array((values, col[order], indptr), shape=(N_ROWS, N_COLS))


def factors_and_centers(objective):
    """Return the factors and the centers of their penalties, (P, Q) and (C, D)."""
    rng = np.random.default_rng(1)
    factors = [rng.normal(size=(n, K)) for n in (N_ROWS, N_COLS)]
    centers = [
        np.zeros_like(own) if center is None else center.values
        for own, center in zip(factors, objective.regularizer.centers, strict=True)
    ]
    if objective.nonnegative:
        return [np.abs(own) for own in factors], centers
    if not objective.biases:
        return factors, centers
    mean = reference.mean(objective, signs())
    biases = [rng.normal(size=(n, 1)) for n in (N_ROWS, N_COLS)]
    ones = [np.ones_like(own) for own in biases]
    return (
        [np.hstack([factors[0], biases[0], ones[0]]), np.hstack([factors[1], ones[1], biases[1]])],
        [np.hstack([centers[0], 0 * ones[0], ones[0]]),
         np.hstack([centers[1], ones[1], mean * ones[1]])],
    )  # fmt: skip


def smooth_gradient(objective, P, Q):
    """Return the gradient without a penalty that has a kink."""
    if not objective.regularizer.smooth:
        objective = replace(objective, regularizer=L2(0.0))
    return reference.gradient(objective, signs(), P, Q)


def expected_step(objective, P, Q):
    """Return the factors after a proximal gradient step."""
    _, centers = factors_and_centers(objective)
    scales = reference.scales(objective, signs())
    moved = [own - ETA * slope for own, slope in
             zip((P, Q), smooth_gradient(objective, P, Q), strict=True)]  # fmt: skip
    if not objective.regularizer.smooth:
        for own, center, scale in zip(moved, centers, scales, strict=True):
            step = ETA * objective.regularizer.weight * scale[:, np.newaxis]
            own[:] = center + np.sign(own - center) * np.maximum(np.abs(own - center) - step, 0.0)
    if objective.biases:
        moved[0][:, -1] = moved[1][:, -2] = 1.0
    return [np.maximum(own, 0.0) for own in moved] if objective.nonnegative else moved


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_value_and_gradient(objective):
    (P, Q), _ = factors_and_centers(objective)
    found = objective.value(signs(), P, Q)
    for part, expected in reference.value(objective, signs(), P, Q).items():
        assert getattr(found, part) == pytest.approx(expected, rel=1e-12)
    if not isinstance(objective.regularizer, OwnL1):  # without its subgradient
        for slope, expected in zip(
            objective.gradient(signs(), P, Q), reference.gradient(objective, signs(), P, Q),
            strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(slope, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("momentum", [False, True])
def test_steps(objective, momentum):
    """Without momentum, the step is taken in the pass that computes the gradient."""
    (P, Q), _ = factors_and_centers(objective)
    solver = GD(n_factors=K, max_epochs=1, learning_rate=ETA, momentum=momentum, dtype="float64")
    solution = solver.solve(objective, signs(), (P, Q))
    expected = expected_step(objective, P, Q)
    for found, own in zip((solution.row_factors, solution.col_factors), expected, strict=True):
        np.testing.assert_allclose(found, own, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("objective", [each for each in OBJECTIVES if not each.nonnegative])
def test_folded_rows_are_stationary(objective):
    """The slope is 0, or at a kink at most the slope of the penalty there."""
    (_, Q), (center, _) = factors_and_centers(objective)
    own = center[:, :K] if objective.has_centers else None
    P = fold_in(objective.for_data(signs()), signs(), Q, center=own)
    slope = smooth_gradient(objective, P, Q)[0]
    if not objective.regularizer.smooth:
        kink = objective.regularizer.weight * reference.scales(objective, signs())[0][:, np.newaxis]
        slope = np.where(center == P, np.maximum(np.abs(slope) - kink, 0.0),
                         slope + kink * np.sign(P - center))  # fmt: skip
    if objective.biases:
        slope[:, -1] = 0.0
    assert np.abs(slope).max() < 1e-5
    assert np.abs(P).max() > 0.01
