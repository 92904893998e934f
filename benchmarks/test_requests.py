"""Requests to a fitted model: one new row of 20 columns, folded in and ranked.

The model is synthetic: 64 factors of decreasing length, and 20,000 rows of 20 random columns. For
the figures of one thread, run it with ``NUMBA_NUM_THREADS=1``.
"""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from twofold import FactorModel, Objective, Pairings
from twofold.objective import Balanced
from twofold.solvers import ALS, Record, Solution, Status

K, N_ROWS, LENGTH = 64, 20_000, 20
N_COLS = [20_000, 200_000, 1_000_000]
N_REQUESTS = 200


def synthetic_model(n_cols, n_threads):
    rng = np.random.default_rng(0)
    cols = rng.integers(0, n_cols, N_ROWS * LENGTH)
    starts = np.arange(N_ROWS + 1) * LENGTH
    matrix = sparse.csr_array((np.ones(cols.size, np.float32), cols, starts), (N_ROWS, n_cols))
    lengths = (np.arange(1.0, K + 1) ** -0.5).astype(np.float32)
    P, Q = (rng.standard_normal((n, K), dtype=np.float32) * lengths for n in matrix.shape)
    solution = Solution(
        P, Q, Status.MAX_EPOCHS, "", (Record(0, 0.0, 0.0, 0.0, 0.0, 0.0),), "ALS", 0, 0
    )
    pairings = Pairings(matrix, np.arange(N_ROWS), np.arange(n_cols) * 3)
    objective = Balanced().for_data(matrix)
    solver = ALS(n_factors=K, n_threads=n_threads)
    return FactorModel.from_solution(solution, pairings, objective, solver)


@pytest.fixture(scope="module", params=N_COLS)
def model(request, n_threads):
    return synthetic_model(request.param, n_threads)


def playlists(model, seed=0):
    """Return new rows, as lists of column ids."""
    rng = np.random.default_rng(seed)
    ids = model.col_ids[rng.integers(0, model.col_ids.size, (N_REQUESTS, LENGTH))]
    return ids.tolist()


def milliseconds(call, arguments):
    """Return the milliseconds of each call."""
    spent = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        spent.append(1e3 * (time.perf_counter() - started))
    return np.array(spent)


@pytest.mark.benchmark(group="one request")
@pytest.mark.parametrize("rows", ["new", "trained"])
def test_one_request(measure, model, monkeypatch, rows):
    """Time a request, and the part of it that is not the search for the best columns."""
    from twofold.model import rules

    ask, asked = model.recommend_new, playlists(model)
    if rows == "trained":
        ask, asked = model.recommend, list(range(N_REQUESTS))
    ask(asked[0])
    spent = milliseconds(ask, asked)
    searching, search = [], rules.best_columns

    def timed_search(*arguments, **options):
        started = time.perf_counter()
        found = search(*arguments, **options)
        searching.append(1e3 * (time.perf_counter() - started))
        return found

    monkeypatch.setattr(rules, "best_columns", timed_search)
    rest = milliseconds(ask, asked) - searching
    monkeypatch.undo()
    endless = itertools.cycle(asked)
    found = measure(
        lambda: ask(next(endless)), rounds=50, n_cols=model.col_ids.size,
        median_ms=float(np.median(spent)), p99_ms=float(np.percentile(spent, 99)),
        rest_ms=float(np.median(rest)), rest_p99_ms=float(np.percentile(rest, 99)),
    )  # fmt: skip
    assert found.mask.all()


def answer_all(model, asked, n_callers):
    """Return the milliseconds of each request by several threads."""
    parts = [asked[caller::n_callers] for caller in range(n_callers)]
    with ThreadPoolExecutor(n_callers) as pool:
        spent = pool.map(lambda part: milliseconds(model.recommend_new, part), parts)
        return np.concatenate(list(spent))


@pytest.mark.benchmark(group="64 requests")
@pytest.mark.parametrize("n_callers", [1, 2, 8])
def test_many_callers(measure, model, n_callers):
    """Time 64 requests by several threads."""
    asked = playlists(model)[:64]
    spent = answer_all(model, asked, n_callers)
    measure(
        answer_all, model, asked, n_callers, rounds=3, work={"requests": 64},
        n_cols=model.col_ids.size, median_ms=float(np.median(spent)),
        p99_ms=float(np.percentile(spent, 99)),
    )  # fmt: skip


@pytest.mark.benchmark(group="requests during a fit")
@pytest.mark.parametrize("n_callers", [1, 8])
def test_requests_during_a_fit(measure, model, pairings, n_threads, n_callers):
    """Time requests by several threads, quiet and while the same process fits a model."""
    asked, stop = playlists(model), threading.Event()
    quiet = answer_all(model, asked, n_callers)
    solver = ALS(n_factors=K, n_threads=n_threads, rng=0, max_epochs=10_000, tol=0.0)
    fitting = threading.Thread(
        target=solver.solve, args=(Objective(unobserved_weight=0.1), pairings.matrix),
        kwargs={"callback": lambda *_: stop.is_set()},
    )  # fmt: skip
    fitting.start()
    try:
        time.sleep(0.5)
        busy = answer_all(model, asked, n_callers)
        figures = {
            f"{name}_{what}_ms": float(np.percentile(spent, q))
            for name, spent in (("quiet", quiet), ("busy", busy))
            for what, q in (("median", 50), ("p99", 99))
        }
        measure(
            answer_all, model, asked, n_callers, rounds=3, n_cols=model.col_ids.size, **figures,
            times=float(np.median(busy) / np.median(quiet)),
        )  # fmt: skip
    finally:
        stop.set()
        fitting.join()
