"""Fold-in: optimal rows for fixed columns, for any objective."""

import threading
import warnings

import numpy as np
import pytest
from scipy import sparse

from twofold import L1, L2, HuberLoss, LogisticLoss, Objective, SquaredLoss, fold_in
from twofold.exceptions import ConvergenceWarning, InvalidInputError
from twofold.objective import Regularizer
from twofold.solvers import ALS
from twofold.testing import reference

QUADRATIC = [
    Objective(regularizer=L2(0.1)),
    Objective(regularizer=L2(0.1, exponent=1.0), data="targets"),
    Objective(regularizer=L2(0.1, exponent=0.5), data="weights", unobserved_weight=0.2),
    Objective(
        regularizer=L2(0.1), data="weights", unobserved_weight=0.2, unobserved="missing"
    ),
]  # fmt: skip
GENERAL = [
    Objective(HuberLoss(0.3), L2(0.05), data="targets"),
    Objective(LogisticLoss(), L2(0.1, exponent=1.0)),
    Objective(HuberLoss(0.5), L2(0.1), unobserved_weight=0.1),
    Objective(LogisticLoss(), L2(0.1), unobserved_weight=0.1, unobserved="missing"),
]


def columns(k, n=20, seed=1):
    return np.random.default_rng(seed).normal(size=(n, k))


@pytest.mark.parametrize("k", [1, 3, 12])
@pytest.mark.parametrize("objective", QUADRATIC)
def test_solution_of_the_normal_equations(objective, k, small):
    found = fold_in(objective, small, columns(k))
    assert np.abs(found - reference.fold_in(objective, small, columns(k))).max() < 1e-10


@pytest.mark.parametrize("cols", [[3], [0, 5, 7], [2, 2, 9], list(range(20)), [1, 4] * 15])
def test_equals_the_notebook(cols):
    Q, lam = columns(6), 0.05
    row = sparse.coo_array((np.ones(len(cols)), (np.zeros(len(cols), int), cols)), shape=(1, 20))
    found = fold_in(Objective(regularizer=L2(lam)), row, Q)
    assert np.abs(found[0] - reference.notebook_fold_in(cols, Q, lam)).max() < 1e-10


@pytest.mark.parametrize("loss", [HuberLoss(), LogisticLoss()])
def test_many_rows_of_rank_one_converge(loss):
    # Backtracking must not compare values that differ by rounding only.
    rng = np.random.default_rng(0)
    at = (rng.integers(5000, size=40_000), rng.integers(20, size=40_000))
    matrix = sparse.coo_array((np.ones(40_000), at), shape=(5000, 20))
    objective, Q = Objective(loss, L2(0.1)), columns(1)
    P = fold_in(objective, matrix, Q)  # a ConvergenceWarning is an error
    slope, _ = objective.gradient(matrix, P, Q)
    start, _ = objective.gradient(matrix, np.zeros_like(P), Q)
    assert np.linalg.norm(slope) < 1e-9 * np.linalg.norm(start)


@pytest.mark.parametrize("objective", GENERAL)
def test_rows_of_any_loss_are_stationary(objective, small):
    Q = columns(4)
    P = fold_in(objective, small, Q)
    slope, _ = objective.gradient(small, P, Q)
    start, _ = objective.gradient(small, np.zeros_like(P), Q)
    filled = np.diff(small.indptr) > 0
    assert np.abs(slope[filled]).max() < 1e-6 * np.abs(start).max()


def test_l1_rows_satisfy_the_optimality_conditions(small):
    Q, lam = columns(4), 1.5
    P = fold_in(Objective(regularizer=L1(lam)), small, Q)
    slope, _ = Objective(regularizer=L2(0.0)).gradient(small, P, Q)
    filled = np.diff(small.indptr) > 0
    P, slope = P[filled], slope[filled]
    assert (P == 0.0).any()
    assert np.all(np.abs(slope[P == 0.0]) <= lam + 1e-6)
    np.testing.assert_allclose(slope[P != 0.0], -lam * np.sign(P[P != 0.0]), atol=1e-6)


def test_proximal_gradient_agrees_with_the_direct_solution(small):
    # The same quadratic problem, as a Huber loss with a delta that is never reached.
    for objective in QUADRATIC:
        same = Objective(
            HuberLoss(1e6), objective.regularizer, data=objective.data,
            unobserved_weight=objective.unobserved_weight, unobserved=objective.unobserved,
        )  # fmt: skip
        exact, found = (fold_in(o, small, columns(4)) for o in (objective, same))
        np.testing.assert_allclose(found, exact, atol=1e-7)


