"""What every solver promises, one function for each promise.

`check_solver` runs them all; read `_PROMISES` for the list.
"""

import inspect
import tempfile
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from twofold.exceptions import InvalidInputError, UnsupportedObjectiveError
from twofold.objective import Objective
from twofold.solvers import Solution, Solver, Status
from twofold.testing import reference
from twofold.testing._algebra import ALGEBRA_PROMISES
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
    """Run the contract suite that every solver, ours and a stranger's, has to pass.

    Parameters
    ----------
    solver_class : type
        A concrete subclass of `Solver`. It is tried on those of eight objectives that its
        `supports` allows, on matrices of 20 x 15 and one of 2000 x 1500.
    epochs : int, default 6
        Epochs after which the objective must be lower.
    stationary : bool, default False
        Demand that then every smooth objective has a gradient below 1e-4 of the one at the start.
        For solvers that converge, with enough ``epochs``.
    **parameters
        For the constructor, where the defaults do not suit such small problems.

    Raises
    ------
    AssertionError
        Naming the solver and the promise that is broken.
    """
    require(
        isinstance(solver_class, type) and issubclass(solver_class, Solver),
        f"{solver_class!r} is not a subclass of twofold.solvers.Solver",
    )
    subject = Subject(solver_class, parameters, epochs, stationary)
    subject.require(subject.objectives, "supports none of the objectives of this suite")
    for promise in _PROMISES:
        promise(subject)


def _constructor_stores(s: Subject) -> None:
    """Parameters are keywords, named as in the glossary; the constructor stores them unchecked."""
    s.require(is_dataclass(s.solver_class), "must be a dataclass(kw_only=True)")
    taken = inspect.signature(s.solver_class).parameters
    for name, parameter in taken.items():
        s.require(
            parameter.kind is parameter.KEYWORD_ONLY, f"the parameter {name} must be keyword-only"
        )
        s.require(name not in _SYNONYMS, f"call the parameter {name} {_SYNONYMS.get(name)}")
    for name in _GLOSSARY:
        s.require(name in taken, f"the parameter {name} is missing")
    odd = object()
    try:
        stored = [getattr(s.make(**{name: odd}), name) for name in taken]
    except Exception as error:
        raise AssertionError(
            f"{s.name}: the constructor must only store, not check: {error}"
        ) from error
    s.require(all(value is odd for value in stored), "the constructor must store what it is given")
    solver = s.make()
    before = dict(vars(solver))
    solver.solve(s.objectives[0], random_matrix(s.objectives[0]))
    s.require(vars(solver) == before, "solve changes the solver's own attributes")


def _history_tells_the_objective(s: Subject) -> None:
    """Every record is F at that epoch's factors, by dense float64 numpy; and F falls."""
    for objective in s.objectives:
        matrix, init = random_matrix(objective), random_init()
        solution = s.solve(objective, matrix, init, max_epochs=s.epochs, dtype="float64")
        first, last = solution.history[0], solution.history[-1]
        factors = (solution.row_factors, solution.col_factors)
        for record, at in ((first, init), (last, factors)):
            expected = reference.value(objective, matrix, *at)
            for part, right in expected.items():
                s.require(
                    abs(getattr(record, part) - right) <= 1e-9 * (1.0 + abs(right)),
                    f"the history's {part} at epoch {record.epoch} is {getattr(record, part)}, but "
                    f"that of the factors is {right} ({objective})",
                )
        s.require(
            solution.status is Status.MAX_EPOCHS and last.total < first.total,
            f"the objective did not fall: {first.total} to {last.total} ({objective}); "
            f"{solution.message}",
        )
        seconds = [record.seconds for record in solution.history]
        s.require(seconds == sorted(seconds), "the history's seconds go backwards")
        s.require(
            (solution.solver, solution.n_epochs, solution.seed) == (s.name, s.epochs, SEED)
            and last.epoch == s.epochs,
            f"the solution's solver, n_epochs or seed is wrong: {solution!r}",
        )


def _unsupported_is_refused(s: Subject) -> None:
    """Objectives that `supports` does not allow raise UnsupportedObjectiveError."""
    for objective in OBJECTIVES:
        if s.solver_class.supports.missing(objective):
            with s.raises(UnsupportedObjectiveError, f"solving {objective}"):
                s.solve(objective)


