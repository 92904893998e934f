"""Vector primitives compared with numpy, and the task counter."""

import inspect
import platform
import re
from itertools import product

import numba
import numpy as np
import pytest
from numba import njit
from subprocesses import run_python

from twofold._kernels.threads import run
from twofold._kernels.vectors import pairs, rows, sums, tasks, tiles
from twofold._kernels.vectors.matrix import TILE, _vector_bits, machine_code

pytestmark = pytest.mark.plain

DTYPES = [np.float32, np.float64]


def jitted(primitive):
    """Return a compiled function that calls the primitive."""

    @njit
    def call(*arguments):
        return primitive(*arguments)

    return call


factor_tile, solve_tiles = map(jitted, (tiles.factor_tile, tiles.solve_tiles))
solve_back, solve_forward = map(jitted, (tiles.solve_back, tiles.solve_forward))
gather_transposed, dot_rows = map(jitted, (rows.gather_transposed, rows.dot_rows))
add_rows, add_scaled_rows = map(jitted, (rows.add_rows, rows.add_scaled_rows))
gather_scaled, set_normal_terms = map(jitted, (rows.gather_scaled, rows.set_normal_terms))
dot, square_sum = jitted(sums.dot), jitted(sums.square_sum)
pair_dots, pair_adagrad, pair_update = map(
    jitted, (pairs.pair_dots, pairs.pair_adagrad, pairs.pair_update)
)
prefetch_row, prefetch_at = map(jitted, (rows.prefetch_row, rows.prefetch_at))


@njit(nogil=True)
def count_tasks(counter, n_tasks, counts):
    task = tasks.next_task(counter)
    while task < n_tasks:
        counts[task] += 1
        task = tasks.next_task(counter)


def random_matrix(n, m, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["set_tiles", "add_tiles", "subtract_tiles"])
def test_products(name, dtype):
    kernel = jitted(getattr(tiles, name))
    row, i, j = 8, 16, 24
    A, B = random_matrix(12, 24, dtype), random_matrix(11, 100, dtype, seed=2)
    for m in (0, 1, 2, 9):
        for n in range(j, j + 9 * TILE, TILE):
            C = random_matrix(30, 110, dtype, seed=1)
            expected = C.astype(np.float64)
            block = slice(row, row + TILE), slice(j, n)
            product = A[:m, i : i + TILE].T.astype(np.float64) @ B[:m, j:n]
            if name == "set_tiles":
                expected[block] = product
            else:
                expected[block] += product if name == "add_tiles" else -product
            kernel(C, row, A, B, m, i, j, n)
            np.testing.assert_allclose(C, expected, atol=1e-5 if dtype == np.float32 else 1e-13)
            untouched = np.ones(C.shape, bool)
            untouched[block] = False
            np.testing.assert_array_equal(C[untouched], expected.astype(dtype)[untouched])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out_dtype", DTYPES)
def test_set_tiles_from_rows_is_bitwise_equal_to_set_tiles(out_dtype, dtype):
    A, B = random_matrix(24, 12, dtype), random_matrix(11, 100, dtype, seed=2)
    transposed = np.ascontiguousarray(A.T)
    by_columns, from_rows = jitted(tiles.set_tiles), jitted(tiles.set_tiles_from_rows)
    for n, first in product(range(24, 24 + 9 * TILE, TILE), (0, 5, 9)):
        expected, C = np.zeros((30, 110), dtype), np.zeros((30, 110), out_dtype)
        by_columns(expected, 8, transposed[first:], B[first:], 9 - first, 16, 24, n)
        from_rows(C, 8, A, B, 9, 16, 24, n, first)
        np.testing.assert_array_equal(C, expected.astype(out_dtype))


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["set", "add", "subtract"])
@pytest.mark.parametrize("n_bytes", [16, 64])
def test_products_have_the_same_bits_with_other_vectors(n_bytes, mode, dtype):
    primitive = getattr(tiles, f"{mode}_tiles")
    generated = machine_code(tiles._products(mode), lambda: n_bytes)
    kernel, other = jitted(primitive), jitted(generated(inspect.unwrap(primitive)))
    A, B = random_matrix(12, 24, dtype), random_matrix(11, 150, dtype, seed=2)
    expected, C = np.ones((30, 150), dtype), np.ones((30, 150), dtype)
    for n in range(24, 24 + 14 * TILE, TILE):
        kernel(expected, 8, A, B, 9, 16, 24, n)
        other(C, 8, A, B, 9, 16, 24, n)
        np.testing.assert_array_equal(C, expected)


