"""The start of a run: singular vectors of the scaled data, or random factors."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from twofold import L2, Objective
from twofold.objective import Problem
from twofold.objective.evaluation import product_sums, sketched_product, sparse_product
from twofold.objective.point import padded_factors
from twofold.solvers import ALS, GD, SGD, Status, start
from twofold.solvers.operations import Operations
from twofold.testing import reference

N_ROWS, N_COLS, RANK = 30, 22, 3
OBJECTIVES = [
    Objective(regularizer=L2(0.1), data=data, unobserved_weight=a0, unobserved=which)
    for data, a0, which in (
        ("ones", 0.0, "all"), ("ones", 0.3, "missing"), ("targets", 0.0, "all"),
        ("targets", 0.1, "all"), ("targets", 0.1, "missing"), ("weights", 0.2, "all"),
        ("weights", 0.2, "missing"), ("signed", 0.0, "all"), ("signed", 0.5, "missing"),
    )
]  # fmt: skip
SOLVERS = [ALS, GD, SGD]


def spectral_factors(problem, n_factors, seed, n_threads=None):
    """Return the initial factors without the padding, or None."""
    operations = Operations(problem, n_factors, n_threads)
    found = start.spectral_factors(operations, n_factors, seed)
    return found and tuple(factors[:, :n_factors] for factors in found)


def matrix_of_rank(objective, seed=0):
    """Return a matrix and weights for which the matrix of all w r has the rank `RANK`.

    Positive factors of the rows and columns do not change the rank.
    """
    rng = np.random.default_rng(seed)
    factors = rng.uniform(0.3, 3.0, (N_ROWS, 1)) * rng.uniform(0.3, 3.0, N_COLS)
    group_of_row, group_of_col = (np.arange(n) * RANK // n for n in (N_ROWS, N_COLS))
    blocks = group_of_row[:, np.newaxis] == group_of_col
    if objective.data == "weights":
        return sparse.csr_array(blocks * factors), None
    if objective.data == "signed":  # A negative value has the target 0.
        return sparse.csr_array(np.where(blocks, factors, -factors)), None
    dense = blocks.astype(float)
    if objective.data == "targets":
        dense = rng.normal(size=(N_ROWS, RANK)) @ rng.normal(size=(RANK, N_COLS))
    return sparse.csr_array(dense), factors[dense != 0.0]


def random_matrix(objective, shape=(N_ROWS, N_COLS), density=0.2, seed=0):
    """Return valid values, with repeated entries."""
    rng = np.random.default_rng(seed)
    n = int(density * shape[0] * shape[1])
    row, col = np.sort(rng.integers(shape[0], size=n)), rng.integers(shape[1], size=n)
    values = rng.uniform(0.3, 3.0, n)
    if objective.data in ("targets", "signed"):
        values *= rng.choice([-1.0, 1.0], n, p=[0.2, 0.8])
    indptr = np.searchsorted(row, np.arange(shape[0] + 1))
    return sparse.csr_array((values, col, indptr), shape=shape)


def random_weights(objective, matrix):
    """Return weights of the entries, or None if they are the stored values."""
    if objective.data in ("weights", "signed"):
        return None
    return np.random.default_rng(1).uniform(0.1, 4.0, matrix.nnz)


def data_matrix(objective, matrix, weights=None):
    """Return the dense matrix of the sums of w (r - mu), and that of the weights."""
    products, summed = np.zeros(matrix.shape), np.zeros(matrix.shape)
    mean = reference.mean(objective, matrix, weights) if objective.biases else 0.0
    for u, i, r, w in reference.entries(objective, matrix, weights):
        products[u, i] += w * (r - mean)
        summed[u, i] += w
    return products, summed


def data_terms(objective, matrix, c, P, Q, weights=None):
    """Return the loss and the unobserved term at the product c P Q', with the biases 0 and mu."""
    P, Q = c * P.astype(float), Q.astype(float)
    if objective.biases:
        ones = [np.ones((len(factors), 1)) for factors in (P, Q)]
        mean = reference.mean(objective, matrix, weights)
        P, Q = np.hstack([P, 0.0 * ones[0], ones[0]]), np.hstack([Q, ones[1], mean * ones[1]])
    value = reference.value(objective, matrix, P, Q, weights)
    return value["loss"] + value["unobserved"]


