"""`DaskALS` on a cluster of processes of this machine.

    python -m benchmarks.cluster time [--pairs 5e6] [--workers 1 2 4] [--worker-threads 1]
    python -m benchmarks.cluster memory [--pairs 3e7] [--workers 2] [--limit 600]
    python -m benchmarks.cluster kill [--runs 20]
    python -m benchmarks.cluster predict [--seconds-per-entry 1.6e-7] [--threads 8] [--gbit 10]

``time`` compares the seconds of an epoch with those of `ALS` with as many threads as the workers
have, at most those of the machine, and the bytes that the workers received with the formula of
docs/distributed.md. ``memory`` lets the workers, of ``--limit`` MB each, read the pairs, and prints
the peak memory of the client. ``kill`` ends one of three workers at a random moment of each run, by
SIGKILL, and compares the bits with those of `ALS`. ``predict`` prints the cost model of
docs/distributed.md for larger data and clusters.
"""

import argparse
import os
import random
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from twofold import L2, Objective, Pairings
from twofold.distributed import ClusterPairings, DaskALS
from twofold.distributed.operations import ClusterOperations
from twofold.solvers import ALS

_OBJECTIVE = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
_ROW_LENGTH, _PER_COL = 60, 100  # entries of a row, and of a column, in the mean
_SETTINGS = {  # of Dask, as docs/distributed.md recommends them
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.scheduler.work-stealing": False,
}


