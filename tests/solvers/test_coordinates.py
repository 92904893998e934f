"""Coordinates in which the Gramian is diagonal, and the accuracy of rows in them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import L2, Objective
from twofold.objective import Problem
from twofold.solvers.column_system import ColumnSystem
from twofold.solvers.coordinates import cholesky, coordinates
from twofold.testing import reference


def gramian_with(eigenvalues, rng):
    k = len(eigenvalues)
    vectors, _ = np.linalg.qr(rng.normal(size=(k, k)))
    return (vectors * eigenvalues) @ vectors.T


@settings(deadline=None)
@given(
    seed=st.integers(0, 100), k=st.integers(1, 20), ridge=st.sampled_from([None, 1e-9, 0.3, 1e9])
)
def test_the_gramian_with_the_ridge_is_diagonal(seed, k, ridge):
    rng = np.random.default_rng(seed)
    G = gramian_with(rng.random(k) * 10.0 ** rng.integers(-3, 3), rng)
    found = coordinates(G, ridge)
    mu = ridge or 0.7
    diagonal = found.vectors.T @ (G + mu * np.eye(k)) @ found.vectors
    np.testing.assert_allclose(
        diagonal, np.diag(found.spectrum + mu), rtol=1e-12, atol=1e-12 * diagonal.max()
    )
    np.testing.assert_allclose(found.inverse @ found.vectors.T, np.eye(k), atol=1e-10)
    assert (np.diff(found.spectrum) >= 0.0).all()


@pytest.mark.parametrize(("largest", "is_triangular"), [(254.0, True), (256.0, False)])
def test_a_triangle_is_used_for_well_conditioned_gramians(largest, is_triangular):
    vectors = coordinates(np.diag([1.0, largest]) * 3.0, 3.0).vectors
    assert (vectors.T @ vectors == np.eye(2)).all() != is_triangular


@pytest.mark.parametrize("k", [1, 8, 13])
def test_cholesky(k):
    A = gramian_with(np.geomspace(1.0, 1e3, k), np.random.default_rng(k))
    L, inverse = cholesky(A)
    np.testing.assert_allclose(L, np.linalg.cholesky(A), atol=1e-10)
    np.testing.assert_allclose(inverse @ L, np.eye(k), atol=1e-12)
    for matrix in (-A, A * np.nan, np.zeros((k, k))):
        assert all(np.isnan(part).any() for part in cholesky(matrix))


@pytest.mark.parametrize("size", [1e-320, 1e-160, 1e160, 1e300])
def test_any_size(size):
    G = gramian_with(np.array([0.5, 1.0, 2.0]), np.random.default_rng(0)) * size
    for ridge in (1e-300, 1e-5, 1.0, 1e300):
        assert all(np.isfinite(part).all() for part in coordinates(G, ridge))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", ["direct", "auto"])
@pytest.mark.parametrize("k", [3, 16, 64])
def test_the_objective_of_rows_is_accurate_up_to_the_largest_condition(k, way, dtype):
    """Of random columns, and of one without the directions of the largest eigenvalues."""
    rng = np.random.default_rng(k)
    size = np.geomspace(1.0, 1e-3, k)
    Q = (rng.normal(size=(500, k)) * size) @ gramian_with(np.ones(k), rng)
    Q *= np.sqrt(250.0 / np.linalg.norm(0.1 * Q.T @ Q))  # at the limit for a ridge of 1
    entries = (rng.random((60, 500)) < rng.choice([0.01, 0.1, 0.5], size=(60, 1))).astype(float)
    entries[0] = np.arange(500) == np.linalg.norm(Q, axis=1).argmin()
    matrix = sparse.csr_array(entries)
    objective = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
    Q = Q.astype(dtype)
    system = ColumnSystem.prepare(objective, Q, ridge=1.0)
    assert (system.spectrum[:k] == 1.0).all()
    report = system.solve(Problem.of(objective, matrix).rows, way=way)
    assert (report.status == 0).all()
    tolerance = 2e-6 if dtype == "float32" else 1e-10
    exact = reference.fold_in(objective, matrix, Q)
    A = objective.unobserved_weight * Q.T.astype(np.float64) @ Q + np.eye(k)
    for u in range(len(entries)):
        chosen = Q[entries[u] > 0.0].astype(np.float64)
        own = A + chosen.T @ chosen
        error = report.row_factors[u, :k] - exact[u]
        excess, size = error @ own @ error, exact[u] @ own @ exact[u]
        assert excess <= (tolerance**2) * size
