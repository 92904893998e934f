"""Epochs of every solver, fold-in and recommendations, with the notebook's loops and LIBMF."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from numba import njit
from scipy import sparse

from benchmarks.compare.entries import Work, all_entries
from benchmarks.conftest import copying, gemm
from twofold import L2, FactorModel, Objective, Pairings, fold_in
from twofold.objective import Point, Problem
from twofold.solvers import ALS, GD, SGD, State
from twofold.testing import reference

ALL_CELLS = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
ONES = Objective(regularizer=L2(0.05, exponent=1.0))
TARGETS = Objective(regularizer=L2(0.05, exponent=1.0), data="targets")
SOLVERS = {
    "ALS": (ALS, {}, ALL_CELLS),
    "ALS cg": (ALS, {"row_solver": "cg"}, ALL_CELLS),
    "SGD": (SGD, {}, ONES),
    "SGD constant": (SGD, {"schedule": "constant", "learning_rate": 0.01}, ONES),
    "GD": (GD, {}, ONES),
}


def initial_factors(shape, k):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, k), dtype=np.float32) / np.float32(10 * k**0.5) for n in shape]


@pytest.mark.benchmark(group="epoch")
@pytest.mark.parametrize("k", [10, 32, 64, 128])
@pytest.mark.parametrize("name", SOLVERS)
def test_epoch(measure, pairings, n_threads, name, k):
    """Time one epoch without preparation and evaluation; for SGD, also flops and bytes."""
    kind, options, objective = SOLVERS[name]
    solver = kind(n_factors=k, n_threads=n_threads, **options)
    problem = Problem.of(objective, pairings.matrix)
    point = Point.of(*initial_factors(pairings.shape, k))
    state = State(point, epoch=0, seed=0, memory=solver.new_memory(problem, point))
    state = solver.prepare(problem, state)
    n = pairings.n_pairs
    work, peak = {"M pairs": n / 1e6}, {}
    if kind is SGD:
        # A row is read and written. AdaGrad adds a root, a division and four flops per number.
        flops = (12 if name == "SGD" else 8) * k
        work |= {"GFLOP": n * flops / 1e9, "GB": n * (16 * k + 12) / 1e9}
        peak = {"GFLOP": gemm, "GB": copying}
    moved = measure(lambda: solver.step(problem, state), rounds=5, work=work, peak=peak)
    totals = [
        problem.value(*each).total
        for each in ((state.row_factors, state.col_factors), (moved.row_factors, moved.col_factors))
    ]
    assert totals[1] < totals[0]


@pytest.mark.benchmark(group="SGD beside LIBMF")
@pytest.mark.parametrize("k", [32, 64, 128])
def test_sgd_beside_libmf(measure, size, n_threads, k):
    """Time 20 epochs of SGD and of LIBMF, and SGD until it reaches LIBMF's objective."""
    pytest.importorskip("libmf", reason="libmf is not installed")
    matrix = planted({"tiny": 10_000, "small": 100_000}.get(size, 5_000_000))
    init = tuple(initial_factors(matrix.shape, k))
    fit = all_entries()["LIBMF"].refit(Work(TARGETS, matrix, init, 20, n_threads))
    spent = []
    for n in (1, 20):  # n = 1 measures the set-up
        started = time.perf_counter()
        theirs = fit(n)
        spent.append(time.perf_counter() - started)
    goal = TARGETS.value(matrix, *theirs).total
    solver = SGD(n_factors=k, max_epochs=20, rng=0, n_threads=n_threads)
    history = solver.solve(TARGETS, matrix).history
    reached = [record.seconds for record in history if record.total <= goal]
    measure(
        lambda: solver.solve(TARGETS, matrix), rounds=1, libmf_s=spent[1],
        libmf_epoch_s=(spent[1] - spent[0]) / 19, epoch_s=history[-1].seconds / 20,
        s_to_its_objective=reached[0] if reached else "not reached",
    )  # fmt: skip


def planted(n_pairs, rank=8):
    """Return values x.y + noise at pairs with columns of different popularity."""
    rng = np.random.default_rng(0)
    n_rows, n_cols = n_pairs // 50, n_pairs // 100
    rows = rng.integers(n_rows, size=n_pairs)
    cols = np.minimum(n_cols * rng.random(n_pairs) ** 2, n_cols - 1).astype(np.int64)
    keys = np.unique(rows * n_cols + cols)
    rows, cols = keys // n_cols, keys % n_cols
    X, Y = (rng.standard_normal((n, rank)) / rank**0.25 for n in (n_rows, n_cols))
    values = np.einsum("ek,ek->e", X[rows], Y[cols]) + 0.3 * rng.standard_normal(keys.size)
    return sparse.csr_array((values.astype(np.float32), (rows, cols)), shape=(n_rows, n_cols))


@njit(cache=True)
def notebook_loop(pairs, P, Q, alpha, lam, n_iterations):
    """Run the notebook's run_epoch, pair by pair with scalars."""
    k = P.shape[1]
    for _ in range(n_iterations):
        new_P, new_Q = P.copy(), Q.copy()
        for e in range(pairs.shape[0]):
            u, i = pairs[e, 0], pairs[e, 1]
            dot = 0.0
            for f in range(k):
                dot += P[u, f] * Q[i, f]
            error = dot - 1.0
            for f in range(k):
                p, q = P[u, f], Q[i, f]
                new_P[u, f] -= alpha * (error * q + lam * p)
                new_Q[i, f] -= alpha * (error * p + lam * q)
        P, Q = new_P, new_Q
    return P, Q


