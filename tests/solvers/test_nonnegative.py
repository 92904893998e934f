"""Objectives with factors >= 0 in training and fold-in."""

import re
import warnings

import numpy as np
import pytest
from plain_als import plain_als
from scipy import sparse
from scipy.optimize import nnls

from twofold import L2, Objective, fold_in
from twofold.exceptions import UnsupportedObjectiveError
from twofold.solvers import ALS, GD, SGD


def ones(n_rows, n_cols, density, seed):
    rng = np.random.default_rng(seed)
    return sparse.csr_array((rng.random((n_rows, n_cols)) < density).astype(float))


def rows_of(lengths, n_cols, rng):
    cols = np.concatenate([rng.choice(n_cols, d, replace=False) for d in lengths])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_array((np.ones(cols.size), cols, ends), shape=(len(lengths), n_cols))


def exact_nonnegative(Y, w, r, gram, ridge):
    """Solve min sum w (r - y p)^2 + p' gram p + ridge |p|^2 over p >= 0 by scipy's nnls."""
    k = Y.shape[1]
    values, vectors = np.linalg.eigh(gram + ridge * np.identity(k))
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    system = np.vstack([np.sqrt(w)[:, None] * Y, root])
    return nnls(system, np.concatenate([np.sqrt(w) * r, np.zeros(k)]), maxiter=100_000)[0]


@pytest.mark.parametrize("a0", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(2))
def test_nonnegative_rows_converge_to_the_minimum(seed, a0):
    rng = np.random.default_rng(seed)
    n, m, k, d, lam = 20, 300, 64, 60, 0.1
    R = rows_of([d] * n, m, rng)
    P, Q = rng.random((n, k)), rng.random((m, k))
    objective = Objective(regularizer=L2(lam), unobserved_weight=a0, nonnegative=True)
    solver = plain_als(n_factors=k, max_epochs=1, dtype="float64")
    trained = solver.solve(objective, R, init=(P, Q)).row_factors
    folded = fold_in(objective, R, Q)
    assert trained.min() >= 0.0
    assert folded.min() >= 0.0
    for u in range(n):
        Y = Q[R.indices[u * d : (u + 1) * d]]
        exact = exact_nonnegative(Y, np.ones(d), np.ones(d), a0 * Q.T @ Q, lam)
        for found in (trained[u], folded[u]):
            assert np.linalg.norm(found - exact) <= 1e-5 * np.linalg.norm(exact)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", [ALS, GD, SGD])
def test_solvers_respect_the_constraint_or_raise(solver, dtype):
    a0 = 0.0 if solver is SGD else 0.1
    objective = Objective(regularizer=L2(0.2), unobserved_weight=a0, nonnegative=True)
    R = ones(40, 30, 0.2, 0)
    try:
        solution = solver(n_factors=5, max_epochs=8, rng=0, dtype=dtype).solve(objective, R)
    except UnsupportedObjectiveError:
        assert solver is not ALS
        return
    assert solution.row_factors.min() >= 0.0
    assert solution.col_factors.min() >= 0.0
    assert solution.history[-1].total < solution.history[0].total
    assert fold_in(objective, R, solution.col_factors).min() >= 0.0


@pytest.mark.parametrize("init", ["spectral", "random"])
def test_a_run_warns_once_of_rows_that_do_not_converge(init):
    rng = np.random.default_rng(0)
    R = sparse.csr_array((rng.random((60, 40)) < 0.3).astype(float))
    objective = Objective(regularizer=L2(0.0), nonnegative=True)
    solver = ALS(n_factors=8, max_epochs=5, rng=0, init=init)
    for _ in range(2):  # each run
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            solver.solve(objective, R)
        messages = [str(warning.message) for warning in caught]
        assert len(messages) == 1
        assert re.match(r"in epoch \d, (row|col) \d+ and \d+ others did not converge", messages[0])
