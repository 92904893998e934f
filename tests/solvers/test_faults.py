"""Regression tests of solvers for unusual inputs."""

import dataclasses
import threading
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse
from subprocesses import run_python
from threadpoolctl import threadpool_info, threadpool_limits

from twofold import L2, Objective, fold_in
from twofold._kernels.threads import with_one_blas_thread
from twofold.exceptions import (
    CheckpointWarning,
    DivergenceWarning,
    InvalidInputError,
    SingularRowError,
    TwofoldError,
)
from twofold.objective import Loss, Problem
from twofold.solvers import ALS, GD, SGD, ColumnSystem, Route, Solution, Status
from twofold.testing import reference


def ones(n_rows, n_cols, density, seed):
    rng = np.random.default_rng(seed)
    return sparse.csr_array((rng.random((n_rows, n_cols)) < density).astype(float))


@pytest.mark.parametrize("solver", [ALS, GD, SGD])
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (3, 4)])
@pytest.mark.parametrize("biases", [False, True])
def test_matrix_without_entries(biases, shape, solver):
    objective = Objective(biases=biases)
    solution = solver(n_factors=2, max_epochs=5, rng=0).solve(objective, sparse.csr_array(shape))
    assert solution.status is Status.MAX_EPOCHS
    assert solution.objective_value == 0.0
    parts = objective.parts(solution.row_factors, solution.col_factors)
    assert not any(part.any() for part in parts)


def rows_of(lengths, n_cols, rng):
    cols = np.concatenate([rng.choice(n_cols, d, replace=False) for d in lengths])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_array((np.ones(cols.size), cols, ends), shape=(len(lengths), n_cols))


# ALS and fold-in


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nearly_zero_factor_is_solved_accurately_or_raises(dtype, size, seed):
    """Eigenvalues of a0 Q'Q below the rounding error are inaccurate."""
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((100, 8)).astype(dtype)
    Q[:, 1 + seed] *= size
    R = ones(4, 100, 0.2, seed)
    try:
        found = fold_in(Objective(regularizer=L2(0.0), unobserved_weight=1.0), R, Q)
    except SingularRowError:
        return
    scale = np.abs(Q).max(axis=0).astype(float)
    S = Q / scale  # of full rank and well-conditioned, with the scaled exact solution
    for p, row in zip(found, R.toarray(), strict=True):
        exact = S @ np.linalg.solve(S.T @ S + (S.T * row) @ S, S.T @ row)
        assert np.abs(Q.astype(float) @ p - exact).max() <= 1e-3 * np.abs(exact).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["zero", "equal", "summed"])
def test_dependent_factors_without_a_ridge_raise(kind, dtype):
    rng = np.random.default_rng(0)
    Q = rng.integers(-4, 5, size=(100, 8)).astype(dtype)
    Q[:, 3] = {"zero": 0.0, "equal": Q[:, 0], "summed": Q[:, 0] + Q[:, 5]}[kind]
    objective = Objective(regularizer=L2(0.0), unobserved_weight=1.0)
    for seed in range(20):
        draw = np.random.default_rng(seed)
        with pytest.raises(SingularRowError, match="row 0"):
            fold_in(objective, ones(1, 100, 0.2, seed), Q[draw.permutation(100)])


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_accuracy_in_float32_for_cancelling_targets(k):
    """The stated accuracy of 1e-5, for random targets and for sums near zero."""
    rng = np.random.default_rng(0)
    n, m, d = 1500, 300, 40
    R = rows_of([d] * n, m, rng)
    R.data = rng.standard_normal(n * d)
    Q = rng.standard_normal((m, k)).astype(np.float32)
    objective = Objective(regularizer=L2(1.0), data="targets")
    Y = Q[R.indices].astype(float).reshape(n, d, k)
    T = Y.transpose(0, 2, 1)
    A, b = T @ Y + np.identity(k), T @ R.data.reshape(n, d, 1)
    exact = np.linalg.solve(A, b)[:, :, 0]
    errors = np.linalg.norm(fold_in(objective, R, Q) - exact, axis=1)
    assert (errors <= 1e-5 * np.linalg.norm(exact, axis=1)).all()
    same = np.ones((50, k), np.float32)
    for left in (1e-3, 1e-6, 1e-8):
        r = np.array([1.1, -1.1 + left, 0.7, -0.7])
        row = sparse.csr_array((r, [0, 1, 2, 3], [0, 4]), shape=(1, 50))
        np.testing.assert_allclose(
            fold_in(objective, row, same)[0], np.full(k, r.sum() / (4 * k + 1)), rtol=1e-5
        )


