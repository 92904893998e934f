"""How near to the hardware ALS is, how its cost grows, and how exact its rows are.

    python -m benchmarks.als efficiency [--plot efficiency.svg]
    python -m benchmarks.als routes
    python -m benchmarks.als accuracy
    python -m benchmarks.als fold-in
    python -m benchmarks.als first-call
    python -m benchmarks.als scaling [--plot scaling.svg]
    python -m benchmarks.als mpd

``--scale 0.01`` makes the generated data smaller, for a quick trial.

``efficiency`` times direct half-steps over rows of one length, in GFLOP/s of the cheaper exact way
(d^2 k + d^3/3 or d k^2 + k^3/3, and 4 d k for the rest) beside single-precision GEMM of the same
run; ``routes`` times the row solvers beside each other, by row length; ``accuracy`` is the error of
float32 rows against float64; ``fold-in`` is beside the notebook's formula in numpy; ``first-call``
is the first fit of a new process; ``scaling`` fits the exponent of the cost in the number of pairs;
``mpd`` runs one epoch at the size of the Million Playlist Dataset. How ALS does beside other
packages is measured by ``python -m benchmarks run``.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

from benchmarks.machine import child_environment, forget_peak, machine, memory_mb
from twofold import L2, Objective, fold_in
from twofold._kernels.aligned import empty_aligned
from twofold._kernels.threads import available_threads
from twofold.datasets import make_playlists
from twofold.exceptions import SingularRowError
from twofold.objective import Problem, Side
from twofold.objective.evaluation import multiplied
from twofold.objective.point import padded_factors
from twofold.solvers import ALS, ColumnSystem
from twofold.solvers.column_system import Buffers, Way
from twofold.testing import reference

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


def half_step(
    side: Side,
    Q: np.ndarray,
    n_threads: int,
    *,
    start: np.ndarray | None = None,
    way: Way = "auto",
    buffers: Buffers | None = None,
) -> np.ndarray:
    """Return the rows of a side for fixed columns, as one half of an ALS epoch computes them."""
    system = ColumnSystem.prepare(_OBJECTIVE, Q, n_threads=n_threads, buffers=buffers)
    report = system.solve(side, start, way=way, n_threads=n_threads, buffers=buffers)
    report.check(side)
    return report.row_factors


def rows_of_length(d: int, n: int, n_cols: int, rng: np.random.Generator) -> Side:
    """Return n rows of d random entries each."""
    cols = np.sort(rng.integers(n_cols, size=(n, d)), axis=1).ravel()
    matrix = sparse.csr_array((np.ones(n * d), cols, np.arange(n + 1) * d), (n, n_cols))
    return Problem.of(_OBJECTIVE, matrix).rows


def random_columns(n_cols: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return float32 factors with rows of length about 1, laid out as the solvers keep them."""
    return padded_factors(rng.standard_normal((n_cols, k), dtype=np.float32) / np.float32(k**0.5))


def efficiency(n_threads: int, scale: float, plot: Path | None) -> None:
    """Print GFLOP/s of the row solve by row length and rank."""
    gemm = gemm_gflops(n_threads)
    print(f"GEMM: {gemm:.1f} GFLOP/s with {n_threads} threads\n")
    print("| entries | " + " | ".join(f"k={k}: us a row, of GEMM" for k in _RANKS) + " |")
    print("|---" * (len(_RANKS) + 1) + "|")
    rng, n_cols = np.random.default_rng(0), max(1_000, int(20_000 * scale))
    shares: dict[int, list[float]] = {k: [] for k in _RANKS}
    for d in _LENGTHS:
        cells = []
        for k in _RANKS:
            n = int(scale * min(100_000, max(200, 3e9 / (flops_of_a_row(d, k) + 4e4)))) + 1
            side, Q = rows_of_length(d, n, n_cols, rng), random_columns(n_cols, k, rng)
            buffers = Buffers()

            def work(side=side, Q=Q, buffers=buffers) -> object:
                return half_step(side, Q, n_threads, way="direct", buffers=buffers)

            set_up = _set_up_seconds(n, Q, n_threads)
            seconds = median_seconds(work) - set_up
            if seconds < 0.1 * set_up:  # lost in its noise
                shares[k].append(float("nan"))
                cells.append("-")
                continue
            share = n * flops_of_a_row(d, k) / seconds / 1e9 / gemm
            shares[k].append(share)
            cells.append(f"{1e6 * seconds / n * n_threads:.2f}, {share:.0%}")
        print(f"| {d} | " + " | ".join(cells) + " |", flush=True)
    print("\nMicroseconds of one thread; Gramian, eigenvectors and rotations are taken off.")
    if plot is not None:
        _draw(
            plot, {f"k = {k}": (_LENGTHS, shares[k]) for k in _RANKS}, "entries of the row",
            "share of GEMM", log_y=False,
        )  # fmt: skip


