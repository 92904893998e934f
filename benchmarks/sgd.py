"""How fast SGD and GD are: beside LIBMF and the notebook, and against what the machine can move.

    python -m benchmarks.sgd libmf [--pairs 5000000]
    python -m benchmarks.sgd notebook
    python -m benchmarks.sgd roofline
    python -m benchmarks.sgd rates --data URL ...
    python -m benchmarks.sgd mpd

``libmf`` fits values of planted rank by SGD and LIBMF, and prints seconds an epoch and seconds to
LIBMF's objective after 20 epochs; ``notebook`` is 100 iterations of GD beside the notebook's loop;
``roofline`` is updates, flops and bytes a second beside the machine's; ``rates`` is the objective
after some epochs for learning rates found and given; ``mpd`` is time and memory of a fit at the
size of the Million Playlist Dataset.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
from numba import njit, prange
from scipy import sparse

from benchmarks.compare.problems import load
from benchmarks.machine import forget_peak, machine, memory_mb
from twofold import L2, Objective
from twofold._threads import available_threads, parallel
from twofold.datasets import make_playlists
from twofold.objective import Problem
from twofold.solvers import GD, SGD
from twofold.solvers.base import Solver
from twofold.solvers.sgd import _Blocks

_RATINGS = Objective(regularizer=L2(0.05, exponent=1.0), data="targets")
_ONES = Objective(regularizer=L2(0.05, exponent=1.0))
_WITHOUT_AVX = {32: 1.33, 64: 1.38, 128: 1.87}
"""How many times as long LIBMF's PyPI binding takes as its AVX build (measured)."""


def planted(n_pairs: int, rank: int = 8) -> sparse.csr_array:
    """Return values x.y + noise at pairs whose columns are unequally popular."""
    rng = np.random.default_rng(0)
    n_rows, n_cols = n_pairs // 50, n_pairs // 100
    rows = rng.integers(n_rows, size=n_pairs)
    cols = np.minimum(n_cols * rng.random(n_pairs) ** 2, n_cols - 1).astype(np.int64)
    keys = np.unique(rows * n_cols + cols)
    rows, cols = keys // n_cols, keys % n_cols
    X, Y = (rng.standard_normal((n, rank)) / rank**0.25 for n in (n_rows, n_cols))
    values = np.einsum("ek,ek->e", X[rows], Y[cols]) + 0.3 * rng.standard_normal(keys.size)
    return sparse.csr_array((values.astype(np.float32), (rows, cols)), shape=(n_rows, n_cols))


def epochs(solver: Solver, objective: Objective, matrix: Any) -> tuple[list[float], list[float]]:
    """Return seconds of every epoch, and the objective before and after each."""
    history = solver.solve(objective, matrix).history
    seconds = np.diff([record.seconds for record in history])
    return seconds.tolist(), [record.total for record in history]


def libmf(n_threads: int, n_pairs: int) -> None:
    """Print seconds an epoch, and to LIBMF's objective after 20 epochs."""
    matrix = planted(n_pairs)
    print(f"{matrix.shape}, {matrix.nnz:,} pairs, lam = 0.05 for each pair, float32\n")
    print(
        "| k | LIBMF s/epoch (as AVX) | SGD s/epoch | ratio | LIBMF's objective | LIBMF s | SGD |"
    )
    print("|---" * 7 + "|")
    SGD(n_factors=8, max_epochs=1).solve(_RATINGS, planted(20_000))  # compiles
    for k in (32, 64, 128):
        theirs, P, Q = _libmf(matrix, k, n_threads)
        avx = theirs / _WITHOUT_AVX[k]
        goal = _RATINGS.value(matrix, P, Q).total
        solver = SGD(n_factors=k, max_epochs=40, rng=0, n_threads=n_threads)
        seconds, totals = epochs(solver, _RATINGS, matrix)
        ours = statistics.median(seconds)
        reached = next((n for n, total in enumerate(totals) if total <= goal), None)
        when = (
            "not reached" if reached is None else f"{sum(seconds[:reached]):.2f} s, {reached} ep."
        )
        print(
            f"| {k} | {theirs:.3f} ({avx:.3f}) | {ours:.3f} | {ours / avx:.2f} | {goal:.0f} | "
            f"{20 * theirs:.2f} ({20 * avx:.2f}) | {when}; after 20: {totals[20]:.0f} |",
            flush=True,
        )
    print("\nLIBMF is the PyPI binding, built without AVX; in brackets divided by what that costs.")


