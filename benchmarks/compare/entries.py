"""The entries. An entry minimises an objective and reports its factors after each epoch.

To add a solver, write one file and name it on the command line::

    from benchmarks.compare.entries import Entry, ours
    from my_package import MySolver, factorise

    def run(work, report):
        report(*work.init)
        for P, Q in factorise(work.matrix, *work.init):
            report(P, Q)

    ENTRIES = [ours("a twofold solver", MySolver, learning_rate=0.1), Entry("anything else", run)]

    python -m benchmarks run --entries my_entries.py
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.compare.problems import PROBLEMS, exact_rows
from twofold import Objective
from twofold.solvers import ALS, GD, SGD, Solution, Solver, fold_in

Factors = np.ndarray
Fit = Callable[[int], tuple[Factors, Factors]]


@dataclass(frozen=True)
class Work:
    """The arguments of a training run."""

    objective: Objective
    matrix: Any
    """csr_array of the training pairs."""
    init: tuple[Factors, Factors]
    """Copies of the initial factors, which are the same for every solver; float32."""
    max_epochs: int
    n_threads: int


class Report(Protocol):
    """Scores the factors after an epoch; the time of the scoring is excluded."""

    def __call__(
        self,
        P: Factors,
        Q: Factors,
        *,
        epoch: int | None = None,
        seconds: float | None = None,
        claimed: float | None = None,
    ) -> None:
        """Score P and Q.

        ``epoch`` is the number of epochs (default: one more than before, starting at 0 for the
        initial factors), ``seconds`` the time measured by the solver (default: time since the call
        of `run` without scoring), and ``claimed`` the objective computed by the solver, which is
        checked.
        """


@dataclass(frozen=True)
class Entry:
    """A named solver of some of the problems."""

    name: str
    run: Callable[[Work, Report], None] | None = None
    """Train from ``work.init`` and report after each epoch."""
    refit: Callable[[Work], Fit] | None = None
    """For packages without a callback, ``refit(work)(n)`` trains n epochs from the package's own
    initial factors. It is called with 1, 2, 4, ... epochs."""
    fold: Callable[[Objective, Any, Factors, int], Factors] | None = None
    """``fold(objective, matrix, Q, n_threads)`` returns the best rows for fixed columns."""
    problems: tuple[str, ...] = tuple(PROBLEMS)
    notes: str = ""
    """Mapping of the parameters to the formula, and all deviations from it."""
    epochs: int = 1
    """Factor of the number of epochs, for a solver with much cheaper epochs."""

    def solves(self, problem: str) -> bool:
        """Return whether the entry solves a problem."""
        way = self.fold if PROBLEMS[problem].convex else self.run or self.refit
        return way is not None and problem in self.problems


def ours(
    name: str,
    kind: type[Solver],
    notes: str = "",
    epochs: int = 1,
    common_start: bool = False,
    **parameters: Any,
) -> Entry:
    """Create an entry of a subclass of `Solver`.

    It starts from its own factors, whose time counts, or from the common ones.
    """

    def run(work: Work, report: Report) -> None:
        def watch(epoch: int, so_far: Solution) -> None:
            record = so_far.history[-1]
            report(
                so_far.row_factors, so_far.col_factors,
                epoch=epoch, seconds=record.seconds, claimed=record.total,
            )  # fmt: skip

        solver = kind(
            n_factors=work.init[0].shape[1], max_epochs=work.max_epochs, n_threads=work.n_threads,
            rng=0, **parameters,
        )  # fmt: skip
        init = work.init if common_start else None
        solver.solve(work.objective, work.matrix, init, watch)

    supported = tuple(
        name
        for name, problem in PROBLEMS.items()
        if not problem.convex and not kind.supports.missing(problem.objective)
    )
    return Entry(name, run, problems=supported, notes=notes, epochs=epochs)


def _fold_in(objective: Objective, matrix: Any, Q: Factors, n_threads: int) -> Factors:
    return fold_in(objective, matrix, Q, n_threads=n_threads)


def _numpy_loop(objective: Objective, matrix: Any, Q: Factors, n_threads: int) -> Factors:
    return exact_rows(objective, matrix, Q.astype(np.float64))


OURS = [
    ours("twofold ALS", ALS),
    ours("twofold ALS cg", ALS, "2 steps a half-step.", row_solver="cg"),
    ours(
        "twofold ALS plain",
        ALS,
        "Exact half-steps from the common start.",
        common_start=True,
        row_solver="direct",
        acceleration=None,
    ),
    ours("twofold SGD", SGD, epochs=2),
    ours("twofold GD", GD, "Full gradient, backtracking.", epochs=8, evaluate_every=4),
    Entry("twofold fold_in", fold=_fold_in),
    Entry("numpy loop", fold=_numpy_loop, notes="The notebook's normal equations, row by row."),
]


def all_entries(extra: Path | None = None) -> dict[str, Entry]:
    """Return the entries of twofold, of the peers and of a file, by name."""
    from benchmarks.compare.peers import PEERS

    entries = [*OURS, *PEERS]
    if extra is not None:
        spec = importlib.util.spec_from_file_location("extra_entries", extra)
        if spec is None or spec.loader is None or not extra.exists():
            raise ValueError(f"--entries {extra}: there is no such Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not hasattr(module, "ENTRIES"):
            raise ValueError(f"--entries {extra}: it must define a list named ENTRIES")
        entries += module.ENTRIES
    return {entry.name: entry for entry in entries}