@pytest.mark.parametrize("objective", [QUADRATIC[3], GENERAL[0]])
def test_fold_in_of_columns_by_transposition(objective, small):
    P = np.random.default_rng(2).normal(size=(30, 3))
    Q = fold_in(objective, small.T, P)
    assert Q.shape == (20, 3)
    _, slope = objective.gradient(small, P, Q)
    filled = np.bincount(small.indices, minlength=20) > 0
    assert np.abs(slope[filled]).max() < 1e-5


def test_fold_in_of_training_rows_equals_the_trained_factors(small):
    objective = QUADRATIC[2]
    solution = ALS(n_factors=3, max_epochs=300, n_threads=1, rng=0, dtype="float64").solve(
        objective, small
    )
    folded = fold_in(objective, small, solution.col_factors)
    np.testing.assert_allclose(folded, solution.row_factors, atol=1e-4)


@pytest.mark.parametrize("objective", [QUADRATIC[0], QUADRATIC[3], GENERAL[2]])
def test_rows_without_entries_are_zero(objective):
    matrix = sparse.csr_array(np.array([[0.0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    P = fold_in(objective, matrix, columns(2, 3))
    assert not P[1].any()
    assert P[0].any()
    nothing = fold_in(objective, sparse.csr_array((0, 3)), columns(2, 3))
    assert nothing.shape == (0, 2)


@pytest.mark.parametrize(
    ("given", "dtype"), [("float32", "float32"), ("float64", "float64"), ("int64", "float64")]
)
@pytest.mark.parametrize("objective", [QUADRATIC[0], GENERAL[0]])
def test_dtype_is_that_of_the_columns(given, dtype, objective, small):
    Q = (4 * columns(3)).astype(given)
    Q.flags.writeable = False
    P = fold_in(objective, small, Q)
    assert P.dtype == dtype
    best = fold_in(objective, small, Q.astype("float64"))
    np.testing.assert_allclose(P, best, atol=1e-4)


@pytest.mark.parametrize("objective", [QUADRATIC[3], GENERAL[0]])
def test_result_is_bitwise_independent_of_threads(objective):
    rng = np.random.default_rng(0)
    at = (rng.integers(4000, size=60_000), rng.integers(20, size=60_000))
    matrix = sparse.coo_array((np.ones(60_000), at), shape=(4000, 20))
    one, two = (fold_in(objective, matrix, columns(5), n_threads=n) for n in (1, 2))
    assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    ("Q", "sentence"),
    [
        (np.ones((21, 3)), "the matrix has 20 cols, but col_factors has 21 rows$"),
        (np.ones((30, 3)), "20 cols, but col_factors has 30 rows: are rows and columns swapped"),
        (np.ones(20), "col_factors must be a 2-d array"),
        (np.ones((20, 0)), "col_factors has no columns: give at least one factor"),
        (np.full((20, 2), np.nan), r"col_factors\[0, 0\] is nan"),
    ],
)
def test_invalid_columns(Q, sentence, small):
    with pytest.raises(InvalidInputError, match=sentence):
        fold_in(Objective(), small, Q)


def test_invalid_thread_counts(small):
    with pytest.raises(InvalidInputError, match="n_threads is 0"):
        fold_in(Objective(), small, columns(2), n_threads=0)
    fold_in(Objective(regularizer=L2(0.1)), small, columns(2), n_threads=np.int64(1))


class Flat(Regularizer):
    """A penalty of zero, for a problem without a minimum."""

    def value(self, x):
        return 0.0 * x

    def derivative(self, x):
        return 0.0 * x


def test_warning_if_rows_do_not_converge():
    # Separable targets without a penalty: the logistic loss has no minimum.
    matrix = sparse.csr_array(np.ones((1, 2)))
    with pytest.warns(ConvergenceWarning, match="row 0 and 0 others did not converge"):
        fold_in(Objective(LogisticLoss(), Flat()), matrix, np.array([[1.0, 1e-3], [1e-3, 1.0]]))


@pytest.mark.parametrize("objective", [QUADRATIC[2], GENERAL[0], Objective(SquaredLoss(), L1(0.1))])
def test_concurrent_calls(objective):
    rng = np.random.default_rng(0)
    at = (rng.integers(500, size=8000), rng.integers(20, size=8000))
    matrix = sparse.coo_array((rng.uniform(0.5, 2.0, 8000), at), shape=(500, 20))
    problems = [columns(4, seed=seed) for seed in range(2)]
    expected = [fold_in(objective, matrix, Q) for Q in problems]
    found = [[], []]

    def work(number):
        with warnings.catch_warnings():
            for _ in range(10):
                found[number].append(fold_in(objective, matrix, problems[number]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results, right in zip(found, expected, strict=True):
        assert len(results) == 10
        assert all(np.array_equal(one, right) for one in results)


@pytest.mark.parametrize("n_factors", [8, 64])
def test_accuracy_for_thousands_of_entries_of_one_sign(n_factors):
    rng = np.random.default_rng(0)
    Q = rng.normal(0.3, 0.03, (6000, n_factors)).astype(np.float32) / np.float32(n_factors)
    R = sparse.csr_array(np.ones((1, 6000)))
    for unobserved_weight in (0.0, 0.1):
        objective = Objective(regularizer=L2(100.0), unobserved_weight=unobserved_weight)
        exact = reference.fold_in(objective, R, Q)
        assert np.linalg.norm(fold_in(objective, R, Q) - exact) < 2e-6 * np.linalg.norm(exact)


@pytest.mark.parametrize("n_factors", [8, 64, 129])
@pytest.mark.parametrize("unobserved_weight", [0.0, 0.1])
@pytest.mark.parametrize("weight", [1e-8, 1e-4, 1e-2, 1.0, 100.0])
def test_accuracy_in_float32_for_any_ridge(n_factors, unobserved_weight, weight):
    """Nearly parallel and small columns, for which plain float32 is inaccurate."""
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(n_factors) / 10) / np.sqrt(n_factors)
    Q = rng.normal(0.0, 0.3, (1500, n_factors)) * decay + 0.5 / np.sqrt(n_factors)
    Q = Q.astype(np.float32)
    lengths = np.repeat([1, 5, 50, 500], 5)
    cols = np.concatenate([rng.choice(1500, d, replace=False) for d in lengths])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    R = sparse.csr_array((np.ones(cols.size), cols, indptr), shape=(lengths.size, 1500))
    objective = Objective(regularizer=L2(weight), unobserved_weight=unobserved_weight)
    found = fold_in(objective, R, Q)
    exact = reference.fold_in(objective, R, Q)
    errors = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert errors.max() < 1e-5


@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_rows_do_not_change_other_rows(exponent, dtype):
    """Thousands of rows, half of them empty, so that some tasks begin with empty rows."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 25, size=6000) * (rng.random(6000) < 0.5)
    lengths[0] = 0
    cols = np.concatenate([rng.choice(60, d, replace=False) for d in lengths])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    R = sparse.csr_array((np.ones(cols.size), cols, indptr), shape=(6000, 60))
    Q = rng.normal(size=(60, 16)).astype(dtype)
    objective = Objective(regularizer=L2(0.3, exponent=exponent), unobserved_weight=0.1)
    found = fold_in(objective, R, Q)
    np.testing.assert_allclose(found, reference.fold_in(objective, R, Q), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [10, 63, 65, 700])
@pytest.mark.parametrize("largest", [1.0, 1e4])
@pytest.mark.parametrize("weight", [1e-12, 1e-10, 1e-8, 1e-6])
def test_accuracy_for_a_tiny_ridge(weight, largest, d, dtype):
    """If trace / ridge is near 1 / eps, normal equations have no correct digits."""
    rng = np.random.default_rng(d)
    Q = (rng.normal(size=(800, 64)) / 8 + 1.0).astype(dtype)
    R = sparse.csr_array(
        (rng.uniform(0.5, largest, d), rng.choice(800, d, replace=False), [0, d]), shape=(1, 800)
    )
    objective = Objective(regularizer=L2(weight), data="weights")
    found, exact = fold_in(objective, R, Q), reference.fold_in(objective, R, Q)
    assert np.linalg.norm(found - exact) < 1e-5 * np.linalg.norm(exact)


@pytest.mark.parametrize("d", [40, 300, 600])
def test_accuracy_for_popular_columns_and_a_large_unobserved_weight(d):
    """Nearly parallel columns: V' q cancels in other directions, so V must not be rounded."""
    rng = np.random.default_rng(d)
    Q = (rng.normal(size=(600, 64)) / 8 + 1.0).astype(np.float32)
    indptr = np.arange(9) * d
    cols = np.concatenate([rng.choice(600, d, replace=False) for _ in range(8)])
    R = sparse.csr_array((np.ones(8 * d), cols, indptr), shape=(8, 600))
    objective = Objective(regularizer=L2(100.0), unobserved_weight=10.0)
    found, exact = fold_in(objective, R, Q), reference.fold_in(objective, R, Q)
    errors = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert errors.max() < 1e-5


def test_weights_equal_to_the_unobserved_weight():
    """With c = w - a0 = 0, the curvature is zero, but not the linear term."""
    rng = np.random.default_rng(0)
    Q = rng.normal(size=(30, 6)).astype(np.float32)
    R = sparse.random_array((40, 30), density=0.3, random_state=rng, format="csr")
    objective = Objective(regularizer=L2(0.1), unobserved_weight=1.0, unobserved="missing")
    found, exact = fold_in(objective, R, Q), reference.fold_in(objective, R, Q)
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-6)
