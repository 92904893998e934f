"""The row solve of ALS and the evaluation of the objective, relative to the machine's peak."""

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks.conftest import gemm
from twofold import L2, HuberLoss, Objective, fold_in
from twofold.exceptions import SingularRowError
from twofold.objective import Problem
from twofold.solvers import ColumnSystem
from twofold.solvers.coordinates import coordinates

ALL_CELLS = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
OBJECTIVES = {
    "observed": Objective(),
    "all-cells": ALL_CELLS,
    "missing-huber": Objective(HuberLoss(0.5), unobserved_weight=0.1, unobserved="missing"),
}
# Flops of a call by size.
WORK = {"tiny": 1e7, "small": 1e8, "medium": 1e9, "large": 3e9, "mpd": 3e9}


def flops_of_a_row(d: int, k: int) -> float:
    """Return the multiplications and additions of the cheaper direct route, without padding."""
    return min(d * d * k + d**3 / 3, d * k * k + k**3 / 3) + 4.0 * d * k


def rows_of_length(d: int, k: int, size: str):
    """Return rows of d random entries each, and columns of length about 1."""
    rng, n_cols = np.random.default_rng(0), 20_000
    n = int(min(100_000, WORK[size] / (flops_of_a_row(d, k) + 4e4))) + 1
    cols = np.sort(rng.integers(n_cols, size=(n, d)), axis=1).ravel()
    matrix = sparse.csr_array((np.ones(n * d), cols, np.arange(n + 1) * d), (n, n_cols))
    Q = rng.standard_normal((n_cols, k), dtype=np.float32) / np.float32(k**0.5)
    return Problem.of(ALL_CELLS, matrix).rows, Q


@pytest.mark.benchmark(group="row solve")
@pytest.mark.parametrize("k", [32, 64, 128, 256])
@pytest.mark.parametrize("d", [1, 4, 16, 32, 64, 128, 256, 1024])
def test_row_solve(measure, size, n_threads, d, k):
    """Time the row solve without preparing the columns, as a share of GEMM."""
    side, Q = rows_of_length(d, k, size)
    system = ColumnSystem.prepare(ALL_CELLS, Q, n_threads=n_threads)

    def solve():
        return system.solve(side, way="direct", n_threads=n_threads)

    gflop = side.n * flops_of_a_row(d, k) / 1e9
    report = measure(solve, rounds=5, work={"GFLOP": gflop, "rows": side.n},
                     peak={"GFLOP": gemm})  # fmt: skip
    report.check(side)


@pytest.mark.benchmark(group="coordinates of inexact rows")
@pytest.mark.parametrize("ridge", [None, 1.0], ids=["eigendecomposition", "cholesky"])
@pytest.mark.parametrize("k", [64, 128])
def test_coordinates(measure, k, ridge):
    Q = np.random.default_rng(0).normal(size=(1000, k)) / k
    found = measure(coordinates, Q.T @ Q, ridge, rounds=50)
    assert found.vectors.shape == (k, k)


@pytest.mark.benchmark(group="ways to solve a row")
@pytest.mark.parametrize("way", ["direct", "auto", "cg"])
@pytest.mark.parametrize("d", [32, 128, 1024])
def test_ways_to_solve_a_row(measure, size, n_threads, d, way):
    """128 factors, initial guess with 3% error; stores the distance to the direct solution."""
    side, Q = rows_of_length(d, 128, size)
    system = ColumnSystem.prepare(ALL_CELLS, Q, n_threads=n_threads)
    exact = system.solve(side, way="direct", n_threads=n_threads).row_factors
    noise = np.random.default_rng(1).standard_normal(exact.shape, dtype=np.float32)
    start = exact + np.float32(0.03 * np.linalg.norm(exact) / np.linalg.norm(noise)) * noise

    def solve():
        return system.solve(side, start, way=way, n_threads=n_threads).row_factors

    distance = np.linalg.norm(solve() - exact) / np.linalg.norm(exact)
    measure(solve, rounds=5, work={"rows": side.n}, distance=float(distance))
    assert distance < 0.03


@pytest.mark.benchmark(group="accuracy of float32 rows")
@pytest.mark.parametrize("k", [8, 64, 128])
@pytest.mark.parametrize("ridge", [1e-8, 1e-4, 1.0, 100.0])
def test_accuracy(measure, n_threads, ridge, k):
    """Store the largest relative error for nearly parallel columns, compared with float64 QR."""
    rng = np.random.default_rng(0)
    spread = np.exp(-np.arange(k) / 10) / np.sqrt(k)
    Q = (rng.normal(0.0, 0.3, (6000, k)) * spread + 0.5 / np.sqrt(k)).astype(np.float32)
    lengths = np.array([1, 5, 50, 500, 2000])
    cols = np.concatenate([rng.choice(6000, d, replace=False) for d in lengths])
    R = sparse.csr_array((np.ones(cols.size), cols, np.append(0, np.cumsum(lengths))), (5, 6000))
    errors = []
    for a0 in (0.0, 0.1):
        objective = Objective(regularizer=L2(ridge), unobserved_weight=a0)
        try:
            found = fold_in(objective, R, Q, n_threads=n_threads)
        except SingularRowError:
            continue
        with threadpool_limits(1, "blas"):
            exact = least_squares(R, Q.astype(np.float64), ridge, a0)
        errors.append(np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1))
    measure(fold_in, objective, R, Q, largest_error=float(np.max(errors)))
    assert np.max(errors) < 5e-6


def least_squares(R, Q, ridge, a0):
    """Solve rows of ones by QR, which does not square the condition number."""
    more = [np.sqrt(ridge) * np.identity(Q.shape[1]), np.sqrt(a0) * np.linalg.qr(Q, mode="r")]
    exact = []
    for cols in np.split(R.indices, R.indptr[1:-1]):
        basis, triangle = np.linalg.qr(np.concatenate([Q[cols], *more]))
        exact.append(np.linalg.solve(triangle, basis[: cols.size].sum(axis=0)))
    return np.array(exact)


@pytest.mark.benchmark(group="objective")
@pytest.mark.parametrize("what", ["value", "gradient"])
@pytest.mark.parametrize("k", [16, 64])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective(measure, pairings, n_threads, name, k, what):
    rng = np.random.default_rng(0)
    P, Q = (rng.normal(0.0, 0.3, (n, k)).astype(np.float32) for n in pairings.shape)
    problem = Problem.of(OBJECTIVES[name], pairings.matrix)
    call = getattr(problem, what)
    found = measure(lambda: call(P, Q, n_threads=n_threads), work={"pairs": pairings.n_pairs})
    if what == "value":
        assert found == call(P, Q, n_threads=1)
