"""Requirements for every solver, one function each; `check_solver` runs all of `_CHECKS`."""

import inspect
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from twofold.exceptions import (
    DivergenceWarning,
    IgnoredValuesWarning,
    InvalidInputError,
    UnsupportedObjectiveError,
)
from twofold.objective import Objective
from twofold.solvers import Solution, Solver, Status
from twofold.testing import reference
from twofold.testing._algebra import ALGEBRA_CHECKS
from twofold.testing._formula_checks import check_loss, check_regularizer, require
from twofold.testing._subject import (
    EPOCHS,
    OBJECTIVES,
    RANK,
    SEED,
    SHAPE,
    Factors,
    Subject,
    equal,
    random_init,
    random_matrix,
)

__all__ = ["check_loss", "check_regularizer", "check_solver"]

_GLOSSARY = ("n_factors", "max_epochs", "tol", "rng", "n_threads", "dtype")
_SYNONYMS = {
    **dict.fromkeys(("rank", "factors", "num_factors", "n_components"), "n_factors"),
    **dict.fromkeys(("epochs", "iterations", "n_epochs", "n_iter", "max_iter"), "max_epochs"),
    **dict.fromkeys(("lr", "alpha", "eta", "step_size", "rate"), "learning_rate"),
    **dict.fromkeys(("seed", "random_state"), "rng"),
    **dict.fromkeys(("threads", "num_threads", "n_jobs"), "n_threads"),
    **dict.fromkeys(("lam", "reg", "regularization"), "a regularizer in the objective"),
}


def check_solver(
    solver_class: type[Solver], *, epochs: int = 6, stationary: bool = False, **parameters: Any
) -> None:
    """Run the contract tests that every built-in and custom solver must pass.

    Parameters
    ----------
    solver_class : type
        A concrete subclass of `Solver`. It is tested with up to ten objectives, according to
        its `supports`, on matrices of shape (20, 15) and one of shape (2000, 1500).
    epochs : int, default 6
        Number of epochs after which the objective must be lower.
    stationary : bool, default False
        Also require that after ``epochs`` epochs the gradient norm of every smooth objective is
        below 1e-4 of its initial value.
    **parameters
        Arguments of the constructor, if the defaults are unsuitable for small problems.

    Raises
    ------
    AssertionError
        If a requirement is violated.

    Examples
    --------
    >>> from twofold.solvers import SGD
    >>> check_solver(SGD)
    """
    require(
        isinstance(solver_class, type) and issubclass(solver_class, Solver),
        f"{solver_class!r} is not a subclass of twofold.solvers.Solver",
    )
    subject = Subject(solver_class, parameters, epochs, stationary)
    subject.require(subject.objectives, "supports none of the objectives of this suite")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # the checks read the status
        warnings.simplefilter("ignore", IgnoredValuesWarning)  # matrices have values on purpose
        for check in _CHECKS:
            check(subject)


def _check_constructor(s: Subject) -> None:
    """Parameters are keyword-only, named as in the glossary, and stored without validation."""
    s.require(is_dataclass(s.solver_class), "must be a dataclass(kw_only=True)")
    signature = inspect.signature(s.solver_class).parameters
    for name, parameter in signature.items():
        s.require(
            parameter.kind is parameter.KEYWORD_ONLY, f"the parameter {name} must be keyword-only"
        )
        s.require(name not in _SYNONYMS, f"rename the parameter {name} to {_SYNONYMS.get(name)}")
    for name in _GLOSSARY:
        s.require(name in signature, f"the parameter {name} is missing")
    sentinel = object()
    try:
        stored = [getattr(s.make(**{name: sentinel}), name) for name in signature]
    except Exception as error:
        raise AssertionError(
            f"{s.name}: the constructor must not validate its arguments: {error}"
        ) from error
    s.require(
        all(value is sentinel for value in stored), "the constructor must store its arguments"
    )
    solver = s.make()
    before = dict(vars(solver))
    solver.solve(s.objectives[0], random_matrix(s.objectives[0]))
    s.require(vars(solver) == before, "solve changes attributes of the solver")