def generated(n_pairs: int, first: int, last: int, seed: int = 0) -> Pairings:
    """Return rows of pairs whose columns are drawn with a popularity that falls as 1 / n^0.8."""
    n_cols = max(n_pairs // _PER_COL, 10)
    rng = np.random.default_rng([seed, first])
    weights = np.cumsum(np.arange(1, n_cols + 1) ** -0.8)
    n = (last - first) * _ROW_LENGTH
    cols = np.searchsorted(weights, rng.random(n) * weights[-1])
    rows = rng.integers(first, last, n)
    return Pairings.from_arrays(rows, cols.astype(np.int64))


def readers(n_pairs: int, n_parts: int) -> list[partial[Pairings]]:
    """Return the functions that make the parts of the pairs."""
    bounds = np.linspace(0, n_pairs // _ROW_LENGTH, n_parts + 1).astype(int).tolist()
    return [partial(generated, n_pairs, low, high) for low, high in pairwise(bounds)]


@contextmanager
def cluster(n_workers: int, n_threads: int = 1, **options: Any) -> Iterator[Any]:
    """Start processes with some threads each, and a client that is the current one."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=n_workers, threads_per_worker=n_threads, dashboard_address=None,
            silence_logs=50, **options,
        ) as started,
        Client(started) as client,
    ):  # fmt: skip
        client.wait_for_workers(n_workers)
        yield client


def _received(dask_worker: Any) -> int:
    return sum(int(one["total"]) for one in dask_worker.transfer_incoming_log)


def time_(arguments: argparse.Namespace) -> None:
    """Print the seconds of an epoch and the bytes that were moved."""
    n_pairs = int(arguments.pairs)
    matrix = generated(n_pairs, 0, n_pairs // _ROW_LENGTH).matrix
    print(f"{matrix.nnz:,} pairs, {matrix.shape[0]:,} x {matrix.shape[1]:,}, k = {arguments.k}")
    options = {"n_factors": arguments.k, "max_epochs": arguments.epochs, "rng": 0}
    small = matrix[: max(200, matrix.shape[0] // 50)]
    for n_workers in arguments.workers:
        n_threads = min(n_workers * arguments.worker_threads, os.cpu_count() or 1)
        local = ALS(n_threads=n_threads, **options)
        local.solve(_OBJECTIVE, small)
        with cluster(n_workers, arguments.worker_threads) as client:
            DaskALS(**options).solve(_OBJECTIVE, small)
            for _ in range(arguments.repeats):
                expected = local.solve(_OBJECTIVE, matrix)
                before = sum(client.run(_received).values())
                watched = _Watched(**options)
                found = watched.solve(_OBJECTIVE, matrix)
                moved = sum(client.run(_received).values()) - before
                own, whole = (_epoch_seconds(one) for one in (found, expected))
                same = found.row_factors.tobytes() == expected.row_factors.tobytes()
                formula = _formula(watched, found.n_epochs)
                _Watched.last = None  # with the data on the workers
                print(
                    f"{n_workers} workers of {arguments.worker_threads}: an epoch {own:.3f} s, "
                    f"ALS with {n_threads} threads {whole:.3f} s, ratio {own / whole:.2f}; start "
                    f"{found.history[0].seconds:.2f} and {expected.history[0].seconds:.2f} s; "
                    f"moved {moved / 1e6:,.1f} MB, formula {formula / 1e6:,.1f} MB; "
                    f"same bits: {same}",
                    flush=True,
                )


class _Watched(DaskALS):
    """DaskALS that keeps its operations."""

    last: Any = None

    def prepare(self, problem: Any, state: Any) -> Any:
        state = super().prepare(problem, state)
        type(self).last = state.workspace
        return state


def _epoch_seconds(solution: Any) -> float:
    history = solution.history
    return (history[-1].seconds - history[0].seconds) / solution.n_epochs


def _formula(watched: Any, n_epochs: int) -> float:
    """Return the bytes of docs/distributed.md: those of the start and of all epochs."""
    operations: ClusterOperations = type(watched).last
    rows, cols = (operations.routings[axis].n_moved for axis in ("row", "col"))
    itemsize = operations.width * operations.dtype.itemsize
    in_epochs = (n_epochs + 1) * rows * itemsize + n_epochs * cols * itemsize
    # Two products with the matrix and two with its transpose, the first of them with a sparse
    # random matrix, whose rows have 4 bytes, or three where there are more rows than columns.
    start = 4 * (operations.n_columns + 8)
    if operations.sizes["row"] > operations.sizes["col"]:
        in_start = rows * (start + 4) + 3 * cols * start
    else:
        in_start = 2 * rows * start + cols * (start + 4)
    scale, routes, numbers = rows * 4 * operations.width, 4 * (rows + cols), 8 * (rows + cols)
    return in_epochs + in_start + scale + routes + numbers


def memory(arguments: argparse.Namespace) -> None:
    """Print the peak of the client where the pairs do not fit into a worker."""
    n_pairs = int(arguments.pairs)
    options = {"n_factors": arguments.k, "max_epochs": arguments.epochs, "rng": 0}
    with (
        cluster(arguments.workers[0], memory_limit=f"{arguments.limit}MB"),
        tempfile.TemporaryDirectory() as folder,
    ):
        pairs = ClusterPairings(readers(n_pairs, arguments.parts))
        started = time.perf_counter()
        solution = DaskALS(**options, array_folder=folder).solve(_OBJECTIVE, pairs)
        seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1e3
    n_entries = n_pairs // _ROW_LENGTH * _ROW_LENGTH
    print(
        f"{n_entries:,} pairs ({8 * n_entries / 1e6:,.0f} MB as a matrix of float32), "
        f"{pairs.shape[0]:,} x {pairs.shape[1]:,}, {arguments.workers[0]} workers of "
        f"{arguments.limit} MB: {seconds:.1f} s, objective {solution.objective_value:.6g}, peak of "
        f"the client {peak:,.0f} MB"
    )


def kill(arguments: argparse.Namespace) -> None:
    """Print how many runs end with the same bits."""
    matrix = generated(int(arguments.pairs), 0, int(arguments.pairs) // _ROW_LENGTH).matrix
    options = {"n_factors": arguments.k, "max_epochs": arguments.epochs, "rng": 0}
    expected = ALS(**options).solve(_OBJECTIVE, matrix)
    n_same, moments, seconds = 0, random.Random(arguments.seed), 0.0
    for number in range(arguments.runs + 1):  # the first one, in which no worker ends, is timed
        with cluster(3) as client:
            victim = moments.choice(list(client.run(os.getpid).values()))
            timer = threading.Timer(
                moments.uniform(0.0, seconds), os.kill, (victim, signal.SIGKILL)
            )
            started = time.perf_counter()
            if number:
                timer.start()
            found = DaskALS(**options).solve(_OBJECTIVE, matrix)
            seconds = seconds or time.perf_counter() - started
            timer.cancel()
        n_same += number > 0 and all(
            getattr(found, name).tobytes() == getattr(expected, name).tobytes()
            for name in ("row_factors", "col_factors")
        )
        print(f"{n_same} of {number} runs have the same bits", flush=True)
    print(f"{n_same} of {arguments.runs} runs have the same bits; a run took {seconds:.1f} s")


def predict(arguments: argparse.Namespace) -> None:
    """Print the seconds of an epoch by the cost model, and the memory of a worker."""
    for n_pairs in (1e9, 1e10, 3e10):
        n_rows, n_cols = n_pairs / _ROW_LENGTH, n_pairs / _PER_COL
        for n_workers in (8, 64, 256):
            own = n_pairs / n_workers
            solving = own * arguments.seconds_per_entry / arguments.threads
            received = 4 * arguments.k * (min(n_rows, own) + min(n_cols, own))
            moving = 8 * received / (1e9 * arguments.gbit)
            memory = 8 * own + 3 * received + 4 * arguments.k * 6 * (n_rows + n_cols) / n_workers
            print(
                f"{n_pairs:.0e} pairs, {n_workers} workers: solving {solving:,.1f} s, receiving "
                f"{received / 1e9:,.1f} GB in {moving:,.1f} s, memory {memory / 1e9:,.0f} GB"
            )


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usual = {"k": 64, "epochs": 6, "parts": 16}
    commands: dict[str, tuple[Any, dict[str, Any]]] = {
        "time": (time_, {"pairs": 5e6}),
        "memory": (memory, {"pairs": 3e7, "k": 16, "epochs": 2, "parts": 24}),
        "kill": (kill, {"pairs": 5e5}),
        "predict": (predict, {}),
    }
    parser.add_argument("command", choices=commands)
    parser.add_argument("--pairs", type=float)
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--worker-threads", type=int, default=1, help="threads of each worker")
    parser.add_argument("--k", type=int, help="number of factors: 64, 16 with memory")
    parser.add_argument("--epochs", type=int, help="6, 2 with memory")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", type=int, help="16, 24 with memory")
    parser.add_argument("--limit", type=int, default=600, help="MB of memory of a worker")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds-per-entry", type=float, default=1.6e-7, help="of one thread")
    parser.add_argument("--threads", type=int, default=8, help="of a worker")
    parser.add_argument("--gbit", type=float, default=10.0, help="of the network, per second")
    arguments = parser.parse_args()
    function, defaults = commands[arguments.command]
    for name, value in (usual | defaults).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    print(machine())
    function(arguments)


if __name__ == "__main__":
    main()