def _set_up_seconds(n: int, Q: np.ndarray, n_threads: int) -> float:
    """Time what a half-step does beside solving: prepare the columns, and rotate n rows back."""
    rows, buffers = random_columns(n, Q.shape[1], np.random.default_rng(0)), Buffers()

    def work() -> None:
        system = ColumnSystem.prepare(_OBJECTIVE, Q, n_threads=n_threads, buffers=buffers)
        back = np.ascontiguousarray(system.vectors.T).astype(Q.dtype)
        multiplied(rows, back, empty_aligned(rows.shape, rows.dtype), n_threads)

    return median_seconds(work)


def routes(n_threads: int, scale: float) -> None:
    """Print microseconds a row of every row solver; the iterative ones start 3% off."""
    ways: tuple[Way, ...] = ("direct", "auto", "cg")
    print("| k | entries | " + " | ".join(ways) + " |")
    print("|---" * (len(ways) + 2) + "|")
    rng, n_cols = np.random.default_rng(0), max(1_000, int(20_000 * scale))
    for k in (64, 128, 256, 512):
        Q = random_columns(n_cols, k, rng)
        for d in (8, 32, 64, 128, 256, 1024):
            n = int(scale * min(50_000, max(500, 6e9 / (flops_of_a_row(d, k) + 4e4)))) + 1
            side, buffers = rows_of_length(d, n, n_cols, rng), Buffers()
            exact = half_step(side, Q, n_threads, way="direct")
            off = rng.standard_normal(exact.shape, dtype=np.float32)
            start = exact + np.float32(0.03 * np.linalg.norm(exact) / np.linalg.norm(off)) * off
            cells, set_up = [], _set_up_seconds(n, Q, n_threads)
            for way in ways:

                def work(side=side, Q=Q, start=start, way=way, buffers=buffers) -> np.ndarray:
                    return half_step(side, Q, n_threads, start=start, way=way, buffers=buffers)

                seconds = max(median_seconds(work) - set_up, 0.0)
                error = np.linalg.norm(work() - exact) / np.linalg.norm(exact)
                cells.append(f"{1e6 * seconds / n * n_threads:.1f} us, {error:.0e}")
            print(f"| {k} | {d} | " + " | ".join(cells) + " |", flush=True)
    print("\nMicroseconds of one thread for a row, and relative distance to the direct solution.")


def accuracy() -> None:
    """Print the largest relative error of float32 rows, over lengths and ways, by ridge and rank.

    Columns are popular ones that point the same way and weak ones: where float32 loses digits.
    """
    ranks = (8, 64, 128, 512)
    print("| ridge | " + " | ".join(f"k={k}" for k in ranks) + " |")
    print("|---" * (len(ranks) + 1) + "|")
    for ridge in (1e-8, 1e-6, 1e-4, 1e-2, 1.0, 100.0):
        cells = []
        for k in ranks:
            rng = np.random.default_rng(0)
            spread = np.exp(-np.arange(k) / 10) / np.sqrt(k)
            Q = rng.normal(0.0, 0.3, (6000, k)) * spread + 0.5 / np.sqrt(k)
            Q = Q.astype(np.float32)
            lengths = np.repeat([1, 5, 50, 500, 5000], 3)
            cols = np.concatenate([rng.choice(6000, d, replace=False) for d in lengths])
            indptr = np.concatenate([[0], np.cumsum(lengths)])
            R = sparse.csr_array((np.ones(cols.size), cols, indptr), (lengths.size, 6000))
            largest = 0.0
            for a0 in (0.0, 0.1):
                objective = Objective(regularizer=L2(ridge), unobserved_weight=a0)
                exact = _least_squares(R, Q, ridge, a0)
                try:
                    found = fold_in(objective, R, Q)
                except SingularRowError:
                    largest = np.inf
                    continue
                errors = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
                largest = max(largest, errors.max())
            cells.append(f"{largest:.1e}" if largest < np.inf else "singular")
        print(f"| {ridge:g} | " + " | ".join(cells) + " |", flush=True)
    print("\nRows of 1 to 5,000 entries, unobserved_weight 0 and 0.1, against QR in float64.")


def _least_squares(R: sparse.csr_array, Q: np.ndarray, ridge: float, a0: float) -> np.ndarray:
    """Solve rows of ones in float64 by QR, which squares no condition number."""
    Q = Q.astype(np.float64)
    more = [np.sqrt(ridge) * np.identity(Q.shape[1]), np.sqrt(a0) * np.linalg.qr(Q, mode="r")]
    exact = np.empty((R.shape[0], Q.shape[1]))
    for u, cols in enumerate(np.split(R.indices, R.indptr[1:-1])):
        basis, triangle = np.linalg.qr(np.concatenate([Q[cols], *more]))
        exact[u] = np.linalg.solve(triangle, basis[: cols.size].sum(axis=0))
    return exact