def _empty_rows_and_columns(s: Subject) -> None:
    """Rows and columns without entries, and a matrix without any, give finite factors."""
    for objective in s.objectives:
        sparser = random_matrix(objective).tolil()
        sparser[[0, 7, SHAPE[0] - 1], :] = 0
        sparser[:, [0, 4, SHAPE[1] - 1]] = 0
        for matrix in (sparser.tocsr(), sparse.csr_array(SHAPE)):
            solution = s.solve(objective, matrix)
            finite = all(np.isfinite(f).all() for f in (solution.row_factors, solution.col_factors))
            s.require(
                finite and solution.status is not Status.DIVERGED,
                f"empty rows or columns give factors that are not finite ({objective})",
            )


def _twice_is_a_weight_of_two(s: Subject) -> None:
    """Entries that are stored twice are entries of weight 2, in the objective that is reported."""
    weighted = random_matrix(Objective())
    weighted.data = np.where(np.arange(weighted.nnz) % 3 == 0, 2.0, 1.0)
    coo = weighted.tocoo()
    times = coo.data.astype(int)
    at = (coo.row.repeat(times), coo.col.repeat(times))
    repeated = sparse.coo_array((np.ones(at[0].size), at), shape=SHAPE)
    for objective in s.objectives:
        if objective.data == "ones":
            solution = s.solve(objective, repeated, dtype="float64")
            same = Objective(
                objective.loss, objective.regularizer, data="weights",
                unobserved_weight=objective.unobserved_weight, unobserved=objective.unobserved,
            )  # fmt: skip
            right = reference.value(same, weighted, solution.row_factors, solution.col_factors)
            s.require(
                abs(solution.objective_value - right["total"]) <= 1e-9 * right["total"],
                f"repeated entries do not count as weights of 2 ({objective})",
            )


def _dtype_is_kept(s: Subject) -> None:
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
                    f"dtype={dtype!r} gives {factors.dtype} factors of shape {factors.shape}",
                )


def _seed_decides(s: Subject) -> None:
    """Equal seeds give equal bits, another one does not."""
    for objective in s.objectives:
        one, again = s.solve(objective), s.solve(objective)
        s.require(equal(one, again), f"the same rng gives other factors ({objective})")
        other = s.solve(objective, rng=SEED + 1)
        s.require(not equal(one, other), f"another rng gives the same factors ({objective})")
    from_generator = [s.solve(s.objectives[0], rng=np.random.default_rng(3)) for _ in range(2)]
    s.require(equal(*from_generator), "equal generators give different factors")


def _threads_do_not_matter(s: Subject) -> None:
    """One thread and two give the same bits, also where there is work for both."""
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


def _arguments_are_untouched(s: Subject) -> None:
    """Matrix and initial factors are not written to, may be read-only, and are not shared."""
    for objective in s.objectives:
        for writeable in (True, False):
            matrix, init = random_matrix(objective), random_init()
            arrays = (matrix.data, matrix.indices, matrix.indptr, *init)
            before = [array.copy() for array in arrays]
            for array in arrays:
                array.flags.writeable = writeable
            try:
                solution = s.solve(objective, matrix, init, dtype="float64")
            except ValueError as error:
                raise AssertionError(f"{s.name}: read-only arrays do not work: {error}") from error
            s.require(
                all(map(np.array_equal, arrays, before)),
                f"solve writes into the caller's matrix or initial factors ({objective})",
            )
            s.require(
                not np.shares_memory(solution.row_factors, init[0])
                and not np.shares_memory(solution.col_factors, init[1]),
                "the solution shares memory with the initial factors",
            )


