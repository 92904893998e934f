"""`Search`: the trials of a strategy, one after another or by workers."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from twofold._common.progress import progress_bar
from twofold.exceptions import ClusterError
from twofold.tuning.pending import PendingTrial
from twofold.tuning.result import SearchResult
from twofold.tuning.run import Runner, Trial
from twofold.tuning.strategies import Proposal, Strategy

if TYPE_CHECKING:
    from twofold.tuning.storage import StoredStudy

__all__ = ["Search", "Workers"]

_MOST_RUNNING = 1000  # trials that workers are given at the same time

Callback = Callable[[Trial], object]


class Workers(Protocol):
    """What computes trials elsewhere, such as `twofold.distributed.Cluster`."""

    @property
    def is_open(self) -> bool:
        """Whether more tasks can be given."""

    def submit(self, function: Callable[..., Any], shared: Any, /, *arguments: Any) -> Any:
        """Begin a task, which has ``result()`` and ``cancel()``; ``shared`` is sent once."""

    def finished(self, tasks: Any) -> list[Any]:
        """Wait for a task; return those that have ended."""


@dataclass
class Search:
    """A search with checked arguments.

    Parameters
    ----------
    strategy : Strategy
        Proposes the trials.
    runner : Runner
        Runs them.
    defaults : dict of str to object
        The values of the fields that vary, as given.
    stored : StoredStudy, optional
        Where the trials are stored.
    """

    strategy: Strategy
    runner: Runner
    defaults: dict[str, Any]
    stored: "StoredStudy | None"
    trials: dict[int, Trial] = field(default_factory=dict, init=False)

    def run(
        self, progress: bool, callback: Callback | None, workers: Workers | None = None
    ) -> SearchResult:
        """Run the trials; return those that have ended, also after Ctrl-C."""
        most_epochs = self.runner.settings.solver.max_epochs
        n_runs = self.strategy.n_runs(most_epochs)
        proposals = self.strategy.proposals(self.defaults, most_epochs, self.runner.score.cost_of)
        complete = False
        try:
            with progress_bar(total=n_runs, desc="search", unit="trial", shown=progress) as bar:

                def report(trial: Trial) -> None:
                    self.trials[trial.number] = trial
                    bar.update()
                    if callback is not None:
                        callback(trial)

                if workers is None:
                    self._run_in_order(proposals, report)
                else:
                    _Running(self, workers, report).run(proposals)
            complete = True
        except KeyboardInterrupt:
            pass  # the trials that have finished are returned, with complete=False
        return SearchResult.ranked(self.trials, complete, self.runner)

    def _run_in_order(self, proposals: Any, report: Callback) -> None:
        proposal = next(proposals, None)
        while proposal is not None:
            trial = self.find(proposal)
            if trial is None:
                trial = self.runner.run(proposal, self.parameters_of(proposal))
                self.store(trial)
            report(trial)
            proposal = _following(proposals, trial)

    def parameters_of(self, proposal: Proposal) -> dict[str, Any]:
        """Return the values of the fields that vary."""
        return proposal.parameters or self.defaults

    def find(self, proposal: Proposal) -> Trial | None:
        """Return the stored trial."""
        if self.stored is None:
            return None
        return self.stored.find(proposal, self.parameters_of(proposal))

    def store(self, trial: Trial) -> None:
        """Store a trial, if the search is stored."""
        if self.stored is not None:
            self.stored.add(trial, self.runner.score.name)


class _Running:
    """The trials that workers run at the moment."""

    def __init__(self, search: Search, workers: Workers, report: Callback) -> None:
        self.search, self.workers, self.report = search, workers, report
        self.running: dict[Any, tuple[Proposal, PendingTrial]] = {}

    def run(self, proposals: Any) -> None:
        """Run the trials of a strategy, as many at the same time as it allows."""
        try:
            proposal = next(proposals, None)
            while proposal is not None:
                trial: Any = self.search.find(proposal)
                if trial is None:
                    trial = self._begin(proposal)
                else:
                    self.report(trial)
                proposal = _following(proposals, trial)
            while self.running:
                self._collect()
        finally:
            for task in self.running:
                task.cancel()

    def _begin(self, proposal: Proposal) -> PendingTrial:
        while len(self.running) >= _MOST_RUNNING:
            self._collect()
        alone = replace(proposal, kept=frozenset())  # workers do not keep the factors of trials
        parameters = self.search.parameters_of(proposal)
        task = self.workers.submit(_run_alone, self.search.runner, alone, parameters)
        pending = PendingTrial(self._collect)
        self.running[task] = proposal, pending
        return pending

    def _collect(self) -> None:
        """Wait for a trial; take and report those that have ended."""
        for task in self.workers.finished(self.running):
            proposal, pending = self.running[task]
            try:
                pending.trial = task.result()
                self.search.store(pending.trial)
            except ClusterError as error:
                if not self.workers.is_open:
                    raise
                # Not stored, so that it is tried again, perhaps by workers with more memory.
                pending.trial = _failed(proposal, self.search.parameters_of(proposal), error)
            del self.running[task]  # Not before, so that an interrupt cancels the task.
            self.report(pending.trial)


def _run_alone(runner: Runner, proposal: Proposal, parameters: dict[str, Any]) -> Trial:
    """Run a trial by a runner without those before it."""
    return replace(runner).run(proposal, parameters)


def _failed(proposal: Proposal, parameters: dict[str, Any], error: Exception) -> Trial:
    nan = float("nan")
    return Trial(
        proposal.number, dict(parameters), nan, nan, 0, 0.0, "failed",
        f"{type(error).__name__}: {error}", datetime.now(UTC), proposal.rung,
    )  # fmt: skip


def _following(proposals: Any, trial: Any) -> Proposal | None:
    try:
        following: Proposal = proposals.send(trial)
    except StopIteration:
        return None
    return following
