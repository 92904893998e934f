"""SGD: sums of updates, one update per pair, schedules and independence of threads."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse

from twofold import L1, L2, HuberLoss, LogisticLoss, Loss, Objective, Regularizer, SquaredLoss
from twofold.exceptions import InvalidInputError, UnsupportedObjectiveError
from twofold.objective import Point, Problem
from twofold.solvers import GD, SGD
from twofold.solvers.state import State

SCHEDULES = [
    {"schedule": "adagrad", "learning_rate": 0.1},
    {"schedule": "constant", "learning_rate": 0.03},
    {"schedule": "inverse-time", "learning_rate": 0.05, "decay": 0.2},
]


@dataclass(frozen=True)
class Linear(Loss):
    """A loss with derivative 1."""

    def value(self, target, prediction):
        return prediction + 0.0 * target

    def derivative(self, target, prediction):
        return 1.0 + 0.0 * (target + prediction)


def signs(n_rows=80, n_cols=60, n_entries=1500, seed=0):
    """Return +-1 with repeated entries."""
    rng = np.random.default_rng(seed)
    at = (rng.integers(n_rows - 3, size=n_entries), rng.integers(n_cols - 2, size=n_entries))
    return sparse.coo_array((rng.choice([-1.0, 1.0], n_entries), at), shape=(n_rows, n_cols))


def normal_factors(k, n_rows=80, n_cols=60):
    rng = np.random.default_rng(1)
    return rng.normal(scale=0.5, size=(n_rows, k)), rng.normal(scale=0.5, size=(n_cols, k))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", SCHEDULES)
@pytest.mark.parametrize(
    "objective",
    [
        Objective(),
        Objective(LogisticLoss(), L2(0.02, exponent=1.0), data="targets"),
        Objective(HuberLoss(0.5), L1(0.02, exponent=0.5)),
    ],
)
def test_every_schedule_decreases_the_objective(objective, options, dtype):
    solver = SGD(n_factors=5, max_epochs=15, rng=0, dtype=dtype, init_scale=1.0, **options)
    history = solver.solve(objective, signs()).history
    assert history[-1].total < 0.9 * history[0].total
    assert history[3].total < history[0].total


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("loss", [SquaredLoss(), HuberLoss(0.5), LogisticLoss()])
@pytest.mark.parametrize("data", ["ones", "targets", "weights"])
def test_epoch_of_small_steps_equals_the_gradient(loss, exponent, data):
    matrix = signs()
    if data == "weights":
        matrix.data = np.random.default_rng(2).uniform(0.2, 3.0, matrix.nnz)
    objective = Objective(loss, L2(0.1, exponent=exponent), data=data)
    P, Q = normal_factors(4)
    P[-3:], Q[-2:] = 0.0, 0.0  # rows without entries are zero
    eta = 1e-7
    solver = SGD(
        n_factors=4, max_epochs=1, schedule="constant", learning_rate=eta, rng=0, dtype="float64"
    )
    solution = solver.solve(objective, matrix, init=(P, Q))
    for before, after, slope in zip(
        (P, Q),
        (solution.row_factors, solution.col_factors),
        objective.gradient(matrix, P, Q),
        strict=True,
    ):
        assert np.abs((before - after) / eta - slope).max() < 1e-3 * np.abs(slope).max()


@pytest.mark.parametrize("n_entries", [5, 1500, 20_000])
def test_each_pair_is_processed_once_per_epoch(n_entries):
    matrix = signs(n_entries=n_entries)
    # With unit vectors as columns and a slope of 1, P counts the updates.
    eta = 1e-8
    solver = SGD(
        n_factors=60, max_epochs=3, schedule="constant", learning_rate=eta, rng=0, dtype="float64"
    )
    seen = []
    solver.solve(
        Objective(Linear(), L2(0.0)),
        matrix,
        init=(np.zeros((80, 60)), np.identity(60)),
        callback=lambda epoch, so_far: seen.append(so_far.row_factors),
    )
    matrix.data[:] = 1.0
    counts = matrix.toarray()
    for epoch, visits in enumerate(seen):
        np.testing.assert_allclose(-visits / eta, epoch * counts, atol=1e-3)


def test_unobserved_weight_is_not_supported():
    objective = Objective(unobserved_weight=0.1)
    with pytest.raises(
        UnsupportedObjectiveError,
        match=r"SGD does not support unobserved_weight=0.1 \(only 0\): use ALS or GD",
    ):
        SGD().solve(objective, signs())


@pytest.mark.parametrize("options", SCHEDULES)
def test_l1_has_exact_zeros(options):
    solver = SGD(n_factors=5, max_epochs=20, rng=0, **options)
    solution = solver.solve(Objective(regularizer=L1(3.0)), signs())
    P = solution.row_factors[:-3]  # the last rows have no entries
    assert np.mean(P == 0.0) > 0.05
    assert solution.history[-1].total < solution.history[0].total


def test_rows_without_entries_are_zero():
    solution = SGD(n_factors=3, max_epochs=1, rng=0).solve(Objective(), signs())
    assert not solution.row_factors[-3:].any()
    assert not solution.col_factors[-2:].any()


@pytest.mark.parametrize("options", SCHEDULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_result_is_bitwise_independent_of_threads(options, dtype):
    matrix = signs(2000, 1500, 100_000)
    one, two = (
        SGD(n_factors=10, max_epochs=3, rng=0, dtype=dtype, n_threads=n, **options).solve(
            Objective(regularizer=L2(0.02, exponent=0.5), data="targets"), matrix
        )
        for n in (1, 2)
    )
    assert one.row_factors.tobytes() == two.row_factors.tobytes()
    assert one.col_factors.tobytes() == two.col_factors.tobytes()
    assert [r.total for r in one.history] == [r.total for r in two.history]


def test_approaches_the_minimum_of_gd():
    objective, matrix = Objective(regularizer=L2(0.5), data="targets"), signs()
    exact = (
        GD(n_factors=3, max_epochs=300, n_threads=1, rng=0).solve(objective, matrix).objective_value
    )
    solver = SGD(
        n_factors=3,
        max_epochs=200,
        n_threads=1,
        rng=0,
        schedule="inverse-time",
        learning_rate=0.05,
        decay=0.1,
    )
    assert solver.solve(objective, matrix).objective_value < 1.1 * exact


def test_orders_differ_between_epochs_and_seeds():
    P, Q = normal_factors(4)
    options = {"n_factors": 4, "max_epochs": 1, "schedule": "constant", "dtype": "float64"}
    one, other = (
        SGD(rng=seed, **options).solve(Objective(), signs(), init=(P, Q)) for seed in (0, 1)
    )
    assert not np.array_equal(one.row_factors, other.row_factors)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be a finite number > 0"),
        ({"learning_rate": np.nan}, "learning_rate is nan"),
        ({"schedule": "cosine"}, '"adagrad", "constant", "inverse-time"'),
        ({"decay": -1.0}, "decay is -1.0: it must be a finite number >= 0"),
    ],
)
def test_invalid_parameters(options, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        SGD(**options).solve(Objective(), signs())


@pytest.mark.parametrize("schedule", ["adagrad", "constant", "inverse-time"])
@pytest.mark.parametrize("n_factors", [3, 40])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_default_learning_rate_for_scaled_data(scale, n_factors, schedule):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(120, 3)), rng.normal(size=(90, 3))
    at = rng.integers(120, size=4000), rng.integers(90, size=4000)
    targets = scale * np.einsum("ek,ek->e", X[at[0]], Y[at[1]])
    solver = SGD(n_factors=n_factors, max_epochs=30, rng=0, schedule=schedule)
    for data, values in (("targets", targets), ("weights", scale * rng.exponential(size=4000))):
        objective = Objective(regularizer=L2(1e-3 * scale, exponent=0.0), data=data)
        history = solver.solve(objective, sparse.coo_array((values, at), shape=(120, 90))).history
        zeros = np.sum(values**2 if data == "targets" else values)  # the loss of zero factors
        assert history[-1].total < 0.5 * min(zeros, history[0].total)


def test_step_uses_the_old_values_for_any_penalty():
    """Both updates of a pair, and their penalties, use the values before the step."""

    @dataclass(frozen=True)
    class Quartic(Regularizer):
        def value(self, x):
            return x**4

        def derivative(self, x):
            return 4.0 * x**3

    objective = Objective(regularizer=Quartic(0.3))
    P, Q = np.array([[0.5, -1.0]]), np.array([[0.25, 2.0]])
    eta = 0.01
    solver = SGD(n_factors=2, max_epochs=1, schedule="constant", learning_rate=eta, dtype="float64")
    found = solver.solve(objective, sparse.csr_array(np.ones((1, 1))), (P, Q))
    dP, dQ = objective.gradient(sparse.csr_array(np.ones((1, 1))), P, Q)
    np.testing.assert_allclose(found.row_factors, P - eta * dP, rtol=1e-13)
    np.testing.assert_allclose(found.col_factors, Q - eta * dQ, rtol=1e-13)


def test_step_depends_on_its_state_only():
    """Packed factors are reused only if the step continues from them."""
    solver = SGD(n_factors=5, rng=0, n_threads=1)
    problem = Problem.of(Objective(regularizer=L2(0.1)), signs())
    P, Q = (factors.astype(np.float32) for factors in normal_factors(5))
    point = Point.of(P, Q)
    first = solver.prepare(problem, State(point, 0, 3, solver.new_memory(problem, point)))
    second = solver.step(problem, first)
    solver.step(problem, second)
    again = solver.step(problem, first)
    assert again.row_factors.tobytes() == second.row_factors.tobytes()
    assert again.col_factors.tobytes() == second.col_factors.tobytes()


@pytest.mark.parametrize("k", [1, 2, 10, 64])
def test_default_learning_rate_with_one_long_row(k):
    """The penalty of a short row is applied in a few updates that must not overshoot."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.zeros(20_000, int), np.repeat(np.arange(1, 1001), 10)])
    others = [rng.choice(20_000, 10, replace=False) for _ in range(1000)]
    cols = np.concatenate([np.arange(20_000), *others])
    matrix = sparse.csr_array((np.ones(rows.size), (rows, cols)), shape=(1001, 20_000))
    solution = SGD(n_factors=k, rng=0, max_epochs=6).solve(Objective(regularizer=L2(1.0)), matrix)
    totals = [record.total for record in solution.history]
    assert max(totals) == totals[0]
    assert totals[-1] < 0.5 * totals[0]