def _check_history(s: Subject) -> None:
    """Require the objective of the factors in records, its decrease, and its vanishing gradient."""
    for objective in s.objectives:
        matrix, init = random_matrix(objective), random_init(objective)
        solution = s.solve(objective, matrix, init, max_epochs=s.epochs, dtype="float64")
        first, last = solution.history[0], solution.history[-1]
        factors = (solution.row_factors, solution.col_factors)
        for record, at in ((first, init), (last, factors)):
            for part, expected in reference.value(objective, matrix, *at).items():
                s.require(
                    abs(getattr(record, part) - expected) <= 1e-9 * (1.0 + abs(expected)),
                    f"the {part} in the history at epoch {record.epoch} is "
                    f"{getattr(record, part)}, but that of the factors is {expected} ({objective})",
                )
        s.require(
            solution.status is Status.MAX_EPOCHS and last.total < first.total,
            f"the objective did not decrease: {first.total} to {last.total} ({objective}); "
            f"{solution.message}",
        )
        seconds = [record.seconds for record in solution.history]
        s.require(seconds == sorted(seconds), "the seconds in the history decrease")
        s.require(
            (solution.solver, solution.n_epochs, solution.seed) == (s.name, s.epochs, SEED)
            and last.epoch == s.epochs,
            f"the solution's solver, n_epochs or seed is wrong: {solution!r}",
        )
        if s.stationary and objective.regularizer.smooth:
            at_start, at_end = (
                np.linalg.norm(np.concatenate(reference.gradient(objective, matrix, *at)))
                for at in (init, factors)
            )
            s.require(
                at_end <= 1e-4 * at_start,
                f"after {s.epochs} epochs the gradient norm is {at_end / at_start:.1e} of its "
                f"initial value ({objective})",
            )


def _check_constant_columns(s: Subject) -> None:
    """With biases, the columns of ones in both factors do not change."""
    for objective in s.objectives:
        if objective.biases:
            solution = s.solve(objective, random_matrix(objective), random_init(objective))
            ones = solution.row_factors[:, RANK + 1], solution.col_factors[:, RANK]
            s.require(
                all((column == 1.0).all() for column in ones),
                f"`step` changes the columns of ones ({objective}): their gradient is 0",
            )


def _check_unsupported_objectives(s: Subject) -> None:
    """Objectives that are not in `supports` raise UnsupportedObjectiveError."""
    for objective in OBJECTIVES:
        if s.solver_class.supports.missing(objective):
            with s.raises(UnsupportedObjectiveError, f"solving {objective}"):
                s.solve(objective)


def _check_empty_rows_and_columns(s: Subject) -> None:
    """Factors are finite for empty rows and columns and for an empty matrix."""
    for objective in s.objectives:
        sparser = random_matrix(objective).tolil()
        sparser[[0, 7, SHAPE[0] - 1], :] = 0
        sparser[:, [0, 4, SHAPE[1] - 1]] = 0
        for matrix in (sparser.tocsr(), sparse.csr_array(SHAPE)):
            solution = s.solve(objective, matrix)
            finite = all(np.isfinite(f).all() for f in (solution.row_factors, solution.col_factors))
            s.require(
                finite and solution.status is not Status.DIVERGED,
                f"factors are not finite with empty rows or columns ({objective})",
            )


