"""How fast SGD and GD are: beside LIBMF and the notebook, and against what the machine can move.

    python -m benchmarks.sgd libmf [--pairs 5000000]
    python -m benchmarks.sgd notebook
    python -m benchmarks.sgd roofline
    python -m benchmarks.sgd rates --data URL ...
    python -m benchmarks.sgd mpd

``--scale 0.01`` makes the generated data smaller, for a quick trial.

``libmf`` fits values of planted rank by SGD and LIBMF, and prints seconds an epoch and seconds to
LIBMF's objective after 20 epochs; ``notebook`` is GD with a given learning rate, evaluated after
every epoch, beside the notebook's compiled loop: medians of three runs of each, in turn;
``roofline`` is updates, flops and bytes a second beside the machine's; ``rates`` is the objective
after some epochs for learning rates found and given; ``mpd`` is time and memory of a fit at the
size of the Million Playlist Dataset.
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit
from scipy import sparse

from benchmarks.als import gemm_gflops, median_seconds, mpd_like
from benchmarks.compare.problems import load
from benchmarks.machine import forget_peak, machine, memory_mb
from twofold import L2, Objective
from twofold._kernels.threads import available_threads
from twofold.objective import Point, Problem
from twofold.solvers import GD, SGD, Solver, State

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
def notebook_loop(pairs, P, Q, alpha, lam, n_iterations):  # type: ignore[no-untyped-def]
    """Do what the notebook's run_epoch does, as it is written there: pair by pair, in scalars."""
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