def fold_in_beside_the_notebook(n_threads: int, scale: float) -> None:
    """Print seconds for 10,000 playlists, and those of the notebook's formula in a numpy loop."""
    n_rows, n_cols = int(10_000 * scale) + 1, int(20_000 * scale) + 10
    matrix = make_playlists(n_rows, n_cols, mean_length=20, rng=0).pairings.matrix
    for k in (10, 64):
        Q = np.random.default_rng(0).normal(0.0, 0.3, (n_cols, k)).astype(np.float32)
        objective = Objective(regularizer=L2(0.1))

        def work(Q=Q, objective=objective) -> np.ndarray:
            return fold_in(objective, matrix, Q, n_threads=n_threads)

        ours = median_seconds(work)
        started = time.perf_counter()
        loop = np.stack([
            reference.notebook_fold_in(row, Q, 0.1)
            for row in np.split(matrix.indices, matrix.indptr[1:-1])
        ])  # fmt: skip
        theirs = time.perf_counter() - started
        gap = np.abs(work() - loop).max()
        print(
            f"k={k}: {ours:.4f} s, a numpy loop of the notebook's formula {theirs:.2f} s: "
            f"{theirs / ours:.0f} times; largest difference {gap:.0e}"
        )


_FIRST = """
import time
import numpy as np
from scipy import sparse
import twofold
from twofold.solvers import ALS
objective = twofold.Objective(regularizer=twofold.L2(1.0), unobserved_weight=0.1)
matrix = sparse.random_array((2000, 1000), density=0.02, rng=0, format="csr")
spent = []
for _ in range(6):
    started = time.perf_counter()
    ALS(n_factors=64, max_epochs=1, rng=0).solve(objective, matrix)
    spent.append(time.perf_counter() - started)
print(spent[0], np.median(spent[1:]))
"""


def first_call() -> None:
    """Print seconds of the first fit of a new process and of later ones, with a warm disk cache."""
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", _FIRST], check=True, capture_output=True, text=True,
            env=child_environment(),
        )  # fmt: skip
        first, later = map(float, done.stdout.split())
        print(f"first {first:.3f} s, later {later:.4f} s: {first - later:.3f} s more")
    print("The first line may have compiled.")


def scaling(n_threads: int, scale: float, plot: Path | None) -> None:
    """Print seconds of an epoch for 1, 4 and 16 times the pairs, and the exponent."""
    pairs, spent = [], []
    for factor in (1, 4, 16):
        matrix = make_playlists(
            int(20_000 * factor * scale), int(15_000 * factor * scale), n_groups=20 * factor,
            mean_length=60, rng=0,
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


def mpd(n_threads: int, scale: float) -> None:
    """Run one epoch at the size of the Million Playlist Dataset."""
    matrix = mpd_like(scale)
    problem = Problem.of(_OBJECTIVE, matrix)
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
            P = half_step(problem.rows, Q, n_threads)
        else:
            Q = half_step(problem.cols, P, n_threads)
        spent = time.perf_counter() - started
        totals.append(problem.value(P, Q, n_threads=n_threads).total)
        print(f"{name}: {spent:.1f} s, objective {totals[-1]:.6g}", flush=True)
    peak = memory_mb("VmHWM") or float("nan")
    print(f"peak {(peak - before) / 1e3:.2f} GB above the start; from {totals[0]:.6g}")


def mpd_like(scale: float) -> sparse.csr_array:
    """Return playlists of the size of the Million Playlist Dataset, or of a part of it."""
    n_rows, n_cols = int(1_000_000 * scale), int(2_262_292 * scale)
    n_groups = max(1, int(4_000 * scale))
    made = make_playlists(n_rows, n_cols, n_groups=n_groups, mean_length=66, rng=0)
    return made.pairings.matrix


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
    one = {
        "routes": routes, "fold-in": fold_in_beside_the_notebook, "mpd": mpd,
        "accuracy": lambda *_: accuracy(), "first-call": lambda *_: first_call(),
    }  # fmt: skip
    parser.add_argument("what", choices=["efficiency", "scaling", *one])
    parser.add_argument("--plot", type=Path, help="draw it to this file, too")
    parser.add_argument("--n-threads", type=int, default=available_threads())
    parser.add_argument("--scale", type=float, default=1.0, help="size of the data, default 1")
    chosen = parser.parse_args()
    print(machine())
    if chosen.what in one:
        one[chosen.what](chosen.n_threads, chosen.scale)
    else:
        drawn = efficiency if chosen.what == "efficiency" else scaling
        drawn(chosen.n_threads, chosen.scale, chosen.plot)


if __name__ == "__main__":
    main()