def _libmf(matrix: sparse.csr_array, k: int, n_threads: int) -> tuple[float, Any, Any]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its source compares with "is"
        from libmf import mf

    entries = matrix.tocoo()
    triples = np.column_stack([entries.row, entries.col, entries.data]).astype(np.float32)

    def fit(n: int) -> tuple[float, Any]:
        engine = mf.MF(
            k=k, nr_threads=n_threads, nr_iters=n, eta=0.1, quiet=True, lambda_p1=0.0,
            lambda_q1=0.0, lambda_p2=0.05, lambda_q2=0.05,
        )  # fmt: skip
        started = time.perf_counter()
        engine.fit(triples)
        return time.perf_counter() - started, engine

    short = statistics.median(fit(1)[0] for _ in range(3))  # what it takes to set up
    spent, engine = fit(20)
    full = []
    for factors, n in zip((engine.p_factors(), engine.q_factors()), matrix.shape, strict=True):
        padded = np.zeros((n, k), np.float32)
        padded[: len(factors)] = np.nan_to_num(factors)
        full.append(padded)
    return (spent - short) / 19, *full


@njit(cache=True)
def _notebook_epoch(rows, cols, P, Q, rate, lam):  # type: ignore[no-untyped-def]
    """Do what the notebook's run_epoch does: the slopes of all pairs, one after the other."""
    new_P, new_Q = P.copy(), Q.copy()
    for e in range(rows.size):
        u, i = rows[e], cols[e]
        error = 1.0 - np.dot(P[u], Q[i])
        new_P[u] += rate * (error * Q[i] - lam * P[u])
        new_Q[i] += rate * (error * P[u] - lam * Q[i])
    return new_P, new_Q


def notebook(n_threads: int) -> None:
    """Print seconds of 100 iterations, k = 10, 10,000 playlists."""
    matrix = make_playlists(10_000, 20_000, mean_length=66, rng=0).pairings.matrix
    entries = matrix.tocoo()
    rows, cols = entries.row.astype(np.int64), entries.col.astype(np.int64)
    rng = np.random.default_rng(0)
    P, Q = (rng.normal(0.0, 0.1, (n, 10)) for n in matrix.shape)
    _notebook_epoch(rows[:1], cols[:1], P, Q, 1e-4, 0.05)
    GD(n_factors=10, max_epochs=1, learning_rate=5e-5).solve(_ONES, matrix)
    for _ in range(3):
        one, other = P, Q
        started = time.perf_counter()
        for _epoch in range(100):
            one, other = _notebook_epoch(rows, cols, one, other, 1e-4, 0.05)
        theirs = time.perf_counter() - started
        solver = GD(
            n_factors=10, max_epochs=100, learning_rate=5e-5, n_threads=n_threads,
            evaluate_every=100, dtype="float32",
        )  # fmt: skip
        started = time.perf_counter()
        solver.solve(_ONES, matrix, (P, Q))
        ours = time.perf_counter() - started
        print(
            f"{matrix.nnz:,} pairs: notebook {theirs:.2f} s ({matrix.nnz / theirs / 1e4:.1f} M "
            f"updates/s), GD {ours:.3f} s, {theirs / ours:.1f} times as fast",
            flush=True,
        )


@njit(parallel=True, cache=True)
def _copy(source, target):  # type: ignore[no-untyped-def]
    for i in prange(source.size):
        target[i] = source[i]


