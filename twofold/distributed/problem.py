"""Problems of runs of `DaskALS`, whose entries are on the workers."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.progress import progress_bar
from twofold.distributed.layout import Layout, entry_bytes, number_of_blocks
from twofold.distributed.operations import ClusterOperations
from twofold.distributed.pairs import ClusterPairings
from twofold.distributed.residents import Homes
from twofold.objective import Objective, Point, Problem
from twofold.objective.terms import Terms
from twofold.solvers.als import ALS
from twofold.solvers.unsolved import ids_in_errors

__all__ = ["ClusterProblem", "Data", "PairsData"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ClusterProblem:
    """A problem whose entries are on the workers.

    Parameters
    ----------
    original : Problem
        The problem that is solved, in this process.
    operations : ClusterOperations
    """

    original: Problem
    operations: ClusterOperations

    @property
    def objective(self) -> Terms:
        """The objective."""
        return self.operations.objective

    def evaluated(self, point: Point, n_threads: int | None = None) -> Point:
        """Return the point with its value."""
        return self.operations.evaluated(point)

    def is_finite(self, point: Point) -> bool:
        """Return whether all factors are finite."""
        parts: Any = (point.rows, point.cols)
        return all(factors.is_finite for factors in parts)

    def limit(
        self, first: float, n_factors: int, dtype: Any, n_threads: int | None = None
    ) -> float:
        """Return infinity: a half-step never increases the objective."""
        return np.inf

    def original_factors(self, point: Point) -> tuple[Array, Array]:
        """Return the factors of all rows and columns of the data, in this process."""
        P, Q = np.asarray(point.rows), np.asarray(point.cols)
        return self.original.original_factors(Point(P, Q, point.n_factors))


class Data:
    """The problem of a run, whose entries are in this process."""

    def __init__(self, original: Problem) -> None:
        self.original = original

    @property
    def fingerprint(self) -> str:
        """Hash of the objective and the entries."""
        return self.original.fingerprint

    def read(self, solver: ALS, cluster: Homes) -> None:
        """Read the entries, if they are not in this process."""

    def ids_in_errors(self) -> AbstractContextManager[None]:
        """Raise errors of rows with their ids, if these are known."""
        return nullcontext()

    def layout(self, cluster: Homes, problem: Problem, n_columns: int, width: int) -> Layout:
        """Return the problem, or one with merged rows, on the workers."""
        n_blocks = number_of_blocks(cluster, entry_bytes(problem.rows), problem.shape, width)
        return Layout.of_problem(cluster, problem, n_columns, n_blocks, width)

    def placed(self, solver: ALS, cluster: Homes, problem: Problem) -> ClusterProblem:
        """Return the problem, or one with merged rows, with the operations on it."""
        n_columns, width = _sizes_of(solver, problem.objective)
        layout = self.layout(cluster, problem, n_columns, width)
        progress_bar(shown=solver.progress, total=0, desc=str(layout), bar_format="{desc}").close()
        operations = ClusterOperations(cluster, layout, n_columns, solver.dtype)
        return ClusterProblem(problem, operations)


class PairsData(Data):
    """The problem of a run, whose entries the workers read."""

    def __init__(self, objective: Objective, pairs: ClusterPairings) -> None:
        self.objective, self.pairs = pairs.objective_for(objective), pairs

    @property
    def fingerprint(self) -> str:
        """Hash of the objective and the entries."""
        return str(self.made.fingerprint)

    def read(self, solver: ALS, cluster: Homes) -> None:
        """Read the entries."""
        sizes = _sizes_of(solver, self.objective)
        self.made: Any = None  # before they are read once more
        self.made = self.pairs.layout(cluster, self.objective, *sizes)
        self.original = Problem.of(self.objective, sparse.csr_array(self.pairs.shape))

    def ids_in_errors(self) -> AbstractContextManager[None]:
        """Raise errors of rows with their ids."""
        return ids_in_errors(self.pairs.row_ids, self.pairs.col_ids)

    def layout(self, cluster: Homes, problem: Problem, n_columns: int, width: int) -> Layout:
        """Return the problem on the workers, whose sides are not needed any more then."""
        layout: Layout = self.made.layout
        self.made = replace(self.made, layout=None)
        return layout


def _sizes_of(solver: ALS, objective: Terms) -> tuple[int, int]:
    """Return the number of columns of factors, and of the vectors of the spectral start."""
    n_columns = solver.n_factors + objective.n_bias_columns
    return n_columns, n_columns + 16