@pytest.mark.parametrize(("kind", "steps"), [("auto", 2), ("cg", 1), ("cg", 5), ("cg", 10)])
@pytest.mark.parametrize("ridge", [1e-8, 1e-4])
def test_objective_never_increases_for_large_weights(kind, steps, ridge):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        values = rng.integers(1, 4, (20, 30)) * 1e3
        R = sparse.csr_array((rng.random((20, 30)) < 0.15) * values)
        solver = ALS(n_factors=64, max_epochs=5, rng=seed, row_solver=kind, cg_steps=steps)
        solution = solver.solve(Objective(regularizer=L2(ridge), data="weights"), R)
        assert solution.status is Status.MAX_EPOCHS
        totals = [record.total for record in solution.history]
        assert all(new <= old * (1 + 1e-5) for old, new in pairwise(totals)), totals


@pytest.mark.parametrize("half_life", [14.0, 2.0])
def test_weights_near_underflow(half_life):
    rng = np.random.default_rng(1)
    age = rng.exponential(600.0, (200, 60))
    R = sparse.csr_array((rng.random((200, 60)) < 0.1) * 0.5 ** (age / half_life))
    objective = Objective(regularizer=L2(0.1), data="weights", unobserved_weight=0.01)
    single, double = (
        ALS(n_factors=8, max_epochs=5, rng=0, dtype=dtype).solve(objective, R)
        for dtype in ("float32", "float64")
    )
    assert single.status is double.status is Status.MAX_EPOCHS
    assert single.objective_value == pytest.approx(double.objective_value, rel=1e-3)


@pytest.mark.parametrize("k", [8, 96, 200])
def test_rows_with_targets_of_zero_only_are_zero(k):
    """Mean-centred ratings of a user with a single rating, or 0/1 targets without a 1."""
    run_python(ZERO_TARGETS, k, timeout=30.0 if k > 8 else 120.0)


ZERO_TARGETS = """
    from twofold import L2, Objective
    from twofold.solvers import ALS
    k = int(sys.argv[1])
    rng = np.random.default_rng(0)
    n, m, d = 20, 400, 150
    cols = np.concatenate([rng.choice(m, d, replace=False) for _ in range(n)])
    centred = rng.integers(1, 6, (n, d)).astype(float)
    centred[3] = 4.0
    centred -= centred.mean(axis=1, keepdims=True)
    clicks = (rng.random((n, d)) < 0.1).astype(float)
    clicks[3] = 0.0
    objective = Objective(regularizer=L2(1.0, exponent=1.0), data="targets")
    for r in (centred, clicks):
        R = sparse.csr_array((r.ravel(), cols, np.arange(n + 1) * d), shape=(n, m))
        solution = ALS(n_factors=k, max_epochs=3, rng=0).solve(objective, R)
        assert solution.status == "max_epochs"
        assert not solution.row_factors[3].any(), solution.row_factors[3]
        assert solution.row_factors[4].any()
"""


# Continuation of a solution


@pytest.mark.parametrize("solver", [ALS, SGD, GD])
@pytest.mark.parametrize("epochs", [5, 9])
def test_continuing_with_another_problem_reports_its_objective(epochs, solver):
    R, new = ones(60, 40, 0.2, 1), ones(60, 40, 0.2, 2)
    one = Objective(regularizer=L2(0.1))
    other = Objective(regularizer=L2(5.0), data="weights")

    def make(epochs):
        return solver(n_factors=4, max_epochs=epochs, rng=0, dtype="float64")

    first = make(5).solve(one, R)
    for objective, matrix in ((other, R), (one, new), (other, 3 * new)):
        found = make(epochs).solve(objective, matrix, init=first)
        right = objective.value(matrix, found.row_factors, found.col_factors).total
        assert found.objective_value == pytest.approx(right, rel=1e-9)
        assert found.status is not Status.DIVERGED
        if epochs > 5:
            assert not np.array_equal(found.row_factors, first.row_factors)
    scaled = make(9).solve(Objective(regularizer=L2(0.1), data="targets"), 100 * R, init=first)
    assert scaled.status is not Status.DIVERGED


DAMAGED = """
    import dataclasses
    from twofold import Objective
    from twofold.exceptions import TwofoldError
    from twofold.solvers import GD, SGD, ALS
    kind = {"GD": GD, "SGD": SGD}[sys.argv[1]]
    rng = np.random.default_rng(0)
    R = sparse.csr_array((rng.random((60, 40)) < 0.2).astype(float))
    solution = kind(n_factors=4, max_epochs=2, rng=0).solve(Objective(), R)
    solver = kind(n_factors=4, max_epochs=4, rng=0)
    assert solution.memory
    for name, kept in solution.memory.items():
        array = np.atleast_1d(kept)
        for damaged in (array[:-1], array[:0], np.concatenate([array, array]), array[None]):
            memory = solution.memory | {name: damaged}
            try:
                solver.solve(Objective(), R, init=dataclasses.replace(solution, memory=memory))
            except TwofoldError as error:
                assert name in str(error) or "memory" in str(error), error
            else:
                raise AssertionError(f"{name} of shape {damaged.shape} was accepted")
"""