def _check_repeated_entries(s: Subject) -> None:
    """In the reported objective, entries that are stored twice equal entries of weight 2."""
    weighted = random_matrix(Objective())
    weighted.data = np.where(np.arange(weighted.nnz) % 3 == 0, 2.0, 1.0)
    coo = weighted.tocoo()
    times = coo.data.astype(int)
    at = (coo.row.repeat(times), coo.col.repeat(times))
    repeated = sparse.coo_array((np.ones(at[0].size), at), shape=SHAPE)
    for objective in s.objectives:
        if objective.data == "ones":
            solution = s.solve(objective, repeated, dtype="float64")
            with_weights = Objective(
                objective.loss, objective.regularizer, data="weights",
                unobserved_weight=objective.unobserved_weight, unobserved=objective.unobserved,
            )  # fmt: skip
            expected = reference.value(
                with_weights, weighted, solution.row_factors, solution.col_factors
            )
            s.require(
                abs(solution.objective_value - expected["total"]) <= 1e-9 * expected["total"],
                f"repeated entries do not equal entries of weight 2 ({objective})",
            )


def _check_dtype(s: Subject) -> None:
    """Factors have the dtype of the solver, for every dtype and format of the matrix."""
    objective = s.objectives[0]
    for dtype in ("float32", "float64"):
        for matrix in (
            random_matrix(objective),
            abs(random_matrix(objective)).astype(np.int64).tocsc(),
        ):
            solution = s.solve(objective, matrix, dtype=dtype)
            for factors, n in zip((solution.row_factors, solution.col_factors), SHAPE, strict=True):
                s.require(
                    factors.dtype == dtype and factors.shape == (n, RANK),
                    f"dtype={dtype!r} results in {factors.dtype} factors of shape {factors.shape}",
                )


def _check_seed(s: Subject) -> None:
    """Results are bitwise equal for equal seeds, and differ for another seed."""
    for objective in s.objectives:
        one, again = s.solve(objective), s.solve(objective)
        s.require(equal(one, again), f"factors differ for the same rng ({objective})")
        other = s.solve(objective, rng=SEED + 1)
        s.require(not equal(one, other), f"factors are the same for another rng ({objective})")
    from_generator = [s.solve(s.objectives[0], rng=np.random.default_rng(3)) for _ in range(2)]
    s.require(equal(*from_generator), "factors differ for equal generators")


def _check_threads(s: Subject) -> None:
    """Results are bitwise equal for one and two threads, for small and large problems."""
    for objective in s.objectives:
        one, two = (s.solve(objective, n_threads=n) for n in (1, 2))
        s.require(equal(one, two), f"n_threads changes the factors ({objective})")
        same_history = [r.total for r in one.history] == [r.total for r in two.history]
        s.require(same_history, f"n_threads changes the history ({objective})")
    rng = np.random.default_rng(5)
    at = (rng.integers(2000, size=60_000), rng.integers(1500, size=60_000))
    large = sparse.coo_array((np.ones(60_000), at), shape=(2000, 1500)).tocsr()
    one, two = (s.solve(s.objectives[0], large, n_threads=n, max_epochs=2) for n in (1, 2))
    s.require(equal(one, two), "n_threads changes the factors of a large problem")


def _check_arguments_are_unchanged(s: Subject) -> None:
    """Matrix and initial factors are not modified or shared and may be read-only."""
    for objective in s.objectives:
        for writeable in (True, False):
            matrix, init = random_matrix(objective), random_init(objective)
            arrays = (matrix.data, matrix.indices, matrix.indptr, *init)
            before = [array.copy() for array in arrays]
            for array in arrays:
                array.flags.writeable = writeable
            try:
                solution = s.solve(objective, matrix, init, dtype="float64")
            except ValueError as error:
                raise AssertionError(f"{s.name}: read-only arrays raise: {error}") from error
            s.require(
                all(map(np.array_equal, arrays, before)),
                f"solve modifies the matrix or the initial factors ({objective})",
            )
            s.require(
                not np.shares_memory(solution.row_factors, init[0])
                and not np.shares_memory(solution.col_factors, init[1]),
                "the solution shares memory with the initial factors",
            )


