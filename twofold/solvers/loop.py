"""The one outer loop: timing, history, callback, checkpoint, early stopping, divergence."""

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.progress import progress_bar
from twofold._kernels.jit import compile_seconds
from twofold.exceptions import CheckpointWarning, InvalidInputError
from twofold.objective import Point, Problem
from twofold.objective.evaluation import evaluate_point
from twofold.solvers.result import Record, Solution, Status
from twofold.solvers.state import State, memory_arrays

if TYPE_CHECKING:
    from twofold.solvers.base import Solver

__all__ = ["Callback", "Run"]

Callback = Callable[[int, Solution], object]


@dataclass
class Run:
    """One run of a solver.

    Parameters
    ----------
    solver : Solver
    problem : Problem
    state : State
        Before `Solver.prepare`.
    history : list of Record
        Of the epochs done before.
    callback : callable, optional
        As for `Solver.solve`.
    checkpoint : str or path-like, optional
        As for `Solver.solve`.
    fingerprint : str
        Of the solution.
    note : str
        A sentence about the start, for the message of the solution.
    """

    solver: "Solver"
    problem: Problem
    state: State
    history: list[Record]
    callback: Callback | None
    checkpoint: str | os.PathLike[str] | None
    fingerprint: str
    note: str = ""
    seconds: float = field(default=0.0, init=False)

    def run(self) -> Solution:
        """Run `Solver.step` up to ``max_epochs``."""
        if self.history:
            self.seconds = self.history[-1].seconds
        self.state = self.timed(self.solver.prepare, self.problem, self.state)
        if not self.history:
            self.evaluate()
            if not self.is_finite():
                return self.diverged(self.state)
            self.record()
            if self.accepted():
                return self.finish(
                    Status.STOPPED, "The callback stopped it before the first epoch."
                )
        with progress_bar(
            total=self.solver.max_epochs,
            initial=self.state.epoch,
            desc=type(self.solver).__name__,
            unit="epoch",
            shown=self.solver.progress,
        ) as bar:
            return self.epochs(bar)

    def epochs(self, bar: Any) -> Solution:
        """Run the epochs that are left."""
        solver = self.solver
        good = self.state  # the last state that was evaluated
        while self.state.epoch < solver.max_epochs:
            self.step()
            bar.update()
            epoch = self.state.epoch
            if epoch % solver.evaluate_every and epoch < solver.max_epochs:
                continue
            total = self.evaluate()
            if not self.is_finite() or self.exceeds_limit(total):
                return self.diverged(good)
            good = self.state
            self.record()
            bar.set_postfix(objective=f"{total:.6g}")
            if self.accepted():
                return self.finish(Status.STOPPED, f"The callback stopped it at epoch {epoch}.")
            if self.converged():
                return self.finish(
                    Status.CONVERGED,
                    f"The relative decrease fell below tol={solver.tol:g} at epoch {epoch}.",
                )
        return self.finish(Status.MAX_EPOCHS, f"All {solver.max_epochs} epochs were run.")

    def timed(self, function: Callable[..., State], *arguments: Any) -> State:
        """Call a function of the solver; compiling does not count."""
        started, compiled = time.perf_counter(), compile_seconds()
        result = function(*arguments)
        elapsed = time.perf_counter() - started
        self.seconds += max(elapsed - (compile_seconds() - compiled), 0.0)
        return result

    def step(self) -> None:
        """Run one epoch."""
        moved = self.timed(self.solver.step, self.problem, self.state)
        self.check_step(moved)
        self.state = replace(moved, epoch=self.state.epoch + 1)

    def check_step(self, moved: State) -> None:
        """Raise if a step gives what kernels must not get: they do not check shapes."""
        name = f"{type(self.solver).__name__}.step"
        if not isinstance(moved, State):
            raise InvalidInputError(f"{name} returned a {type(moved).__name__}: give state.moved()")
        for side in ("rows", "cols"):
            new, old = getattr(moved.point, side), getattr(self.state.point, side)
            if new.shape != old.shape or new.dtype != old.dtype:
                raise InvalidInputError(
                    f"{name} returned {side} of shape {new.shape} and dtype {new.dtype}: they must "
                    f"stay {old.shape} and {old.dtype}"
                )

    def evaluate(self) -> float:
        """Evaluate the objective, unless the solver did so; return the total."""
        point = self.state.point
        if point.value is None:
            with np.errstate(all="ignore"):  # A diverging run overflows, which is checked.
                point = evaluate_point(self.problem, point, self.solver.n_threads)
            self.state = replace(self.state, point=point)
        assert point.value is not None
        return point.value.total

    def is_finite(self) -> bool:
        """Tell whether the objective and all factors are finite."""
        point = self.state.point
        with np.errstate(all="ignore"):
            # A sum is finite only if all numbers are, and takes less time than looking at each.
            return bool(np.isfinite(self.evaluate())) and all(
                np.isfinite(a.sum()) or np.isfinite(a).all() for a in (point.rows, point.cols)
            )

    def exceeds_limit(self, total: float) -> bool:
        """Tell whether the run diverged: ten times the worse of the start and zero factors."""
        first = self.history[0].total
        if total <= first:
            return False
        P, Q = (np.zeros((n, 1), self.solver.dtype) for n in self.problem.shape)
        value = evaluate_point(self.problem, Point.of(P, Q), self.solver.n_threads).value
        assert value is not None
        at_zero = value.total
        if first == at_zero == 0.0:
            return False  # There is nothing to compare with, as without entries.
        return total > max(first, at_zero) + 9.0 * max(abs(first), abs(at_zero))

    def record(self) -> None:
        """Add the state to the history."""
        value = self.state.point.value
        assert value is not None
        self.history.append(Record.of(self.state.epoch, self.seconds, value))

    def accepted(self) -> bool:
        """Save and report the state; tell whether the callback wants to stop."""
        if self.callback is None and self.checkpoint is None:
            return False
        so_far = self.finish(Status.RUNNING, "It is still running.")
        so_far = replace(
            so_far,
            row_factors=_read_only(so_far.row_factors),
            col_factors=_read_only(so_far.col_factors),
            memory={name: _read_only(array) for name, array in so_far.memory.items()},
        )
        if self.checkpoint is not None:
            self.save(so_far, self.checkpoint)
        return self.callback is not None and bool(self.callback(self.state.epoch, so_far))

    def save(self, so_far: Solution, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint; once epochs were run, a full disk must not end them."""
        try:
            so_far.save(path)
        except InvalidInputError as error:
            if len(self.history) == 1:
                raise
            warnings.warn(
                f"the checkpoint of epoch {so_far.n_epochs} was not written, and the run goes on: "
                f"{error}",
                CheckpointWarning,
                stacklevel=2,
            )

    def converged(self) -> bool:
        """Tell whether the objective falls by less than ``tol``."""
        tol, patience = self.solver.tol, self.solver.patience
        if not tol or len(self.history) <= patience:
            return False
        totals = [record.total for record in self.history[-patience - 1 :]]
        return all(old - new < tol * abs(old) for old, new in pairwise(totals))

    def diverged(self, good: State) -> Solution:
        """Return the solution of the last good state, with advice."""
        epoch, total = self.state.epoch, self.evaluate()
        self.record()
        self.state = good
        rate = getattr(self.solver, "learning_rate", None)
        advice = (
            f"lower learning_rate (it is {rate:g})"
            if rate is not None
            else "check the scale of the stored values, or raise the regularizer's weight"
        )
        return self.finish(
            Status.DIVERGED,
            f"The objective was {total:.6g} at epoch {epoch}; the factors are those of epoch "
            f"{good.epoch}: {advice}.",
        )

    def finish(self, status: Status, message: str) -> Solution:
        """Return the solution of the state."""
        state = self.state
        return Solution(
            state.row_factors,
            state.col_factors,
            status,
            f"{message} {self.note}".rstrip(),
            tuple(self.history),
            type(self.solver).__name__,
            state.epoch,
            state.seed,
            memory_arrays(state.memory),
            self.fingerprint,
        )


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