def long_tailed(n_rows: int, n_cols: int, n_pairs: int) -> sparse.csr_array:
    """Return ones at pairs in which every column occurs, and the rare ones mostly once.

    The other pairs follow a Zipf-Mandelbrot law: rank r has probability ~ (r + 500)^-1.5.
    """
    rng = np.random.default_rng(0)
    low, high = 500.0**-0.5, (500.0 + n_cols) ** -0.5
    ranks = (low - (low - high) * rng.random(n_pairs - n_cols)) ** -2.0 - 500.0
    cols = np.concatenate([np.arange(n_cols), np.clip(ranks.astype(np.int64), 0, n_cols - 1)])
    keys = np.unique(rng.integers(n_rows, size=n_pairs) * n_cols + rng.permutation(n_cols)[cols])
    return sparse.csr_array(
        (np.ones(keys.size), (keys // n_cols, keys % n_cols)), shape=(n_rows, n_cols)
    )


def notebook(n_threads: int, scale: float) -> None:
    """Print milliseconds an epoch of GD and of the notebook's loop, and the whole calls; k = 10.

    An epoch of GD is as `solve` times it, with the evaluation; the whole call also has the checks,
    the layout of the matrix and the start.
    """
    print(f"k = 10, GD in float32 with {n_threads} threads, the loop in float64 with one\n")
    print(
        "| playlists x tracks, pairs (tracks with one pair), epochs | loop, ms an epoch | GD | "
        "ratio | loop, s in all | GD | ratio | relative difference of the objective |"
    )
    print("|---" * 8 + "|")
    sizes = ((15_000, 218_000, 1_000_000, 20), (10_000, 20_000, 134_000, 100))
    for n_rows, n_cols, n_pairs, n_epochs in sizes:
        matrix = long_tailed(*(max(int(n * scale), 10) for n in (n_rows, n_cols, n_pairs)))
        print(_beside_the_loop(matrix, n_epochs, n_threads), flush=True)


def _beside_the_loop(matrix: sparse.csr_array, n_epochs: int, n_threads: int) -> str:
    """Run the loop and GD in turn; return a row of the table."""
    alpha = 1e-4
    pairs = np.column_stack(matrix.nonzero()).astype(np.int64)
    rng = np.random.default_rng(0)
    P, Q = (rng.normal(0.0, 0.1, (n, 10)) for n in matrix.shape)
    solver = GD(n_factors=10, max_epochs=n_epochs, learning_rate=alpha / 2, n_threads=n_threads)
    replace(solver, max_epochs=1).solve(_ONES, matrix, (P, Q))  # Compiles, as does the next line.
    notebook_loop(pairs[:1], P, Q, alpha, 0.05, 1)
    spent: list[tuple[float, float, float]] = []
    for _ in range(3):
        started = time.perf_counter()
        theirs = notebook_loop(pairs, P, Q, alpha, 0.05, n_epochs)
        between = time.perf_counter()
        solution = solver.solve(_ONES, matrix, (P, Q))
        ended = time.perf_counter()
        epochs_alone = solution.history[-1].seconds - solution.history[0].seconds
        spent.append((between - started, ended - between, epochs_alone))
    loop, whole, alone = map(statistics.median, zip(*spent, strict=True))
    total = _ONES.value(matrix, *theirs).total
    once = np.mean(np.bincount(matrix.indices, minlength=matrix.shape[1]) == 1)
    milliseconds = 1e3 / n_epochs
    return (
        f"| {matrix.shape[0]:,} x {matrix.shape[1]:,}, {matrix.nnz:,} ({once:.0%}), {n_epochs} | "
        f"{milliseconds * loop:.2f} | {milliseconds * alone:.2f} | {loop / alone:.2f} | "
        f"{loop:.2f} | {whole:.2f} | {loop / whole:.2f} | "
        f"{abs(solution.history[-1].total / total - 1.0):.0e} |"
    )


def copying_gbs(megabytes: int, n_threads: int, repeats: int = 8) -> float:
    """Return gigabytes a second, read and written, of threads that copy their parts of an array."""
    source, target = np.ones(megabytes << 17), np.empty(megabytes << 17)
    parts = list(
        zip(np.array_split(source, n_threads), np.array_split(target, n_threads), strict=True)
    )

    def copy(part: tuple[np.ndarray, np.ndarray]) -> None:
        for _ in range(repeats):
            np.copyto(part[1], part[0])

    with ThreadPoolExecutor(n_threads) as pool:
        seconds = median_seconds(lambda: list(pool.map(copy, parts))) / repeats
    return 2 * source.nbytes / seconds / 1e9


def roofline(n_threads: int, scale: float) -> None:
    """Print updates a second, flops and bytes of an update, beside peak and bandwidth."""
    peak = gemm_gflops(n_threads)
    bandwidth = {"memory": copying_gbs(256, n_threads), "cache": copying_gbs(4, n_threads)}
    print(
        f"GEMM {peak:.0f} GFLOP/s; copying {bandwidth['memory']:.1f} GB/s in memory, "
        f"{bandwidth['cache']:.1f} GB/s within 8 MB\n"
    )
    shares = []
    print("| k | schedule | pairs | M updates/s | GFLOP/s, of peak | GB/s of rows, of copying |")
    print("|---" * 6 + "|")
    for n_pairs, where in ((500_000, "cache"), (5_000_000, "memory")):
        matrix = planted(int(n_pairs * scale))
        for k in (10, 32, 64, 128):
            for schedule, rate in (("adagrad", 0.1), ("constant", 0.01)):
                solver = SGD(
                    n_factors=k, max_epochs=12, rng=0, n_threads=n_threads, evaluate_every=12,
                    schedule=schedule, learning_rate=rate,
                )  # fmt: skip
                total = solver.solve(_RATINGS, matrix).history[-1].seconds
                less = replace(solver, max_epochs=2, evaluate_every=2)
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
                    drawing = _drawing_seconds(solver, matrix)
                    shares.append(f"{drawing / seconds:.1%} of an epoch of {matrix.nnz:,} pairs")
    print("\nAn epoch as solve times it: drawing the order and unpacking the rows included.")
    print(f"Drawing the order of blocks and pairs takes {', '.join(shares)} at k=10.")


def _drawing_seconds(solver: SGD, matrix: sparse.csr_array) -> float:
    """Time the drawing of an epoch's order of blocks and pairs."""
    problem = Problem.of(_RATINGS, matrix)
    point = Point.of(*(np.zeros((n, solver.n_factors), np.float32) for n in matrix.shape))
    layout = solver.prepare(problem, State(point, epoch=0, seed=0)).workspace
    return median_seconds(lambda: layout.order(np.random.default_rng(0)))


def rates(n_threads: int, scale: float, data: list[str]) -> None:
    """Print the objective after 10 epochs for the rate that is found and for given ones."""
    tried = (None, 0.4, 0.2, 0.1, 0.05, 0.02)
    print(
        "| data | k | "
        + " | ".join("found" if rate is None else f"{rate:g}" for rate in tried)
        + " |"
    )
    print("|---" * (len(tried) + 2) + "|")
    for name in data:
        matrix = planted(int(500_000 * scale)) if name == "planted" else load(name).matrix
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


def mpd(n_threads: int, scale: float) -> None:
    """Print seconds an epoch and peak memory at the size of the Million Playlist Dataset."""
    matrix = mpd_like(scale)
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
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data, default 1")
    chosen = parser.parse_args()
    print(machine())
    if chosen.what == "libmf":
        libmf(chosen.n_threads, int(chosen.pairs * chosen.scale))
    elif chosen.what == "rates":
        rates(chosen.n_threads, chosen.scale, chosen.data)
    else:
        others = {"notebook": notebook, "roofline": roofline, "mpd": mpd}
        others[chosen.what](chosen.n_threads, chosen.scale)


if __name__ == "__main__":
    main()
