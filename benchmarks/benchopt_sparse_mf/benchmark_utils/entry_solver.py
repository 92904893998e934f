"""Benchopt solvers from the entries of ``benchmarks.compare``."""

import numpy as np
from benchopt import BaseSolver
from benchopt.stopping_criterion import SufficientProgressCriterion

from benchmarks.compare.entries import Entry, Work, all_entries
from benchmarks.compare.worker import start_up_seconds

_MAX_EPOCHS = 1_000_000  # benchopt's stopping criterion ends a run


def _criterion() -> SufficientProgressCriterion:
    # Not the value itself, because benchopt treats an increase by 1e5 as divergence.
    return SufficientProgressCriterion(eps=1e-6, patience=4, key_to_monitor="value_per_pair")


class _Stopped(Exception):  # noqa: N818 - it is no error
    """Raised inside an entry when benchopt stops the run."""


class EntrySolver(BaseSolver):
    """An entry with a callback, which trains from the common initial factors or folds rows in.

    The name of the entry consists of ``name`` and, if there is one, the parameter ``variant``.
    """

    sampling_strategy = "callback"
    stopping_criterion = _criterion()

    @property
    def entry(self) -> Entry:
        return all_entries()[f"{self.name} {getattr(self, 'variant', '')}".strip()]

    def skip(self, problem, task, init, n_threads):
        if self.entry.solves(problem):
            return False, None
        return True, f"{self.entry.name} does not solve the problem {problem!r}"

    def set_objective(self, problem, task, init, n_threads):
        self.problem, self.task, self.factors, self.start_up = problem, task, init, None
        copies = tuple(factors.copy() for factors in init)
        self.work = Work(task.objective, task.matrix.copy(), copies, _MAX_EPOCHS, n_threads)

    def pre_run_hook(self, stop_val):
        # Not in warm_up, which is called for the first problem only.
        if self.start_up is None:
            n_factors, n_threads = self.work.init[0].shape[1], self.work.n_threads
            self.start_up = start_up_seconds(self.entry, self.problem, n_factors, n_threads)

    def get_next(self, n_epochs):
        return n_epochs + 1

    def run(self, callback):
        def report(P, Q, **_):
            self.factors = P, Q
            if not callback():
                raise _Stopped

        try:
            if self.task.col_factors is None:
                self.entry.run(self.work, report)
            else:
                report(*self.factors)
                Q = self.task.col_factors
                report(self.entry.fold(self.work.objective, self.work.matrix, Q,
                                       self.work.n_threads), Q)  # fmt: skip
        except _Stopped:
            pass

    def get_result(self):
        P, Q = self.factors
        return {"row_factors": P, "col_factors": Q, "start_up": self.start_up}


class RefitSolver(EntrySolver):
    """An entry without a callback, refitted from the package's own initial factors."""

    sampling_strategy = "iteration"
    stopping_criterion = _criterion()

    def set_objective(self, problem, task, init, n_threads):
        super().set_objective(problem, task, init, n_threads)
        self.fit = None

    def pre_run_hook(self, stop_val):
        super().pre_run_hook(stop_val)
        if self.fit is None:
            self.fit = self.entry.refit(self.work)

    def get_next(self, n_epochs):
        return max(1, 2 * n_epochs)

    def run(self, n_epochs):
        if n_epochs == 0:
            return
        try:
            self.factors = self.fit(n_epochs)
        except FloatingPointError:  # benchopt treats nan as divergence
            self.factors = tuple(np.full_like(factors, np.nan) for factors in self.work.init)