def product(P, Q):
    return P.astype(float) @ Q.T.astype(float)


def scale_between(found, expected):
    """Return the c for which ``found`` is nearest to c times ``expected``."""
    return float(np.sum(found * expected) / np.sum(expected**2))


def assert_close(found, expected, tolerance):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def assert_least(objective, matrix, P, Q, weights=None):
    """Check that the data terms, which are quadratic in c, are least at c = 1."""
    least, below, above = (
        data_terms(objective, matrix, c, P, Q, weights) for c in (1.0, 0.99, 1.01)
    )
    assert below > least < above
    assert above - least == pytest.approx(below - least, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_factors_are_those_of_the_dense_decomposition(objective, seed):
    matrix, weights = matrix_of_rank(objective, seed)
    P, Q = spectral_factors(Problem.of(objective, matrix, weights), RANK, seed)
    assert P.dtype == Q.dtype == np.float32
    products, summed = data_matrix(objective, matrix, weights)
    roots = [summed.sum(axis=axis) ** 0.25 for axis in (1, 0)]
    U, S, Vt = np.linalg.svd(products / np.outer(*roots))
    expected = (U[:, :RANK] * S[:RANK]) @ Vt[:RANK] * np.outer(*roots)
    c = scale_between(product(P, Q), expected)
    assert_close(product(P, Q), c * expected, 5e-6)
    for factors, root in zip((P, Q), roots, strict=True):
        vectors = factors / root[:, np.newaxis]
        assert_close(vectors.T @ vectors, c * np.diag(S[:RANK]), 5e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_loss_is_least_at_the_scale_of_the_product(is_weighted, objective):
    matrix = random_matrix(objective)
    weights = random_weights(objective, matrix) if is_weighted else None
    P, Q = spectral_factors(Problem.of(objective, matrix, weights), 4, 0)
    assert_least(objective, matrix, P, Q, weights)


@pytest.mark.parametrize(("a0", "which"), [(0.0, "all"), (0.1, "all"), (0.5, "missing")])
@pytest.mark.parametrize("data", ["ones", "targets", "weights", "signed"])
def test_mean_is_subtracted_with_biases(data, a0, which):
    objective = Objective(data=data, unobserved_weight=a0, unobserved=which, biases=True, mean=0.3)
    matrix = random_matrix(objective)
    P, Q = spectral_factors(Problem.of(objective, matrix), N_COLS, 0)
    expected, _ = data_matrix(objective, matrix)
    assert_close(product(P, Q), scale_between(product(P, Q), expected) * expected, 2e-5)
    assert_least(objective, matrix, *spectral_factors(Problem.of(objective, matrix), 4, 0))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_leading_vectors_of_a_slowly_decreasing_spectrum(objective):
    """A random matrix is the worst case of a randomised method."""
    matrix = random_matrix(objective, (200, 150))
    products, summed = data_matrix(objective, matrix)
    roots = [summed.sum(axis=axis) ** 0.25 for axis in (1, 0)]
    scaled = products / np.outer(*roots)
    P, Q = spectral_factors(Problem.of(objective, matrix), 6, 0)
    found = product(P, Q) / np.outer(*roots)
    found *= scale_between(scaled, found)
    explained = 1.0 - np.sum((scaled - found) ** 2) / np.sum(scaled**2)
    squares = np.linalg.svd(scaled, compute_uv=False) ** 2
    best = squares[:6].sum() / squares.sum()
    assert 0.9 * best < explained <= best * (1.0 + 1e-6)


@pytest.mark.parametrize("shape", [(9, 40), (40, 9), (1, 12), (12, 1), (1, 1)])
@pytest.mark.parametrize("extra", [0, 1, 20])
def test_rank_beyond_the_smaller_side(extra, shape):
    """The decomposition is complete, and the other factors are small random numbers."""
    rng, k = np.random.default_rng(0), min(shape) + extra
    dense = rng.normal(size=shape)
    objective = Objective(data="targets")
    P, Q = spectral_factors(Problem.of(objective, sparse.csr_array(dense)), k, 0)
    assert P.shape == (shape[0], k)
    assert Q.shape == (shape[1], k)
    assert_close(product(P, Q), dense, 1e-5 if extra == 0 else 1e-4)
    kept, added = np.split(P, [k - extra], axis=1)
    if extra:
        assert 0.0 < np.mean(added**2) < 1e-4 * np.mean(kept**2)
        assert np.linalg.matrix_rank(added) == min(extra, shape[0])


def test_factors_beyond_the_rank_of_the_data_are_small_random_numbers():
    objective = Objective()
    matrix, _ = matrix_of_rank(objective)
    P, Q = spectral_factors(Problem.of(objective, matrix), RANK + 4, 0)
    for factors in (P, Q):
        size = np.sqrt(np.mean(factors[:, :RANK] ** 2))
        assert factors[:, RANK:].std() == pytest.approx(1e-3 * size, rel=0.2)
    assert_close(product(P, Q), matrix.toarray(), 1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n_factors", [2, 40])
def test_rows_and_columns_without_entries_start_at_zero(n_factors, solver):
    dense = random_matrix(Objective()).toarray()
    dense[[0, 7]], dense[:, [3, 21]] = 0.0, 0.0
    start = solver(n_factors=n_factors, max_epochs=0, init="spectral", rng=0).solve(
        Objective(), sparse.csr_array(dense)
    )
    for factors, axis in ((start.row_factors, 1), (start.col_factors, 0)):
        is_empty = ~dense.any(axis=axis)
        assert not factors[is_empty].any()
        assert factors[~is_empty].any(axis=1).all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("data", ["ones", "targets"])
@pytest.mark.parametrize("biases", [False, True])
def test_start_of_a_solver(solver, data, biases):
    """All solvers have the same start, in float64 too; with biases, these are 0 and mu."""
    objective = Objective(data=data, biases=biases, mean=0.25 if biases else None)
    matrix = random_matrix(objective)
    weights = random_weights(objective, matrix)
    P, Q = spectral_factors(Problem.of(objective, matrix, weights), 4, 5)
    for dtype in ("float32", "float64"):
        own = solver(n_factors=4, max_epochs=0, init="spectral", rng=5, dtype=dtype)
        start = own.solve(objective, matrix, weights=weights)
        parts = objective.parts(start.row_factors, start.col_factors)
        assert np.array_equal(parts.row_factors, P)
        assert np.array_equal(parts.col_factors, Q)
        assert not parts.row_biases.any()
        assert (parts.col_biases == (0.25 if biases else 0.0)).all()


def test_start_of_nonnegative_factors_is_the_absolute_value():
    objective = Objective(data="targets", unobserved_weight=0.1)
    matrix = random_matrix(objective)
    P, Q = spectral_factors(Problem.of(objective, matrix), 4, 0)
    solver = ALS(n_factors=4, max_epochs=0, rng=0)
    start = solver.solve(replace(objective, nonnegative=True), matrix)
    assert np.array_equal(start.row_factors, np.abs(P))
    assert np.array_equal(start.col_factors, np.abs(Q))


@pytest.mark.parametrize("n_factors", [5, 64, 120])
def test_start_is_bitwise_independent_of_threads(n_factors):
    objective = Objective(data="targets", unobserved_weight=0.1, unobserved="missing")
    problem = Problem.of(objective, random_matrix(objective, (3000, 2000), 0.02))
    starts = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            starts.append(spectral_factors(problem, n_factors, 0, n_threads))
    for one, two in zip(*starts, strict=True):
        assert one.tobytes() == two.tobytes()


def test_start_depends_on_the_seed_by_the_error_of_the_method_only():
    objective = Objective(data="targets")
    matrix, weights = matrix_of_rank(objective)
    problem = Problem.of(objective, matrix, weights)
    one, again, other = (product(*spectral_factors(problem, RANK, seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert_close(other, one, 1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_repeated_entries_equal_their_sum(objective):
    matrix = random_matrix(objective)
    if objective.data in ("targets", "signed"):
        matrix.data = np.abs(matrix.data)
    data = "ones" if objective.data in ("ones", "targets") else objective.data
    repeated, summed = replace(objective, data=data), replace(objective, data="weights")
    weights = matrix.copy()
    if data == "ones":
        weights.data[:] = 1.0
    weights.sum_duplicates()
    one = spectral_factors(Problem.of(repeated, matrix), 4, 0)
    two = spectral_factors(Problem.of(summed, weights), 4, 0)
    assert_close(product(*one), product(*two), 1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "matrix",
    [
        sparse.csr_array((0, 0)), sparse.csr_array((0, 4)), sparse.csr_array((4, 0)),
        sparse.csr_array((6, 4)),
        sparse.csr_array((np.zeros(3), ([0, 1, 4], [1, 1, 3])), shape=(6, 4)),
        sparse.csr_array((np.full(3, 1e90), ([0, 1, 4], [1, 1, 3])), shape=(6, 4)),
    ],
    ids=["no rows and columns", "no rows", "no columns", "no entries", "zeros", "overflow"],
)  # fmt: skip
def test_start_is_random_without_a_decomposition(matrix, solver):
    objective = Objective(data="targets")
    assert spectral_factors(Problem.of(objective, matrix), 3, 0) is None
    spectral, random = (
        solver(n_factors=3, max_epochs=0, rng=0, dtype="float64", init=init).solve(
            objective, matrix
        )
        for init in ("spectral", "random")
    )
    assert np.array_equal(spectral.row_factors, random.row_factors)
    assert np.array_equal(spectral.col_factors, random.col_factors)


@pytest.mark.parametrize("side", ["row_center", "col_center"])
def test_start_is_random_with_centers(side):
    center = np.random.default_rng(0).normal(size=(N_ROWS if side == "row_center" else N_COLS, 3))
    objective = Objective(regularizer=L2(0.1, **{side: center}))
    spectral, random = (
        ALS(n_factors=3, max_epochs=0, rng=0, init=init).solve(objective, random_matrix(objective))
        for init in ("spectral", "random")
    )
    assert np.array_equal(spectral.row_factors, random.row_factors)
    assert np.array_equal(spectral.col_factors, random.col_factors)


@pytest.mark.parametrize("size", [5e-324, 1e-200, 1e-60, 1e-30, 1e-10, 1e10, 1e30, 1e60, 1e300])
@pytest.mark.parametrize("a0", [0.0, 0.1])
@pytest.mark.parametrize("data", ["targets", "weights", "signed"])
def test_start_of_data_of_any_size_is_finite(data, a0, size):
    """Without warnings, too, which are errors in tests."""
    objective = Objective(data=data, unobserved_weight=a0, unobserved="missing")
    matrix = random_matrix(objective)
    mixed = matrix.copy()
    matrix.data *= size
    mixed.data[::2] *= size
    for stored in (matrix, mixed):
        found = spectral_factors(Problem.of(objective, stored), 4, 0)
        if found is not None:
            assert all(np.isfinite(factors).all() for factors in found)
            assert all(factors.any() for factors in found)


def test_start_that_fits_all_cells_is_not_a_divergence():
    """The objective is the rounding error of its terms before and after the first epoch."""
    objective = Objective(
        regularizer=L2(0.1), data="signed", unobserved_weight=0.1, unobserved="missing",
        biases=True,
    )  # fmt: skip
    weights = np.random.default_rng(0).uniform(0.5, 3.0, size=(12, 9))
    solver = ALS(n_factors=3, max_epochs=3, rng=0)
    assert solver.solve(objective, sparse.csr_array(weights)).status is Status.MAX_EPOCHS


@pytest.mark.plain
@pytest.mark.parametrize("shape", [(70, 50), (3, 400), (400, 3), (1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("data", ["ones", "targets", "weights"])
def test_sparse_product(data, dtype, shape):
    objective = Objective(data=data)
    matrix = random_matrix(objective, shape, 0.5 if shape != (1, 1) else 1.0)
    weights = random_weights(objective, matrix)
    problem = Problem.of(objective, matrix, weights)
    products, _ = data_matrix(objective, matrix, weights)
    rng = np.random.default_rng(2)
    scales = [rng.uniform(0.5, 2.0, n).astype(dtype) for n in shape]
    for side, dense, own, other in (
        (problem.rows, products, *scales), (problem.cols, products.T, *scales[::-1])
    ):  # fmt: skip
        X = rng.normal(size=(len(other), 16)).astype(dtype)
        found = sparse_product(side, (own, other), X, 2)
        expected = own[:, np.newaxis] * (dense @ (other[:, np.newaxis] * X))
        assert found.dtype == dtype
        assert_close(found, expected, 3e-6 if dtype == "float32" else 1e-14)


@pytest.mark.plain
@pytest.mark.parametrize("width", [8, 64])
@pytest.mark.parametrize("data", ["ones", "targets", "weights"])
def test_sketched_product_is_the_sparse_product_with_unit_vectors(data, width):
    objective = Objective(data=data)
    matrix = random_matrix(objective)
    problem = Problem.of(objective, matrix, random_weights(objective, matrix))
    rng = np.random.default_rng(2)
    own, other = (rng.normal(size=n) for n in matrix.shape)
    buckets = rng.integers(width, size=N_COLS).astype(np.int32)
    S = np.zeros((N_COLS, width), np.float32)
    S[np.arange(N_COLS), buckets] = 1.0
    found = sketched_product(problem.rows, (own, other), buckets, width, 2)
    assert found.dtype == np.float32
    assert_close(found, sparse_product(problem.rows, (own, other), S, 1), 3e-6)


def sums_of_products(objective, matrix, P, Q, weights):
    """Return the sums of w r x, w x^2, a x and a x^2 over the entries."""
    sums, cells = np.zeros(4), set()
    for u, i, r, w in reference.entries(objective, matrix, weights):
        x = float(P[u] @ Q[i])
        sums[:2] += w * r * x, w * x * x
        if objective.unobserved == "missing" and (u, i) not in cells:
            sums[2:] += objective.unobserved_weight * np.array([x, x * x])
        cells.add((u, i))
    return sums


@pytest.mark.plain
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_sums_of_products(objective, n_threads):
    matrix = random_matrix(objective)
    weights = random_weights(objective, matrix)
    side = Problem.of(objective, matrix, weights).rows
    rng = np.random.default_rng(3)
    P, Q = (padded_factors(rng.normal(size=(n, 3))) for n in matrix.shape)
    found = product_sums(side, P, Q, n_threads).sum(axis=0)
    expected = sums_of_products(objective, matrix, P, Q, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("a0", [0.0, 1.0])
@pytest.mark.parametrize("heavy", [slice(0, 40), slice(150, 170)])
def test_scale_is_right_where_heavy_rows_stand_together(heavy, a0):
    objective = Objective(data="targets", unobserved_weight=a0)
    dense = random_matrix(objective, (2000, 60), 0.3).toarray()
    dense[heavy] *= 100.0
    matrix = sparse.csr_array(dense)
    assert_least(objective, matrix, *spectral_factors(Problem.of(objective, matrix), 4, 0))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("n_filled", "k"), [(8, 8), (16, 16), (24, 32), (60, 60)])
def test_decomposition_is_complete_where_few_rows_have_entries(n_filled, k, transposed):
    objective = Objective(data="targets")
    for seed in range(5):
        rng = np.random.default_rng(seed)
        dense = np.zeros((400, 500))
        dense[rng.choice(400, n_filled, replace=False)] = rng.normal(size=(n_filled, 500))
        dense = dense.T if transposed else dense
        P, Q = spectral_factors(Problem.of(objective, sparse.csr_array(dense)), k, seed)
        assert_close(product(P, Q), dense, 1e-3)