def test_width_of_vectors():
    avx, wide = {"+avx", "+avx2"}, {"+avx", "+avx2", "+avx512f", "+avx512vl"}
    assert _vector_bits("apple-m1", {"+neon"}) == _vector_bits("nehalem", {"+sse4.2"}) == 128
    assert _vector_bits("znver3", avx) == _vector_bits("knl", avx | {"+avx512f"}) == 256
    assert _vector_bits("znver4", wide) == _vector_bits("tigerlake", wide) == 256
    assert _vector_bits("znver5", wide) == _vector_bits("sapphirerapids", wide) == 512


@pytest.mark.skipif(
    numba.config.DISABLE_JIT or platform.machine() != "x86_64", reason="code of x86 processors"
)
def test_processors_with_wide_units_compute_products_with_512_bits():
    code = run_python("""
        import os

        wide = "+avx,+avx2,+fma,+avx512f,+avx512vl,+avx512bw,+avx512dq"
        os.environ.update(NUMBA_CPU_NAME="sapphirerapids", NUMBA_CPU_FEATURES=wide)

        from numba import njit, types
        from twofold._kernels.vectors.tiles import add_tiles

        @njit
        def add(C, A, m, n):
            add_tiles(C, 0, A, A, m, 0, 0, n)

        A = types.Array(types.float32, 2, "C")
        add.compile((A, A, types.intp, types.intp))  # The code is not run.
        print(*add.inspect_asm().values())
    """)
    assert re.search(r"vfmadd\d+ps.*%zmm", code)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="views are supported")
def test_unsupported_arguments_raise():
    A = random_matrix(24, 24, np.float32)
    with pytest.raises(numba.TypingError, match="must be C-contiguous"):
        prefetch_row(A[:, :8], 0)
    with pytest.raises(TypeError, match="missing a required argument"):
        prefetch_row(A)


def factored_tile(dtype):
    """Return a matrix before and after `factor_tile` of its tile at 8, with its other results."""
    A = random_matrix(TILE, 2 * TILE, np.float64)
    U = random_matrix(24, 56, np.float64, seed=1)
    U[8:16, 8:16] = A @ A.T
    U = U.astype(dtype)
    start, inverse = U.copy(), np.zeros(24, dtype)
    smallest = factor_tile(U, inverse, 8)
    return start.astype(np.float64), U, inverse, smallest


@pytest.mark.parametrize("dtype", DTYPES)
def test_factor_tile(dtype):
    start, U, inverse, smallest = factored_tile(dtype)
    R = np.linalg.cholesky(start[8:16, 8:16]).T
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(np.triu(U[8:16, 8:16]), R, atol=tolerance)
    np.testing.assert_allclose(inverse[8:16], 1.0 / np.diag(R), atol=10 * tolerance)
    below = np.tril(np.linalg.inv(R.T), -1)
    np.testing.assert_allclose(np.tril(U[8:16, 8:16], -1), below, atol=10 * tolerance)
    assert smallest == pytest.approx(np.diag(R).min() ** 2, rel=1e-3)
    U[8:16, 8:16] = start[8:16, 8:16]
    np.testing.assert_array_equal(U, start)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 8, 24, 136])
def test_dot(n, dtype):
    x, y = random_matrix(2, n, dtype)
    found = dot(x, y)
    assert isinstance(found, float)
    # The products of float32 numbers are exact in float64.
    exact = np.dot(x.astype(np.longdouble), y.astype(np.longdouble))
    assert found == pytest.approx(float(exact), abs=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [16, 24, 40])
