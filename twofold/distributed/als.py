"""`DaskALS`: alternating least squares on a cluster."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import seed_of
from twofold.distributed.operations import ClusterOperations
from twofold.distributed.pairs import ClusterPairings
from twofold.distributed.problem import ClusterProblem, Data, PairsData
from twofold.distributed.residents import MOST_ATTEMPTS, Homes, LostError
from twofold.exceptions import ClusterError, InvalidInputError, SingularRowError
from twofold.objective import Objective, Point, Problem
from twofold.objective.biases import Axis
from twofold.solvers import blocks
from twofold.solvers.als import ALS, ALSMemory
from twofold.solvers.base import Init
from twofold.solvers.loop import Callback, OnInterrupt, Run, timed
from twofold.solvers.merged import MergedProblem
from twofold.solvers.operations import AXES
from twofold.solvers.result import Record, Solution
from twofold.solvers.start import spectral_factors
from twofold.solvers.state import State, random_stream, restored_memory, with_rounded_value
from twofold.solvers.triangles import MissingTriangleError

__all__ = ["DaskALS"]

Array = NDArray[Any]


@dataclass(kw_only=True)
class DaskALS(ALS):
    """Alternating least squares on the workers of a Dask cluster.

    It minimises the same objective as `ALS` by the same steps, and its result has the same bits,
    whatever the number of workers. The entries are divided into blocks of rows and blocks of
    columns, one of each for each worker, and more if they would not fit into its memory. In a
    half-step a worker gets those factors of the other side that its entries refer to.

    The cluster is that of the current client: make a ``distributed.Client`` before `solve`. If a
    worker ends, and data with it, the run is continued with the remaining workers: from the file
    ``checkpoint``, if one is given, and else from the start, with the same result. After five such
    ends without a later checkpoint it raises `ClusterError`. The workers
    should have equal processors, because the instructions of kernels depend on them.

    The parameters are those of `ALS`. ``n_threads`` has no effect: every worker uses as many
    threads as Dask has given to it. With ``progress=True`` the numbers of blocks are printed.

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
    >>> with Client(n_workers=1, threads_per_worker=1, dashboard_address=":0"):
    ...     solution = DaskALS(n_factors=2, rng=0).solve(Objective(regularizer=L2(0.1)), R)
    >>> solution.row_factors.shape
    (2, 2)
    """

    reads_partitions: ClassVar[bool] = True

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
        cluster, data = Homes(), self._data(objective, matrix, weights)
        fixed = replace(self, rng=seed_of(self.rng))  # the same one at every attempt
        once = None if callback is None else _Once(callback)
        saved: Solution | None = None
        written, left = _Written(checkpoint), MOST_ATTEMPTS
        while True:
            try:
                return fixed._attempt(cluster, data, (init, saved), once, checkpoint, on_interrupt)
            except ClusterError as error:
                left -= 1
                if written and isinstance(error, LostError):
                    n_before = saved.n_epochs if saved else 0
                    saved = Solution.load(written.path, mmap=self.array_folder is not None)
                    left = MOST_ATTEMPTS if saved.n_epochs > n_before else left
                if not left or not isinstance(error, LostError):
                    raise ClusterError(f"{error}; {written.way_out()}") from error

    def _attempt(
        self,
        cluster: Homes,
        data: Data,
        starts: tuple[Init, Solution | None],
        callback: Callback | None,
        checkpoint: str | os.PathLike[str] | None,
        on_interrupt: OnInterrupt,
    ) -> Solution:
        """Run once, from the second of ``starts`` if it is a solution of this problem."""
        problem: Any
        note, seconds, history = "", 0.0, list[Record]()
        data.read(self, cluster)
        fingerprint = self._fingerprint(data)
        init, saved = starts
        if saved is not None and saved.fingerprint == fingerprint:
            init = saved
        if isinstance(init, Solution) and init.fingerprint == fingerprint:
            problem, state = self._continued(cluster, data, init)
            history = [record for record in init.history if record.epoch <= init.n_epochs]
        else:
            if isinstance(init, Solution):
                note = "The run started from the factors of another problem or solver."
                init = (init.row_factors, init.col_factors)
            (problem, state), seconds = timed(self._started, cluster, data, init)
        run = Run(
            self, problem, state, history, callback, checkpoint, fingerprint, note, seconds,
            on_interrupt,
        )  # fmt: skip
        try:
            with data.ids_in_errors():
                return run.run()
        finally:  # They refer to the operations, and would stay on the workers.
            problem.operations.forget_all()

    def _data(self, objective: Objective, matrix: Any, weights: Any) -> Data:
        """Return the data of the arguments of `solve`."""
        if not isinstance(matrix, ClusterPairings):
            return Data(self._problem(objective, matrix, weights))
        if weights is not None:
            raise InvalidInputError("ClusterPairings have their own weights: leave out weights=")
        return PairsData(objective, matrix)

    def _fingerprint(self, problem: Any) -> str:
        """Return the fingerprint of `ALS`, so that each of them continues what the other began."""
        return self.on_one_machine()._fingerprint(problem)

    @property
    def saves_partial_epochs(self) -> bool:
        """Whether the rows of an unfinished epoch are saved: they are not."""
        return False

    def working_problem(self, problem: Problem, resumed: Solution | None) -> Problem:
        """Return the problem in which equal rows and columns are merged."""
        return self.on_one_machine().working_problem(problem, resumed)

    def on_one_machine(self) -> ALS:
        """Return the same `ALS`."""
        return ALS(**{one.name: getattr(self, one.name) for one in fields(ALS)})

    def prepare(self, problem: Any, state: State) -> State:
        """Return the state with the operations on its factors."""
        problem.operations.balances = bool(self.acceleration)
        return state.at(state.point, workspace=problem.operations)

    def step(self, problem: Any, state: State) -> State:
        """Run one epoch.

        Few problems have rows that need the triangle of all columns; if there is one, the epoch is
        computed again with the triangles.
        """
        try:
            return self._step(problem, state)
        except MissingTriangleError:
            state.workspace.uses_triangles = True
            return self._step(problem, state)

    def _step(self, problem: Any, state: State) -> State:
        """Run one epoch; an error of rows is that of all blocks."""
        state.workspace.forget_results()
        try:
            return self._finished(super().step(problem, state))
        except (InvalidInputError, SingularRowError) as error:
            raise state.workspace.error_of_all(error) from None

    def _finished(self, state: State) -> State:
        """Return a state whose factors are computed, so that their errors are raised."""
        if state.point.value is None:
            rows: Any = state.point.rows
            cols: Any = state.point.cols
            state.workspace.keep(rows, cols)
            state.workspace.gathered(blocks.is_usable, "col", cols)
        return state

    def new_memory(self, problem: Any, point: Point) -> ALSMemory:
        """Return the initial memory."""
        is_merged = isinstance(problem.original, MergedProblem)
        shape = 0, point.cols.shape[1]
        previous: Any = point.cols if self.acceleration else np.empty(shape, point.cols.dtype)
        return ALSMemory(previous, 0.0, 0.0, is_merged)

    def _started(self, cluster: Homes, data: Data, init: Any) -> tuple[ClusterProblem, State]:
        """Return the problem and the initial state of a new run."""
        problem: Any = None
        original, seed, found = data.original, seed_of(self.rng), None
        if init is not None:
            problem = data.placed(self, cluster, original)
            P, Q = self._checked_factors(original, init)
            found = tuple(
                problem.operations.placed(axis, factors.__getitem__)
                for axis, factors in zip(AXES, (P, Q), strict=True)
            )
        elif self.init == "spectral" and not original.objective.has_centers:
            problem = data.placed(self, cluster, self.working_problem(original, None))
            found = spectral_factors(problem.operations, self.n_factors, seed)
        if found is None:
            if problem is None or problem.original is not original:
                problem = data.placed(self, cluster, original)
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
        self, cluster: Homes, data: Data, init: Solution
    ) -> tuple[ClusterProblem, State]:
        """Return the problem and the state of a solution of the same problem."""
        problem = data.placed(self, cluster, self.working_problem(data.original, init))
        P, Q = problem.original.restricted(*self._checked_factors(data.original, init))

        def placed(axis: Axis, factors: Array) -> Any:
            own = Point.of(factors, factors).rows
            return problem.operations.placed(axis, own.__getitem__)

        point = Point(placed("row", P), placed("col", Q), problem.operations.n_columns)
        shape = problem.operations.sizes["col"] if self.acceleration else 0, point.cols.shape[1]
        expected = replace(
            self.new_memory(problem, point),
            previous=np.broadcast_to(np.zeros((), self.dtype), shape),
        )
        memory = restored_memory(expected, init.memory)
        if self.acceleration:
            memory = replace(memory, previous=placed("col", memory.previous))
        point = with_rounded_value(point, init.memory)
        return problem, State(point, init.n_epochs, init.seed, memory)


class _Once:
    """A callback that is called once for each epoch."""

    def __init__(self, callback: Callable[[int, Solution], object]) -> None:
        self.callback, self.last = callback, -1
        self.stops: object = False

    def __call__(self, epoch: int, so_far: Solution) -> object:
        if epoch > self.last:
            self.last, self.stops = epoch, self.callback(epoch, so_far)
        return epoch == self.last and self.stops


class _Written:
    """The file of a checkpoint, which is True once this run has written it."""

    def __init__(self, path: Any) -> None:
        self.path, self.before = path, _stamp(path)

    def __bool__(self) -> bool:
        return _stamp(self.path) != self.before

    def way_out(self) -> str:
        """Return how another run continues this one."""
        if not self:
            return "this run has no checkpoint yet, so that it has to be repeated from the start"
        path = os.fspath(self.path)
        return (
            f"the checkpoint {path!r} has its last epoch: continue by init=Solution.load({path!r}) "
            "or the option --resume"
        )


def _stamp(path: Any) -> tuple[int, int] | None:
    """Return what differs between a file and the one that replaces it; None without a file."""
    try:
        found = os.stat(path)
    except (OSError, TypeError):
        return None
    return found.st_ino, found.st_mtime_ns
