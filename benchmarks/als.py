"""How near to the hardware ALS is: the row solve beside GEMM, and how its cost grows.

    python -m benchmarks.als efficiency [--plot efficiency.svg]
    python -m benchmarks.als scaling [--plot scaling.svg]
    python -m benchmarks.als mpd

``efficiency`` times half-steps over rows of one length, in GFLOP/s of the cheaper exact way
(d^2 k + d^3/3 or d k^2 + k^3/3, and 4 d k for the rest) beside single-precision GEMM of the same
run; ``scaling`` fits the exponent of the cost in the number of pairs; ``mpd`` runs one epoch at the
size of the Million Playlist Dataset.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.machine import forget_peak, machine, memory_mb
from twofold import L2, Objective
from twofold._threads import available_threads
from twofold.datasets import make_playlists
from twofold.objective import Problem
from twofold.solvers import ALS
from twofold.solvers._half_step import half_step

_OBJECTIVE = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
_LENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
_RANKS = (32, 64, 128, 256)


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Time calls after a first one; return the median."""
    work()
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def gemm_gflops(n_threads: int) -> float:
    """Single-precision GEMM of this machine, as many threads, 1024 x 1024."""
    from threadpoolctl import threadpool_limits

    A = np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)
    with threadpool_limits(n_threads, "blas"):
        return 2.0 * 1024**3 / median_seconds(lambda: A @ A) / 1e9


def flops_of_a_row(d: int, k: int) -> float:
    """Work of the cheaper exact way, multiplications and additions, without any padding."""
    dual, primal = d * d * k + d**3 / 3, d * k * k + k**3 / 3
    return min(dual, primal) + 4.0 * d * k


def efficiency(plot: Path | None, n_threads: int) -> None:
    """Print GFLOP/s of the row solve by row length and rank."""
    gemm = gemm_gflops(n_threads)
    print(f"GEMM: {gemm:.1f} GFLOP/s with {n_threads} threads\n")
    print("| entries | " + " | ".join(f"k={k}: us a row, of GEMM" for k in _RANKS) + " |")
    print("|---" * (len(_RANKS) + 1) + "|")
    rng, n_cols = np.random.default_rng(0), 20_000
    shares: dict[int, list[float]] = {k: [] for k in _RANKS}
    for d in _LENGTHS:
        cells = []
        for k in _RANKS:
            n = int(min(100_000, max(200, 3e9 / (flops_of_a_row(d, k) + 4e4))))
            cols = np.sort(rng.integers(n_cols, size=(n, d)), axis=1).ravel()
            matrix = sparse.csr_array((np.ones(n * d), cols, np.arange(n + 1) * d), (n, n_cols))
            Q = rng.standard_normal((n_cols, k), dtype=np.float32) / np.float32(np.sqrt(k))
            side = Problem(_OBJECTIVE, matrix).rows

            def work(side=side, Q=Q) -> object:
                return half_step(_OBJECTIVE, side, Q, n_threads=n_threads)

            none = Problem(_OBJECTIVE, sparse.csr_array((n, n_cols))).rows

            def set_up(none=none, Q=Q) -> object:
                return half_step(_OBJECTIVE, none, Q, n_threads=n_threads)

            seconds = median_seconds(work) - median_seconds(set_up)
            share = n * flops_of_a_row(d, k) / seconds / 1e9 / gemm
            shares[k].append(share)
            cells.append(f"{1e6 * seconds / n * n_threads:.2f}, {share:.0%}")
        print(f"| {d} | " + " | ".join(cells) + " |", flush=True)
    print("\nMicroseconds of one thread; Gramian, eigenvectors and rotation are taken off.")
    if plot is not None:
        _draw(
            plot, {f"k = {k}": (_LENGTHS, shares[k]) for k in _RANKS}, "entries of the row",
            "share of GEMM", log_y=False,
        )  # fmt: skip


def scaling(plot: Path | None, n_threads: int) -> None:
    """Print seconds of an epoch for 1, 4 and 16 times the pairs, and the exponent."""
    pairs, spent = [], []
    for factor in (1, 4, 16):
        matrix = make_playlists(
            20_000 * factor, 15_000 * factor, n_groups=20 * factor, mean_length=60, rng=0
        ).pairings.matrix  # fmt: skip
        solver = ALS(max_epochs=4, rng=0, n_threads=n_threads, evaluate_every=4)
        seconds = solver.solve(_OBJECTIVE, matrix).history[-1].seconds / 4
        pairs.append(matrix.nnz)
        spent.append(seconds)
        print(f"{matrix.shape}, {matrix.nnz:,} pairs: {seconds:.3f} s an epoch", flush=True)
    exponent = np.polyfit(np.log(pairs), np.log(spent), 1)[0]
    print(f"seconds grow as pairs ^ {exponent:.3f}")
    if plot is not None:
        _draw(plot, {f"pairs ^ {exponent:.2f}": (pairs, spent)}, "pairs", "seconds an epoch")


def mpd(n_threads: int) -> None:
    """Run one epoch at the size of the Million Playlist Dataset."""
    matrix = make_playlists(1_000_000, 2_262_292, n_groups=4_000, mean_length=66, rng=0)
    matrix = matrix.pairings.matrix
    problem = Problem(_OBJECTIVE, matrix)
    _ = problem.cols
    forget_peak()
    before = memory_mb("VmRSS") or float("nan")
    print(f"{matrix.shape}, {matrix.nnz:,} pairs; {before / 1e3:.1f} GB at the start", flush=True)
    rng = np.random.default_rng(0)
    P, Q = (rng.standard_normal((n, 64), dtype=np.float32) / 80 for n in matrix.shape)
    totals = [problem.value(P, Q, n_threads=n_threads).total]
    for name in ("rows", "cols"):
        started = time.perf_counter()
        if name == "rows":
            P = half_step(_OBJECTIVE, problem.rows, Q, n_threads=n_threads)
        else:
            Q = half_step(_OBJECTIVE, problem.cols, P, n_threads=n_threads)
        spent = time.perf_counter() - started
        totals.append(problem.value(P, Q, n_threads=n_threads).total)
        print(f"{name}: {spent:.1f} s, objective {totals[-1]:.6g}", flush=True)
    peak = memory_mb("VmHWM") or float("nan")
    print(f"peak {(peak - before) / 1e3:.2f} GB above the start; from {totals[0]:.6g}")


def _draw(path: Path, curves: dict, x: str, y: str, *, log_y: bool = True) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panel = plt.subplots(figsize=(6, 4))
    for name, (across, up) in curves.items():
        panel.plot(across, up, marker="o", label=name)
    panel.set(xscale="log", xlabel=x, ylabel=y)
    if log_y:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
    panel.grid(color="#e4e7eb")
    panel.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.als", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", choices=["efficiency", "scaling", "mpd"])
    parser.add_argument("--plot", type=Path, help="draw it to this file, too")
    parser.add_argument("--n-threads", type=int, default=available_threads())
    chosen = parser.parse_args()
    print(machine())
    if chosen.what == "mpd":
        mpd(chosen.n_threads)
    else:
        (efficiency if chosen.what == "efficiency" else scaling)(chosen.plot, chosen.n_threads)


if __name__ == "__main__":
    main()
