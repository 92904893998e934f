"""The vector tiles against what they say they compute; tasks are handed out once each."""

import numba
import numpy as np
import pytest
from numba import njit, prange

from twofold._kernels import simd
from twofold._kernels.simd import TILE

DTYPES = [np.float32, np.float64]


@njit
def add_tile(C, A, m, i, j):
    simd.add_tile(C, A, m, i, j)


@njit
def subtract_tile(C, A, m, i, j):
    simd.subtract_tile(C, A, m, i, j)


@njit
def factor_tile(U, inverse, i):
    return simd.factor_tile(U, inverse, i)


@njit
def solve_tile(U, inverse, i, j):
    simd.solve_tile(U, inverse, i, j)


@njit
def transpose_tile(A, i, j, B):
    simd.transpose_tile(A, i, j, B)


@njit
def prefetch_row(A, i):
    simd.prefetch_row(A, i)


@njit(parallel=True)
def hand_out(counter, n, by):
    for worker in prange(4):
        task = simd.next_task(counter)
        while task < n:
            by[task] += worker + 1
            task = simd.next_task(counter)


def random_matrix(n, m, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [0, 1, 2, 9])
@pytest.mark.parametrize(("kernel", "sign"), [(add_tile, 1), (subtract_tile, -1)])
def test_products(kernel, sign, m, dtype):
    A, C = random_matrix(12, 40, dtype), random_matrix(30, 50, dtype, seed=1)
    expected = C.astype(np.float64)
    product = A[:m, 16:24].T.astype(np.float64) @ A[:m, 24:32]
    expected[16:24, 24:32] += sign * product
    kernel(C, A, m, 16, 24)
    np.testing.assert_allclose(C, expected, atol=1e-5 if dtype == np.float32 else 1e-13)
    untouched = np.ones(C.shape, bool)
    untouched[16:24, 24:32] = False
    np.testing.assert_array_equal(C[untouched], expected.astype(dtype)[untouched])


@pytest.mark.parametrize("dtype", DTYPES)
def test_factor_and_solve(dtype):
    A = random_matrix(TILE, 2 * TILE, np.float64)
    M = A @ A.T
    U = random_matrix(24, 40, np.float64, seed=1)
    U[8:16, 8:16] = M
    U = U.astype(dtype)
    start, inverse = U.copy(), np.zeros(24, dtype)
    smallest = factor_tile(U, inverse, 8)
    R = np.linalg.cholesky(M).T
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(np.triu(U[8:16, 8:16]), R, atol=tolerance)
    np.testing.assert_allclose(inverse[8:16], 1.0 / np.diag(R), atol=10 * tolerance)
    assert smallest == pytest.approx(np.diag(R).min() ** 2, rel=1e-3)
    solve_tile(U, inverse, 8, 24)
    found = np.linalg.solve(R.T, start[8:16, 24:32].astype(np.float64))
    np.testing.assert_allclose(U[8:16, 24:32], found, atol=100 * tolerance)
    changed = np.zeros(U.shape, bool)
    changed[8:16, 8:16] = changed[8:16, 24:32] = True
    np.testing.assert_array_equal(U[~changed], start[~changed])


@pytest.mark.parametrize("dtype", DTYPES)
def test_transpose_and_prefetch(dtype):
    A = random_matrix(24, 33, dtype)
    B = np.zeros((40, 30), dtype)
    transpose_tile(A, 8, 16, B)
    np.testing.assert_array_equal(B[16:24, 8:16], A[8:16, 16:24].T)
    assert np.count_nonzero(B) == TILE * TILE
    before = A.copy()
    prefetch_row(A, 23)
    np.testing.assert_array_equal(A, before)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="one thread")
def test_every_task_is_handed_out_once():
    by = np.zeros(10_000, np.int64)
    counter = np.zeros(1, np.int64)
    hand_out(counter, by.size, by)
    assert by.min() >= 1
    assert by.max() <= 4
