"""Epochs of every solver, and fold-in beside the notebook's loop."""

import numpy as np
import pytest

from twofold import L2, Objective, fold_in
from twofold.model.ranking import best_columns
from twofold.objective import Problem
from twofold.solvers import ALS, GD, SGD, Status
from twofold.testing import reference

from .conftest import is_tiny

OBJECTIVE = Objective(regularizer=L2(0.05, exponent=1.0))
SOLVERS = {
    "ALS": ALS(max_epochs=3, rng=0),
    "SGD": SGD(max_epochs=3, rng=0),
    "GD": GD(max_epochs=3, rng=0),
}


@pytest.mark.parametrize("n_factors", [16, 64])
@pytest.mark.parametrize("name", SOLVERS)
def test_epoch(benchmark, note, pairings, name, n_factors):
    """One epoch: without preparation and evaluation."""
    solver = SOLVERS[name]
    solver.n_factors = n_factors
    solution = solver.solve(OBJECTIVE, pairings.matrix)
    assert solution.status is Status.MAX_EPOCHS
    assert solution.history[-1].total < solution.history[0].total
    if is_tiny(pairings):
        P, Q = solution.row_factors, solution.col_factors
        expected = reference.value(OBJECTIVE, pairings.matrix, P, Q)["total"]
        assert solution.history[-1].total == pytest.approx(expected, rel=1e-10)
    problem = Problem.of(OBJECTIVE, pairings.matrix)
    state, _ = solver._continued(problem, solution)
    state = solver.prepare(problem, state)
    solver.step(problem, state)
    benchmark(solver.step, problem, state)
    note(
        pairings, n_factors=n_factors, status=solution.status.value,
        objective_after_3_epochs=solution.history[-1].total,
    )  # fmt: skip


@pytest.mark.parametrize("n_factors", [16, 64])
def test_fold_in(benchmark, note, pairings, n_factors):
    Q = np.random.default_rng(0).normal(0.0, 0.3, (pairings.shape[1], n_factors))
    Q = Q.astype(np.float32)
    objective = Objective(regularizer=L2(0.1))
    some = pairings.matrix[:200]
    exact = reference.fold_in(objective, some, Q) if is_tiny(pairings) else None
    found = benchmark(fold_in, objective, pairings.matrix, Q)
    if exact is not None:
        errors = np.linalg.norm(found[:200] - exact, axis=1) / np.linalg.norm(exact, axis=1)
        assert errors.max() < 1e-4
        note(pairings, n_factors=n_factors, largest_row_error=errors.max())
    note(pairings, n_factors=n_factors)


def test_fold_in_by_the_notebook(benchmark, note, pairings):
    """The loop over playlists that `fold_in` replaces, for at most 2,000 of them."""
    n_factors = 64
    Q = np.random.default_rng(0).normal(0.0, 0.3, (pairings.shape[1], n_factors))
    R = pairings.matrix[:2_000]

    def loop():
        rows = np.split(R.indices, R.indptr[1:-1])
        return np.stack([reference.notebook_fold_in(row, Q, 0.1) for row in rows])

    found = benchmark.pedantic(loop, rounds=1)
    np.testing.assert_allclose(found, fold_in(Objective(regularizer=L2(0.1)), R, Q), atol=1e-8)
    note(pairings, n_factors=n_factors, rows=R.shape[0])


@pytest.mark.parametrize("n", [10, 500])
def test_best_columns(benchmark, note, pairings, n):
    """Top-n of at most 2,000 playlists."""
    rng = np.random.default_rng(0)
    P, Q = (rng.normal(size=(size, 64)).astype(np.float32) for size in pairings.shape)
    P, known = P[:2_000], pairings.matrix[:2_000]
    positions, _ = benchmark(best_columns, P, Q, n, known)
    scores = P[0] @ Q.T
    scores[known[[0]].indices] = -np.inf
    kept = min(n, int(np.isfinite(scores).sum()))
    assert np.unique(positions[0, :kept]).size == kept
    # By score, as two that differ by rounding alone may change places.
    np.testing.assert_allclose(scores[positions[0, :kept]], -np.sort(-scores)[:kept], rtol=1e-5)
    note(pairings, n=n, rows=P.shape[0])
