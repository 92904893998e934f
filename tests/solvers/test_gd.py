"""GD: the notebook's steps, backtracking, momentum and mini-batches."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

from twofold import L1, L2, HuberLoss, LogisticLoss, Objective, SquaredLoss
from twofold.exceptions import DivergenceWarning, InvalidInputError
from twofold.solvers import GD, Solution, Status
from twofold.testing import reference

OBJECTIVES = [
    Objective(SquaredLoss(), L2(0.1)),
    Objective(SquaredLoss(), L2(0.05, exponent=0.5), data="weights", unobserved_weight=0.1),
    Objective(SquaredLoss(), L2(0.1), unobserved_weight=0.2, unobserved="missing"),
    Objective(HuberLoss(0.5), L2(0.1), data="targets"),
    Objective(LogisticLoss(), L2(0.1)),
    Objective(SquaredLoss(), L1(0.1)),
]


def pairs_and_factors(k=5):
    """Return pairs in rows of different lengths, with repeated pairs, and initial factors."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 25, size=40)
    rows = np.repeat(np.arange(40), lengths)
    cols = rng.integers(30, size=rows.size)
    P, Q = rng.normal(scale=0.4, size=(40, k)), rng.normal(scale=0.4, size=(30, k))
    P[lengths == 0] = 0.0  # as in all solvers
    return np.column_stack([rows, cols]), P, Q


