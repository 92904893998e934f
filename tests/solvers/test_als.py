"""ALS: every half-step is an exact minimum, for all routes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from plain_als import plain_als
from scipy import sparse

from twofold import L2, Objective, fold_in
from twofold.exceptions import InvalidInputError, SingularRowError, UnsupportedObjectiveError
from twofold.objective import HuberLoss, Problem
from twofold.objective.point import padded_factors
from twofold.solvers import ALS, ColumnSystem
from twofold.testing import reference

OBJECTIVES = [
    Objective(
        regularizer=L2(0.1, exponent=exponent), data=data, unobserved_weight=a0, unobserved=which
    )
    for exponent in (0.0, 0.5, 1.0)
    for data, a0, which in (
        ("ones", 0.0, "all"),
        ("targets", 0.2, "all"),
        ("weights", 0.3, "all"),
        ("weights", 0.3, "missing"),
        ("ones", 1.0, "missing"),
    )
]


def random_matrix(n_rows, n_cols, n_entries, seed=0, low=0.5, high=3.0):
    """Return a CSR array with repeated entries."""
    rng = np.random.default_rng(seed)
    row = np.sort(rng.integers(n_rows, size=n_entries))
    col = rng.integers(n_cols, size=n_entries)
    indptr = np.searchsorted(row, np.arange(n_rows + 1))
    values = rng.uniform(low, high, n_entries)
    return sparse.csr_array((values, col, indptr), shape=(n_rows, n_cols))


def normal_factors(n, k, seed=1, dtype="float64"):
    return np.random.default_rng(seed).normal(size=(n, k)).astype(dtype)


def relative_gradient(objective, matrix, start, end):
    norms = [np.linalg.norm(np.concatenate(objective.gradient(matrix, *at))) for at in (end, start)]
    return norms[0] / norms[1]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_half_steps_never_increase_the_objective(objective):
    matrix = random_matrix(60, 40, 500)
    transposed = matrix.T.tocsr()
    P, Q = normal_factors(60, 6), normal_factors(40, 6, seed=2)
    before = objective.value(matrix, P, Q).total
    for _ in range(8):
        P = fold_in(objective, matrix, Q)
        middle = objective.value(matrix, P, Q).total
        Q = fold_in(objective, transposed, P)
        after = objective.value(matrix, P, Q).total
        assert middle <= before * (1 + 1e-12)
        assert after <= middle * (1 + 1e-12)
        before = after


def test_epoch_equals_two_fold_ins():
    objective, matrix = OBJECTIVES[3], random_matrix(60, 40, 500)
    P, Q = normal_factors(60, 6), normal_factors(40, 6, seed=2)
    solver = plain_als(n_factors=6, max_epochs=1, dtype="float64")
    solution = solver.solve(objective, matrix, (P, Q))
    rows = fold_in(objective, matrix, Q)
    np.testing.assert_array_equal(solution.row_factors, rows)
    np.testing.assert_allclose(
        solution.col_factors, reference.fold_in(objective, matrix.T, rows), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_converges_to_a_stationary_point(objective):
    matrix = random_matrix(30, 20, 150)
    start = normal_factors(30, 3), normal_factors(20, 3, seed=2)
    solver = ALS(n_factors=3, max_epochs=200, evaluate_every=200, n_threads=1, dtype="float64")
    solution = solver.solve(objective, matrix, start)
    end = solution.row_factors, solution.col_factors
    assert relative_gradient(objective, matrix, start, end) < 1e-4


@pytest.mark.parametrize("k", [1, 7, 10, 64, 100, 129])
@pytest.mark.parametrize("objective", [OBJECTIVES[0], OBJECTIVES[3], OBJECTIVES[11]])
def test_rows_of_every_length_are_exact(objective, k):
    # Shorter than the rank (dual), longer (primal), and longer than one panel of 256 entries.
    lengths = [1, 2, 5, k, k + 1, 255, 256, 257, 300, 700]
    rng = np.random.default_rng(k)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    cols = np.concatenate([rng.permutation(800)[:length] for length in lengths])
    values = rng.uniform(0.5, 3.0, cols.size)
    matrix = sparse.csr_array((values, cols, indptr), shape=(len(lengths), 800))
    Q = normal_factors(800, k)
    exact = reference.fold_in(objective, matrix, Q)
    scale = np.abs(exact).max(axis=1, keepdims=True)
    assert np.max(np.abs(fold_in(objective, matrix, Q) - exact) / scale) < 1e-9
    single = Q.astype(np.float32)
    exact = reference.fold_in(objective, matrix, single)
    found = fold_in(objective, matrix, single)
    assert found.dtype == np.float32
    assert np.max(np.abs(found - exact) / scale) < 1e-3


def test_float32_and_float64_reach_the_same_objective():
    matrix = random_matrix(200, 100, 3000)
    for objective in (OBJECTIVES[0], OBJECTIVES[3]):
        totals = [
            ALS(n_factors=8, max_epochs=10, rng=0, dtype=dtype).solve(objective, matrix)
            for dtype in ("float32", "float64")
        ]
        assert totals[0].objective_value == pytest.approx(totals[1].objective_value, rel=1e-4)


@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_below_the_unobserved_weight(exponent, dtype):
    # w < a0: the curvature w - a0 is negative.
    matrix = random_matrix(50, 40, 600, low=0.0, high=0.6)
    objective = Objective(
        regularizer=L2(0.1, exponent=exponent), data="weights",
        unobserved_weight=0.5, unobserved="missing",
    )  # fmt: skip
    Q = normal_factors(40, 6, dtype=dtype)
    exact = reference.fold_in(objective, matrix, Q)
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(fold_in(objective, matrix, Q), exact, atol=tolerance)
    solution = ALS(n_factors=6, max_epochs=5, rng=0, dtype=dtype).solve(objective, matrix)
    totals = [record.total for record in solution.history]
    assert totals == sorted(totals, reverse=True)


def test_entries_of_weight_zero_are_ignored():
    objective = Objective(regularizer=L2(0.1), data="weights")
    matrix = random_matrix(30, 20, 200)
    matrix.data[::3] = 0.0
    Q = normal_factors(20, 4)
    exact = reference.fold_in(objective, matrix, Q)
    np.testing.assert_allclose(fold_in(objective, matrix, Q), exact, atol=1e-10)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weights_equal_repeated_pairs(objective):
    once = random_matrix(40, 30, 200)
    once.sum_duplicates()
    counts = 1 + np.arange(once.nnz) % 2
    row = np.repeat(np.arange(40), np.diff(once.indptr))
    at = (row.repeat(counts), once.indices.repeat(counts))
    repeated = sparse.coo_array((np.ones(counts.sum()), at), shape=once.shape)
    weighted = sparse.csr_array((counts.astype(float), once.indices, once.indptr), shape=once.shape)
    a0, which = objective.unobserved_weight, objective.unobserved
    results = [
        plain_als(n_factors=4, max_epochs=5, rng=0, init="random", dtype="float64").solve(
            Objective(
                regularizer=objective.regularizer, data=data, unobserved_weight=a0, unobserved=which
            ),
            matrix,
        )
        for data, matrix in (("ones", repeated), ("weights", weighted))
    ]
    np.testing.assert_allclose(results[0].row_factors, results[1].row_factors, atol=1e-8)
    np.testing.assert_allclose(results[0].col_factors, results[1].col_factors, atol=1e-8)


def test_singular_row():
    matrix = random_matrix(6, 30, 90)
    short = sparse.vstack([matrix, sparse.csr_array(([1.0, 1.0], ([0, 0], [3, 5])), shape=(1, 30))])
    objective = Objective(regularizer=L2(0.0))
    Q = normal_factors(30, 4)
    for dtype in ("float32", "float64"):
        with pytest.raises(SingularRowError, match=r"row 6 \(2 entries\) has no unique solution"):
            fold_in(objective, short, Q.astype(dtype))
    np.testing.assert_allclose(
        fold_in(objective, matrix, Q), reference.fold_in(objective, matrix, Q), rtol=1e-8
    )
    underdetermined = sparse.csr_array(np.ones((8, 3)))
    with pytest.raises(SingularRowError, match=r"row 0 \(3 entries\).* \(and those of 7 others\)"):
        ALS(n_factors=4, rng=0).solve(objective, underdetermined)


def test_singular_column():
    # Rows of 3 entries determine 2 factors, but the last column has one entry only.
    matrix = sparse.csr_array(np.array([[1.0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]]))
    with pytest.raises(SingularRowError, match=r"col \d \(\d entries\) has no unique solution"):
        ALS(n_factors=2, init="random", rng=0).solve(Objective(regularizer=L2(0.0)), matrix)


def test_accuracy_for_nearly_parallel_columns():
    # A tiny ridge and nearly dependent factors, for which float32 normal equations fail.
    rng = np.random.default_rng(0)
    Q = (np.ones((50, 5)) + 1e-4 * rng.normal(size=(50, 5))).astype(np.float32)
    objective = Objective(regularizer=L2(1e-6))
    matrix = random_matrix(20, 50, 200)
    P = fold_in(objective, matrix, Q)
    exact = reference.fold_in(objective, matrix, Q)
    reached = objective.value(matrix, P, Q)
    best = objective.value(matrix, exact, Q)
    assert reached.total <= best.total * 1.01 + 1e-4


def test_unsupported_objective():
    with pytest.raises(UnsupportedObjectiveError, match="ALS does not support the loss HuberLoss"):
        ALS().solve(Objective(HuberLoss()), random_matrix(5, 5, 10))


def test_row_with_weights_of_zero_only_is_zero():
    R = sparse.csr_array(
        (np.array([0.0, 0.0, 1.0]), np.array([0, 1, 1]), np.array([0, 2, 3])), shape=(2, 3)
    )
    objective = Objective(regularizer=L2(0.1, exponent=1.0), data="weights")
    folded = fold_in(objective, R, np.ones((3, 2)))
    assert not folded[0].any()
    assert folded[1].all()


KINDS = [
    ALS(),
    ALS(row_solver="direct"),
    ALS(row_solver="cg"),
    ALS(row_solver="cg", cg_steps=20),
]


def lengths_matrix(seed=0):
    """Rows of 0 to 700 entries over 900 columns, weights between 0.5 and 3."""
    rng = np.random.default_rng(seed)
    lengths = np.array([0, 1, 2, 7, 8, 9, 20, 100, 256, 257, 300, 700] * 3)
    cols = np.concatenate([rng.choice(900, d, replace=False) for d in lengths])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.uniform(0.5, 3.0, cols.size)
    return sparse.csr_array((values, cols, indptr), shape=(lengths.size, 900))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("solver", KINDS, ids=repr)
def test_no_row_solver_increases_the_objective(solver, objective):
    matrix = lengths_matrix()
    solver = replace(solver, n_factors=10, max_epochs=4, rng=0, dtype="float64")
    for solver.init in ("spectral", "random"):
        totals = [record.total for record in solver.solve(objective, matrix).history]
        assert all(new <= old * (1 + 1e-10) for old, new in pairwise(totals))
    assert totals[-1] < 0.9 * totals[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("k", [1, 10, 24])
def test_cg_with_many_steps_is_exact(k, objective):
    matrix = lengths_matrix()
    P, Q = normal_factors(matrix.shape[0], k), normal_factors(900, k, seed=2)
    exact = reference.fold_in(objective, matrix, Q)
    solver = plain_als(row_solver="cg", cg_steps=60, n_factors=k, max_epochs=1, dtype="float64")
    state = solver.solve(objective, matrix, (P, Q))
    expected = replace(solver, row_solver="direct").solve(objective, matrix, (P, Q))
    np.testing.assert_allclose(state.row_factors, expected.row_factors, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(state.row_factors, exact, rtol=1e-7, atol=1e-9)


def test_cg_starts_from_the_previous_factors():
    """The solution is a fixed point; from other starts, a few steps do not reach it."""
    objective, matrix = Objective(regularizer=L2(1.0), unobserved_weight=0.1), lengths_matrix()
    Q = normal_factors(900, 8, seed=2)
    exact = fold_in(objective, matrix, Q)
    solver = plain_als(n_factors=8, max_epochs=1, dtype="float64", row_solver="cg")
    from_there = solver.solve(objective, matrix, (exact, Q)).row_factors
    np.testing.assert_allclose(from_there, exact, rtol=1e-9, atol=1e-12)
    from_elsewhere = solver.solve(objective, matrix, (np.ones_like(exact), Q)).row_factors
    assert 1e-4 < np.abs(from_elsewhere - exact).max() < np.abs(1.0 - exact).max()


@pytest.mark.parametrize("a0", [0.0, 0.1])
def test_auto_is_as_accurate_as_direct(a0):
    """At this rank, long rows in float32 are solved by CG to a tolerance."""
    objective, matrix = Objective(regularizer=L2(20.0), unobserved_weight=a0), lengths_matrix()
    k = 160
    P, Q = normal_factors(matrix.shape[0], k), normal_factors(900, k, seed=2) / np.sqrt(k)
    system = ColumnSystem.prepare(objective, Q.astype(np.float32))
    side, start = Problem.of(objective, matrix).rows, padded_factors(P.astype(np.float32))
    auto, direct = (
        system.solve(side, start, way=way).row_factors[:, :k] for way in ("auto", "direct")
    )
    exact = reference.fold_in(objective, matrix, Q.astype(np.float32))
    long = np.diff(matrix.indptr) >= 300
    for found in (auto, direct):
        errors = np.linalg.norm(found - exact, axis=1)
        assert (errors <= 2e-6 * np.linalg.norm(exact, axis=1)).all()
    assert (auto[long] != direct[long]).any()  # another route
    np.testing.assert_array_equal(
        auto[~long & (np.diff(matrix.indptr) <= 20)], direct[~long & (np.diff(matrix.indptr) <= 20)]
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nonnegative_rows_satisfy_the_kkt_conditions(objective):
    """At the minimum, the gradient is 0 if p > 0, and >= 0 if p = 0."""
    matrix = lengths_matrix()
    objective = replace(objective, nonnegative=True)
    solver = plain_als(n_factors=6, max_epochs=1, dtype="float64")
    P, Q = normal_factors(matrix.shape[0], 6), np.abs(normal_factors(900, 6, seed=2))
    found = solver.solve(objective, matrix, (P, Q)).row_factors
    slope, _ = objective.gradient(matrix, found, Q)
    scale, _ = objective.gradient(matrix, np.zeros_like(found), Q)
    size = np.abs(scale).max()
    assert found.min() == 0.0
    assert (found > 0.0).any()
    assert np.abs(slope[found > 0.0]).max() < 1e-5 * size
    filled = np.diff(matrix.indptr) > 0
    assert slope[filled][found[filled] == 0.0].min() > -1e-5 * size


@pytest.mark.parametrize("solver", KINDS, ids=repr)
@pytest.mark.parametrize("k", [10, 64, 100, 129])
def test_result_is_bitwise_independent_of_threads_for_every_row_solver(solver, k):
    objective, matrix = Objective(regularizer=L2(0.5), unobserved_weight=0.1), lengths_matrix()
    one, two = (
        replace(solver, n_factors=k, max_epochs=2, rng=0, n_threads=n).solve(objective, matrix)
        for n in (1, 2)
    )
    assert one.row_factors.tobytes() == two.row_factors.tobytes()
    assert one.col_factors.tobytes() == two.col_factors.tobytes()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"row_solver": "lu"}, "row_solver"),
        ({"cg_steps": 0}, "cg_steps is 0"),
        ({"acceleration": "anderson"}, "acceleration"),
    ],
)
def test_invalid_parameters(options, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        ALS(**options).solve(Objective(), lengths_matrix())
