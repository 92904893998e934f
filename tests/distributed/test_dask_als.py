"""`DaskALS` has the bits of `ALS`, whatever the workers do."""

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest
from distributed import wait
from scipy import sparse

from twofold import L2, FactorModel, Objective
from twofold.data import Pairings
from twofold.distributed import DaskALS, problem
from twofold.distributed.operations import ClusterOperations
from twofold.distributed.residents import Homes
from twofold.exceptions import ClusterError, InvalidInputError, SingularRowError
from twofold.objective import side
from twofold.solvers import ALS, Solution, Status

N_ROWS, N_COLS = 301, 190
CENTERS = [np.random.default_rng(n).normal(size=(n, 5)) for n in (N_ROWS, N_COLS)]
RUNS = {
    "default": (Objective(regularizer=L2(1.0), unobserved_weight=0.1), {}),
    "observed": (Objective(regularizer=L2(0.3, 1.0), data="targets"), {"row_solver": "direct"}),
    "missing": (
        Objective(
            regularizer=L2(0.1, 0.5), data="weights", unobserved_weight=0.2, unobserved="missing"
        ),
        {"n_factors": 8, "dtype": "float64"},
    ),
    "plain": (
        Objective(regularizer=L2(1.0), unobserved_weight=0.1),
        {"acceleration": None, "row_solver": "cg", "init": "random"},
    ),
    "biases": (
        Objective(regularizer=L2(0.5), data="targets", biases=True, unobserved_weight=0.1), {}
    ),
    "centers": (Objective(regularizer=L2(0.5, 0.0, *CENTERS), data="targets"), {}),
    "nonnegative": (
        Objective(regularizer=L2(0.5), nonnegative=True, unobserved_weight=0.3),
        {"max_epochs": 3},
    ),
    "high rank": (Objective(regularizer=L2(0.5), unobserved_weight=0.3), {"n_factors": 200}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Many tasks for small data, so that there are several blocks."""
    monkeypatch.setattr(side, "CHUNK", 256)


def data(seed=0, density=0.06):
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((N_ROWS, N_COLS), density=density, random_state=rng, format="csr")
    matrix.data = np.ceil(5.0 * matrix.data)
    matrix.data[: matrix.indptr[3]] = 1.0
    empty = matrix.tolil()
    empty[7], empty[:, 11] = 0.0, 0.0
    return empty.tocsr()


def assert_same(found, expected):
    """Compare all that a run returns but the seconds."""
    assert [(one.epoch, one.loss, one.unobserved, one.penalty) for one in found.history] == [
        (one.epoch, one.loss, one.unobserved, one.penalty) for one in expected.history
    ]
    for name in ("row_factors", "col_factors"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes(), name
    assert (found.status, found.message) == (expected.status, expected.message)
    assert found.fingerprint == expected.fingerprint
    assert found.seed == expected.seed


@pytest.mark.parametrize("name", RUNS)
def test_bits_are_those_of_als(client, name):
    objective, options = RUNS[name]
    options = {"n_factors": 5, "max_epochs": 6, "rng": 0} | options
    matrix = data()
    assert_same(
        DaskALS(**options).solve(objective, matrix), ALS(**options).solve(objective, matrix)
    )


@pytest.mark.parametrize("n_blocks", [1, 5])
def test_bits_do_not_depend_on_the_number_of_blocks(client, n_blocks, monkeypatch):
    objective, options = RUNS["default"]
    monkeypatch.setattr("twofold.distributed.problem.number_of_blocks", lambda *_: n_blocks)
    options = {"n_factors": 12, "max_epochs": 5, "rng": 1}
    matrix = data(1)
    assert_same(
        DaskALS(**options).solve(objective, matrix), ALS(**options).solve(objective, matrix)
    )


def test_factors_are_on_the_worker_of_their_block_only(client, monkeypatch):
    """Dask removes all but one of several copies of an object, and perhaps the one that is used."""
    evaluated, found = ClusterOperations.evaluated, []

    def noted(self, point, report=None):
        point = evaluated(self, point, report)
        for factors in (point.rows, point.cols):
            handles = [getattr(one, "handle", one) for one in factors.handles]
            wait([one.future for one in handles])
            found.extend(
                (owners, home)
                for one, home in zip(handles, self.homes, strict=True)
                for owners in client.who_has([one.future]).values()
            )
        return point

    monkeypatch.setattr(ClusterOperations, "evaluated", noted)
    DaskALS(n_factors=5, max_epochs=4, rng=0).solve(RUNS["default"][0], data())
    assert len(found) >= 8
    assert all(owners == (home,) for owners, home in found)


def test_an_accelerated_epoch_has_five_tasks_for_each_block(client, monkeypatch):
    """If all factors are sent; a task or a message takes some milliseconds of every process."""
    evaluated, call, n_calls, found = ClusterOperations.evaluated, Homes.call, [0], []

    def counted(self, *arguments, **options):
        n_calls[0] += 1
        return call(self, *arguments, **options)

    def noted(self, point, report=None):
        point = evaluated(self, point, report)
        found.append(n_calls[0])
        return point

    monkeypatch.setattr(Homes, "call", counted)
    monkeypatch.setattr(ClusterOperations, "evaluated", noted)
    objective, _ = RUNS["default"]
    DaskALS(n_factors=5, max_epochs=6, rng=0, tol=0).solve(objective, data(density=0.9))
    assert min(np.diff(found)[1:-1]) == 10


def test_nothing_is_left_on_the_workers(client):
    """Also without the cyclic garbage collector of this process."""
    gc.collect()
    before = objects(client)
    gc.disable()
    try:
        DaskALS(n_factors=5, max_epochs=4, rng=0).solve(RUNS["default"][0], data())
        end = time.monotonic() + 30
        while objects(client) - before:
            assert time.monotonic() < end
    finally:
        gc.enable()


def objects(client):
    return set().union(*client.run(keys).values())


def keys(dask_worker):
    return list(dask_worker.data)


def test_equal_columns_are_merged_as_on_one_machine(client):
    rng = np.random.default_rng(0)
    matrix = sparse.csr_array(np.repeat(data(density=0.02).toarray()[:, :60], 3, axis=1))
    matrix = sparse.csr_array(matrix[rng.permutation(N_ROWS)])
    objective, options = RUNS["default"][0], {"n_factors": 5, "max_epochs": 5, "rng": 0}
    expected = ALS(**options).solve(objective, matrix)
    assert expected.memory["is_merged"]
    assert_same(DaskALS(**options).solve(objective, matrix), expected)


@pytest.mark.parametrize("acceleration", ["nesterov", None])
def test_ill_conditioned_rows_get_the_triangle_of_all_columns(acceleration, client, monkeypatch):
    """Nearly dependent factors and weights of very different sizes need orthogonal solves."""
    rng, used = np.random.default_rng(0), []
    base = rng.normal(size=(N_COLS, 1))
    init = rng.normal(size=(N_ROWS, 5)), base + 1e-9 * rng.normal(size=(N_COLS, 5))
    matrix = data()
    matrix.data = 10.0 ** rng.uniform(-8, 8, matrix.nnz)
    objective = Objective(regularizer=L2(1e-12), data="weights", unobserved_weight=0.1)
    options = {
        "n_factors": 5, "max_epochs": 2, "rng": 0, "dtype": "float64", "acceleration": acceleration,
    }  # fmt: skip
    original = ClusterOperations.triangle

    def triangle(self, *arguments):
        used.append(arguments[0])
        return original(self, *arguments)

    monkeypatch.setattr(ClusterOperations, "triangle", triangle)
    expected = ALS(**options).solve(objective, matrix, init)
    assert_same(DaskALS(**options).solve(objective, matrix, init), expected)
    assert {*used} == {"row", "col"}


def test_given_factors_weights_and_a_callback(client):
    matrix, rng = data(), np.random.default_rng(2)
    init = rng.normal(size=(N_ROWS, 5)), rng.normal(size=(N_COLS, 5))
    weights = rng.uniform(0.5, 2.0, matrix.nnz)
    results = []
    for solver in (ALS, DaskALS):
        epochs = []

        def callback(epoch, so_far, epochs=epochs):
            epochs.append((epoch, so_far.row_factors.tobytes(), so_far.objective_value))
            return epoch == 5

        solution = solver(n_factors=5, max_epochs=9, tol=1e-9, rng=0).solve(
            RUNS["default"][0], matrix, init, callback, weights=weights
        )
        results.append((solution, epochs))
    (expected, expected_epochs), (found, epochs) = results
    assert_same(found, expected)
    assert epochs == expected_epochs
    assert found.status is Status.STOPPED


@pytest.mark.parametrize("acceleration", ["nesterov", None])
@pytest.mark.parametrize(("first", "second"), [(ALS, DaskALS), (DaskALS, ALS), (DaskALS, DaskALS)])
def test_a_checkpoint_is_continued_by_either(client, first, second, acceleration, tmp_path):
    objective, matrix = RUNS["default"][0], data()
    path = tmp_path / "run.npz"
    options = {"n_factors": 5, "rng": 0, "acceleration": acceleration}
    first(max_epochs=4, **options).solve(objective, matrix, checkpoint=path)
    solution = second(max_epochs=9, **options).solve(objective, matrix, Solution.load(path))
    assert_same(solution, ALS(max_epochs=9, **options).solve(objective, matrix))


def test_another_run_wrote_the_file_of_the_checkpoint(three_workers, tmp_path):
    """Its factors are not those of this run, which loses a worker before it writes the file."""
    objective, matrix = RUNS["default"][0], data()
    path, options = tmp_path / "run.npz", {"n_factors": 5, "max_epochs": 3}
    DaskALS(rng=1, **options).solve(objective, matrix, checkpoint=path)
    victim = next(iter(three_workers.run(os.getpid).values()))
    lost, original = [], ClusterOperations.evaluated

    def evaluated(self, *arguments):
        if not lost:
            lost.append(os.kill(victim, signal.SIGKILL))
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClusterOperations, "evaluated", evaluated)
        found = DaskALS(rng=0, **options).solve(objective, matrix, checkpoint=path)
    assert_same(found, ALS(rng=0, **options).solve(objective, matrix))


def test_a_stop_of_the_callback_is_kept_if_data_are_lost_then(three_workers):
    objective, matrix = RUNS["default"][0], data()
    victim = next(iter(three_workers.run(os.getpid).values()))

    def callback(epoch, so_far):
        if epoch == 2:
            os.kill(victim, signal.SIGKILL)
        return epoch == 2

    found = DaskALS(n_factors=5, max_epochs=5, rng=0).solve(objective, matrix, callback=callback)
    assert (found.status, found.n_epochs) == (Status.STOPPED, 2)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_no_rows_or_no_columns(client, shape):
    matrix = sparse.csr_array(shape)
    options = {"n_factors": 2, "max_epochs": 2, "rng": 0}
    for objective in (Objective(), RUNS["default"][0]):
        assert_same(
            DaskALS(**options).solve(objective, matrix), ALS(**options).solve(objective, matrix)
        )


def in_task(matrix):
    return DaskALS(n_factors=2).solve(Objective(), matrix)


def test_a_task_does_not_wait_for_its_own_worker(client):
    with pytest.raises(ClusterError, match="cannot run in a task of a worker"):
        client.submit(in_task, data()).result()


def test_large_finite_factors(client):
    matrix = data()
    init = np.full((N_ROWS, 5), 3e37, np.float32), np.full((N_COLS, 5), 1e-3, np.float32)
    options = {"n_factors": 5, "max_epochs": 1, "rng": 0}
    expected = ALS(**options).solve(RUNS["default"][0], matrix, init)
    assert_same(DaskALS(**options).solve(RUNS["default"][0], matrix, init), expected)


def test_model(client, tmp_path):
    pairings = Pairings(data(), np.arange(N_ROWS), np.arange(N_COLS))
    models = [
        FactorModel(solver=solver(n_factors=5, max_epochs=3, rng=0)).fit(pairings)
        for solver in (ALS, DaskALS)
    ]
    expected, found = models
    assert found.row_factors.tobytes() == expected.row_factors.tobytes()
    found.save(tmp_path / "model.twofold")
    restored = FactorModel.load(tmp_path / "model.twofold")
    assert restored.solver == expected.solver
    assert restored.solution.solver == "DaskALS"


def test_blocks_are_shown(client, monkeypatch):
    lines, original = [], problem.progress_bar

    def progress_bar(**options):
        lines.append((options["desc"], options["shown"]))
        return original(**options)

    monkeypatch.setattr(problem, "progress_bar", progress_bar)
    DaskALS(n_factors=3, max_epochs=1, progress=True).solve(Objective(), data())
    expected = f"{N_ROWS} rows in 2 blocks and {N_COLS} cols in 2 blocks, on 2 workers"
    assert lines == [(expected, True)]


@pytest.mark.parametrize("transposed", [False, True])
def test_singular_rows_of_all_blocks_are_reported_as_on_one_machine(client, transposed):
    matrix = data().T.tocsr() if transposed else data()
    objective = Objective(regularizer=L2(0.0))
    with pytest.raises(SingularRowError) as expected:
        ALS(n_factors=5, rng=0).solve(objective, matrix)
    with pytest.raises(SingularRowError) as found:
        DaskALS(n_factors=5, rng=0).solve(objective, matrix)
    assert str(found.value) == str(expected.value)
    assert "others)" in str(found.value)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_solution_beyond_the_range_is_reported_as_on_one_machine(client):
    matrix = data()
    matrix.data[matrix.indptr[250] :] = 1e45
    objective = Objective(regularizer=L2(1.0), data="targets")
    with pytest.raises(InvalidInputError, match="beyond the range of float32") as expected:
        ALS(n_factors=5, init="random", rng=0).solve(objective, matrix)
    with pytest.raises(InvalidInputError) as found:
        DaskALS(n_factors=5, init="random", rng=0).solve(objective, matrix)
    assert str(found.value) == str(expected.value)


def test_errors_of_arguments_are_those_of_als(client):
    with pytest.raises(InvalidInputError, match="n_factors is 0"):
        DaskALS(n_factors=0).solve(Objective(), data())
    with pytest.raises(InvalidInputError, match="initial factors have rank 2"):
        DaskALS(n_factors=3).solve(
            Objective(), data(), (np.ones((N_ROWS, 2)), np.ones((N_COLS, 2)))
        )


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_a_worker_that_ends_does_not_change_the_result(three_workers, with_checkpoint, tmp_path):
    objective, options = RUNS["default"][0], {"n_factors": 5, "max_epochs": 6, "rng": 0}
    matrix = data()
    expected = ALS(**options).solve(objective, matrix)
    victim, seen = list(three_workers.run(os.getpid).values())[1], []

    def callback(epoch, so_far):
        seen.append(epoch)
        if epoch == 3:
            threading.Timer(0.05, os.kill, (victim, signal.SIGKILL)).start()

    found = DaskALS(**options).solve(
        objective, matrix, callback=callback,
        checkpoint=tmp_path / "run.npz" if with_checkpoint else None,
    )  # fmt: skip
    assert_same(found, expected)
    assert seen == list(range(7))