def test_equals_the_notebook():
    pairs, P, Q = pairs_and_factors()
    alpha, lam, iterations = 0.02, 0.03, 20
    matrix = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(40, 30))
    solver = GD(n_factors=5, learning_rate=alpha / 2, max_epochs=iterations, dtype="float64")
    solution = solver.solve(Objective(regularizer=L2(lam, exponent=1)), matrix, init=(P, Q))
    rows, cols = reference.notebook_epochs(pairs, P, Q, alpha, lam, iterations)
    assert np.abs(solution.row_factors - rows).max() < 1e-10
    assert np.abs(solution.col_factors - cols).max() < 1e-10
    assert np.abs(rows - P).max() > 0.1  # it went somewhere


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_step_equals_the_gradient(objective, small):
    matrix = small.copy()
    rng = np.random.default_rng(1)
    P, Q = rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
    P[np.diff(matrix.indptr) == 0] = 0.0  # as in all solvers
    eta = 1e-3
    solver = GD(n_factors=3, learning_rate=eta, max_epochs=1, dtype="float64")
    solution = solver.solve(objective, matrix, init=(P, Q))
    regularizer = objective.regularizer
    if regularizer.smooth:
        dP, dQ = reference.gradient(objective, matrix, P, Q)
        expected = P - eta * dP, Q - eta * dQ
    else:
        bare = Objective(objective.loss, L2(0.0))
        dP, dQ = reference.gradient(bare, matrix, P, Q)
        step = eta * regularizer.weight
        expected = tuple(regularizer.proximal(x, step) for x in (P - eta * dP, Q - eta * dQ))
    np.testing.assert_allclose(solution.row_factors, expected[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(solution.col_factors, expected[1], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_backtracking_never_increases_the_objective(objective, dtype, small):
    solver = GD(n_factors=4, max_epochs=60, rng=0, init="random", dtype=dtype)
    solution = solver.solve(objective, small)
    totals = [record.total for record in solution.history]
    assert solution.status is Status.MAX_EPOCHS
    slack = 1e-6 if dtype == "float32" else 1e-12
    assert all(new <= old * (1 + slack) for old, new in pairwise(totals))
    assert totals[-1] < 0.7 * totals[0]


def test_converges_to_a_stationary_point(small):
    objective = OBJECTIVES[1]
    rng = np.random.default_rng(1)
    start = rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
    solution = GD(
        n_factors=3, max_epochs=3000, evaluate_every=3000, n_threads=1, dtype="float64"
    ).solve(objective, small, init=start)
    end = solution.row_factors, solution.col_factors
    norms = [
        np.linalg.norm(np.concatenate(reference.gradient(objective, small, *at)))
        for at in (end, start)
    ]
    assert norms[0] < 1e-4 * norms[1]


def test_l1_has_exact_zeros_and_satisfies_the_optimality_conditions(small):
    objective = Objective(regularizer=L1(1.0))
    solution = GD(
        n_factors=3, max_epochs=2000, evaluate_every=2000, n_threads=1, rng=0, dtype="float64"
    ).solve(objective, small)
    P, Q = solution.row_factors, solution.col_factors
    slopes = Objective(regularizer=L2(0.0)).gradient(small, P, Q)
    assert 0.05 < np.mean(P == 0.0) < 1.0
    for factors, slope in zip((P, Q), slopes, strict=True):
        zero = factors == 0.0
        assert np.all(np.abs(slope[zero]) <= 1.0 + 1e-4)
        np.testing.assert_allclose(slope[~zero], -np.sign(factors[~zero]), atol=1e-4)


def test_weights_equal_repeated_pairs():
    pairs, P, Q = pairs_and_factors()
    repeated = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(40, 30))
    weighted = repeated.tocsr()
    weighted.sum_duplicates()
    solver = GD(n_factors=5, learning_rate=0.01, max_epochs=10, dtype="float64")
    found = [
        solver.solve(
            Objective(
                regularizer=L2(0.1, exponent=0.5), data=data,
                unobserved_weight=0.1, unobserved="missing",
            ),
            matrix,
            init=(P, Q),
        )
        for data, matrix in (("ones", repeated), ("weights", weighted))
    ]  # fmt: skip
    np.testing.assert_allclose(found[0].row_factors, found[1].row_factors, atol=1e-12)
    np.testing.assert_allclose(found[0].col_factors, found[1].col_factors, atol=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_small_steps_over_all_batches_sum_to_the_gradient(objective, small):
    rng = np.random.default_rng(1)
    P, Q = rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
    P[np.diff(small.indptr) == 0] = 0.0  # as in all solvers
    eta = 1e-8
    solver = GD(n_factors=3, learning_rate=eta, n_batches=7, max_epochs=1, rng=0, dtype="float64")
    solution = solver.solve(objective, small, init=(P, Q))
    dP, dQ = reference.gradient(objective, small, P, Q)
    np.testing.assert_allclose((P - solution.row_factors) / eta, dP, atol=1e-4)
    np.testing.assert_allclose((Q - solution.col_factors) / eta, dQ, atol=1e-4)


@pytest.mark.parametrize("n_batches", [2, 10, 100_000])
def test_batches_decrease_the_objective(n_batches, small):
    solver = GD(
        n_factors=3, learning_rate=0.01, n_batches=n_batches, max_epochs=20, n_threads=1, rng=0
    )
    history = solver.solve(OBJECTIVES[1], small).history
    assert history[-1].total < 0.7 * history[0].total


def test_batches_differ_between_epochs(small):
    def run(**options):
        solver = GD(n_factors=3, learning_rate=0.02, n_batches=4, dtype="float64", **options)
        rng = np.random.default_rng(1)
        start = rng.normal(size=(30, 3)), rng.normal(size=(20, 3))
        return solver.solve(OBJECTIVES[0], small, init=start).row_factors

    assert not np.array_equal(run(rng=0, max_epochs=1), run(rng=1, max_epochs=1))
    np.testing.assert_allclose(run(rng=0, max_epochs=1), run(rng=1, max_epochs=1), atol=0.2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_batches": 3}, "n_batches is 3: give a learning_rate"),
        ({"n_batches": 0}, "n_batches is 0: it must be a whole number >= 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be a finite number > 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
    ],
)
def test_invalid_parameters(options, sentence, small):
    with pytest.raises(InvalidInputError, match=sentence):
        GD(**options).solve(Objective(), small)


def test_small_and_large_initial_factors(small):
    zeros = np.zeros((30, 2)), np.zeros((20, 2))
    solution = GD(n_factors=2, max_epochs=3).solve(OBJECTIVES[0], small, init=zeros)
    assert solution.history[-1].total == solution.history[0].total == small.nnz
    far = np.full((30, 2), 1e4), np.full((20, 2), 1e4)
    solution = GD(n_factors=2, max_epochs=200, n_threads=1, dtype="float64").solve(
        OBJECTIVES[0], small, init=far
    )
    assert solution.objective_value < 1e-6 * solution.history[0].total


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overflow_of_the_gradient_is_divergence(dtype, small):
    matrix = small.tocsr()
    matrix.data[:] = 1e39 if dtype == "float32" else 1e200
    solver = GD(n_factors=3, max_epochs=3, rng=0, dtype=dtype)
    with pytest.warns(DivergenceWarning):
        solution = solver.solve(Objective(data="targets"), matrix)
    assert solution.status is Status.DIVERGED
    assert np.isfinite(solution.row_factors).all()


@pytest.mark.parametrize("n_batches", [1, 3])
def test_penalty_decreases_without_entries(n_batches):
    solver = GD(n_factors=2, max_epochs=1, rng=0, learning_rate=0.1, n_batches=n_batches)
    solution = solver.solve(Objective(regularizer=L2(1.0)), sparse.csr_array((3, 4)))
    assert solution.history[1].total == pytest.approx(0.64 * solution.history[0].total, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_momentum_converges_faster_without_increase(objective, dtype):
    pairs, P, Q = pairs_and_factors()
    matrix = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(40, 30)).tocsr()
    ends = []
    for momentum in (False, True):
        solver = GD(n_factors=5, max_epochs=60, momentum=momentum, dtype=dtype)
        totals = [record.total for record in solver.solve(objective, matrix, (P, Q)).history]
        slack = 1e-6 if dtype == "float32" else 1e-12
        assert all(new <= old * (1 + slack) for old, new in pairwise(totals))
        ends.append((totals[-1], totals[0]))
    assert ends[1][0] <= ends[0][0] * (1 + 1e-3)


def test_nesterov_momentum():
    objective = OBJECTIVES[0]
    pairs, P, Q = pairs_and_factors()
    matrix = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(40, 30)).tocsr()
    eta = 1e-3
    solver = GD(n_factors=5, max_epochs=6, momentum=True, learning_rate=eta, dtype="float64")
    found = solver.solve(objective, matrix, (P, Q))
    t, last, here = 1.0, (P, Q), (P, Q)
    for _ in range(6):
        next_t = 0.5 * (1 + np.sqrt(1 + 4 * t * t))
        ahead = [x + (t - 1) / next_t * (x - y) for x, y in zip(here, last, strict=True)]
        slopes = reference.gradient(objective, matrix, *ahead)
        last, t = here, next_t
        here = tuple(x - eta * d for x, d in zip(ahead, slopes, strict=True))
    np.testing.assert_allclose(found.row_factors, here[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.col_factors, here[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"learning_rate": 1e-3, "momentum": True}])
def test_momentum_continues_after_a_stop(options, small, tmp_path):
    objective = OBJECTIVES[0]
    whole = GD(n_factors=4, max_epochs=12, rng=0, **options).solve(objective, small)
    half = GD(n_factors=4, max_epochs=5, rng=0, **options).solve(objective, small)
    half.save(tmp_path / "half.npz")
    rest = GD(n_factors=4, max_epochs=12, rng=0, **options).solve(
        objective, small, init=Solution.load(tmp_path / "half.npz")
    )
    assert rest.row_factors.tobytes() == whole.row_factors.tobytes()
    assert rest.history[-1].total == whole.history[-1].total


def test_momentum_requires_full_batches(small):
    with pytest.raises(InvalidInputError, match="momentum=True needs n_batches=1"):
        GD(momentum=True, n_batches=2, learning_rate=0.1).solve(OBJECTIVES[0], small)