GROWN = """
    import dataclasses
    from twofold import Objective
    from twofold.exceptions import TwofoldError
    from twofold.solvers import SGD
    rng = np.random.default_rng(0)
    R = sparse.csr_array((rng.random((60, 40)) < 0.2).astype(float))
    solution = SGD(n_factors=4, max_epochs=2, rng=0).solve(Objective(), R)
    n = int(sys.argv[1])
    new = rng.standard_normal((n - 60, 4)).astype("f4")
    grown = dataclasses.replace(solution, row_factors=np.vstack([solution.row_factors, new]))
    large = sparse.csr_array((np.ones(n), rng.integers(0, 40, n), np.arange(n + 1)), shape=(n, 40))
    try:
        found = SGD(n_factors=4, max_epochs=4, rng=0).solve(Objective(), large, init=grown)
    except TwofoldError:
        sys.exit()
    assert found.memory["row_sums"].shape == (n,)
    assert np.isfinite(found.row_factors).all()
"""


@pytest.mark.parametrize("solver", ["SGD", "GD"])
def test_invalid_memory_raises(solver):
    """Kernels do not check the shapes of the memory."""
    run_python(DAMAGED, solver, timeout=120.0)


@pytest.mark.parametrize("n_rows", [61, 300_000])
def test_solution_with_appended_rows(n_rows):
    """Either an error is raised, or the memory has the new length."""
    run_python(GROWN, n_rows, timeout=120.0)


def test_status_in_callback_and_checkpoint_is_running(tmp_path):
    seen = []
    ALS(n_factors=3, max_epochs=2, rng=0).solve(
        Objective(), ones(20, 10, 0.3, 0), checkpoint=tmp_path / "so_far",
        callback=lambda epoch, so_far: seen.append(
            (so_far.status, Solution.load(tmp_path / "so_far").status)
        ),
    )  # fmt: skip
    assert seen == [(Status.RUNNING, Status.RUNNING)] * 3


# GD, seeds, extreme targets


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("a0", [0.0, 0.1])
def test_gd_from_zero_factors_has_finite_rates(a0, dtype, monkeypatch):
    """The gradient is zero, so there is no backtracking and the rate does not overflow."""
    evaluations, value = [], Problem.value
    monkeypatch.setattr(Problem, "value", lambda *a, **k: evaluations.append(1) or value(*a, **k))
    R = ones(20, 10, 0.3, 1)
    solver = GD(n_factors=3, max_epochs=3, rng=0, dtype=dtype)
    solution = solver.solve(
        Objective(unobserved_weight=a0), R, init=(np.zeros((20, 3)), np.zeros((10, 3)))
    )
    assert len(evaluations) <= 50
    assert not solution.row_factors.any()
    for name, array in solution.memory.items():
        assert np.isfinite(array).all(), name
        if name == "learning_rate":
            assert array.max() < np.finfo(dtype).max


@pytest.mark.parametrize("solver", [ALS, GD, SGD])
@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_rows_without_pairs_are_zero(exponent, solver):
    M = ones(40, 30, 0.2, 0).toarray()
    M[:5], M[:, 20:] = 0.0, 0.0
    objective = Objective(regularizer=L2(0.05, exponent=exponent))
    solution = solver(n_factors=8, rng=0, max_epochs=5).solve(objective, sparse.csr_array(M))
    assert not solution.row_factors[:5].any()
    assert not solution.col_factors[20:].any()


@pytest.mark.parametrize("solver", [ALS, GD, SGD])
@pytest.mark.parametrize("seed", [0, 7, 123456])
def test_initial_factors_differ_from_default_rng_of_the_same_seed(seed, solver):
    R = ones(30, 20, 0.3, 7)
    drawn = solver(n_factors=4, max_epochs=0, rng=seed, init="random", init_scale=1.0)
    solution = drawn.solve(Objective(), R)
    start = np.concatenate([solution.row_factors.ravel(), solution.col_factors.ravel()])
    for entropy in (seed, [seed, 0]):
        for dtype in ("float32", "float64"):
            mine = np.random.default_rng(entropy).standard_normal(start.size, dtype=dtype)
            assert abs(np.corrcoef(start, mine)[0, 1]) < 0.5


