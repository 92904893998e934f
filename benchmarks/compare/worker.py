"""One run in a separate process, so that crashes are recorded and memory can be measured."""

import json
import statistics
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.entries import Entry, Report, Work, all_entries
from benchmarks.compare.problems import PROBLEMS, Task, make_task, start, task
from benchmarks.machine import forget_peak, memory_mb
from twofold.datasets import make_playlists

_TOLERANCE = 1e-4  # relative difference of claimed and evaluated objective
_FOLDS = 5  # repetitions of a fold-in, for the median
REST = 0.05  # seconds until the BLAS threads of the scoring stop spinning


class Judged(Exception):  # noqa: N818 - it ends a run, which may be no error
    """Raised to end a run with a status and a reason."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


class Scorer:
    """The ``report`` argument of entries: scores factors, excluded from the time."""

    def __init__(self, chosen: Task, budget: float) -> None:
        self.task, self.budget = chosen, budget
        self.points: list[tuple[int, float, float, float]] = []
        self.peak_mb: float | None = None
        self._excluded = 0.0
        forget_peak()
        self._before = memory_mb("VmRSS")
        self._started = time.perf_counter()

    @property
    def wall(self) -> float:
        """Seconds since the start of the run without scoring."""
        return time.perf_counter() - self._started - self._excluded

    def __call__(
        self,
        P: np.ndarray,
        Q: np.ndarray,
        *,
        epoch: int | None = None,
        seconds: float | None = None,
        claimed: float | None = None,
    ) -> None:
        """Score factors; raise `Judged` if the run has to end."""
        wall = self.wall
        entered = time.perf_counter()
        self._see_memory()
        if epoch is None:
            epoch = self.points[-1][0] + 1 if self.points else 0
        if seconds is None:
            seconds = wall
        elif seconds > 1.02 * wall + 0.01:
            raise Judged("wrong", f"at epoch {epoch} it reports {seconds:.3g} s of {wall:.3g} s")
        self._check_shapes(P, Q)
        if not (np.isfinite(P).all() and np.isfinite(Q).all()):
            raise Judged("diverged", f"a factor is not a finite number at epoch {epoch}")
        total = self.task.value(P, Q)
        if not np.isfinite(total):
            raise Judged("diverged", f"the objective is {total} at epoch {epoch}")
        self.points.append((epoch, seconds, total, self.task.metric(P, Q)))
        if claimed is not None and not abs(claimed - total) <= _TOLERANCE * abs(total):
            raise Judged(
                "wrong",
                f"at epoch {epoch} it claims {claimed:.6g}, but the objective is {total:.6g}",
            )
        if wall > self.budget:
            raise Judged("finished", f"stopped by the budget of {self.budget:g} s at epoch {epoch}")
        forget_peak()
        time.sleep(REST)
        self._excluded += time.perf_counter() - entered

    def _check_shapes(self, P: np.ndarray, Q: np.ndarray) -> None:
        n_rows, n_cols = self.task.matrix.shape
        if P.shape[0] != n_rows or Q.shape[0] != n_cols or P.shape[1] != Q.shape[1]:
            raise Judged(
                "failed",
                f"factors {P.shape} and {Q.shape} do not match the matrix {n_rows, n_cols}",
            )

    def _see_memory(self) -> None:
        peak = memory_mb("VmHWM")
        if peak is not None and self._before is not None:
            self.peak_mb = max(self.peak_mb or 0.0, peak - self._before)


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Run an entry and score its factors after every epoch by `Objective.value` in float64."""
    extra = request["entries"]
    entry = all_entries(Path(extra) if extra else None)[request["solver"]]
    n_factors, n_threads = request["n_factors"], request["n_threads"]
    start_up = start_up_seconds(entry, request["problem"], n_factors, n_threads)
    chosen = task(request["data"], request["problem"], n_factors)
    optimum = chosen.optimum
    init = start(chosen.matrix.shape, n_factors, request["seed"])
    max_epochs = request["max_epochs"] * entry.epochs
    work = Work(chosen.objective, chosen.matrix.copy(), init, max_epochs, n_threads)
    scorer = Scorer(chosen, request["budget"])
    status, message = "finished", ""
    try:
        if entry.fold is not None and chosen.col_factors is not None:
            _fold(entry, work, chosen, scorer)
        else:
            train(entry, work, scorer)
            last = scorer.points[-1][0] if scorer.points else 0
            if last < max_epochs:
                status, message = "stopped early", f"after {last} of {max_epochs} epochs"
    except Judged as judged:
        status, message = judged.status, judged.message
    except ImportError as error:
        status, message = "not installed", f"{error.name or error} cannot be imported"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        status = "failed"
        message = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    return {
        "status": status, "message": message, "points": scorer.points, "optimum": optimum,
        "peak_mb": scorer.peak_mb, "wall": None if entry.refit else scorer.wall,
        "start_up": start_up, "n_pairs": int(chosen.matrix.nnz), "metric_name": chosen.metric_name,
    }  # fmt: skip


def train(entry: Entry, work: Work, report: Report) -> None:
    """Run an entry, or refit it with 1, 2, 4, ... epochs."""
    if entry.run is not None:
        entry.run(work, report)
    elif entry.refit is not None:
        fit = entry.refit(work)
        for n in _lengths(work.max_epochs):
            started = time.perf_counter()
            P, Q = fit(n)
            report(P, Q, epoch=n, seconds=time.perf_counter() - started)


def _lengths(max_epochs: int) -> Iterator[int]:
    n = 1
    while n < max_epochs:
        yield n
        n *= 2
    yield max_epochs


def _fold(entry: Entry, work: Work, chosen: Task, scorer: Scorer) -> None:
    Q, spent = chosen.col_factors, []
    assert entry.fold is not None
    assert Q is not None
    for _ in range(_FOLDS):
        started = time.perf_counter()
        P = entry.fold(work.objective, work.matrix, Q, work.n_threads)
        spent.append(time.perf_counter() - started)
        if sum(spent) > scorer.budget:
            break
    scorer(P, Q, epoch=1, seconds=statistics.median(spent))


def start_up_seconds(entry: Entry, problem: str, n_factors: int, n_threads: int) -> float | None:
    """Run an entry twice on a small problem; return the additional seconds of the first run.

    They are spent on importing and on compiling or loading kernels. If the entry fails, the result
    is None, and the measured run reports the reason.
    """
    chosen, pairings = PROBLEMS[problem], make_playlists(300, 200, rng=0).pairings
    # The task of a fold-in problem would train columns and thus compile kernels beforehand.
    matrix = pairings.matrix if chosen.convex else make_task(pairings, problem, n_factors).matrix
    init = start(matrix.shape, n_factors, 0)
    spent = []

    def ignore(P: np.ndarray, Q: np.ndarray, **_: Any) -> None:
        pass

    try:
        for _ in range(2):
            started = time.perf_counter()
            if chosen.convex and entry.fold is not None:
                entry.fold(chosen.objective, matrix, init[1], n_threads)
            else:
                train(entry, Work(chosen.objective, matrix, init, 1, n_threads), ignore)
            spent.append(time.perf_counter() - started)
    except Exception:
        return None
    return max(spent[0] - spent[1], 0.0)


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(measure(json.loads(sys.argv[1]))))
