"""The vector tiles against what they say they compute; tasks are handed out once each."""

import numba
import numpy as np
import pytest
from numba import njit, prange

from twofold._kernels import simd
from twofold._kernels.simd import TILE

DTYPES = [np.float32, np.float64]


@njit
def factor_tile(U, inverse, i):
    return simd.factor_tile(U, inverse, i)


@njit
def solve_tile(U, inverse, i, j):
    simd.solve_tile(U, inverse, i, j)


@njit
def solve_back(U, inverse, i, n, x):
    simd.solve_back(U, inverse, i, n, x)


@njit
def gather_transposed(Y, ids, first, h, factor, T):
    simd.gather_transposed(Y, ids, first, h, factor, T)


@njit
def dot_rows(Y, ids, first, x, out):
    simd.dot_rows(Y, ids, first, x, out)


@njit
def add_rows(Y, ids, first, factor, out):
    simd.add_rows(Y, ids, first, factor, out)


@njit
def pair_dots(P, rows, Q, cols, known):
    simd.pair_dots(P, rows, Q, cols, known)


@njit
def pair_steps(known, rate, size):
    simd.pair_steps(known, rate, size)


@njit
def pair_move(P, u, keep_p, move_p, Q, i, keep_q, move_q):
    simd.pair_move(P, u, keep_p, move_p, Q, i, keep_q, move_q)


@njit
def prefetch(A, i, a):
    simd.prefetch_row(A, i)
    simd.prefetch_at(a, i)


@njit(parallel=True)
def hand_out(counter, n, by):
    for worker in prange(4):
        task = simd.next_task(counter)
        while task < n:
            by[task] += worker + 1
            task = simd.next_task(counter)


def random_matrix(n, m, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m)).astype(dtype)


