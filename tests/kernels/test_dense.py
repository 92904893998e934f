"""Small dense linear algebra of the kernels against numpy."""

import numpy as np
import pytest

from twofold._kernels.dense import add_outer, cholesky, solve_cholesky

SIZES = [1, 2, 3, 4, 5, 7, 8, 12, 13, 31, 64]


def random_matrix(n, m, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [0, 1, 5, 33])
def test_add_outer(n, m, dtype):
    # Larger than what is used of it: the rest must be left alone.
    A = random_matrix(n + 2, m + 3, dtype)
    start = random_matrix(n + 2, n + 2, dtype, seed=1)
    out = start.copy()
    add_outer(A, n, m, out)
    expected = start.copy()
    lower = np.tril_indices(n)
    expected[lower] += (A[:n, :m] @ A[:n, :m].T)[lower]
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(out[lower], expected[lower], atol=tolerance)
    np.testing.assert_array_equal(out[n:], start[n:])
    np.testing.assert_array_equal(out[:, n:], start[:, n:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_cholesky_and_solve(n, dtype):
    A = random_matrix(n, 2 * n, "float64")
    M = A @ A.T + np.identity(n)
    x = random_matrix(n, 1, "float64", seed=1)[:, 0]
    L, solution = M.astype(dtype), x.astype(dtype)
    assert cholesky(L, n, 0.0)
    solve_cholesky(L, n, solution)
    factor = np.linalg.cholesky(M)
    size = np.abs(factor).max()
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(np.tril(L), factor, atol=tolerance * size)
    np.testing.assert_allclose(M @ solution, x, atol=100 * tolerance * size)


def test_only_the_leading_part_is_used():
    M = np.full((5, 5), np.nan)
    M[:2, :2] = [[4.0, 0.0], [2.0, 5.0]]
    x = np.array([2.0, 3.0, np.nan])
    assert cholesky(M, 2, 0.0)
    np.testing.assert_allclose(np.tril(M[:2, :2]), [[2.0, 0.0], [1.0, 2.0]])
    solve_cholesky(M, 2, x)
    np.testing.assert_allclose(x[:2], np.linalg.solve([[4.0, 2.0], [2.0, 5.0]], [2.0, 3.0]))


@pytest.mark.parametrize(
    "M",
    [
        [[0.0, 0.0], [0.0, 1.0]],
        [[-1.0, 0.0], [0.0, 1.0]],
        [[1.0, 2.0], [2.0, 1.0]],
        [[1.0, 1.0], [1.0, 1.0]],
        [[1.0, np.nan], [np.nan, 1.0]],
        [[np.nan, 0.0], [0.0, 1.0]],
    ],
)
def test_a_bad_pivot_is_told(M):
    assert not cholesky(np.array(M), 2, 0.0)


def test_the_smallest_pivot_is_a_bound():
    M = np.diag([1.0, 1e-3])
    assert cholesky(M.copy(), 2, 1e-4)
    assert not cholesky(M.copy(), 2, 1e-3)