def _check_continuation(s: Subject) -> None:
    """3 epochs and, from that solution or its file, 3 more are bitwise equal to 6 epochs."""
    for objective in s.objectives:
        full, first_half = s.solve(objective), s.solve(objective, max_epochs=EPOCHS // 2)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "half.twofold"
            first_half.save(path)
            inits = {"a solution": first_half, "a saved solution": Solution.load(path)}
        for name, init in inits.items():
            # The seed is that of the solution, not of the second solver.
            resumed = s.solve(objective, init=init, rng=None)
            s.require(
                equal(full, resumed)
                and [r.total for r in full.history] == [r.total for r in resumed.history],
                f"continuing from {name} differs from an uninterrupted run ({objective}): "
                "`step` must store its state in State.memory",
            )


def _check_callback(s: Subject) -> None:
    """Callbacks receive each epoch and an immutable solution; a true return value stops."""
    calls: list[tuple[int, Solution, Factors]] = []

    def callback(epoch: int, so_far: Solution) -> bool:
        calls.append((epoch, so_far, (so_far.row_factors.copy(), so_far.col_factors.copy())))
        return epoch == 2

    objective = s.objectives[0]
    stopped = s.make().solve(objective, random_matrix(objective), callback=callback)
    s.require(
        [epoch for epoch, _, _ in calls] == [0, 1, 2],
        "the callback was not called for the epochs 0, 1, 2",
    )
    s.require(
        stopped.status is Status.STOPPED and stopped.n_epochs == 2,
        f"a true return value of the callback at epoch 2 did not stop the run: {stopped!r}",
    )
    for epoch, so_far, (P, Q) in calls:
        s.require(
            np.array_equal(so_far.row_factors, P) and np.array_equal(so_far.col_factors, Q),
            f"`step` modifies the factors of epoch {epoch}: it must return new arrays",
        )


def _check_invalid_input(s: Subject) -> None:
    """Invalid hyper-parameters, shapes and numbers raise InvalidInputError."""
    objective = s.objectives[0]
    for change in (
        {"n_factors": 0}, {"n_factors": 2.5}, {"max_epochs": -1}, {"tol": -1.0}, {"tol": np.nan},
        {"n_threads": 0}, {"dtype": "float16"}, {"rng": -1}, {"rng": "seven"},
    ):  # fmt: skip
        with s.raises(InvalidInputError, f"{change}"):
            s.solve(objective, **change)
    P, Q = random_init(objective)
    for name, init in {
        "an initial NaN": (np.where(P[4, 1] == P, np.nan, P), Q),
        "initial factors in the wrong order": (Q, P),
        "initial factors of another rank": (P[:, :2], Q[:, :2]),
        "initial factors of two ranks": (P, Q[:, :2]),
        "an init that is not a pair": 3,
    }.items():
        with s.raises(InvalidInputError, name):
            s.solve(objective, init=init)
    with s.raises(InvalidInputError, "a dense matrix"):
        s.solve(objective, np.ones(SHAPE))


def _check_zero_epochs(s: Subject) -> None:
    """``max_epochs=0`` evaluates the initial factors and returns them."""
    init = random_init(s.objectives[0])
    solution = s.solve(s.objectives[0], init=init, max_epochs=0, dtype="float64")
    s.require(
        np.array_equal(solution.row_factors, init[0])
        and np.array_equal(solution.col_factors, init[1])
        and len(solution.history) == 1,
        "max_epochs=0 does not return the initial factors",
    )


_CHECKS: tuple[Callable[[Subject], None], ...] = (
    _check_constructor,
    _check_history,
    _check_unsupported_objectives,
    _check_empty_rows_and_columns,
    _check_repeated_entries,
    _check_dtype,
    _check_seed,
    _check_threads,
    _check_arguments_are_unchanged,
    _check_constant_columns,
    _check_continuation,
    _check_callback,
    _check_invalid_input,
    _check_zero_epochs,
    *ALGEBRA_CHECKS,
)
