"""`DaskALS`: alternating least squares on a cluster."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import seed_of
from twofold.distributed.operations import ClusterOperations, Layout
from twofold.distributed.residents import Homes, LostError
from twofold.objective import Objective, Point, Problem
from twofold.objective.biases import Axis
from twofold.objective.terms import Terms
from twofold.solvers import blocks
from twofold.solvers.als import ALS, ALSMemory
from twofold.solvers.base import Init
from twofold.solvers.loop import Callback, OnInterrupt, Run, timed
from twofold.solvers.merged import MergedProblem
from twofold.solvers.operations import AXES
from twofold.solvers.result import Record, Solution
from twofold.solvers.start import spectral_factors
from twofold.solvers.state import State, random_stream

__all__ = ["DaskALS"]

Array = NDArray[Any]
_MOST_ATTEMPTS = 5


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
        checks = [
            check
            for axis, factors in zip(AXES, (point.rows, point.cols), strict=True)
            for check in self.operations.gathered(blocks.is_usable, axis, factors)
        ]
        return all(is_finite for is_finite, _ in checks)

    def limit(
        self, first: float, n_factors: int, dtype: Any, n_threads: int | None = None
    ) -> float:
        """Return infinity: a half-step never increases the objective."""
        return np.inf

    def original_factors(self, point: Point) -> tuple[Array, Array]:
        """Return the factors of all rows and columns of the data, in this process."""
        P, Q = np.asarray(point.rows), np.asarray(point.cols)
        return self.original.original_factors(Point(P, Q, point.n_factors))


@dataclass(kw_only=True)
class DaskALS(ALS):
    """Alternating least squares on the workers of a Dask cluster.

    It minimises the same objective as `ALS` by the same steps, and its result has the same bits,
    whatever the number of workers. The entries are divided into blocks of rows and blocks of
    columns, one of each for each worker, and more if they would not fit into its memory. In a
    half-step a worker gets those factors of the other side that its entries refer to.

    The cluster is that of the current client: make a ``distributed.Client`` before `solve`. If a
    worker ends, and data with it, the run is continued with the remaining workers: from the file
    ``checkpoint``, if one is given, and else from the start, with the same result. The workers
    should have equal processors, because the instructions of kernels depend on them.

    The parameters are those of `ALS`. ``n_threads`` has no effect: every worker uses as many
    threads as Dask has given to it.

    Raises
    ------
    ClusterError
        By `solve`, if there is no client, or no worker is left.
    SingularRowError
        As `ALS`.

    Examples
    --------
    >>> from distributed import Client
    >>> from scipy import sparse
    >>> from twofold import L2, Objective
    >>> from twofold.distributed import DaskALS
    >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
    >>> with Client(n_workers=1, threads_per_worker=1, dashboard_address=None):
    ...     solution = DaskALS(n_factors=2, rng=0).solve(Objective(regularizer=L2(0.1)), R)
    >>> solution.row_factors.shape
    (2, 2)
    """

    def _solution(
        self,
        objective: Objective,
        matrix: Any,
        init: Init,
        callback: Callback | None,
        weights: Any,
        checkpoint: str | os.PathLike[str] | None,
        on_interrupt: OnInterrupt,
    ) -> Solution:
        """Return the result of `solve`, begun again where data were lost."""
        cluster, original = Homes(), self._problem(objective, matrix, weights)
        fixed = replace(self, rng=seed_of(self.rng))  # the same one at every attempt
        once = None if callback is None else _Once(callback)
        for attempt in range(_MOST_ATTEMPTS):
            try:
                return fixed._attempt(cluster, original, init, once, checkpoint, on_interrupt)
            except LostError:
                if attempt == _MOST_ATTEMPTS - 1:
                    raise
                init = _last(checkpoint, fixed._fingerprint(original), init)
        raise AssertionError

    def _attempt(
        self,
        cluster: Homes,
        original: Problem,
        init: Init,
        callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None,
        on_interrupt: OnInterrupt,
    ) -> Solution:
        problem: Any
        fingerprint, note, seconds = self._fingerprint(original), "", 0.0
        history: list[Record] = []
        if isinstance(init, Solution) and init.fingerprint == fingerprint:
            problem, state = self._continued(cluster, original, init)
            history = [record for record in init.history if record.epoch <= init.n_epochs]
        else:
            if isinstance(init, Solution):
                note = "The run started from the factors of another problem or solver."
                init = (init.row_factors, init.col_factors)
            (problem, state), seconds = timed(self._started, cluster, original, init)
        run = Run(
            self, problem, state, history, callback, checkpoint, fingerprint, note, seconds,
            on_interrupt,
        )  # fmt: skip
        return run.run()

    def _fingerprint(self, problem: Problem) -> str:
        """Return the fingerprint of `ALS`, so that each of them continues what the other began."""
        alike = ALS(**{one.name: getattr(self, one.name) for one in fields(ALS)})
        return alike._fingerprint(problem)

    def prepare(self, problem: Any, state: State) -> State:
        """Return the state with the operations on its factors."""
        return state.at(state.point, workspace=problem.operations)

    def new_memory(self, problem: Any, point: Point) -> ALSMemory:
        """Return the initial memory."""
        is_merged = isinstance(problem.original, MergedProblem)
        previous: Any = point.cols if self.acceleration else np.empty((0, point.cols.shape[1]))
        return ALSMemory(previous, 0.0, 0.0, is_merged)

    def _placed(self, cluster: Homes, problem: Problem) -> ClusterProblem:
        """Return the problem with its entries on the workers."""
        n_columns = self.n_factors + problem.objective.n_bias_columns
        width = n_columns + 16  # of the vectors of the spectral start
        n_blocks = number_of_blocks(cluster, problem, width)
        layout = Layout.of_problem(cluster, problem, n_columns, n_blocks, width)
        operations = ClusterOperations(cluster, layout, n_columns, self.dtype)
        return ClusterProblem(problem, operations)

    def _started(
        self, cluster: Homes, original: Problem, init: Any
    ) -> tuple[ClusterProblem, State]:
        """Return the problem and the initial state of a new run."""
        seed, found = seed_of(self.rng), None
        if init is not None:
            problem = self._placed(cluster, original)
            P, Q = self._checked_factors(original, init)
            found = tuple(
                problem.operations.placed(axis, factors.__getitem__)
                for axis, factors in zip(AXES, (P, Q), strict=True)
            )
        elif self.init == "spectral" and not original.objective.has_centers:
            problem = self._placed(cluster, self.working_problem(original, None))
            found = spectral_factors(problem.operations, self.n_factors, seed)
        if found is None:
            problem = self._placed(cluster, original)
            found = self._drawn(problem.operations, seed)
        both: Any = (
            problem.operations.each(
                blocks.start_factors, axis, factors, n_factors=self.n_factors,
                n_columns=problem.operations.n_columns, dtype=self.dtype, is_drawn=init is None,
            )
            for axis, factors in zip(AXES, found, strict=True)
        )  # fmt: skip
        rows, cols = both
        point = Point(rows, cols, problem.operations.n_columns)
        return problem, State(point, 0, seed, self.new_memory(problem, point))

    def _drawn(self, operations: ClusterOperations, seed: int) -> tuple[Any, Any]:
        """Return the factors of `random_factors`."""
        generator = random_stream(seed, 0)
        size = np.float32(self.init_scale / np.sqrt(self.n_factors))

        def make(rows: slice) -> Array:
            shape = rows.stop - rows.start, self.n_factors
            return generator.standard_normal(shape, dtype=np.float32) * size

        return operations.placed("row", make), operations.placed("col", make)

    def _continued(
        self, cluster: Homes, original: Problem, init: Solution
    ) -> tuple[ClusterProblem, State]:
        """Return the problem and the state of a solution of the same problem."""
        problem = self._placed(cluster, self.working_problem(original, init))
        P, Q = problem.original.restricted(*self._checked_factors(original, init))

        def placed(axis: Axis, factors: Array) -> Any:
            own = Point.of(factors, factors).rows
            return problem.operations.placed(axis, own.__getitem__)

        point = Point(placed("row", P), placed("col", Q), problem.operations.n_columns)
        memory = self.new_memory(problem, point)
        previous = init.memory["previous"]
        memory = replace(
            memory,
            previous=placed("col", previous) if previous.size else previous,
            t=init.memory["t"].item(),
            gain=init.memory["gain"].item(),
        )
        return problem, State(point, init.n_epochs, init.seed, memory)


def number_of_blocks(cluster: Homes, problem: Problem, width: int) -> int:
    """Return how many blocks each side is divided into.

    It is one for each worker, and more where the entries of a block of rows and of columns, with
    four times the factors of both sides, would take more than a quarter of the memory of a worker.
    """
    limits = cluster.memory_limits()
    parts = (problem.rows.entries.indices, *problem.rows.entries[2:5])
    n_bytes = 2 * sum(part.nbytes for part in parts) + 16 * width * sum(problem.shape)
    per_worker = -(-4 * n_bytes // (min(limits) * len(limits))) if min(limits) else 1
    return len(limits) * max(1, int(per_worker))


class _Once:
    """A callback that is called once for each epoch."""

    def __init__(self, callback: Callable[[int, Solution], object]) -> None:
        self.callback, self.last = callback, -1

    def __call__(self, epoch: int, so_far: Solution) -> object:
        if epoch <= self.last:
            return False
        self.last = epoch
        return self.callback(epoch, so_far)


def _last(checkpoint: Any, fingerprint: str, init: Init) -> Init:
    """Return the last checkpoint of a run, or its initial factors if there is none."""
    if checkpoint is None or not os.path.exists(checkpoint):
        return init
    saved = Solution.load(checkpoint)
    return saved if saved.fingerprint == fingerprint else init
