"""Sparse matrix factorisation with squared loss, for all packages."""

import time

import benchmark_utils  # noqa: F401 - makes the package benchmarks importable
import numpy as np
from benchopt import BaseObjective

from benchmarks.compare.problems import PROBLEMS, make_task, start
from benchmarks.compare.worker import REST


class Objective(BaseObjective):
    """The value of sum w (r - p.q)^2 + a0 sum_U (p.q)^2 + lam (sum s_u |p_u|^2 + sum s_i |q_i|^2).

    The value and the gradient norm are computed in float64 by ``twofold.Objective``, Recall@20 or
    RMSE from held-out pairs. ``problem`` selects the pairs, weights and penalties; see
    ``benchmarks/compare/problems.py``. The columns of the ``fold`` problems are fixed.
    """

    name = "Sparse matrix factorisation"
    requirements = []  # twofold is installed from this clone
    min_benchopt_version = "1.9"
    parameters = {
        "problem": ["all", "missing", "observed", "ratings", "fold-all", "fold-missing"],
        "n_factors": [64],
        "n_threads": [2],
        "seed": [0],
    }
    test_dataset_name = "generated"
    test_config = {"n_factors": 4, "n_threads": 1}

    @classmethod
    def get_all_parameter_values(cls, name):
        return "all" if name == "problem" else None  # the name of a problem, not all values

    def skip(self, pairings):
        if self.problem not in PROBLEMS:
            return True, f"there is no problem {self.problem!r}: choose from {', '.join(PROBLEMS)}"
        if pairings is None:
            return True, "no file or URL is given"
        return False, None

    def set_data(self, pairings):
        self.task = make_task(pairings, self.problem, self.n_factors)
        P, Q = start(self.task.matrix.shape, self.n_factors, self.seed)
        self.init = (P, Q) if self.task.col_factors is None else (P, self.task.col_factors)

    def get_objective(self):
        return {
            "problem": self.problem, "task": self.task, "init": self.init,
            "n_threads": self.n_threads,
        }  # fmt: skip

    def evaluate_result(self, row_factors, col_factors, start_up):
        P, Q = (np.asarray(factors) for factors in (row_factors, col_factors))
        value = metric = norm = float("nan")  # benchopt treats nan as divergence
        if np.isfinite(P).all() and np.isfinite(Q).all():
            value, metric = self.task.value(P, Q), self.task.metric(P, Q)
            norm = self.task.gradient_norm(P, Q)
        time.sleep(REST)
        return {
            "value": value,
            "value_per_pair": value / self.task.matrix.nnz,
            "gradient_norm": norm,
            {"Recall@20": "recall_at_20", "RMSE": "rmse"}[self.task.metric_name]: metric,
            "start_up_seconds": float("nan") if start_up is None else start_up,
        }

    def get_one_result(self):
        P, Q = self.init
        return {"row_factors": P, "col_factors": Q, "start_up": None}