def test_solve_tiles(n, dtype):
    start, U, inverse, _ = factored_tile(dtype)
    U[8:16, 8:16] += 100.0 * np.identity(TILE, dtype)  # The diagonal is not used.
    start[8:16, 8:16] = U[8:16, 8:16]
    solve_tiles(U, inverse, 8, 16, n)
    R = np.triu(U[8:16, 8:16]).astype(np.float64)
    R[range(TILE), range(TILE)] = 1.0 / inverse[8:16]
    start[8:16, 16:n] = np.linalg.solve(R.T, start[8:16, 16:n])
    np.testing.assert_allclose(U, start, atol=1e-3 if dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [16, 24, 56])
def test_solve_back_and_forward(n, dtype):
    tolerance = 1e-3 if dtype == np.float32 else 1e-11
    start, U, inverse, _ = factored_tile(dtype)
    R, right = np.triu(U[8:16, 8:16]).astype(np.float64), start[8:16, 16:n]
    x = random_matrix(56, 1, dtype, seed=1)[:, 0]
    found, expected = x.copy(), x.astype(np.float64)
    solve_back(U, inverse, 8, n, found)
    expected[8:16] = np.linalg.solve(R, x[8:16] - right @ x[16:n])
    np.testing.assert_allclose(found, expected, atol=tolerance)
    found, expected = x.copy(), x.astype(np.float64)
    solve_forward(U, inverse, 8, n, found)
    expected[8:16] = np.linalg.solve(R.T, x[8:16])
    expected[16:n] -= expected[8:16] @ right
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("id_type", [np.int32, np.int64])
def test_gather_dot_and_add_rows(id_type, dtype):
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
    out = np.full(10, 7.0, dtype)
    dot_rows(Y, ids, 2, x, out, 1)
    np.testing.assert_allclose(out, [7.0, *(Y[ids[2:10]] @ x), 7.0], atol=tolerance)
    total = h.copy()
    add_rows(Y, ids, 2, factor, 3, total)
    np.testing.assert_allclose(total, h + factor[3:11] @ Y[ids[2:10]], atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_scaled(dtype):
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    Y, ids = random_matrix(20, 24, dtype), np.array([3, 3, 0, 19, 7, 1, 2, 5, 9, 9, 4], np.int32)
    (h, total), (factor, weight) = random_matrix(2, 24, dtype, 1), random_matrix(2, 8, dtype, 2)
    T, start = np.zeros((30, 32), dtype), total.copy()
    gather_scaled(Y, ids, 2, h, factor, T, 16, weight, total)
    Z = Y[ids[2:10]] * h
    np.testing.assert_allclose(T[16:24, :24], factor[:, None] * Z, atol=tolerance)
    np.testing.assert_allclose(total, start + weight @ Z, atol=tolerance)
    T[16:24, :24] = 0.0
    assert not T.any()


@pytest.mark.parametrize(
    ("dtype", "sum_dtype"),
    [(np.float32, np.float32), (np.float32, np.float64), (np.float64, np.float64)],
)
@pytest.mark.parametrize("id_type", [np.int32, np.int64])
def test_set_normal_terms(id_type, sum_dtype, dtype):
    Y, ids = random_matrix(20, 24, dtype), np.array([3, 3, 0, 19, 7, 1, 2, 5, 9, 9, 4], id_type)
    x = random_matrix(1, 24, sum_dtype, 1)[0]
    b, c = random_matrix(2, 11, np.float64, 2)
    dots, terms = np.full(11, 7.0, dtype), np.full(11, 7.0, sum_dtype)
    set_normal_terms(Y, ids, 2, x, b, c, dots, terms)
    products = Y[ids].astype(np.float64) @ x
    for found, expected in ((dots, products), (terms, b - c * products)):
        tolerance = 1e-5 if found.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(found[2:10], expected[2:10], atol=tolerance)
        assert (np.delete(found, range(2, 10)) == 7.0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [8, 16, 48])
def test_square_sum(n, dtype):
    U = random_matrix(20, 64, dtype)
    expected = np.sum(U[8:16, 8:n].astype(np.float64) ** 2)
    np.testing.assert_allclose(square_sum(U, 8, 8, n), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("id_type", [np.int32, np.int64])
@pytest.mark.parametrize("width", [8, 24, 32, 72])
def test_add_scaled_rows(width, id_type, dtype):
    """Numbers of entries from 0 on, and widths with and without blocks of four tiles."""
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    draw = np.random.default_rng(0)
    Y, start = random_matrix(20, width, dtype), random_matrix(1, width, dtype, seed=1)[0]
    scale = random_matrix(1, 30, dtype, seed=2)[0]
    ids, order = draw.integers(20, size=15).astype(id_type), draw.permutation(30).astype(id_type)
    for low, high in ((0, 0), (3, 4), (3, 5), (0, 15)):
        total = start.copy()
        add_scaled_rows(Y, ids, scale, order, low, high, total)
        expected = start + scale[order[low:high]] @ Y[ids[low:high]]
        np.testing.assert_allclose(total, expected, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pair_dots_and_update(dtype):
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    P, Q = random_matrix(5, 48, dtype), random_matrix(7, 48, dtype, seed=1)
    rows, cols = np.array([3, 0, 4, 0], np.uint64), np.array([6, 2, 2, 0], np.uint64)
    stats = np.zeros((pairs.N_STATS, 4), dtype)
    pair_dots(P, rows, Q, cols, stats)
    for row, (A, B) in (
        (pairs.DOT, (P[rows], Q[cols])),
        (pairs.SQUARE, (P[rows], P[rows])),
        (pairs.SQUARE + 1, (Q[cols], Q[cols])),
    ):
        np.testing.assert_allclose(stats[row], np.sum(A * B, axis=1), atol=tolerance * 100)
    p, q = P[3].copy(), Q[6].copy()
    expected = P.copy(), Q.copy()
    expected[0][3], expected[1][6] = 0.9 * p - 0.2 * q, 0.8 * q + 0.1 * p
    numbers = [dtype(x) for x in (0.9, -0.2, 0.8, 0.1)]
    pair_update(P, 3, *numbers[:2], Q, 6, *numbers[2:])
    np.testing.assert_allclose(P, expected[0], atol=tolerance)
    np.testing.assert_allclose(Q, expected[1], atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pair_adagrad(dtype):
    P, Q = random_matrix(4, 48, dtype), random_matrix(4, 48, dtype, seed=1)
    indices = np.arange(4).astype(np.uint64)
    stats = np.zeros((pairs.N_STATS, 4), dtype)
    pair_dots(P, indices, Q, indices, stats)
    stats[pairs.SLOPE] = [-2.0, 0.0, 0.3, 1.0]
    stats[pairs.RIDGE], stats[pairs.RIDGE + 1] = 0.1, [0.0, 0.2, 0.3, 0.4]
    stats[pairs.SUM], stats[pairs.SUM + 1] = [1.0, 2.0, 3.0, 4.0], 0.5
    before = stats.copy()
    pair_adagrad(stats, dtype(0.05), dtype(48))
    for own, (A, B) in enumerate([(P, Q), (Q, P)]):
        ridge = before[pairs.RIDGE + own][:, None]
        step = before[pairs.SLOPE][:, None] * B + ridge * A
        sums = before[pairs.SUM + own] + np.mean(step * step, axis=1)
        rate = 0.05 / np.sqrt(sums)
        tolerance = 1e-5 if dtype == np.float32 else 1e-13
        decay = 1 / (1 + rate * ridge[:, 0])
        for row, expected in (
            (pairs.SUM, sums),
            (pairs.RATE, rate),
            (pairs.DECAY, decay),
            (pairs.STEP, -rate * before[pairs.SLOPE] * decay),
        ):
            np.testing.assert_allclose(stats[row + own], expected, rtol=tolerance)


def test_prefetching_does_not_change_the_array():
    A = random_matrix(24, 33, np.float32)
    before = A.copy()
    prefetch_row(A, 23)
    prefetch_at(A[0], 23)
    np.testing.assert_array_equal(A, before)


def test_every_task_runs_once():
    counts = np.zeros(10_000, np.int64)
    run(count_tasks, counts.size, 3, counts)
    assert (counts == 1).all()
