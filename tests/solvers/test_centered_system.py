"""Solvers and fold-in with biases and centers: exact half-steps, and the columns of ones."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_als import plain_als
from scipy import sparse

from twofold import L1, L2, HuberLoss, LogisticLoss, Objective, fold_in
from twofold.exceptions import InvalidInputError, UnsupportedObjectiveError
from twofold.objective import Problem
from twofold.solvers import ALS, GD, SGD, Support
from twofold.solvers.column_system import ColumnSystem
from twofold.testing import reference

N_ROWS, N_COLS, K = 25, 18, 4
WEIGHTS = ((0.0, "all"), (0.2, "all"), (0.2, "missing"), (2.0, "missing"))
OBJECTIVES = [
    Objective(
        regularizer=L2(0.3, exponent), data=data, unobserved_weight=a0, unobserved=which,
        biases=True,
    )
    for exponent in (0.0, 1.0)
    for data in ("targets", "weights")
    for a0, which in WEIGHTS
]  # fmt: skip
C, D = (np.random.default_rng(n).normal(size=(n, K)) for n in (N_ROWS, N_COLS))
CENTERED = [
    Objective(
        regularizer=L2(0.3, exponent, **centers), data=data, unobserved_weight=a0,
        unobserved=which, biases=biases,
    )
    for exponent, data, centers in (
        (0.0, "targets", {"row_center": C, "col_center": D}),
        (1.0, "weights", {"row_center": C, "col_center": D}),
        (0.5, "ones", {"row_center": C}),
        (0.0, "signed", {"col_center": D}),
    )
    for a0, which in WEIGHTS
    for biases in (False, True)
]  # fmt: skip


def ratings(seed=0, n_entries=120):
    """Return a CSR array with repeated entries, in which row 3 and column 5 are empty."""
    rng = np.random.default_rng(seed)
    row, col = rng.integers(N_ROWS, size=n_entries), rng.integers(N_COLS, size=n_entries)
    row, col = np.where(row == 3, 4, row), np.where(col == 5, 6, col)
    order = np.lexsort((col, row))
    row, col = row[order], col[order]
    indptr = np.searchsorted(row, np.arange(N_ROWS + 1))
    values = rng.integers(1, 6, size=n_entries).astype(float)
    return sparse.csr_array((values, col, indptr), shape=(N_ROWS, N_COLS))


def random_factors(seed=1, biases=True):
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(N_ROWS, K)), rng.normal(size=(N_COLS, K))
    if not biases:
        return p, q
    b_u, b_i = rng.normal(size=(N_ROWS, 1)), rng.normal(3.0, size=(N_COLS, 1))
    return np.hstack([p, b_u, np.ones_like(b_u)]), np.hstack([q, np.ones_like(b_i), b_i])


@pytest.mark.parametrize("objective", OBJECTIVES + CENTERED)
def test_half_steps_equal_the_dense_solution(objective):
    matrix, (P, Q) = ratings(), random_factors(biases=objective.biases)
    rows = reference.half_step(objective, matrix, P, Q, "row")
    cols = reference.half_step(objective, matrix, rows, Q, "col")
    solver = plain_als(n_factors=K, max_epochs=1, dtype="float64")
    solution = solver.solve(objective, matrix, (P, Q))
    np.testing.assert_allclose(solution.row_factors, rows, rtol=0, atol=1e-8)
    np.testing.assert_allclose(solution.col_factors, cols, rtol=0, atol=1e-8)
    center = None if objective.regularizer.row_center is None else C
    folded = fold_in(objective, matrix, Q, center=center)
    np.testing.assert_allclose(folded, rows, rtol=0, atol=1e-8)
    in_float32 = fold_in(objective, matrix, Q.astype(np.float32), center=center)
    np.testing.assert_allclose(in_float32, rows, rtol=0, atol=1e-3)


@pytest.mark.plain
def test_half_steps_with_separate_weights_equal_the_dense_solution():
    matrix, (P, Q) = ratings(), random_factors()
    weights = np.random.default_rng(2).uniform(0.5, 2.0, matrix.nnz)
    objective = Objective(
        regularizer=L2(0.3), data="targets", unobserved_weight=0.1, unobserved="missing",
        biases=True,
    )  # fmt: skip
    rows = reference.half_step(objective, matrix, P, Q, "row", weights)
    found = fold_in(objective, matrix, Q, weights=weights)
    np.testing.assert_allclose(found, rows, rtol=0, atol=1e-8)


@given(
    st.integers(0, 1000), st.integers(0, 40), st.booleans(),
    st.sampled_from([0.0, 0.1, 1.0]), st.sampled_from(["all", "missing"]),
    st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from(["float32", "float64"]),
)  # fmt: skip
def test_a_half_step_with_centers_is_exact(seed, n_entries, biases, a0, which, exponent, dtype):
    rng = np.random.default_rng(seed)
    shape, k = (int(rng.integers(1, 9)), int(rng.integers(1, 9))), int(rng.integers(1, 5))
    C, P = rng.normal(size=(2, shape[0], k))
    Q = rng.normal(size=(shape[1], k))
    if biases:
        ones = np.ones((shape[1], 1))
        Q, P = np.hstack([Q, ones, rng.normal(size=ones.shape)]), np.ones((shape[0], k + 2))
    objective = Objective(
        regularizer=L2(0.5, exponent, row_center=C), data="targets", unobserved_weight=a0,
        unobserved=which, biases=biases,
    )  # fmt: skip
    at = (rng.integers(shape[0], size=n_entries), rng.integers(shape[1], size=n_entries))
    matrix = sparse.coo_array((rng.normal(size=n_entries), at), shape=shape)
    weights = rng.uniform(1.0, 3.0, n_entries)  # not below a0, so that there is a minimum
    expected = reference.half_step(objective, matrix, P, Q, "row", weights)
    # In CSR order, which the weights of fold_in have.
    order = np.lexsort((matrix.col, matrix.row))
    indptr = np.searchsorted(matrix.row[order], np.arange(shape[0] + 1))
    csr = sparse.csr_array((matrix.data[order], matrix.col[order], indptr), shape=shape)
    found = fold_in(objective, csr, Q.astype(dtype), weights=weights[order], center=C)
    tolerance = {"float32": 2e-5, "float64": 1e-8}[dtype]
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=tolerance * (1 + np.abs(expected).max())
    )


@pytest.mark.parametrize("objective", OBJECTIVES + CENTERED)
@pytest.mark.parametrize("row_solver", ["auto", "cg"])
def test_als_never_increases_the_objective(objective, row_solver):
    # Biases that are subtracted from stored cells only make the loss of all cells rise.
    solver = ALS(n_factors=K, max_epochs=10, row_solver=row_solver, dtype="float64", rng=0)
    history = solver.solve(objective, ratings()).history
    assert all(after.total <= before.total * (1 + 1e-12) for before, after in pairwise(history))
    assert history[-1].total < history[0].total


@pytest.mark.parametrize("objective", OBJECTIVES + CENTERED)
def test_folding_a_trained_side_in_gives_its_factors(objective):
    matrix = ratings()
    objective = objective.for_data(matrix)
    solution = ALS(n_factors=K, max_epochs=3, dtype="float64", rng=0).solve(objective, matrix)
    # The columns were solved last. In CSC order, repeated entries are the same.
    center = None if objective.regularizer.col_center is None else D
    again = fold_in(objective, matrix.tocsc().T, solution.row_factors, axis="col", center=center)
    np.testing.assert_allclose(again, solution.col_factors, rtol=0, atol=1e-10)


@pytest.mark.parametrize("solver", [ALS(rng=0), GD(rng=0), SGD(rng=0)], ids=["ALS", "GD", "SGD"])
def test_rows_and_columns_without_entries_have_the_mean(solver):
    solver.n_factors = K
    matrix = ratings()
    solution = solver.solve(Objective(data="targets", biases=True), matrix)
    mean = np.float32(matrix.data.mean())
    assert solution.row_factors[3].tolist() == [0.0] * K + [0.0, 1.0]
    assert solution.col_factors[5].tolist() == [0.0] * K + [1.0, mean]


@pytest.mark.parametrize("solver", [ALS(rng=0), GD(rng=0), SGD(rng=0)], ids=["ALS", "GD", "SGD"])
@pytest.mark.parametrize("biases", [False, True])
def test_rows_and_columns_without_entries_equal_their_centers(solver, biases):
    solver.n_factors = K
    objective = Objective(
        regularizer=L2(0.1, row_center=C, col_center=D), data="targets", biases=biases
    )
    solution = solver.solve(objective, ratings())
    assert np.array_equal(solution.row_factors[3, :K], C[3].astype(np.float32))
    assert np.array_equal(solution.col_factors[5, :K], D[5].astype(np.float32))


@pytest.mark.parametrize("biases", [False, True])
def test_no_new_rows_have_no_centers(biases):
    objective = Objective(regularizer=L2(0.3, row_center=C), biases=biases)
    Q = np.hstack([np.ones((N_COLS, 7)), np.ones((N_COLS, 2))])
    found = fold_in(
        objective, sparse.csr_array((0, N_COLS)), Q, center=np.zeros((0, 9 - 2 * biases))
    )
    assert found.shape == (0, 9)


def test_a_row_without_entries_for_all_cells_is_as_documented():
    objective = Objective(regularizer=L2(0.3, row_center=C), unobserved_weight=0.2)
    Q = random_factors(biases=False)[1]
    found = fold_in(objective, sparse.csr_array((N_ROWS, N_COLS)), Q, center=C)
    expected = np.linalg.solve(0.2 * Q.T @ Q + 0.3 * np.identity(K), 0.3 * C.T).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_a_large_weight_keeps_rows_at_their_centers():
    objective = Objective(regularizer=L2(1e9, row_center=C, col_center=D), data="targets")
    solution = ALS(n_factors=K, dtype="float64", rng=0).solve(objective, ratings())
    np.testing.assert_allclose(solution.row_factors, C, atol=1e-6)
    np.testing.assert_allclose(solution.col_factors, D, atol=1e-6)


def test_initial_factors_are_drawn_around_the_centers():
    solver = ALS(n_factors=K, max_epochs=0, init="random", dtype="float64", rng=0)
    plain, centered = (
        solver.solve(Objective(regularizer=regularizer, data="targets"), ratings())
        for regularizer in (L2(0.1), L2(0.1, col_center=D))
    )
    assert np.array_equal(centered.row_factors, plain.row_factors)
    np.testing.assert_allclose(centered.col_factors, plain.col_factors + D, atol=1e-15)


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("loss", [HuberLoss(0.5), LogisticLoss()])
@pytest.mark.parametrize("a0", [0.0, 0.2])
@pytest.mark.parametrize("axis", ["row", "col"])
def test_fold_in_of_other_losses_with_centers_is_stationary(loss, a0, axis, biases):
    matrix, (P, Q) = ratings(), random_factors(biases=biases)
    matrix.data = np.where(matrix.data > 3.0, 1.0, -1.0)
    objective = Objective(
        loss, L2(0.1, row_center=C, col_center=D), data="targets", unobserved_weight=a0,
        biases=biases, mean=0.4 if biases else None,
    )  # fmt: skip
    if axis == "row":
        P = fold_in(objective, matrix, Q, center=C)
    else:
        Q = fold_in(objective, matrix.T, P, axis="col", center=D)
    slopes = reference.gradient(objective, matrix, P, Q)[axis == "col"]
    assert np.abs(slopes).max() < 1e-6


@pytest.mark.parametrize("loss", [HuberLoss(0.5), LogisticLoss()])
@pytest.mark.parametrize("a0", [0.0, 0.2])
@pytest.mark.parametrize("axis", ["row", "col"])
def test_fold_in_of_other_losses_is_stationary(loss, a0, axis):
    matrix, (P, Q) = ratings(), random_factors()
    matrix.data = np.where(matrix.data > 3.0, 1.0, -1.0)
    objective = Objective(
        loss, L2(0.1), data="targets", unobserved_weight=a0, biases=True, mean=0.4
    )
    if axis == "row":
        P = fold_in(objective, matrix, Q)
    else:
        Q = fold_in(objective, matrix.T, P, axis="col")
    slopes = reference.gradient(objective, matrix, P, Q)[axis == "col"]
    assert np.abs(slopes).max() < 1e-6


@pytest.mark.parametrize("regularizer", [L2(0.3), L1(0.3)])
def test_gd_decreases_every_kind_of_objective(regularizer):
    objective = Objective(
        HuberLoss(1.0), regularizer, data="targets", unobserved_weight=0.1, biases=True
    )
    matrix = ratings()
    solution = GD(n_factors=K, max_epochs=300, dtype="float64", rng=0).solve(objective, matrix)
    totals = [record.total for record in solution.history]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] < 0.9 * totals[0]
    assert (solution.row_factors[:, K + 1] == 1.0).all()
    assert (solution.col_factors[:, K] == 1.0).all()
    if regularizer == L2(0.3):
        slopes = objective.gradient(matrix, solution.row_factors, solution.col_factors)
        start = objective.gradient(matrix, *random_factors())
        assert np.linalg.norm(slopes[0]) < 1e-2 * np.linalg.norm(start[0])


def test_batches_of_gd_keep_the_columns_of_ones():
    solver = GD(n_factors=K, n_batches=3, learning_rate=1e-3, max_epochs=5, rng=0)
    solution = solver.solve(Objective(data="targets", biases=True), ratings())
    assert (solution.row_factors[:, K + 1] == 1.0).all()
    assert solution.history[-1].total < solution.history[0].total


@pytest.mark.parametrize("schedule", ["constant", "adagrad"])
@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("centers", [{"row_center": C}, {"row_center": C, "col_center": C + 1.0}])
def test_small_steps_of_sgd_follow_the_gradient(schedule, biases, centers):
    matrix = sparse.diags_array(np.arange(1.0, N_ROWS + 1)).tocsr()  # one update for each row
    objective = Objective(regularizer=L2(0.3, **centers), data="targets", biases=biases)
    P, Q = random_factors(biases=biases)
    Q = np.vstack([Q, Q[: N_ROWS - N_COLS]])
    solver = SGD(n_factors=K, max_epochs=1, schedule=schedule, learning_rate=1e-7, rng=0)
    solver.dtype = "float64"
    solution = solver.solve(objective, matrix, (P, Q))
    gradients = objective.gradient(matrix, P, Q)
    after = solution.row_factors, solution.col_factors
    for new, old, gradient in zip(after, (P, Q), gradients, strict=True):
        move = (old - new) / 1e-7
        if schedule == "adagrad":  # one rate for each row
            lengths = [np.linalg.norm(array, axis=1, keepdims=True) for array in (gradient, move)]
            move *= lengths[0] / lengths[1]
        np.testing.assert_allclose(move, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


def test_a_step_of_sgd_with_centers():
    regularizer = L2(0.3, row_center=[[1.0], [2.0]], col_center=[[-1.0], [3.0]])
    objective = Objective(regularizer=regularizer, data="targets")
    P, Q = np.array([[0.5], [0.7]]), np.array([[0.2], [0.4]])
    solver = SGD(n_factors=1, max_epochs=1, schedule="constant", learning_rate=0.01)
    solver.dtype = "float64"
    solution = solver.solve(objective, sparse.diags_array([5.0, -4.0]).tocsr(), (P, Q))
    slope = 2.0 * (P * Q - [[5.0], [-4.0]])
    expected = P - 0.01 * (slope * Q + 0.6 * (P - [[1.0], [2.0]]))
    np.testing.assert_allclose(solution.row_factors, expected, rtol=1e-12)
    expected = Q - 0.01 * (slope * P + 0.6 * (Q - [[-1.0], [3.0]]))
    np.testing.assert_allclose(solution.col_factors, expected, rtol=1e-12)


@pytest.mark.parametrize("regularizer", [L2(0.3), L1(0.3)])
def test_a_step_of_sgd(regularizer):
    objective = Objective(regularizer=regularizer, data="targets", biases=True, mean=2.0)
    P, Q = np.array([[0.5, 0.3, 1.0]]), np.array([[0.2, 1.0, 3.0]])
    solver = SGD(n_factors=1, max_epochs=1, schedule="constant", learning_rate=0.01)
    solver.dtype = "float64"
    solution = solver.solve(objective, sparse.csr_array([[5.0]]), (P, Q))
    slope = 2.0 * (0.5 * 0.2 + 0.3 + 3.0 - 5.0)
    old = np.array([0.5, 0.3]), np.array([0.2, 3.0])
    moves = slope * np.array([0.2, 1.0]), slope * np.array([0.5, 1.0])
    centers = np.array([0.0, 0.0]), np.array([0.0, 2.0])
    new = []
    for own, move, center in zip(old, moves, centers, strict=True):
        if regularizer.smooth:
            new.append(own - 0.01 * (move + 0.3 * 2.0 * (own - center)))
        else:
            moved = own - 0.01 * move - center
            new.append(center + regularizer.proximal(moved, 0.01 * 0.3))
    np.testing.assert_allclose(solution.row_factors[0], [*new[0], 1.0], rtol=1e-12)
    np.testing.assert_allclose(solution.col_factors[0], [new[1][0], 1.0, new[1][1]], rtol=1e-12)


def test_the_sums_of_adagrad_leave_out_the_bias_of_the_other_side():
    # The gradient of (p, b_u) is the slope times (q, 1), not times b_i.
    objective = Objective(regularizer=L2(0.0), data="targets", biases=True, mean=2.0)
    P, Q = np.array([[0.5, 0.3, 1.0]]), np.array([[0.2, 1.0, 3.0]])
    matrix = sparse.csr_array([[5.0]])
    before, after = (
        SGD(n_factors=1, max_epochs=n, dtype="float64").solve(objective, matrix, (P, Q)).memory
        for n in (0, 1)
    )
    square = (2.0 * (0.5 * 0.2 + 0.3 + 3.0 - 5.0)) ** 2
    for name, factor in (("row_sums", 0.2), ("col_sums", 0.5)):
        added = after[name] - before[name]
        np.testing.assert_allclose(added, square * (factor**2 + 1.0) / 3.0, rtol=1e-10)


@pytest.mark.parametrize("schedule", ["adagrad", "constant", "inverse-time"])
def test_sgd_comes_near_the_minimum_of_als(schedule):
    rng = np.random.default_rng(0)
    X = 3.0 + rng.normal(size=(150, 1)) + rng.normal(size=80)
    X += rng.normal(size=(150, 2)) @ rng.normal(size=(2, 80))
    matrix = sparse.csr_array(np.where(rng.random(X.shape) < 0.3, X, 0.0))
    objective = Objective(regularizer=L2(0.05, exponent=1.0), data="targets", biases=True)
    exact = ALS(n_factors=2, max_epochs=50, rng=0).solve(objective, matrix).objective_value
    solver = SGD(n_factors=2, max_epochs=60, schedule=schedule, rng=0)
    assert solver.solve(objective, matrix).objective_value < 1.1 * exact


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("solver", [ALS(), GD(max_epochs=5), SGD()], ids=["ALS", "GD", "SGD"])
def test_bits_are_the_same_at_any_number_of_threads(solver, centered):
    rng = np.random.default_rng(0)
    matrix = sparse.random_array((3000, 2000), density=0.01, random_state=rng, format="csr")
    a0 = 0.0 if isinstance(solver, SGD) else 0.1
    C, D = (rng.normal(size=(n, 7)) if centered else None for n in matrix.shape)
    objective = Objective(
        regularizer=L2(0.1, 1.0, C, D), data="targets", unobserved_weight=a0, biases=not centered
    )
    solver.n_factors, solver.rng, solver.max_epochs = 7, 0, min(solver.max_epochs, 3)
    solutions = []
    for solver.n_threads in (1, 2):
        solutions.append(solver.solve(objective, matrix))
    one, two = solutions
    assert np.array_equal(one.row_factors, two.row_factors)
    assert np.array_equal(one.col_factors, two.col_factors)
    folded = [fold_in(objective, matrix, one.col_factors, center=C, n_threads=n) for n in (1, 2)]
    assert np.array_equal(*folded)


@pytest.mark.parametrize("center", [None, C])
def test_x0_of_many_rows_is_that_of_one(monkeypatch, center):
    monkeypatch.setattr("twofold.solvers.centered_system._BLOCK", 4)
    matrix, (P, Q) = ratings(), random_factors()
    objective = Objective(
        regularizer=L2(0.3, 1.0, row_center=center), unobserved_weight=0.2, biases=True
    )
    rows = reference.half_step(objective, matrix, P, Q, "row")
    found = fold_in(objective, matrix, Q, center=center)
    np.testing.assert_allclose(found, rows, rtol=0, atol=1e-8)
    one = fold_in(objective, matrix[[7]], Q, center=None if center is None else center[[7]])
    assert np.array_equal(one[0], found[7])


def test_a_row_without_entries_and_without_ridge_fits_all_cells():
    Q = random_factors()[1]
    Q[:, 1] = Q[:, 0]  # no unique solution
    objective = Objective(regularizer=L2(0.0), unobserved_weight=0.5, biases=True)
    row = fold_in(objective, sparse.csr_array((1, N_COLS)), Q)[0]
    F = np.delete(Q, K + 1, axis=1)
    best = F @ np.linalg.lstsq(F, -Q[:, K + 1], rcond=None)[0] + Q[:, K + 1]
    np.testing.assert_allclose(Q @ row, best, atol=1e-8)
    assert np.abs(row).max() < 100.0


def test_initial_factors_are_those_without_biases_and_the_mean():
    matrix = ratings()
    plain, biased = (
        ALS(n_factors=K, max_epochs=0, init="random", rng=0).solve(objective, matrix)
        for objective in (Objective(data="targets"), Objective(data="targets", biases=True))
    )
    assert np.array_equal(biased.row_factors[:, :K], plain.row_factors)
    assert np.array_equal(biased.col_factors[:, :K], plain.col_factors)
    mean = Problem.of(Objective(data="targets", biases=True), matrix).mean
    assert (biased.col_factors[:, K + 1] == np.float32(mean)).all()
    assert not biased.row_factors[:, K].any()


def test_initial_factors_are_checked():
    objective, matrix, (P, Q) = Objective(biases=True, data="targets"), ratings(), random_factors()
    with pytest.raises(InvalidInputError, match="must be 1: with biases=True the columns are"):
        ALS(n_factors=K + 2).solve(objective, matrix, (P[:, ::-1], Q))
    with pytest.raises(InvalidInputError, match="6 columns, two of which are those of the biases"):
        ALS(n_factors=K + 1).solve(objective, matrix, (P, Q))


def test_fold_in_checks_the_side_and_the_mean():
    objective, matrix, (P, Q) = Objective(biases=True, data="targets"), ratings(), random_factors()
    with pytest.raises(InvalidInputError, match="column 4 of col_factors must be 1"):
        fold_in(objective, matrix.T, P)
    with pytest.raises(InvalidInputError, match="for_data"):
        fold_in(objective, matrix.T, P, axis="col")
    with pytest.raises(InvalidInputError, match="axis"):
        fold_in(objective, matrix, Q, axis="rows")


def test_fold_in_needs_the_centers_of_new_rows():
    matrix, Q = ratings(), random_factors(biases=False)[1]
    rows, cols = Objective(regularizer=L2(row_center=C)), Objective(regularizer=L2(col_center=D))
    with pytest.raises(InvalidInputError, match="give center=, those of the new rows"):
        fold_in(rows, matrix, Q)
    with pytest.raises(InvalidInputError, match="give center=, those of the new cols"):
        fold_in(cols, matrix, Q[: len(Q)], axis="col")
    with pytest.raises(InvalidInputError, match=r"center has shape \(24, 4\)"):
        fold_in(rows, matrix, Q, center=C[1:])
    with pytest.raises(InvalidInputError, match="is for objectives with the regularizer L2"):
        fold_in(Objective(regularizer=L1()), matrix, Q, center=C)
    plain = Objective()
    assert np.array_equal(fold_in(cols, matrix, Q), fold_in(plain, matrix, Q))
    assert np.array_equal(fold_in(cols, matrix, Q, center=C), fold_in(rows, matrix, Q, center=C))


def test_a_solver_without_biases_says_so():
    class WithoutBiases(ALS):
        supports = Support(biases=False)

    objective = Objective(biases=True)
    with pytest.raises(UnsupportedObjectiveError, match="does not support biases=True: use ALS"):
        WithoutBiases().solve(objective, ratings())


@pytest.mark.parametrize("objective", [OBJECTIVES[1], CENTERED[2]])
def test_a_continued_run_equals_a_whole_one(tmp_path, objective):
    matrix = ratings()
    checkpoint = tmp_path / "half.twofold"
    ALS(n_factors=K, max_epochs=2, rng=0).solve(objective, matrix, checkpoint=checkpoint)
    half = type(whole := ALS(n_factors=K, max_epochs=4, rng=0).solve(objective, matrix)).load(
        checkpoint
    )
    resumed = ALS(n_factors=K, max_epochs=4).solve(objective, matrix, half)
    assert np.array_equal(resumed.row_factors, whole.row_factors)
    assert [r.total for r in resumed.history] == [r.total for r in whole.history]


@pytest.mark.parametrize("objective", [OBJECTIVES[0], CENTERED[0], Objective(regularizer=L2(0.1))])
def test_tasks_of_a_run_are_made_once(objective, monkeypatch):
    """With biases or centers, each half-step has other targets, but the same numbers of entries."""
    made, make = [], ColumnSystem._new_plan
    monkeypatch.setattr(
        ColumnSystem, "_new_plan", lambda *call: made.append(len(made)) or make(*call)
    )
    ALS(n_factors=K, max_epochs=6, rng=0, dtype="float64").solve(objective, ratings())
    assert len(made) == 2
