"""Small dense linear algebra of the kernels, compared with numpy."""

import numpy as np
import pytest
from devices import call

from twofold._kernels import dense, products
from twofold._kernels.threads import run
from twofold._kernels.vectors import tiles

pytestmark = pytest.mark.plain

SIZES = [8, 16, 24, 64, 104]
DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def random_matrix(n, m, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m)).astype(dtype)


def positive_definite(n, dtype):
    A = random_matrix(n, 2 * n, np.float64)
    return (A @ A.T / n + np.identity(n)).astype(dtype)


def test_padded():
    assert [call(dense.padded, n) for n in (0, 1, 7, 8, 9, 16)] == [0, 8, 8, 8, 16, 16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", [0, 1, 5, 33])
def test_add_products(n, m, dtype):
    # The arrays are larger than the part in use; the rest must not change.
    A = random_matrix(m + 3, n + 8, dtype)
    start = random_matrix(n + 2, n + 8, dtype, seed=1)
    out = start.copy()
    call(dense.add_products, A, m, n, out)
    upper = np.triu_indices(n)
    expected = start[:n, :n] + A[:m, :n].T @ A[:m, :n]
    np.testing.assert_allclose(
        out[:n, :n][upper], expected[upper], atol=20 * TOLERANCE[dtype], rtol=0
    )
    np.testing.assert_array_equal(out[n:], start[n:])
    np.testing.assert_array_equal(out[:, n:], start[:, n:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_symmetric_norm(n, dtype):
    A = positive_definite(n, dtype)
    U = np.full((n, n + 8), np.nan, dtype)
    for i in range(0, n, 8):  # the tiles on and above the diagonal
        U[i : i + 8, i:n] = A[i : i + 8, i:]
    np.testing.assert_allclose(call(dense.symmetric_norm, U, n), np.linalg.norm(A), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_set_products_row(n, dtype):
    A = random_matrix(9, n, dtype)
    added, set_ = np.zeros((n, n), dtype), np.full((n, n), np.nan, dtype)
    call(dense.add_products, A, 9, n, added)
    for i in range(0, n, 8):
        call(dense.set_products_row, A, 9, n, i, set_)
    upper = np.triu_indices(n)
    np.testing.assert_array_equal(set_[upper], added[upper])


def test_leading_dimension_is_an_odd_multiple_of_8():
    for n in range(1, 600):
        assert call(dense.padded_leading_dim, n) >= call(dense.padded, n) + 8
        assert call(dense.padded_leading_dim, n) % 16 == 8


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_cholesky_and_solves(n, dtype):
    M, rhs = positive_definite(n, dtype), random_matrix(n, 8, dtype, seed=1)
    U = np.hstack([M, rhs, np.full((n, 8), 7.0, dtype)])
    inverse = np.empty(n, dtype)
    assert call(dense.cholesky, U, inverse, n, n + 8, 0.0)
    factor = np.linalg.cholesky(M.astype(np.float64)).T
    tolerance = 10 * TOLERANCE[dtype] * np.abs(factor).max()
    np.testing.assert_allclose(np.triu(U[:, :n]), factor, atol=tolerance)
    np.testing.assert_allclose(inverse, 1.0 / np.diag(factor), atol=tolerance)
    np.testing.assert_allclose(U[:, n : n + 8], np.linalg.solve(factor.T, rhs), atol=tolerance)
    assert (U[:, n + 8 :] == 7.0).all()
    x = rhs[:, 0].copy()
    call(dense.solve_transposed, U, inverse, n, x)
    np.testing.assert_allclose(x, U[:, n], atol=tolerance)
    call(dense.solve_upper, U, inverse, n, x)
    np.testing.assert_allclose(x, np.linalg.solve(M.astype(np.float64), rhs[:, 0]), atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", [0, 3, 7, 8, 13])
@pytest.mark.parametrize("pivot", [0.0, -1.0, np.nan])
def test_cholesky_fails_if_not_positive_definite(pivot, at, dtype):
    U = np.identity(16, dtype)
    U[at, at] = pivot
    assert not call(dense.cholesky, U, np.empty(16, dtype), 16, 16, 0.0)


def test_cholesky_pivot_threshold():
    U = np.diag(np.arange(1.0, 9.0)[::-1])
    assert call(dense.cholesky, U.copy(), np.empty(8), 8, 8, 0.99)
    assert not call(dense.cholesky, U.copy(), np.empty(8), 8, 8, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ["upper", "lower", "one element", "zero"])
def test_multiply_by_a_matrix_with_zeros(shape, dtype):
    """The bits are those of a product in which no zero is left out."""
    F, B = random_matrix(20, 104, dtype), random_matrix(104, 104, dtype, seed=1)
    at = np.arange(104)
    kept = {
        "upper": at[:, np.newaxis] <= at,
        "lower": at[:, np.newaxis] >= at,
        "one element": (at[:, np.newaxis] == 37) & (at == 70),
        "zero": np.zeros((104, 104), bool),
    }[shape]
    B = B * kept
    out = np.full((20, 104), np.nan, dtype)
    run(products.multiply, 1, 1, F, np.empty(0, np.int64), B, out)
    expected = np.zeros((24, 104), dtype)
    padded = np.ascontiguousarray(np.pad(F, ((0, 4), (0, 0))).T)
    for i in range(0, 24, 8):
        call(tiles.set_tiles, expected, i, padded, B, 104, i, 0, 104)
    np.testing.assert_array_equal(out, expected[:20])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out_dtype", DTYPES)
@pytest.mark.parametrize("n_rows", [0, 1, 7, 8, 300])
def test_multiply(n_rows, out_dtype, dtype):
    """F B and F[rows] B are accurate, and their common elements are bitwise equal."""
    F, B = random_matrix(n_rows, 40, np.float32), random_matrix(40, 56, dtype, seed=1)
    all_rows, tasks = np.empty(0, np.int64), max(-(-n_rows // products.PRODUCT_ROWS), 1)
    out = np.full((n_rows, 56), np.nan, out_dtype)
    run(products.multiply, tasks if n_rows else 0, 2, F, all_rows, B, out)
    tolerance = 1e-4 if np.float32 in (dtype, out_dtype) else 1e-12
    np.testing.assert_allclose(out, F.astype(np.float64) @ B.astype(np.float64), atol=tolerance)
    rows = np.arange(n_rows)[::-3].copy()
    if rows.size:
        selected = np.full((n_rows, 8), np.nan, out_dtype)
        run(
            products.multiply,
            -(-rows.size // products.PRODUCT_ROWS),
            1,
            F,
            rows,
            np.ascontiguousarray(B[:, 8:16]),
            selected,
        )
        np.testing.assert_array_equal(selected[rows], out[rows, 8:16])