@pytest.mark.parametrize("way", ["notebook", "GD"])
@pytest.mark.parametrize("tail", ["long tail", "short tail"])
@pytest.mark.benchmark(group="GD beside the notebook's loop")
def test_gd_beside_the_notebook(measure, size, n_threads, tail, way):
    """Time ten epochs with a given rate, k = 10; GD includes the evaluation of each epoch."""
    n_rows, n_cols, n_pairs = {
        "long tail": (15_000, 218_000, 1_000_000), "short tail": (10_000, 20_000, 134_000),
    }[tail]  # fmt: skip
    scale = {"tiny": 100, "small": 10}.get(size, 1)
    matrix = long_tailed(n_rows // scale, n_cols // scale, n_pairs // scale)
    pairs = np.column_stack(matrix.nonzero()).astype(np.int64)
    rng, alpha, n_epochs = np.random.default_rng(0), 1e-4, 10
    P, Q = (rng.normal(0.0, 0.1, (n, 10)) for n in matrix.shape)
    solver = GD(n_factors=10, max_epochs=n_epochs, learning_rate=alpha / 2, n_threads=n_threads)
    work = {"epochs": n_epochs}
    if way == "notebook":
        found = measure(notebook_loop, pairs, P, Q, alpha, 0.05, n_epochs, rounds=5, work=work)
    else:
        history = solver.solve(ONES, matrix, (P, Q)).history
        epoch_ms = 1e3 * (history[-1].seconds - history[0].seconds) / n_epochs
        solution = measure(solver.solve, ONES, matrix, (P, Q), rounds=5, work=work,
                           epoch_ms=epoch_ms)  # fmt: skip
        found = solution.row_factors, solution.col_factors
    expected = notebook_loop(pairs, P, Q, alpha, 0.05, n_epochs)
    total = ONES.value(matrix, *expected).total
    assert ONES.value(matrix, *found).total == pytest.approx(total, rel=1e-5)


def long_tailed(n_rows, n_cols, n_pairs):
    """Return ones at random pairs; every column occurs, and rare columns mostly once.

    The probability of the column of rank r is proportional to (r + 500)^-1.5 (Zipf-Mandelbrot).
    """
    rng = np.random.default_rng(0)
    low, high = 500.0**-0.5, (500.0 + n_cols) ** -0.5
    ranks = (low - (low - high) * rng.random(n_pairs - n_cols)) ** -2.0 - 500.0
    cols = np.concatenate([np.arange(n_cols), np.clip(ranks.astype(np.int64), 0, n_cols - 1)])
    keys = np.unique(rng.integers(n_rows, size=n_pairs) * n_cols + rng.permutation(n_cols)[cols])
    return sparse.csr_array((np.ones(keys.size), (keys // n_cols, keys % n_cols)),
                            shape=(n_rows, n_cols))  # fmt: skip


@pytest.mark.parametrize("way", ["notebook", "fold_in"])
@pytest.mark.parametrize("k", [10, 64])
@pytest.mark.benchmark(group="fold-in of many playlists")
def test_fold_in(measure, pairings, n_threads, k, way):
    """Fold in at most 500 playlists for fixed columns."""
    Q = np.random.default_rng(0).normal(0.0, 0.3, (pairings.shape[1], k)).astype(np.float32)
    R, objective = pairings.matrix[:500], Objective(regularizer=L2(0.1))

    def notebook():
        rows = np.split(R.indices, R.indptr[1:-1])
        return np.stack([reference.notebook_fold_in(row, Q, 0.1) for row in rows])

    def ours():
        return fold_in(objective, R, Q, n_threads=n_threads)

    work = {"playlists": R.shape[0]}
    if way == "notebook":
        np.testing.assert_allclose(measure(notebook, rounds=1, work=work), ours(), atol=1e-4)
    else:
        measure(ours, work=work)


@pytest.fixture(scope="module")
def model(pairings):
    return FactorModel(ALL_CELLS, ALS(n_factors=64, max_epochs=1, rng=0)).fit(pairings)


@pytest.mark.benchmark(group="one new playlist of 20 tracks")
@pytest.mark.parametrize("beside", ["nothing", "training"])
def test_fold_in_of_one_playlist(measure, model, pairings, beside):
    """Time `FactorModel.fold_in` alone and during training with all threads."""
    tracks = np.random.default_rng(1).choice(pairings.col_ids, 20, replace=False)
    new = Pairings.from_arrays(np.zeros(20, np.int64), tracks)
    if beside == "nothing":
        measure(model.fold_in, new)
    else:
        with training(pairings):
            measure(model.fold_in, new)


@contextmanager
def training(pairings):
    """Train in another thread; yield after its first epoch."""
    begun, ended = threading.Event(), threading.Event()

    def watch(epoch, _):
        if epoch > 0:
            begun.set()
        return ended.is_set()

    solver = ALS(n_factors=64, max_epochs=1_000_000, rng=0)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(solver.solve, ALL_CELLS, pairings.matrix, None, watch)
        job.add_done_callback(lambda _: begun.set())
        begun.wait()
        try:
            yield
        finally:
            ended.set()
        job.result()


@pytest.mark.benchmark(group="recommendations")
@pytest.mark.parametrize("n", [10, 500])
def test_recommend(measure, model, pairings, n):
    """Recommend for at most 2,000 playlists of the fit."""
    ids = pairings.row_ids[:2_000]
    ranking = measure(lambda: model.recommend(ids, n), work={"playlists": len(ids)})
    assert ranking.mask.all()
