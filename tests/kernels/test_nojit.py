"""Kernels as plain Python (NUMBA_DISABLE_JIT=1) on tiny inputs, compared with the reference."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = """
import warnings
from dataclasses import dataclass
import numba
import numpy as np
from scipy import sparse
from twofold import L1, L2, HuberLoss, LogisticLoss, Loss, Objective, SquaredLoss, fold_in
from twofold.solvers import ALS, GD, SGD
from twofold.testing import check_loss, check_regularizer, reference

warnings.simplefilter("error")
assert numba.config.DISABLE_JIT
rng = np.random.default_rng(0)
at = (np.array([0, 0, 1, 3, 3, 3, 3, 3, 4, 4]), np.array([0, 1, 1, 0, 1, 2, 3, 3, 2, 3]))
matrix = sparse.coo_array((rng.choice([-1.0, 1.0], 10), at), shape=(5, 5))
weights = sparse.coo_array((np.full(10, 1.5), at), shape=(5, 5))
P, Q = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))

def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
"""

CASES = {
    "value and gradient": """
for loss in (SquaredLoss(), HuberLoss(0.5), LogisticLoss()):
    for regularizer in (L2(0.1, exponent=0.5), L1(0.2)):
        for a0, which in ((0.0, "all"), (0.3, "all"), (0.3, "missing")):
            objective = Objective(
                loss, regularizer, data="targets", unobserved_weight=a0, unobserved=which
            )
            expected = reference.value(objective, matrix, P, Q)
            close(objective.value(matrix, P, Q).total, expected["total"])
            pairs = zip(
                objective.gradient(matrix, P, Q), reference.gradient(objective, matrix, P, Q)
            )
            for actual, expected in pairs:
                close(actual, expected)
""",
    "solvers": """
for objective in (Objective(data="targets"), Objective(HuberLoss(0.5), L1(0.1), data="targets")):
    for solver in (
        ALS(), GD(), GD(learning_rate=0.05, n_batches=2), SGD(learning_rate=0.05),
        SGD(schedule="constant", learning_rate=0.05),
    ):
        if solver.supports.missing(objective):
            continue
        solver.n_factors, solver.max_epochs, solver.dtype = 2, 2, "float64"
        start = P.copy(), Q.copy()
        solution = solver.solve(objective, matrix, init=start)
        assert solution.vector_bits == 0
        close(solution.history[-1].total, reference.value(
            objective, matrix, solution.row_factors, solution.col_factors
        )["total"])
        assert solution.history[-1].total < solution.history[0].total, solver
        if isinstance(solver, ALS):
            close(solution.col_factors, reference.fold_in(
                objective, matrix.T, solution.row_factors
            ))
""",
    "fold-in": """
for objective in (
    Objective(regularizer=L2(0.1), data="targets"),
    Objective(regularizer=L2(0.1, exponent=1.0), data="targets", unobserved_weight=0.2),
):
    close(fold_in(objective, matrix, Q), reference.fold_in(objective, matrix, Q))
low = Objective(
    regularizer=L2(1.0), data="weights", unobserved_weight=2.0, unobserved="missing"
)
close(fold_in(low, weights, Q), reference.fold_in(low, weights, Q))  # w - a0 < 0
general = Objective(HuberLoss(0.5), L2(0.5), data="targets")
slope, _ = general.gradient(matrix, fold_in(general, matrix, Q), Q)
close(slope[[0, 1, 3, 4]], 0.0, 1e-5)
""",
    "row solvers": """
for nonnegative in (False, True):
    objective = Objective(
        regularizer=L2(0.1), data="targets", unobserved_weight=0.2, nonnegative=nonnegative
    )
    solver = ALS(n_factors=2, max_epochs=3, dtype="float64", row_solver="cg")
    totals = [record.total for record in solver.solve(objective, matrix, (P, Q)).history]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < totals[0]
""",
    "top-n": """
from twofold.model.ranking import Rules, best_columns, scores_of_pairs
from twofold.model.screening import prepare_screen
P, Q = rng.integers(-2, 3, (9, 3)).astype(float), rng.integers(-2, 3, (101, 3)).astype(float)
Q[7] = np.nan
can = rng.random((9, 101)) < 0.9
excluded = sparse.csr_array(~can)
lists = sparse.csr_array(np.ones((9, 101), bool))
for rows, rules in ((slice(None), Rules()), ([3], Rules()), (slice(None), Rules(lists))):
    part = best_columns(P[rows], Q, 5, excluded[rows], rules=rules)
    for found, expected in zip(part, reference.top_columns(P[rows], Q, 5, can[rows])):
        np.testing.assert_array_equal(found, expected)
screened = best_columns(P, Q, 5, excluded, screen=prepare_screen(Q))
for found, expected in zip(screened, reference.top_columns(P, Q, 5, can)):
    np.testing.assert_array_equal(found, expected)
pairs = np.arange(9), part[0][:, 0]
close(scores_of_pairs(P, Q, *pairs), part[1][:, 0])
""",
    "a user's formulas": """
@dataclass(frozen=True)
class Squared(Loss):
    scale: float = 2.0
    def value(self, target, prediction):
        return self.scale * (target - prediction) ** 2
    def derivative(self, target, prediction):
        return 2.0 * self.scale * (prediction - target)

class OwnL1(L1):
    def value(self, x):
        return np.abs(x)

check_loss(Squared())
check_regularizer(OwnL1())
objective = Objective(Squared(2.0), L2(0.2), data="targets")
half = Objective(SquaredLoss(), L2(0.1), data="targets")
close(objective.value(matrix, P, Q).total, 2.0 * half.value(matrix, P, Q).total)
close(fold_in(objective, matrix, Q), reference.fold_in(half, matrix, Q), 1e-6)
solution = SGD(n_factors=2, max_epochs=2, learning_rate=0.05).solve(objective, matrix, (P, Q))
assert solution.history[-1].total < solution.history[0].total
""",
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_run_as_plain_python(case):
    run = subprocess.run(
        [sys.executable, "-c", SETUP + CASES[case]],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_tests_with_the_mark_plain_pass_as_plain_python():
    tests = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "plain", tests / "kernels", tests / "solvers"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