def roofline(n_threads: int) -> None:
    """Print updates a second, flops and bytes of an update, beside peak and bandwidth."""
    from benchmarks.als import gemm_gflops, median_seconds

    peak = gemm_gflops(n_threads)
    bandwidth = {}
    for name, megabytes in (("memory", 256), ("cache", 4)):
        source, target = np.ones(megabytes << 17), np.empty(megabytes << 17)
        with parallel(n_threads):
            seconds = median_seconds(lambda s=source, t=target: _copy(s, t))
        bandwidth[name] = 2 * source.nbytes / seconds / 1e9
    print(
        f"GEMM {peak:.0f} GFLOP/s; copying {bandwidth['memory']:.1f} GB/s in memory, "
        f"{bandwidth['cache']:.1f} GB/s within 8 MB\n"
    )
    shares = []
    print("| k | schedule | pairs | M updates/s | GFLOP/s, of peak | GB/s of rows, of copying |")
    print("|---" * 6 + "|")
    for n_pairs, where in ((500_000, "cache"), (5_000_000, "memory")):
        matrix = planted(n_pairs)
        for k in (10, 32, 64, 128):
            for schedule, rate in (("adagrad", 0.1), ("constant", 0.01)):
                solver = SGD(
                    n_factors=k, max_epochs=12, rng=0, n_threads=n_threads, evaluate_every=12,
                    schedule=schedule, learning_rate=rate,
                )  # fmt: skip
                total = solver.solve(_RATINGS, matrix).history[-1].seconds
                less = SGD(**(vars(solver) | {"max_epochs": 2, "evaluate_every": 2}))
                seconds = (total - less.solve(_RATINGS, matrix).history[-1].seconds) / 10
                updates = matrix.nnz / seconds
                flops = (6 if schedule == "adagrad" else 2) * k + 6 * k
                moved = 4 * 4 * k + 12  # both rows read and written, two ids and a value
                gflops, gigabytes = updates * flops / 1e9, updates * moved / 1e9
                print(
                    f"| {k} | {schedule} | {matrix.nnz:,} | {updates / 1e6:.0f} | "
                    f"{gflops:.1f}, {gflops / peak:.0%} | "
                    f"{gigabytes:.1f}, {gigabytes / bandwidth[where]:.0%} |",
                    flush=True,
                )
                if k == 10 and schedule == "adagrad":
                    blocks = _Blocks(Problem(_RATINGS, matrix), np.random.default_rng(0), "float32")
                    drawing = median_seconds(lambda b=blocks: b.order(np.random.default_rng(0)))
                    shares.append(f"{drawing / seconds:.1%} of an epoch of {n_pairs:,} pairs")
    print("\nAn epoch as solve times it: drawing the order and unpacking the rows included.")
    print(f"Drawing the order of blocks and pairs takes {', '.join(shares)} at k=10.")


def rates(n_threads: int, data: list[str]) -> None:
    """Print the objective after 10 epochs for the rate that is found and for given ones."""
    tried = (None, 0.4, 0.2, 0.1, 0.05, 0.02)
    print(
        "| data | k | "
        + " | ".join("found" if rate is None else f"{rate:g}" for rate in tried)
        + " |"
    )
    print("|---" * (len(tried) + 2) + "|")
    for name in data:
        matrix = planted(500_000) if name == "planted" else load(name).matrix
        objective = _RATINGS if name == "planted" else _ONES
        for k in (10, 64):
            cells = []
            for rate in tried:
                solver = SGD(
                    n_factors=k, max_epochs=10, rng=0, learning_rate=rate, n_threads=n_threads,
                    evaluate_every=10,
                )  # fmt: skip
                solution = solver.solve(objective, matrix)
                cells.append(f"{solution.history[-1].total:.0f}")
            print(f"| {name} | {k} | " + " | ".join(cells) + " |", flush=True)


def mpd(n_threads: int) -> None:
    """Print seconds an epoch and peak memory at the size of the Million Playlist Dataset."""
    matrix = make_playlists(1_000_000, 2_262_292, n_groups=4_000, mean_length=66, rng=0)
    matrix = matrix.pairings.matrix
    forget_peak()
    before = memory_mb("VmRSS") or float("nan")
    solver = SGD(n_factors=32, max_epochs=3, rng=0, n_threads=n_threads)
    started = time.perf_counter()
    history = solver.solve(_ONES, matrix).history
    whole = time.perf_counter() - started
    peak = memory_mb("VmHWM") or float("nan")
    print(
        f"{matrix.shape}, {matrix.nnz:,} pairs, k=32: {whole:.1f} s for 3 epochs with set-up and "
        f"evaluation, {(history[-1].seconds - history[1].seconds) / 2:.2f} s an epoch, objective "
        f"{history[0].total:.4g} to {history[-1].total:.4g}; peak {peak / 1e3:.2f} GB, "
        f"{(peak - before) / 1e3:.2f} GB above the matrix"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sgd", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", choices=["libmf", "notebook", "roofline", "rates", "mpd"])
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--data", nargs="+", default=["planted", "small"])
    parser.add_argument("--n-threads", type=int, default=available_threads())
    chosen = parser.parse_args()
    print(machine())
    if chosen.what == "libmf":
        libmf(chosen.n_threads, chosen.pairs)
    elif chosen.what == "rates":
        rates(chosen.n_threads, chosen.data)
    else:
        {"notebook": notebook, "roofline": roofline, "mpd": mpd}[chosen.what](chosen.n_threads)


if __name__ == "__main__":
    main()
