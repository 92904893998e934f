"""`State`: the state of a solver between two epochs."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twofold._common.arrays import FactorArray
from twofold._kernels.aligned import aligned_copy
from twofold.exceptions import InvalidInputError
from twofold.objective import ObjectiveValue, Point, Problem
from twofold.objective.centers import at_center_where_empty
from twofold.solvers.partial import PartialEpoch

__all__ = [
    "State",
    "memory_arrays",
    "random_stream",
    "restored_memory",
    "saved_memory",
    "with_rounded_value",
    "without_empty_rows",
]

_ROUNDED = "rounded_value"


@dataclass(frozen=True, eq=False)
class State:
    """State of a solver between two epochs.

    `Solver.step` returns a new state with new arrays and must not modify those of the old one.

    Parameters
    ----------
    point : Point
        The factors, with the objective if it was evaluated.
    epoch : int
        Number of completed epochs.
    seed : int
        Seed of all random numbers.
    memory : frozen dataclass of arrays and numbers, optional
        Further state that is needed to continue exactly; saved with a solution.
    workspace : optional
        Data that `Solver.prepare` can recompute; not saved.
    partial : PartialEpoch, optional
        File for what the next epoch has finished; see `Solver.saves_partial_epochs`.

    Examples
    --------
    >>> state = State(Point.of(np.ones((2, 1)), np.ones((3, 1))), epoch=0, seed=7)
    >>> state.moved(2.0 * state.row_factors, state.col_factors).row_factors.tolist()
    [[2.0], [2.0]]
    >>> state.epoch_rng().random() == state.epoch_rng().random()
    True
    """

    point: Point
    epoch: int
    seed: int
    memory: Any = None
    workspace: Any = None
    partial: PartialEpoch | None = None

    @property
    def row_factors(self) -> FactorArray:
        """P, shape (n_rows, n_factors)."""
        factors: FactorArray = self.point.row_factors
        return factors

    @property
    def col_factors(self) -> FactorArray:
        """Q, shape (n_cols, n_factors)."""
        factors: FactorArray = self.point.col_factors
        return factors

    def moved(
        self, row_factors: NDArray[Any], col_factors: NDArray[Any], *, memory: Any = None
    ) -> Self:
        """Return the state with new factors, and new memory if it is given.

        Parameters
        ----------
        row_factors, col_factors : ndarray, shape (n_rows, n_factors) and (n_cols, n_factors)
            The new factors, of the same dtype as the old ones.
        memory : optional
            The new memory.

        Returns
        -------
        State
            With the epoch of this state, which the loop of the solver increases.

        Raises
        ------
        InvalidInputError
            If a shape or dtype differs from that of the old factors.
        """
        for name, new, old in (
            ("row_factors", row_factors, self.point.rows),
            ("col_factors", col_factors, self.point.cols),
        ):
            expected = (old.shape[0], self.point.n_factors)
            if getattr(new, "shape", None) != expected or new.dtype != old.dtype:
                raise InvalidInputError(
                    f"a step returned {name} of shape {getattr(new, 'shape', None)} and dtype "
                    f"{getattr(new, 'dtype', None)}: they must stay {expected} and {old.dtype}"
                )
        return self.at(Point.of(row_factors, col_factors), memory=memory)

    def at(self, point: Point, *, memory: Any = None, workspace: Any = None) -> Self:
        """Return the state at another point, with new memory and workspace where given.

        Parameters
        ----------
        point : Point
            The new factors.
        memory, workspace : optional
            What replaces that of this state.

        Returns
        -------
        State

        Examples
        --------
        >>> state = State(Point.of(np.ones((2, 1)), np.ones((3, 1))), epoch=0, seed=7)
        >>> state.at(Point.of(np.zeros((2, 1)), np.zeros((3, 1)))).col_factors.tolist()
        [[0.0], [0.0], [0.0]]
        """
        return replace(
            self,
            point=point,
            memory=self.memory if memory is None else memory,
            workspace=self.workspace if workspace is None else workspace,
        )

    def epoch_rng(self) -> np.random.Generator:
        """Return the random generator of this epoch, which depends on seed and epoch only.

        Returns
        -------
        numpy.random.Generator
        """
        return random_stream(self.seed, 1, self.epoch)


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """Return an independent generator for each key, different from ``default_rng(seed)``."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def without_empty_rows(problem: Problem, point: Point) -> Point:
    """Return the point with the center of the penalty for rows and columns without entries.

    It is zero, apart from biases and centers, and the solution of these rows, apart from biases and
    centers with a0 > 0.
    """
    penalties = problem.penalties(point.n_factors)
    rows = at_center_where_empty(point.rows, problem.rows.counts, penalties.rows.center)
    cols = at_center_where_empty(point.cols, problem.col_margin.counts, penalties.cols.center)
    return replace(point, rows=rows, cols=cols, value=None, gramians=(None, None))


def saved_memory(state: State) -> dict[str, NDArray[Any]]:
    """Return the memory of a state, and the value it continues with, as a dict of arrays."""
    rounded = state.point.rounded
    value = {} if rounded is None else {_ROUNDED: rounded.terms}
    return memory_arrays(state.memory) | value


def with_rounded_value(point: Point, arrays: dict[str, NDArray[Any]]) -> Point:
    """Return the point with the value it continues with, if `saved_memory` has one."""
    if _ROUNDED not in arrays:
        return point
    value = ObjectiveValue(*np.asarray(arrays[_ROUNDED]).tolist())
    return replace(point, value=value, rounded=value)


def memory_arrays(memory: Any) -> dict[str, NDArray[Any]]:
    """Return the fields of a memory as a dict of arrays."""
    if memory is None:
        return {}
    return {one.name: np.asarray(getattr(memory, one.name)) for one in fields(memory)}


def restored_memory(template: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Return the memory with the given arrays, in the layout of ``template``.

    Raises
    ------
    InvalidInputError
        If the names, shapes or dtypes differ.
    """
    expected = memory_arrays(template)
    arrays = {name: array for name, array in arrays.items() if name != _ROUNDED}
    if set(expected) != set(arrays):
        raise InvalidInputError(
            f"the solution's memory has {sorted(arrays)}, but the solver needs {sorted(expected)}: "
            "start from its factors instead, init=(row_factors, col_factors)"
        )
    values = {}
    for name, like in expected.items():
        array = np.asarray(arrays[name])
        if array.shape != like.shape or array.dtype != like.dtype:
            raise InvalidInputError(
                f"the solution's memory {name!r} has shape {array.shape} and dtype {array.dtype}, "
                f"but this problem needs {like.shape} and {like.dtype}: start from its factors "
                "instead, init=(row_factors, col_factors)"
            )
        values[name] = aligned_copy(array, array.dtype) if array.ndim else array.item()
    return replace(template, **values) if values else template
