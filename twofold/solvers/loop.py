"""The outer loop of all solvers: timing, history, callback, checkpoint and stopping criteria."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from twofold._common.progress import progress_bar
from twofold._common.warn import warn
from twofold._kernels.jit import compile_seconds
from twofold._kernels.threads import check_n_threads
from twofold._kernels.vectors.matrix import vector_bits
from twofold.exceptions import CheckpointWarning, InvalidInputError
from twofold.objective import Problem
from twofold.solvers.partial import PartialEpoch
from twofold.solvers.result import Record, Solution, Status
from twofold.solvers.state import State, saved_memory

if TYPE_CHECKING:
    from twofold.solvers.base import Solver

__all__ = ["Callback", "OnInterrupt", "Run", "expected_decrease", "timed"]

T = TypeVar("T")

Callback = Callable[[int, Solution], object]
OnInterrupt = Literal["raise", "keep"]
_VALUES = 4  # of the objective, in an estimate of its further decrease


@dataclass
class Run:
    """One run of a solver.

    Parameters
    ----------
    solver : Solver
    problem : Problem
    state : State
        The state before `Solver.prepare`.
    history : list of Record
        Records of the epochs before the run.
    callback : callable, optional
        As for `Solver.solve`.
    checkpoint : str or path-like, optional
        As for `Solver.solve`.
    fingerprint : str
        Fingerprint of the solution.
    start_note : str
        A sentence about the initial factors for the message of the solution.
    seconds : float
        Time spent before the run, that is for the initial factors.
    on_interrupt : {"raise", "keep"}, default "raise"
        As for `Solver.solve`.
    """

    solver: "Solver"
    problem: Problem
    state: State
    history: list[Record]
    callback: Callback | None
    checkpoint: str | os.PathLike[str] | None
    fingerprint: str
    start_note: str = ""
    seconds: float = 0.0
    on_interrupt: OnInterrupt = "raise"

    def run(self) -> Solution:
        """Run `Solver.step` up to ``max_epochs``."""
        if self.history:
            self.seconds = self.history[-1].seconds
            self.restore_value()
        self.state = self.timed(self.solver.prepare, self.problem, self.state)
        if not self.history:
            self.evaluate()
            if not self.is_finite():
                return self.diverged(self.state)
            self.record()
            if self.report_and_check_stop():
                return self.finish(Status.STOPPED, "The callback stopped before the first epoch.")
        with progress_bar(
            total=self.solver.max_epochs,
            initial=self.state.epoch,
            desc=type(self.solver).__name__,
            unit="epoch",
            shown=self.solver.progress,
        ) as bar:
            self.last_good = self.state
            try:
                return self.epochs(bar)
            except KeyboardInterrupt:
                if self.on_interrupt == "raise":
                    raise
                return self.interrupted()

    def epochs(self, bar: Any) -> Solution:
        """Run the remaining epochs; ``last_good`` is the last evaluated state."""
        solver = self.solver
        while self.state.epoch < solver.max_epochs:
            self.step()
            bar.update()
            epoch = self.state.epoch
            if epoch % solver.evaluate_every and epoch < solver.max_epochs:
                continue
            total = self.evaluate()
            if not self.is_finite() or self.exceeds_limit(total):
                return self.diverged(self.last_good)
            self.record()
            has_converged = self.converged()
            if has_converged or epoch == solver.max_epochs:
                self.evaluate_exactly()
            self.last_good = self.state
            bar.set_postfix(objective=f"{total:.6g}")
            if self.report_and_check_stop():
                return self.finish(Status.STOPPED, f"The callback stopped after epoch {epoch}.")
            if has_converged:
                return self.finish(
                    Status.CONVERGED,
                    f"After epoch {epoch} the objective is expected to decrease by no more than "
                    f"tol={solver.tol:g} of itself.",
                )
        return self.finish(Status.MAX_EPOCHS, f"All {solver.max_epochs} epochs were run.")

    def interrupted(self) -> Solution:
        """Return the solution of the last epoch that has finished."""
        self.history = [one for one in self.history if one.epoch <= self.last_good.epoch]
        if self.state.epoch > self.last_good.epoch:
            total = self.evaluate()
            if self.is_finite() and not self.exceeds_limit(total):
                self.record()
            else:
                self.state = self.last_good
        return self.finish(
            Status.INTERRUPTED,
            f"The run was interrupted after epoch {self.state.epoch}: give the solution as init= "
            "to continue.",
        )

    def timed(self, function: Callable[..., State], *arguments: Any) -> State:
        """Call a function of the solver and add its time without compilation."""
        result, seconds = timed(function, *arguments)
        self.seconds += seconds
        return result

    def step(self) -> None:
        """Run one epoch."""
        state = replace(self.state, partial=self.partial_epoch())
        new_state = self.timed(self.solver.step, self.problem, state)
        self.check_step(new_state)
        self.state = replace(new_state, epoch=self.state.epoch + 1)

    def partial_epoch(self) -> PartialEpoch | None:
        """Return the file for what the next epoch has finished, if it starts from a checkpoint."""
        last = self.history[-1]
        if self.checkpoint is None or not self.solver.saves_partial_epochs:
            return None
        if last.epoch != self.state.epoch:
            return None
        key = {
            "fingerprint": self.fingerprint,
            "seed": self.state.seed,
            "epoch": last.epoch,
            "total": last.total,
        }
        return PartialEpoch(f"{os.fspath(self.checkpoint)}.part", key)

    def check_step(self, new_state: State) -> None:
        """Raise unless the step returned valid factors, because kernels do not check shapes."""
        name = f"{type(self.solver).__name__}.step"
        if not isinstance(new_state, State):
            kind = type(new_state).__name__
            raise InvalidInputError(f"{name} returned a {kind}: return state.moved(...)")
        for side in ("rows", "cols"):
            new, old = getattr(new_state.point, side), getattr(self.state.point, side)
            if new.shape != old.shape or new.dtype != old.dtype:
                raise InvalidInputError(
                    f"{name} returned {side} of shape {new.shape} and dtype {new.dtype}: they must "
                    f"stay {old.shape} and {old.dtype}"
                )

    def evaluate(self) -> float:
        """Return the total objective; evaluate it unless the solver has done so."""
        point = self.state.point
        if point.value is None:
            with np.errstate(all="ignore"):  # Overflow is detected by `is_finite`.
                point = self.problem.evaluated(point, self.solver.n_threads)
            self.state = replace(self.state, point=point)
        assert point.value is not None
        return point.value.total

    def is_finite(self) -> bool:
        """Return whether the objective and all factors are finite."""
        return bool(np.isfinite(self.evaluate())) and self.problem.is_finite(self.state.point)

    def exceeds_limit(self, total: float) -> bool:
        """Return whether the objective has increased so much that the run has diverged."""
        first, solver = self.history[0].total, self.solver
        if total <= first:
            return False
        return total > self.problem.limit(first, solver.n_factors, solver.dtype, solver.n_threads)

    def record(self) -> None:
        """Append the state to the history."""
        value = self.state.point.value
        assert value is not None
        self.history.append(Record.of(self.state.epoch, self.seconds, value))

    def report_and_check_stop(self) -> bool:
        """Save the checkpoint and call the callback; return whether the run is to stop."""
        if self.callback is None and self.checkpoint is None:
            return False
        snapshot = self.finish(Status.RUNNING, "The run has not finished.")
        snapshot = replace(
            snapshot,
            row_factors=_read_only(snapshot.row_factors),
            col_factors=_read_only(snapshot.col_factors),
            memory={name: _read_only(array) for name, array in snapshot.memory.items()},
        )
        if self.checkpoint is not None:
            self.save(snapshot, self.checkpoint)
        return self.callback is not None and bool(self.callback(self.state.epoch, snapshot))

    def save(self, snapshot: Solution, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint; after the first one, an error is a warning, not to lose the run."""
        try:
            snapshot.save(path)
            if self.state.partial is not None:
                self.state.partial.remove()
        except InvalidInputError as error:
            if len(self.history) == 1:
                raise
            warn(
                f"the checkpoint of epoch {snapshot.n_epochs} was not written: {error}",
                CheckpointWarning,
            )

    def converged(self) -> bool:
        """Return whether the last ``patience`` estimates of `expected_decrease` are within tol."""
        tol, patience, every = self.solver.tol, self.solver.patience, self.solver.evaluate_every
        # An interrupt, or an earlier max_epochs, may have left an evaluation between the others.
        history = [record for record in self.history if record.epoch % every == 0]
        ends = range(len(history) - patience + 1, len(history) + 1)
        return bool(tol) and all(
            expected_decrease(history[: max(end, 0)]) <= tol * abs(history[end - 1].total)
            for end in ends
        )

    def diverged(self, last_good: State) -> Solution:
        """Return the solution of the last state before the divergence, with advice."""
        epoch, total = self.state.epoch, self.evaluate()
        self.record()
        self.state = last_good
        rate = getattr(self.solver, "learning_rate", None)
        advice = (
            f"decrease learning_rate (it is {rate:g})"
            if rate is not None
            else "check the scale of the stored values, or increase the regularizer's weight"
        )
        return self.finish(
            Status.DIVERGED,
            f"The objective was {total:.6g} at epoch {epoch}; the factors are those of epoch "
            f"{last_good.epoch}: {advice}.",
        )

    def restore_value(self) -> None:
        """Continue with the value that the solver had, where the end of a run made it exact."""
        last, value = self.history[-1], self.state.point.rounded
        if value is not None and last.epoch == self.state.epoch:
            self.history[-1] = Record.of(last.epoch, last.seconds, value)

    def evaluate_exactly(self) -> None:
        """Replace a value of the state, and of its record, that has rounding errors."""
        point = self.state.point
        if point.rounded is None or point.value is not point.rounded:
            return
        self.state = replace(self.state, point=replace(point, value=None))
        self.evaluate()
        value = self.state.point.value
        assert value is not None
        for n, record in enumerate(self.history):
            if record.epoch == self.state.epoch:
                self.history[n] = Record.of(record.epoch, record.seconds, value)

    def finish(self, status: Status, message: str) -> Solution:
        """Return the solution of the state; the value of the last epoch of a run is exact."""
        if status is not Status.RUNNING:
            self.evaluate_exactly()
        state = self.state
        return Solution(
            *self.problem.original_factors(state.point),
            status,
            f"{message} {self.start_note}".rstrip(),
            tuple(self.history),
            type(self.solver).__name__,
            state.epoch,
            state.seed,
            saved_memory(state),
            self.fingerprint,
            check_n_threads(self.solver.n_threads),
            vector_bits(),
        )


