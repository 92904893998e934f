"""What is compared. An entry yields its factors after each epoch, with the seconds it has used.

Add yours in a file of your own and name it on the command line::

    from benchmarks.compare.entries import Entry, ours
    from my_package import MySolver

    ENTRIES = [ours("mine", MySolver, learning_rate=0.1)]

    python -m benchmarks run --entries my_entries.py
"""

import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from twofold import Objective
from twofold.solvers import ALS, GD, SGD, Solution, Solver

Step = tuple[float, np.ndarray, np.ndarray, float | None]
"""Seconds so far, P, Q, and the objective that the solver itself claims (None: it claims none)."""


@dataclass(frozen=True)
class Entry:
    """A named way to minimise an objective."""

    name: str
    run: Callable[[Objective, Any, tuple[np.ndarray, np.ndarray], int, int], Iterator[Step]]
    """``run(objective, matrix, init, max_epochs, n_threads)``."""
    objectives: tuple[str, ...] = ("observed", "all", "missing")
    notes: str = ""
    """How its parameters map to the formula, and every deviation."""


@dataclass
class _Clock:
    """Collects (P, Q) at each evaluation of a twofold solver."""

    steps: list[Step] = field(default_factory=list)

    def __call__(self, epoch: int, solution: Solution) -> bool:
        record = solution.history[-1]
        self.steps.append(
            (record.seconds, solution.row_factors, solution.col_factors, record.total)
        )
        return False


def ours(name: str, kind: type[Solver], notes: str = "", **parameters: Any) -> Entry:
    """Make an entry of a twofold solver class, ours or yours."""

    def run(
        objective: Objective,
        matrix: Any,
        init: tuple[np.ndarray, np.ndarray],
        max_epochs: int,
        n_threads: int,
    ) -> Iterator[Step]:
        solver = kind(
            n_factors=init[0].shape[1],
            max_epochs=max_epochs,
            n_threads=n_threads,
            rng=0,
            **parameters,
        )
        clock = _Clock()
        solver.solve(objective, matrix, init, clock)
        yield from clock.steps

    supported = tuple(
        name for name, found in _objectives().items() if not kind.supports.missing(found)
    )
    return Entry(name, run, supported, notes)


def _objectives() -> dict[str, Objective]:
    from benchmarks.compare.problems import OBJECTIVES

    return OBJECTIVES


def warm_up(entry: Entry, objective: Objective, n_factors: int, n_threads: int) -> None:
    """Compile and load everything on a small problem, so that no time is lost to it later."""
    from benchmarks.compare.problems import start
    from twofold.datasets import make_playlists

    matrix = make_playlists(300, 200, rng=0).pairings.matrix
    for _ in entry.run(objective, matrix, start(matrix.shape, n_factors, 0), 1, n_threads):
        pass


def all_entries(extra: Path | None = None) -> dict[str, Entry]:
    """Return ours, the peers, and those of a file, by name."""
    from benchmarks.compare.peers import PEERS

    entries = [
        ours("twofold ALS", ALS),
        ours("twofold SGD", SGD),
        ours("twofold GD", GD),
        *PEERS,
    ]
    if extra is not None:
        spec = importlib.util.spec_from_file_location("extra_entries", extra)
        if spec is None or spec.loader is None:
            raise SystemExit(f"{extra} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entries += module.ENTRIES
    return {entry.name: entry for entry in entries}


def seconds_of(work: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
