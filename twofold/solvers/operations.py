"""`Operations`: what the spectral start and the steps of ALS do with the factors of a problem.

They are written in terms of a few methods, from `each` to `collected`, which say where blocks and
factors are. In this class both sides are one block in this process, and factors are arrays; the
class for a cluster has other versions of them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.threads import check_n_threads
from twofold.objective import Point, Problem
from twofold.objective.biases import Axis, BiasColumns
from twofold.objective.evaluation import evaluate_point, gramian_of_nodes
from twofold.objective.terms import Terms
from twofold.solvers import blocks
from twofold.solvers.blocks import Block, RowOptions
from twofold.solvers.triangles import stacked_triangle

__all__ = ["AXES", "Operations", "other_axis"]

Array = NDArray[Any]
Factors = Any
"""Factors of one side: an array, padded with zeros to a multiple of 8 columns, or its parts."""
AXES: tuple[Axis, Axis] = ("row", "col")


def other_axis(axis: Axis) -> Axis:
    """Return the other side."""
    return "col" if axis == "row" else "row"


class Operations:
    """Operations on the factors of a problem in this process.

    Parameters
    ----------
    problem : Problem
        The objective and the data.
    n_columns : int
        Number of columns of the factors, with those of biases and without the padding.
    n_threads : int, optional
        Default: all. Results are bitwise independent of it.
    """

    def __init__(self, problem: Problem, n_columns: int, n_threads: int | None = None) -> None:
        self.problem, self.n_columns = problem, n_columns
        self.threads = check_n_threads(n_threads)
        self.blocks = Block.both(problem, n_columns)
        self.sizes = {axis: block.side.n for axis, block in self.blocks.items()}
        self.n_original = sum(block.side.n_original for block in self.blocks.values())
        self.mean = problem.mean
        self.has_warned = False
        self.unsettled: list[tuple[Axis, int, int]] = []

    @property
    def objective(self) -> Terms:
        """The objective."""
        return self.problem.objective

    # Where blocks and factors are

    def each(self, function: Callable[..., Any], axis: Axis, *factors: Any, **others: Any) -> Any:
        """Return ``function(block, *factors, **others)``, which has a row for each of the block.

        ``factors`` are those of the same side, or have been `routed` to it.
        """
        return function(self.blocks[axis], *factors, **others, threads=self.threads)

    def inlined(self, function: Callable[..., Any], axis: Axis, **others: Any) -> Any:
        """Return the result of `each`; on a cluster, each task that uses it computes it."""
        return self.each(function, axis, **others)

    def values(self, *results: Any) -> list[list[Any]]:
        """Return results of `each`, with one value for each block, in this process."""
        return [[result] for result in results]

    def needed_later(self, results: Any) -> Any:
        """Return results of `each`; the next call of `values` fetches their values, too."""
        return results

    def routed(self, axis: Axis, factors: Factors) -> Factors:
        """Return those factors of the other side that the blocks of this side refer to."""
        return factors

    def routed_gramian(self, axis: Axis, factors: Factors) -> Factors:
        """Return the `gramian` of factors of the other side, where the blocks of this side are."""
        return self.gramian(other_axis(axis), factors)

    def placed(self, axis: Axis, make: Callable[[slice], Array]) -> Factors:
        """Return factors whose ranges of rows are made in order by ``make``."""
        return make(slice(0, self.blocks[axis].side.n))

    def collected(self, factors: Factors) -> Array:
        """Return factors as one array."""
        return np.asarray(factors)

    # Operations

    def gathered(
        self, function: Callable[..., Any], axis: Axis, *factors: Any, **others: Any
    ) -> list[Any]:
        """Return the result of `each` as one value for each block, in order."""
        (values,) = self.values(self.each(function, axis, *factors, **others))
        return values

    def evaluated(self, point: Point, solved_cols: Any = None) -> Point:
        """Return the point with its value and, if a0 > 0, the Gramians.

        With the report of columns that were `solved` with sums, the value is computed from these,
        which takes much less time and has rounding errors of the dtype of the factors.
        """
        with np.errstate(all="ignore"):  # The loop ends a run whose value is not finite.
            sums = None
            if solved_cols is not None:
                sums = (
                    blocks.penalty_value(self.blocks["row"], point.rows, self.threads),
                    blocks.solved_value(self.blocks["col"], solved_cols, self.threads),
                )
            return evaluate_point(self.problem, point, self.threads, sums)

    def gramians(
        self, factors: Mapping[Axis, Factors], *, by_penalty: bool = False
    ) -> list[NDArray[np.float64]]:
        """Return F' W F of sides; W has the multiplicities, or the weights of the penalty."""
        sums = self.values(
            *(
                self.each(blocks.gramian_sums, axis, one, by_penalty=by_penalty)
                for axis, one in factors.items()
            )
        )
        return [gramian_of_nodes(chain.from_iterable(parts)) for parts in sums]

    def gramian(self, axis: Axis, factors: Factors) -> NDArray[np.float64]:
        """Return F' W F of one side, with the multiplicities as W."""
        return self.gramians({axis: factors})[0]

    def solved(
        self,
        axis: Axis,
        other: Factors,
        start: Factors,
        product: Factors | None,
        options: RowOptions,
    ) -> tuple[Factors, Any]:
        """Return a side solved for fixed factors of the other one, and their `routed_gramian`.

        The second result is the report if it has sums, and otherwise None. Rows that did not
        converge are noted in `unsettled`.
        """
        if product is None and self.objective.unobserved_weight:
            product = self.routed_gramian(axis, other)
        may_be_unsettled = self.objective.nonnegative
        needs_report = may_be_unsettled or options.needs_sums
        solved = self.each(
            blocks.solved if needs_report else blocks.solved_factors,
            axis, self.routed(axis, other), start, product, n_columns=self.n_columns,
            options=options, triangle=self.triangle_for(axis, other),
        )  # fmt: skip
        if not needs_report:
            return solved, None
        if may_be_unsettled:
            self._note_unsettled(axis, self.gathered(blocks.unsettled, axis, solved))
        factors = self.each(blocks.factors_of, axis, solved)
        return factors, solved if options.needs_sums else None

    def _note_unsettled(self, axis: Axis, parts: list[tuple[int, int]]) -> None:
        """Note what `blocks.unsettled` returns for each block."""
        found = [one for one in parts if one[1]]
        if found:
            self.unsettled.append((axis, found[0][0], sum(n for _, n in found)))

    def triangle_for(self, axis: Axis, other: Factors) -> Any:
        """Return what `blocks.solved` gets: here a function, as few rows need it."""
        return partial(self.triangle, axis, other)

    def triangle(self, axis: Axis, other: Factors) -> NDArray[np.float64]:
        """Return R with R'R = a0 F'F for the columns F of ``other`` that are not constant."""
        columns = np.arange(self.n_columns)
        if self.objective.biases:
            columns = BiasColumns.of(axis, self.n_columns).free
        parts = self.gathered(blocks.triangles, other_axis(axis), other, columns=columns)
        return stacked_triangle(matrix for part in parts for matrix in part)

    def times(self, axis: Axis, factors: Factors, B: Array) -> Factors:
        """Return F B in the dtype of B."""
        return self.each(blocks.times, axis, factors, B=B)

    def transformed(
        self, factors: dict[Axis, Factors], function: Callable[..., dict[Axis, Array] | None]
    ) -> dict[Axis, Factors]:
        """Return F B of both sides, with the matrices that ``function`` returns for F' W F.

        W has the weights of the penalty. If it returns None, the factors stay the same.
        """
        matrices = function(*self.gramians(factors, by_penalty=True))
        if matrices is None:
            return factors
        return {axis: self.times(axis, one, matrices[axis]) for axis, one in factors.items()}

    def extrapolated(self, new: Factors, old: Factors, momentum: float) -> Factors:
        """Return Q + beta (Q - Q_previous) for columns."""
        return self.each(blocks.extrapolated, "col", new, old, momentum=momentum)

    def expect(self, new: Factors, old: Factors, momentum: float) -> None:
        """Note what the next epoch extrapolates, unless the method is restarted."""

    def turning_sums(self, start: Factors, old: Factors, new: Factors) -> Any:
        """Return the parts of <Y - Q_new, Q_new - Q> for columns, as a result of `each`."""
        return self.each(blocks.turning_sums, "col", start, old, new)

    def sum_of(self, results: Any) -> float:
        """Return the sum of results of `each` that are arrays."""
        return float(np.sum(np.concatenate(self.values(results)[0])))
