"""The one outer loop: timing, history, callback, checkpoint, early stopping, divergence."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from twofold.exceptions import InvalidInputError
from twofold.objective import ObjectiveValue, Problem
from twofold.solvers.result import Record, Solution, Status, is_finite
from twofold.solvers.state import State

if TYPE_CHECKING:
    from twofold.solvers.base import Solver

__all__ = ["Callback", "run_epochs"]

Callback = Callable[[int, Solution], object]


def run_epochs(
    solver: "Solver",
    problem: Problem,
    state: State,
    history: list[Record],
    seconds: float,
    callback: Callback | None,
    checkpoint: str | os.PathLike[str] | None,
) -> Solution:
    """Run `solver.step` up to ``max_epochs``; ``seconds`` is the time spent so far."""
    return _Loop(solver, problem, state, history, seconds, callback, checkpoint).run()


class _Loop:
    """One run."""

    def __init__(
        self,
        solver: "Solver",
        problem: Problem,
        state: State,
        history: list[Record],
        seconds: float,
        callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None,
    ) -> None:
        self.solver = solver
        self.problem = problem
        self.state = state
        self.history = history
        self.seconds = seconds
        self.callback = callback
        self.checkpoint = checkpoint

    def run(self) -> Solution:
        solver = self.solver
        if not self.history:
            value = self.value(self.state)
            if not is_finite(value):
                return self.diverged(self.state, value)
            self.record(value)
            if self.accepted():
                return self.finish(
                    Status.STOPPED, "The callback stopped it before the first epoch."
                )
        limit = self.limit()
        with tqdm(
            total=solver.max_epochs,
            initial=self.state.epoch,
            desc=type(solver).__name__,
            unit="epoch",
            disable=not solver.progress,
        ) as bar:
            good = self.state  # the last state that was evaluated
            while self.state.epoch < solver.max_epochs:
                self.step()
                bar.update()
                epoch = self.state.epoch
                if epoch % solver.evaluate_every and epoch < solver.max_epochs:
                    continue
                value = self.value(self.state)
                factors = (self.state.row_factors, self.state.col_factors)
                if not is_finite(value, *factors) or value.total > limit:
                    return self.diverged(good, value)
                good = self.state
                self.record(value)
                bar.set_postfix(objective=f"{value.total:.6g}")
                if self.accepted():
                    return self.finish(Status.STOPPED, f"The callback stopped it at epoch {epoch}.")
                if self.converged():
                    return self.finish(
                        Status.CONVERGED,
                        f"The relative decrease fell below tol={solver.tol:g} at epoch {epoch}.",
                    )
        return self.finish(Status.MAX_EPOCHS, f"All {solver.max_epochs} epochs were run.")

    def step(self) -> None:
        started = time.perf_counter()
        moved = self.solver.step(self.problem, self.state)
        self.seconds += time.perf_counter() - started
        self.check_step(moved)
        self.state = replace(moved, epoch=self.state.epoch + 1)

    def check_step(self, moved: State) -> None:
        """Raise if a step gives what kernels must not get: they do not look at shapes."""
        name = f"{type(self.solver).__name__}.step"
        if not isinstance(moved, State):
            raise InvalidInputError(f"{name} returned a {type(moved).__name__}: give state.moved()")
        for side in ("row_factors", "col_factors"):
            new, old = getattr(moved, side), getattr(self.state, side)
            if getattr(new, "shape", None) != old.shape:
                raise InvalidInputError(
                    f"{name} returned {side} of shape {getattr(new, 'shape', None)}: it must stay "
                    f"{old.shape}"
                )

    def value(self, state: State) -> ObjectiveValue:
        # A diverging run overflows here: that is looked at, not warned about.
        with np.errstate(all="ignore"):
            return self.problem.value(
                state.row_factors, state.col_factors, n_threads=self.solver.n_threads
            )

    def limit(self) -> float:
        """Objective beyond which a run counts as diverged: ten times the worse of start and 0."""
        zeros = [np.zeros((n, 1)) for n in self.problem.shape]
        at_zero = self.problem.value(zeros[0], zeros[1], n_threads=self.solver.n_threads).total
        worst = max(self.history[0].total, at_zero)
        return worst + 9.0 * max(abs(self.history[0].total), abs(at_zero))

    def record(self, value: ObjectiveValue) -> None:
        self.history.append(Record.of(self.state.epoch, self.seconds, value))

    def accepted(self) -> bool:
        """Save and report the state; tell whether the callback wants to stop."""
        if self.callback is None and self.checkpoint is None:
            return False
        so_far = self.finish(Status.MAX_EPOCHS, "It is still running.", self.state.read_only())
        if self.checkpoint is not None:
            so_far.save(self.checkpoint)
        return self.callback is not None and bool(self.callback(self.state.epoch, so_far))

    def converged(self) -> bool:
        tol, patience = self.solver.tol, self.solver.patience
        if not tol or len(self.history) <= patience:
            return False
        totals = [record.total for record in self.history[-patience - 1 :]]
        return all(old - new < tol * abs(old) for old, new in pairwise(totals))

    def diverged(self, good: State, value: ObjectiveValue) -> Solution:
        epoch = self.state.epoch
        self.record(value)
        self.state = good
        has_rate = getattr(self.solver, "learning_rate", None) is not None
        advice = (
            f"lower learning_rate (it is {self.solver.learning_rate:g})"  # type: ignore[attr-defined]
            if has_rate
            else "check the scale of the stored values, or raise the regularizer's weight"
        )
        return self.finish(
            Status.DIVERGED,
            f"The objective was {value.total:.6g} at epoch {epoch}; the factors are those of epoch "
            f"{good.epoch}: {advice}.",
        )

    def finish(self, status: Status, message: str, state: State | None = None) -> Solution:
        state = state or self.state
        return Solution(
            state.row_factors,
            state.col_factors,
            status,
            message,
            tuple(self.history),
            type(self.solver).__name__,
            state.epoch,
            state.seed,
            state.memory,
        )