def timed(function: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """Return the result of a call and its seconds without compilation."""
    started, compiled = time.perf_counter(), compile_seconds()
    result = function(*arguments)
    elapsed = time.perf_counter() - started
    return result, max(elapsed - (compile_seconds() - compiled), 0.0)


def expected_decrease(history: Sequence[Record]) -> float:
    """Return by how much the objective is expected to decrease further.

    It is the larger of two estimates from the last three decreases d_1, d_2 and d_3. With a
    geometric sequence of the larger of the ratios d_2 / d_1 and d_3 / d_2, which is q, the sum of
    all later decreases is d_3 q / (1 - q). For values that approach their limit as 1 / n^2 with the
    epoch n, the guaranteed rate of accelerated gradient methods (Nesterov 1983), it is n / 2 times
    the decrease of an epoch.

    Parameters
    ----------
    history : sequence of Record
        All evaluations, oldest first.

    Returns
    -------
    float
        >= 0; infinite if there are fewer than four values, or the decreases do not become smaller.

    Examples
    --------
    >>> values = [64.0, 48.0, 36.0, 27.0]
    >>> history = [Record(n, 0.0, value, 0.0, 0.0, value) for n, value in enumerate(values)]
    >>> expected_decrease(history)
    27.0
    """
    if len(history) < _VALUES:
        return math.inf
    last = history[-_VALUES:]
    first, second, third = (old.total - new.total for old, new in pairwise(last))
    if third <= 0.0:
        return 0.0
    if first <= 0.0 or second <= 0.0:
        return math.inf
    ratio = max(second / first, third / second)
    if ratio >= 1.0:
        return math.inf
    n_intervals = last[-1].epoch / (last[-1].epoch - last[-2].epoch)
    return third * max(ratio / (1.0 - ratio), 0.5 * n_intervals)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
