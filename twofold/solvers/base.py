"""`Solver`: the base class of all solvers.

A custom solver is a subclass with one method::

    @dataclass(kw_only=True)
    class SignDescent(Solver):
        learning_rate: float = 0.01

        def step(self, problem, state):
            P, Q = state.row_factors, state.col_factors
            dP, dQ = problem.gradient(P, Q, n_threads=self.n_threads)
            return state.moved(
                P - P.dtype.type(self.learning_rate) * np.sign(dP),
                Q - Q.dtype.type(self.learning_rate) * np.sign(dQ),
            )

`twofold.testing.check_solver` tests it; the entry-point group ``twofold.solvers`` registers it.
"""

import hashlib
import inspect
import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_choice, check_flags, check_real, check_whole, seed_of
from twofold._common.warn import warn
from twofold._kernels.aligned import aligned_copy
from twofold._kernels.threads import check_n_threads
from twofold.data.csr import as_csr
from twofold.exceptions import (
    DivergenceWarning,
    IgnoredValuesWarning,
    InvalidInputError,
    UnsupportedObjectiveError,
)
from twofold.objective import Loss, Objective, Point, Problem, Regularizer, Terms
from twofold.solvers.loop import Callback, OnInterrupt, Run, timed
from twofold.solvers.operations import Operations
from twofold.solvers.result import Record, Solution, Status
from twofold.solvers.start import random_factors, spectral_factors
from twofold.solvers.state import (
    State,
    restored_memory,
    with_rounded_value,
    without_empty_rows,
)

__all__ = ["Init", "Solver", "Support"]

Init = tuple[Any, Any] | Solution | None


@dataclass(frozen=True)
class Support:
    """Objectives that a solver supports; an abstract class includes all of its subclasses.

    Parameters
    ----------
    losses, regularizers : tuple of type, default all
        The classes of supported losses and regularisers.
    unobserved_weight, nonnegative, biases, centers : bool, default True
        Whether objectives with a positive ``unobserved_weight``, with ``nonnegative=True``, with
        ``biases=True`` or with centers of `L2` are supported.

    Examples
    --------
    >>> from twofold import Objective
    >>> Support(unobserved_weight=False).missing(Objective(unobserved_weight=0.1))
    'unobserved_weight=0.1 (only 0)'
    """

    losses: tuple[type[Loss], ...] = (Loss,)
    regularizers: tuple[type[Regularizer], ...] = (Regularizer,)
    unobserved_weight: bool = True
    nonnegative: bool = True
    biases: bool = True
    centers: bool = True

    def missing(self, objective: Terms) -> str:
        """Return the first unsupported part of the objective, or an empty string.

        Parameters
        ----------
        objective : Objective
            The objective to check.

        Returns
        -------
        str
            The part as in an error message.
        """
        if not _is_supported(objective.loss, self.losses):
            return f"the loss {type(objective.loss).__name__}"
        if not _is_supported(objective.regularizer, self.regularizers):
            return f"the regularizer {type(objective.regularizer).__name__}"
        if objective.unobserved_weight and not self.unobserved_weight:
            return f"unobserved_weight={objective.unobserved_weight:g} (only 0)"
        if objective.nonnegative and not self.nonnegative:
            return "nonnegative=True"
        if objective.biases and not self.biases:
            return "biases=True"
        if objective.has_centers and not self.centers:
            return "row_center and col_center of the regularizer"
        return ""


def _warn_of_ignored_values(objective: Objective, matrix: Any) -> None:
    """Warn that stored values have no effect."""
    if objective.data != "ones":
        return
    csr, _ = as_csr(matrix)
    values = csr.data[: csr.nnz]
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    if low < high:
        warn(
            f"the stored values, which are between {low:g} and {high:g}, are ignored: the "
            'objective has data="ones". Give it data="targets" (ratings), data="weights" (counts, '
            "confidences), or store ones",
            IgnoredValuesWarning,
        )