def jitted(name):
    product = getattr(simd, name)

    @njit
    def call(C, A, m, i, j):
        product(C, A, m, i, j)

    return call


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", ["tile", "pair"])
@pytest.mark.parametrize("mode", ["set", "add", "subtract"])
def test_products(mode, size, dtype):
    kernel = jitted(f"{mode}_{size}")
    block = slice(16, 24), slice(24, 32 if size == "tile" else 40)
    for m in (0, 1, 2, 9):
        A, C = random_matrix(12, 40, dtype), random_matrix(30, 50, dtype, seed=1)
        expected = C.astype(np.float64)
        product = A[:m, block[0]].T.astype(np.float64) @ A[:m, block[1]]
        if mode == "set":
            expected[block] = product
        else:
            expected[block] += product if mode == "add" else -product
        kernel(C, A, m, 16, 24)
        np.testing.assert_allclose(C, expected, atol=1e-5 if dtype == np.float32 else 1e-13)
        untouched = np.ones(C.shape, bool)
        untouched[block] = False
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
@pytest.mark.parametrize("n", [16, 40])
def test_solve_back(n, dtype):
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    U = random_matrix(48, 56, dtype) + 9.0 * np.identity(56, dtype)[:48]
    x = random_matrix(48, 1, dtype, seed=1)[:, 0]
    inverse = (1.0 / np.diag(U)).astype(dtype)
    start = x.copy()
    solve_back(U, inverse, 8, n, x)
    rest = start[8:16] - U[8:16, 16:n] @ start[16:n]
    found = np.linalg.solve(np.triu(U[8:16, 8:16]).astype(np.float64), rest)
    np.testing.assert_allclose(x[8:16], found, atol=tolerance)
    assert (np.delete(x, range(8, 16)) == np.delete(start, range(8, 16))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("id_type", [np.int32, np.int64])
def test_listed_rows(id_type, dtype):
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    Y, ids = random_matrix(20, 24, dtype), np.array([3, 3, 0, 19, 7, 1, 2, 5, 9, 9, 4], id_type)
    h, x = random_matrix(2, 24, dtype, seed=1)
    factor = random_matrix(1, 11, dtype, seed=2)[0]
    T = np.zeros((30, 18), dtype)
    gather_transposed(Y, ids, 2, h, factor, T)
    np.testing.assert_allclose(T[:24, 2:10], (Y * h)[ids[2:10]].T * factor[2:10], atol=tolerance)
    assert not T[24:].any()
    assert not T[:, :2].any()
    assert not T[:, 10:].any()
    out = np.full(9, 7.0, dtype)
    dot_rows(Y, ids, 2, x, out)
    np.testing.assert_allclose(out, [*(Y[ids[2:10]] @ x), 7.0], atol=tolerance)
    total = h.copy()
    add_rows(Y, ids, 2, factor, total)
    np.testing.assert_allclose(total, h + factor[:8] @ Y[ids[2:10]], atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pairs(dtype):
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    P, Q = random_matrix(5, 48, dtype), random_matrix(7, 48, dtype, seed=1)
    rows, cols = np.array([3, 0, 4, 0], np.uint64), np.array([6, 2, 2, 0], np.uint64)
    known = np.zeros((simd.KNOWN, 4), dtype)
    pair_dots(P, rows, Q, cols, known)
    for row, (A, B) in (
        (simd.DOT, (P[rows], Q[cols])),
        (simd.SQUARE, (P[rows], P[rows])),
        (simd.SQUARE + 1, (Q[cols], Q[cols])),
    ):
        np.testing.assert_allclose(known[row], np.sum(A * B, axis=1), atol=tolerance * 100)
    p, q = P[3].copy(), Q[6].copy()
    expected = P.copy(), Q.copy()
    expected[0][3], expected[1][6] = 0.9 * p - 0.2 * q, 0.8 * q + 0.1 * p
    numbers = [dtype(x) for x in (0.9, -0.2, 0.8, 0.1)]
    pair_move(P, 3, *numbers[:2], Q, 6, *numbers[2:])
    np.testing.assert_allclose(P, expected[0], atol=tolerance)
    np.testing.assert_allclose(Q, expected[1], atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_of_adagrad(dtype):
    P, Q = random_matrix(4, 48, dtype), random_matrix(4, 48, dtype, seed=1)
    four = np.arange(4).astype(np.uint64)
    known = np.zeros((simd.KNOWN, 4), dtype)
    pair_dots(P, four, Q, four, known)
    known[simd.SLOPE] = [-2.0, 0.0, 0.3, 1.0]
    known[simd.RIDGE], known[simd.RIDGE + 1] = 0.1, [0.0, 0.2, 0.3, 0.4]
    known[simd.SUM], known[simd.SUM + 1] = [1.0, 2.0, 3.0, 4.0], 0.5
    before = known.copy()
    pair_steps(known, dtype(0.05), dtype(48))
    for own, (A, B) in enumerate([(P, Q), (Q, P)]):
        ridge = before[simd.RIDGE + own][:, None]
        step = before[simd.SLOPE][:, None] * B + ridge * A
        sums = before[simd.SUM + own] + np.mean(step * step, axis=1)
        rate = 0.05 / np.sqrt(sums)
        tolerance = 1e-5 if dtype == np.float32 else 1e-13
        for row, expected in (
            (simd.SUM, sums),
            (simd.RATE, rate),
            (simd.KEEP, 1 - rate * ridge[:, 0]),
            (simd.MOVE, -rate * before[simd.SLOPE]),
        ):
            np.testing.assert_allclose(known[row + own], expected, rtol=tolerance)


def test_asking_changes_nothing():
    A = random_matrix(24, 33, np.float32)
    before = A.copy()
    prefetch(A, 23, A[0])
    np.testing.assert_array_equal(A, before)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="one thread")
def test_every_task_is_handed_out_once():
    by = np.zeros(10_000, np.int64)
    counter = np.zeros(1, np.int64)
    hand_out(counter, by.size, by)
    assert by.min() >= 1
    assert by.max() <= 4