def _continues_exactly(s: Subject) -> None:
    """3 epochs and, from that solution or its file, 3 more are the same bits as 6."""
    for objective in s.objectives:
        whole, half = s.solve(objective), s.solve(objective, max_epochs=EPOCHS // 2)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "half.twofold"
            half.save(path)
            halves = {"a solution": half, "a saved solution": Solution.load(path)}
        for what, init in halves.items():
            # Everything random comes from the solution, not from the solver that goes on.
            resumed = s.solve(objective, init=init, rng=None)
            s.require(
                equal(whole, resumed)
                and [r.total for r in whole.history] == [r.total for r in resumed.history],
                f"going on from {what} differs from not stopping ({objective}): what `step` needs "
                "belongs into the state's memory",
            )


def _callback_sees_and_stops(s: Subject) -> None:
    """Callbacks get each epoch and its solution, which then stays; a true answer stops."""
    seen: list[tuple[int, Solution, Factors]] = []

    def look(epoch: int, so_far: Solution) -> bool:
        seen.append((epoch, so_far, (so_far.row_factors.copy(), so_far.col_factors.copy())))
        return epoch == 2

    objective = s.objectives[0]
    stopped = s.make().solve(objective, random_matrix(objective), callback=look)
    s.require(
        [epoch for epoch, _, _ in seen] == [0, 1, 2], "the callback did not see epochs 0, 1, 2"
    )
    s.require(
        stopped.status is Status.STOPPED and stopped.n_epochs == 2,
        f"a true answer of the callback at epoch 2 did not stop it: {stopped!r}",
    )
    for epoch, so_far, (P, Q) in seen:
        s.require(
            np.array_equal(so_far.row_factors, P) and np.array_equal(so_far.col_factors, Q),
            f"`step` writes into the factors of epoch {epoch}: it must make new arrays",
        )


def _bad_input_is_refused(s: Subject) -> None:
    """Hyper-parameters, shapes and numbers that make no sense raise InvalidInputError."""
    objective = s.objectives[0]
    for change in (
        {"n_factors": 0}, {"n_factors": 2.5}, {"max_epochs": -1}, {"tol": -1.0}, {"tol": np.nan},
        {"n_threads": 0}, {"dtype": "float16"}, {"rng": -1}, {"rng": "seven"},
    ):  # fmt: skip
        with s.raises(InvalidInputError, f"{change}"):
            s.solve(objective, **change)
    P, Q = random_init()
    for what, init in {
        "an initial NaN": (np.where(P[4, 1] == P, np.nan, P), Q),
        "initial factors in the wrong order": (Q, P),
        "initial factors of another rank": (P[:, :2], Q[:, :2]),
        "initial factors of two ranks": (P, Q[:, :2]),
        "an init that is not a pair": 3,
    }.items():
        with s.raises(InvalidInputError, what):
            s.solve(objective, init=init)
    with s.raises(InvalidInputError, "a dense matrix"):
        s.solve(objective, np.ones(SHAPE))


def _zero_epochs_return_the_start(s: Subject) -> None:
    """``max_epochs=0`` evaluates the initial factors and returns them."""
    init = random_init()
    solution = s.solve(s.objectives[0], init=init, max_epochs=0, dtype="float64")
    s.require(
        np.array_equal(solution.row_factors, init[0])
        and np.array_equal(solution.col_factors, init[1])
        and len(solution.history) == 1,
        "max_epochs=0 does not return the initial factors",
    )


def _answer_is_stationary(s: Subject) -> None:
    """After ``epochs`` epochs the gradient is below 1e-4 of that at the start."""
    if not s.stationary:
        return
    for objective in s.objectives:
        if objective.regularizer.smooth:
            matrix, init = random_matrix(objective), random_init()
            solution = s.solve(objective, matrix, init, max_epochs=s.epochs, dtype="float64")
            end = (solution.row_factors, solution.col_factors)
            at_start, at_end = (
                np.linalg.norm(np.concatenate(reference.gradient(objective, matrix, *at)))
                for at in (init, end)
            )
            s.require(
                at_end <= 1e-4 * at_start,
                f"the gradient is {at_end / at_start:.1e} of the first after "
                f"{s.epochs} epochs ({objective})",
            )


_PROMISES: tuple[Callable[[Subject], None], ...] = (
    _constructor_stores,
    _history_tells_the_objective,
    _unsupported_is_refused,
    _empty_rows_and_columns,
    _twice_is_a_weight_of_two,
    _dtype_is_kept,
    _seed_decides,
    _threads_do_not_matter,
    _arguments_are_untouched,
    _continues_exactly,
    _callback_sees_and_stops,
    _bad_input_is_refused,
    _zero_epochs_return_the_start,
    _answer_is_stationary,
    *ALGEBRA_PROMISES,
)