def _is_supported(value: object, types: tuple[type, ...]) -> bool:
    # A subclass of a concrete class may have another formula, so it does not match.
    return any(
        type(value) is cls or (inspect.isabstract(cls) and isinstance(value, cls)) for cls in types
    )


@dataclass(kw_only=True)
class Solver(ABC):
    """Base class of all solvers. The parameters are validated by `solve`.

    Parameters
    ----------
    n_factors : int, default 64
        Rank of the factorisation, >= 1.
    max_epochs : int, default 15
        Maximum number of epochs, >= 0.
    tol : float, default 0.0
        The solver stops when the objective is expected to decrease by no more than ``tol`` of
        itself. With the last three decreases between evaluations, d_1, d_2 and d_3, this is the
        larger of d_3 q / (1 - q), the rest of a geometric sequence with
        q = max(d_2 / d_1, d_3 / d_2), and n / 2 times the last decrease of an epoch, the rest of a
        sequence that converges as 1 / n^2 with the epoch n. Four evaluations are needed, and a
        value that does not decrease any more counts as 0. It is an estimate, not a bound. With
        ``tol=0``, all epochs are run.
    patience : int, default 1
        Number of consecutive evaluations with an estimate within ``tol`` before stopping, >= 1.
    rng : int, numpy.random.Generator or None, default None
        Seed of all random numbers. None draws a new seed from the operating system.
    n_threads : int or None, default None
        Number of threads; None uses all available ones. The result is bitwise independent of it.
    dtype : {"float32", "float64"}, default "float32"
        Type of the factors. The objective is always evaluated in float64.
    init : {"spectral", "random"}, default "spectral"
        Initial factors: the leading singular vectors of the data, or random numbers. They are
        random, too, without any stored value other than 0, and with centers of `L2`, which singular
        vectors have nothing to do with. The spectral ones are

            P = c^1/2 D_row^1/4 U S^1/2,   Q = c^1/2 D_col^1/4 V S^1/2

        for the truncated singular value decomposition U S V' of D_row^-1/4 B D_col^-1/4, where B
        has the entries w r, D the sums of the weights of each row and column, and c minimises the
        squared loss and the unobserved term. It is computed by a randomised method (Halko,
        Martinsson & Tropp 2011, section 4.5, with two power iterations).
    init_scale : float, default 1.0
        The random initial factors are normally distributed with standard deviation
        init_scale / sqrt(n_factors), and equal for all solvers with the same seed and scale. With
        ``unobserved_weight`` > 0, the literature uses 0.1 (Rendle et al. 2021, section 3).
    evaluate_every : int, default 1
        Epochs between evaluations of the objective, >= 1. The last epoch is always evaluated.
    progress : bool, default False
        Show a progress bar.

    Examples
    --------
    >>> from scipy import sparse
    >>> from twofold import L2, Objective
    >>> from twofold.solvers import ALS
    >>> solver = ALS(n_factors=2, max_epochs=3, rng=0)
    >>> isinstance(solver, Solver), solver.n_factors
    (True, 2)
    >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
    >>> solver.solve(Objective(regularizer=L2(0.1)), R).n_epochs
    3
    """

    n_factors: int = 64
    max_epochs: int = 15
    tol: float = 0.0
    patience: int = 1
    rng: int | np.random.Generator | None = None
    n_threads: int | None = None
    dtype: Literal["float32", "float64"] = "float32"
    init: Literal["spectral", "random"] = "spectral"
    init_scale: float = 1.0
    evaluate_every: int = 1
    progress: bool = False

    supports: ClassVar[Support] = Support()
    reads_partitions: ClassVar[bool] = False
    """Whether `solve` accepts pairings that are not in this process instead of a matrix."""

    def working_problem(self, problem: Problem, resumed: Solution | None) -> Problem:
        """Return the problem that is solved in place of the given one, which it is by default.

        Its `Problem.original_factors` are those of the solution. It is called for the spectral
        start, and to continue a solution.

        Parameters
        ----------
        problem : Problem
            The objective with the matrix.
        resumed : Solution or None
            The solution that is continued.

        Returns
        -------
        Problem

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold.solvers import GD
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> GD(n_factors=2).working_problem(problem, None) is problem
        True
        """
        return problem

    def new_memory(self, problem: Problem, point: Point) -> Any:
        """Return the initial memory of a run: a frozen dataclass of arrays and numbers.

        Its fields, shapes and dtypes must not change during the run.

        Parameters
        ----------
        problem : Problem
            The objective with the matrix.
        point : Point
            The initial factors.
        """
        return None

    def on_one_machine(self) -> "Solver":
        """Return the solver that has the same result in one process, by default this one.

        Model files have it, so that they are read without a cluster.

        Returns
        -------
        Solver

        Examples
        --------
        >>> from twofold.solvers import ALS
        >>> solver = ALS(n_factors=2)
        >>> solver.on_one_machine() is solver
        True
        """
        return self

    def array_memory(self) -> AbstractContextManager[None]:
        """Return the context in which a run makes its arrays; by default it has no effect.

        Returns
        -------
        context manager

        Examples
        --------
        >>> from twofold.solvers import GD
        >>> with GD(n_factors=2).array_memory():
        ...     factors = np.zeros((3, 2))
        ...
        """
        return nullcontext()

    @property
    def saves_partial_epochs(self) -> bool:
        """Whether `step` uses ``state.partial``, which a run with a checkpoint sets then."""
        return False

    def prepare(self, problem: Problem, state: State) -> State:
        """Return the state with the workspace that `step` needs.

        Parameters
        ----------
        problem : Problem
            The objective with the matrix.
        state : State
            The state before an epoch.

        Returns
        -------
        State
        """
        return state

    @abstractmethod
    def step(self, problem: Problem, state: State) -> State:
        """Run one epoch; return a new state from `State.moved`.

        Parameters
        ----------
        problem : Problem
            The objective with the matrix.
        state : State
            The state before the epoch.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold.solvers import GD
        >>> solver, seed = GD(n_factors=1), 7
        >>> problem = Problem.of(Objective(), sparse.csr_array([[1, 1, 0], [0, 1, 1]]))
        >>> point = problem.evaluated(Point.of(np.ones((2, 1)), np.full((3, 1), 0.5)))
        >>> state = State(point, 0, seed, memory=solver.new_memory(problem, point))
        >>> state = solver.step(problem, solver.prepare(problem, state))
        >>> problem.evaluated(state.point).value.total < point.value.total
        True
        """

    def validate(self, objective: Objective) -> None:
        """Check hyper-parameters and objective; subclasses extend it.

        Parameters
        ----------
        objective : Objective
            The objective to minimise.

        Raises
        ------
        InvalidInputError
            If a hyper-parameter is out of range.
        UnsupportedObjectiveError
            If this solver cannot minimise the objective.

        Examples
        --------
        >>> from twofold import HuberLoss
        >>> from twofold.solvers import ALS
        >>> ALS(n_factors=2).validate(Objective())
        >>> try:
        ...     ALS(n_factors=2).validate(Objective(HuberLoss()))
        ... except UnsupportedObjectiveError as error:
        ...     print(error)
        ...
        ALS does not support the loss HuberLoss: use GD or SGD
        """
        check_whole(self.n_factors, "n_factors", 1)
        check_whole(self.max_epochs, "max_epochs", 0)
        check_whole(self.patience, "patience", 1)
        check_whole(self.evaluate_every, "evaluate_every", 1)
        check_real(self.tol, "tol", minimum=0.0)
        check_real(self.init_scale, "init_scale", above=0.0)
        check_n_threads(self.n_threads)
        check_choice(self.dtype, "dtype", ("float32", "float64"))
        check_choice(self.init, "init", ("spectral", "random"))
        check_flags(progress=self.progress)
        missing = self.supports.missing(objective)
        if missing:
            alternatives = [
                other.__name__
                for other in Solver.__subclasses__()
                if other.__module__.startswith("twofold.") and not other.supports.missing(objective)
            ]
            advice = (
                f"use {' or '.join(alternatives)}" if alternatives else "no built-in solver does"
            )
            raise UnsupportedObjectiveError(
                f"{type(self).__name__} does not support {missing}: {advice}"
            )

    def solve(
        self,
        objective: Objective,
        matrix: Any,
        init: Init = None,
        callback: Callback | None = None,
        *,
        weights: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        on_interrupt: OnInterrupt = "raise",
    ) -> Solution:
        """Minimise the objective.

        Parameters
        ----------
        objective : Objective
            The objective to minimise.
        matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
            The stored entries; not modified.
        init : tuple (P, Q) or Solution, optional
            Initial factors. A `Solution` of the same problem and solver is continued, up to
            ``max_epochs`` epochs in total, with the same result as without the interruption. If
            the objective, the data or a parameter of the solver differs, a new run starts from its
            factors, which the message of the result states. By default, the factors are drawn from
            ``rng``, except that rows and columns without entries start at zero, their solution.
            With ``Objective(biases=True)`` the columns are P^ and Q^ of `Objective`, and biases
            start at 0 and mu. Centers of `L2` are added to what is drawn.
        callback : callable, optional
            Called as ``callback(epoch, solution_so_far)`` after each evaluation, including that of
            the initial factors as epoch 0. The solver stops if it returns a true value.
        weights : scipy sparse matrix, or array_like of shape (n_entries,), optional
            A weight >= 0 for each stored entry, for ``data="ones"`` and ``"targets"``: a matrix of
            the same entries, or numbers in the order of the entries of ``matrix.tocsr()``.
        checkpoint : str or path-like, optional
            File to which the solution is saved after each evaluation. After a crash or an
            interrupt, continue with ``init=Solution.load(checkpoint)`` and the same file.
        on_interrupt : {"raise", "keep"}, default "raise"
            Effect of Ctrl-C during the epochs. With "keep", it ends the run instead of raising
            KeyboardInterrupt: the solution has the factors of the last epoch that has finished,
            and ``Status.INTERRUPTED``. Given as ``init=``, it is continued as a checkpoint is.

        Returns
        -------
        Solution
            The result, also after a divergence; see its status.

        Raises
        ------
        InvalidInputError
            If a hyper-parameter, a stored value, a shape or an initial factor is invalid.
        UnsupportedObjectiveError
            If this solver cannot minimise the objective.

        Warns
        -----
        CheckpointWarning
            If a checkpoint after the first one cannot be written.
        DivergenceWarning
            If the run diverged; the solution has the last finite factors.
        IgnoredValuesWarning
            If stored values differ from each other, but the objective has ``data="ones"``.
        """
        self.validate(objective)
        check_choice(on_interrupt, "on_interrupt", ("raise", "keep"))
        if callback is not None and not callable(callback):
            raise InvalidInputError(
                f"callback is a {type(callback).__name__}: give a function of the epoch and the "
                "solution"
            )
        with self.array_memory():
            solution = self._solution(
                objective, matrix, init, callback, weights, checkpoint, on_interrupt
            )
        if solution.status is Status.DIVERGED:
            warn(solution.message, DivergenceWarning)
        return solution

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
        """Return the result of `solve` for checked hyper-parameters."""
        original = self._problem(objective, matrix, weights)
        fingerprint = self._fingerprint(original)
        note, seconds = "", 0.0
        history: list[Record] = []
        factors = None
        if isinstance(init, Solution) and init.fingerprint == fingerprint:
            factors = self._checked_factors(original, init)
            problem = self.working_problem(original, init)
            state, history = self._resumed_state(problem, problem.restricted(*factors), init)
        else:
            if isinstance(init, Solution):
                note = "The run started from the factors of another problem or solver."
                init = (init.row_factors, init.col_factors)
            (problem, state), seconds = timed(self._initial_state, original, init)
        run = Run(
            self, problem, state, history, callback, checkpoint, fingerprint, note, seconds,
            on_interrupt,
        )  # fmt: skip
        # The run releases the initial factors after the first epoch. The original problem has the
        # entries of a merged one once more.
        del original, state, factors
        return run.run()

    def _problem(self, objective: Objective, matrix: Any, weights: Any) -> Problem:
        """Return the problem of the arguments of `solve`."""
        problem = Problem.of(objective, matrix, weights)
        _warn_of_ignored_values(objective, matrix)
        return problem

    def _fingerprint(self, problem: Problem) -> str:
        """Return a hash of the problem and of the parameters that affect an epoch."""
        irrelevant = {
            "max_epochs", "tol", "patience", "rng", "n_threads", "init", "init_scale",
            "evaluate_every", "progress", "array_folder",
        }  # fmt: skip
        parameters = {
            one.name: getattr(self, one.name) for one in fields(self) if one.name not in irrelevant
        }
        solver_name = f"{type(self).__module__}.{type(self).__qualname__}"
        text = f"{solver_name} {sorted(parameters.items())!r} {problem.fingerprint}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _initial_state(self, problem: Problem, init: Init) -> tuple[Problem, State]:
        """Return the problem to solve and the initial state of a new run."""
        seed = seed_of(self.rng)
        if init is None:
            problem, factors = self._new_factors(problem, seed)
            P, Q = problem.around_centers(*factors)
        else:
            P, Q = self._checked_factors(problem, init)
        if problem.objective.nonnegative:
            P, Q = np.abs(P, out=P), np.abs(Q, out=Q)  # They are not the caller's.
        point = Point.of(P, Q)
        if init is None:
            point = without_empty_rows(problem, point)
        return problem, State(point, 0, seed, self.new_memory(problem, point))

    def _new_factors(
        self, original: Problem, seed: int
    ) -> tuple[Problem, tuple[NDArray[Any], NDArray[Any]]]:
        """Return the problem to solve and the factors of ``init``, computed in float32."""
        problem, found = original, None
        k = int(self.n_factors)  # Multiples of a small integer of numpy may be beyond its range.
        if self.init == "spectral" and not original.objective.has_centers:
            problem = self.working_problem(original, None)
            n_columns = k + original.objective.n_bias_columns
            operations = Operations(problem, n_columns, self.n_threads)
            found = spectral_factors(operations, k, seed)
        if found is None:
            problem = original
            found = random_factors(problem, k, self.init_scale, seed)
        P, Q = (
            factors
            if factors.dtype == self.dtype and factors.shape[1] == k
            else aligned_copy(factors[:, :k], self.dtype)
            for factors in found
        )
        return problem, (P, Q)

    def _resumed_state(
        self, problem: Problem, factors: tuple[NDArray[Any], NDArray[Any]], init: Solution
    ) -> tuple[State, list[Record]]:
        """Return the state and the history of a solution of the same problem."""
        point = with_rounded_value(Point.of(*factors), init.memory)
        memory = restored_memory(self.new_memory(problem, point), init.memory)
        history = [record for record in init.history if record.epoch <= init.n_epochs]
        return State(point, init.n_epochs, init.seed, memory), history

    def _checked_factors(
        self, problem: Problem, init: tuple[Any, Any] | Solution
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return copies of the given factors after checking them."""
        if isinstance(init, Solution):
            init = (init.row_factors, init.col_factors)
        try:
            P, Q = (np.asarray(factors) for factors in init)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"init is a {type(init).__name__}: give a tuple (P, Q) or a Solution"
            ) from error
        problem.check_factors(P, Q, "initial ")
        n_bias_columns = problem.objective.n_bias_columns
        if P.shape[1] != self.n_factors + n_bias_columns:
            found = f"rank {P.shape[1] - n_bias_columns}"
            if n_bias_columns:
                found = f"{P.shape[1]} columns, two of which are those of the biases"
            raise InvalidInputError(
                f"the initial factors have {found}, but n_factors is {self.n_factors}: "
                "they must be equal"
            )
        with np.errstate(over="ignore"):
            P, Q = (aligned_copy(factors, self.dtype) for factors in (P, Q))
        problem.check_factors(P, Q, f"in {self.dtype}, initial ")
        return P, Q
