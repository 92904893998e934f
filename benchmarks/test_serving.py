"""Recommendations of a fitted model: all rows at once, also by implicit, and one row."""

import time
from functools import cache

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from benchmarks.conftest import gemm
from twofold import FactorModel
from twofold.model.ranking import best_columns
from twofold.solvers import ALS

N = 20


@cache
def fitted(pairings, k: int) -> FactorModel:
    return FactorModel(solver=ALS(n_factors=k, max_epochs=3, rng=0)).fit(pairings)


def implicit_recommender(model: FactorModel, n_threads: int):
    """Return a call of implicit for all rows, with the same factors and excluded pairs."""
    als = pytest.importorskip("implicit.cpu.als")
    peer = als.AlternatingLeastSquares(model.col_factors.shape[1], num_threads=n_threads)
    peer.user_factors, peer.item_factors = model.row_factors, model.col_factors
    rows, pairs = np.arange(model.row_ids.size), sparse.csr_matrix(model.pairings.matrix)

    def recommend():
        with threadpool_limits(1, "blas"):
            return peer.recommend(rows, pairs, N=N, filter_already_liked_items=True)[0]

    return recommend


def all_rows(model: FactorModel, n_threads: int) -> np.ndarray:
    model.solver.n_threads = n_threads
    return model.recommend(model.row_ids, N).positions


def products(model: FactorModel) -> float:
    """Return the GFLOP of all scores."""
    return 2.0 * np.prod(model.pairings.shape) * model.col_factors.shape[1] / 1e9


@pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")  # by implicit
@pytest.mark.benchmark(group="recommend, all rows")
@pytest.mark.parametrize("k", [64, 128])
@pytest.mark.parametrize("package", ["twofold", "implicit"])
def test_all_rows(measure, pairings, n_threads, package, k):
    """Time 20 columns for each row without its own, as a share of GEMM of the same products."""
    model = fitted(pairings, k)
    own = all_rows(model, n_threads)
    work = {"GFLOP": products(model), "rows": model.row_ids.size}
    if package == "twofold":
        call = measure(all_rows, model, n_threads, rounds=5, work=work, peak={"GFLOP": gemm})
        np.testing.assert_array_equal(call, own)
        return
    found = measure(implicit_recommender(model, n_threads), rounds=2, work=work,
                    peak={"GFLOP": gemm})  # fmt: skip
    # The items differ where the scores of two are the same but for rounding.
    same = np.mean([np.isin(one, other).mean() for one, other in zip(found, own, strict=True)])
    assert same > 0.999


@pytest.mark.benchmark(group="recommend, one row")
@pytest.mark.parametrize("n_cols", [20_000, 200_000, 1_000_000])
def test_one_row(measure, n_cols):
    """Time 10 columns for one row in one thread, as a share of reading the columns."""
    rng = np.random.default_rng(0)
    P, Q = (rng.standard_normal((n, 64), dtype=np.float32) for n in (1, n_cols))

    def reading(n_threads: int) -> float:
        """Return gigabytes per second of one thread that reads the columns."""
        spent = []
        for _ in range(20):
            started = time.perf_counter()
            Q.view(np.int64).max()
            spent.append(time.perf_counter() - started)
        return Q.nbytes / float(np.median(spent)) / 1e9

    def top():
        return best_columns(P, Q, 10, n_threads=1)

    found, _ = measure(top, rounds=30, work={"GB": Q.nbytes / 1e9}, peak={"GB": reading})
    assert found[0, 0] == np.argmax(Q @ P[0])