@pytest.mark.parametrize("solver", [ALS, GD, SGD])
@pytest.mark.parametrize("size", [1e38, 1e39, 1e150])
def test_targets_beyond_float32_raise_or_diverge(size, solver):
    R = sparse.csr_array(np.array([[1.0, 0, 1], [0, 1, 0], [1, 1, 0]])) * size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflow in an intermediate result
        warnings.simplefilter("ignore", DivergenceWarning)
        try:
            solution = solver(n_factors=2, max_epochs=2, rng=0).solve(Objective(data="targets"), R)
        except TwofoldError:
            return
    assert np.isfinite(solution.row_factors).all()
    assert np.isfinite(solution.col_factors).all()
    record = dataclasses.astuple(solution.history[solution.n_epochs])
    assert solution.status is Status.DIVERGED or np.isfinite(record).all()


def test_equal_columns_with_a_tiny_ridge():
    """Rotations must not divide by subnormal numbers."""
    rng = np.random.default_rng(0)
    Q = rng.normal(0.0, 0.3, (3000, 64)).astype(np.float32)
    Q[:, 32:] = Q[:, [0]]
    R = sparse.csr_array(np.ones((1, 50)))
    R.resize((1, 3000))
    objective = Objective(regularizer=L2(1e-8), unobserved_weight=0.1)
    found = fold_in(objective, R, Q)
    exact = reference.fold_in(objective, R, Q)
    np.testing.assert_allclose(Q @ found[0], Q.astype(np.float64) @ exact[0], atol=1e-4)


@dataclasses.dataclass(frozen=True)
class DividesByZero(Loss):
    """A loss that is not finite if the prediction equals the target."""

    def value(self, target, prediction):
        return 1.0 / (prediction - target)

    def derivative(self, target, prediction):
        return -1.0 / (prediction - target) ** 2


def test_loss_that_divides_by_zero_is_not_finite():
    R = sparse.csr_array(np.ones((1, 1)))
    value = Objective(DividesByZero()).value(R, np.ones((1, 1)), np.ones((1, 1)))
    assert not np.isfinite(value.loss)


def test_empty_row_does_not_change_the_routes_of_other_rows():
    rng = np.random.default_rng(1)
    n, m, k, d = 20, 1000, 128, 200
    cols = np.concatenate([rng.choice(m, d, replace=False) for _ in range(n)])
    Q = (rng.standard_normal((m, k)) / np.sqrt(k)).astype(np.float32)
    objective = Objective(regularizer=L2(2.0, exponent=0.5))
    routes = []
    for empty in (0, 1):
        indptr = np.append(np.arange(n + 1) * d, [n * d] * empty)
        R = sparse.csr_array((np.ones(n * d), cols, indptr), shape=(n + empty, m))
        rows = Problem.of(objective, R).rows
        routes.append(ColumnSystem.prepare(objective, Q).solve(rows).route[:n].tolist())
    assert routes[0] == routes[1]
    assert Route.CG in routes[0]


@dataclasses.dataclass(kw_only=True)
class StepsInFloat64(GD):
    def step(self, problem, state):
        return state.moved(state.row_factors.astype(np.float64), state.col_factors)


def test_step_of_another_dtype_raises():
    R = sparse.csr_array(np.ones((3, 2)))
    with pytest.raises(InvalidInputError, match="float64: they must stay"):
        StepsInFloat64(n_factors=2, max_epochs=1).solve(Objective(), R)


def test_failing_checkpoint_does_not_stop_the_run(monkeypatch):
    R = sparse.csr_array(np.ones((3, 2)))
    solver = ALS(n_factors=2, max_epochs=3, rng=0)

    def save(solution, path):
        if solution.n_epochs >= first_failure:
            raise InvalidInputError("No space left on device")

    monkeypatch.setattr(Solution, "save", save)
    first_failure = 2
    with pytest.warns(CheckpointWarning, match="No space left on device"):
        assert solver.solve(Objective(), R, checkpoint="unused").n_epochs == 3
    first_failure = 0  # At the first checkpoint, it is an error.
    with pytest.raises(InvalidInputError, match="No space left"):
        solver.solve(Objective(), R, checkpoint="unused")


@threadpool_limits.wrap(limits=2, user_api="blas")
def test_blas_limit_restored_by_another_library_is_kept():
    """A limit that another library sets during a call is not overwritten."""

    def limits():
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    before = limits()
    started, may_finish = threading.Event(), threading.Event()

    def other_library():
        with threadpool_limits(1, user_api="blas"):
            started.set()
            may_finish.wait()

    def finish_other():
        may_finish.set()
        other.join()

    other = threading.Thread(target=other_library)
    other.start()
    started.wait()
    with_one_blas_thread(finish_other)
    assert limits() == before
