"""`ClusterOperations`: the operations of ALS with the blocks and factors on the workers of Dask.

Each block of rows, and of columns, is on one worker, and so are its factors. To solve a block, its
worker gets those rows of the other factor that the entries refer to, and nothing else: the lists of
these rows are made once. Sums come back for each of the fixed tasks and are added in order, so that
every result has the same bits as on one machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.aligned import empty_aligned
from twofold._kernels.mapped import release_pages
from twofold.distributed.blocks import (
    block_of,
    numbers_of,
    referring,
    route_of,
    route_sizes,
)
from twofold.distributed.layout import Layout
from twofold.distributed.residents import Handle, Homes, Inline, only_reads
from twofold.objective import Point
from twofold.objective.biases import Axis
from twofold.objective.evaluation import gramian_of_nodes, with_value
from twofold.objective.point import is_finite
from twofold.objective.reduction import Node
from twofold.objective.terms import Terms
from twofold.solvers import blocks
from twofold.solvers.blocks import Block
from twofold.solvers.operations import AXES, Operations, other_axis
from twofold.solvers.report import RowReport
from twofold.solvers.triangles import missing_triangle
from twofold.solvers.unsolved import UnsolvedRows, unsolved_rows

__all__ = ["ClusterOperations", "Parts"]

Array = NDArray[Any]


@dataclass(eq=False)
class Parts:
    """Something with a row for each row of a side, of which each block has its part.

    Parameters
    ----------
    operations : ClusterOperations
    axis : {"row", "col"}
    handles : list of distributed.Future
        The part of each block.
    """

    operations: "ClusterOperations"
    axis: Axis
    handles: list[Any]
    routes: dict[Axis, "Parts"] = field(default_factory=dict)
    """What was already routed to the other side."""
    sent: list[Any] | None = None
    """The same parts for other workers, which do not keep them; by default the handles."""
    is_finite: bool | None = None
    """Whether all factors are finite, if that is known."""
    fetched: list[Any] | None = None
    """The values of the handles, if they came to this process."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of factors, with the padding."""
        return self.operations.sizes[self.axis], self.operations.width

    @property
    def dtype(self) -> Any:
        """Dtype of factors."""
        return self.operations.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the factors as an array of this process."""
        whole = self.operations.collected(self)
        return whole if dtype is None else whole.astype(dtype, copy=False)


class Route(NamedTuple):
    """Those rows of a block of the other side that a block refers to."""

    n_rows: int
    rows: Any
    """Their positions, on the worker that selects them; None for all rows."""


class ClusterOperations(Operations):
    """Operations on factors whose parts are on the workers.

    Parameters
    ----------
    cluster : Homes
        The workers.
    layout : Layout
        The problem.
    n_columns : int
        As for `Operations`.
    dtype : dtype
        That of the factors of a run.
    """

    def __init__(self, cluster: Homes, layout: Layout, n_columns: int, dtype: Any) -> None:
        self.cluster, self.n_columns, self.dtype = cluster, n_columns, np.dtype(dtype)
        self.terms, self.mean = layout.objective, layout.mean
        self.has_warned, self.unsettled, self.uses_triangles = False, [], False
        self.width = n_columns + -n_columns % 8
        self.divisions, self.homes = layout.divisions, layout.homes
        self.sizes = {axis: int(self.divisions[axis].rows[-1]) for axis in AXES}
        self.n_original = sum(layout.n_original.values())
        self.routes: dict[Axis, list[list[Route]]] = {}
        self.handles: dict[Axis, list[Any]] = {}
        self.later: list[Parts] = []
        self.solves: list[Parts] = []
        self._make_blocks(layout)

    def _make_blocks(self, layout: Layout) -> None:
        """Make the routes and the blocks on the workers."""
        own: dict[Axis, list[Any]] = {
            axis: [
                self.cluster.call(
                    referring, side, home=home, across=self.divisions[other_axis(axis)].rows
                )
                for side, home in zip(layout.sides[axis], self.homes[axis], strict=True)
            ]
            for axis in AXES
        }
        for axis in AXES:
            self.routes[axis] = self._routes(axis, own[axis])
        for axis in AXES:
            other = other_axis(axis)
            numbers = [
                self.cluster.call(numbers_of, side, home=home)
                for side, home in zip(layout.sides[other], self.homes[other], strict=True)
            ]
            routed = self.routed(axis, Parts(self, other, numbers))
            self.handles[axis] = [
                self.cluster.call(
                    block_of, own[axis][n], routed.handles[n], home=home, axis=axis,
                    objective=self.terms, part=self.divisions[axis].part(n),
                    penalty=layout.penalties[axis][n], n_other=layout.n_original[other],
                )
                for n, home in enumerate(self.homes[axis])
            ]  # fmt: skip

    def _routes(self, axis: Axis, own: list[Any]) -> list[list[Route]]:
        """Return the routes of each block, from each block of the other side."""
        other, homes = other_axis(axis), self.homes[axis]
        lengths, sources = np.diff(self.divisions[other].rows).tolist(), self.homes[other]
        sizes = self.cluster.values(
            [
                self.cluster.call(route_sizes, one, home=home)
                for one, home in zip(own, homes, strict=True)
            ]
        )

        def route(n: int, number: int) -> Route:
            size = sizes[n][number]
            if size == lengths[number]:
                return Route(size, None)
            rows = self.cluster.call(route_of, own[n], home=homes[n], number=number)
            if sources[number] != homes[n]:
                rows = self.cluster.call(_copied, rows, home=sources[number])
            return Route(size, rows)

        return [[route(n, number) for number in range(len(lengths))] for n in range(len(own))]

    @property
    def objective(self) -> Terms:
        """The objective."""
        return self.terms

    def each(self, function: Callable[..., Any], axis: Axis, *factors: Any, **others: Any) -> Parts:
        """Return ``function(block, *factors, **others)`` of each block, on its worker."""
        handles = [
            self.cluster.call(
                function, self.handles[axis][n],
                *(one.handles[n] if isinstance(one, Parts) else one for one in factors),
                home=self.homes[axis][n], **others,
            )
            for n in range(self.divisions[axis].n_blocks)
        ]  # fmt: skip
        results = Parts(self, axis, handles)
        if function in (blocks.solved, blocks.solved_factors):
            self.solves.append(results)
        return results

    def forget_results(self) -> None:
        """Forget the results of a step, which may have been interrupted."""
        self.later, self.solves = [], []

    def error_of_all(self, error: Exception) -> Exception:
        """Return the error of rows without a solution for the rows of all blocks.

        The ``error`` of a step is that of one block. Those of the blocks of the other side are
        the same, if they are solved later for these rows.
        """
        if unsolved_rows(error) is None:
            return error
        for results in self.solves:
            found = map(unsolved_rows, self.cluster.errors(results.handles))
            unsolved = [rows for rows in found if rows is not None]
            if unsolved:
                return UnsolvedRows.joined(unsolved).error()
        return error

    def values(self, *results: Parts) -> list[list[Any]]:
        """Return results of `each`, with one value for each block, in this process."""
        later, self.later = self.later, []  # also where the results of a step are errors
        wanted = [one for one in (*results, *later) if one.fetched is None]
        if not wanted:
            return [part.fetched or [] for part in results]
        found = iter(self.cluster.values([one for part in wanted for one in part.handles]))
        for part in wanted:
            part.fetched = [next(found) for _ in part.handles]
        return [part.fetched or [] for part in results]

    def needed_later(self, results: Parts) -> Parts:
        """Return results of `each`; the next call of `values` fetches their values, too."""
        self.later.append(results)
        return results

    def routed(self, axis: Axis, factors: Parts) -> Parts:
        """Return those factors of the other side that each block refers to, on its worker."""
        if axis not in factors.routes:
            factors.routes[axis] = self._computed(self._joins(axis, factors))
        return factors.routes[axis]

    def _joins(self, axis: Axis, factors: Parts) -> Parts:
        """Return what is `routed` as something that each task computes that uses it."""
        sources, sent = self.homes[other_axis(axis)], factors.sent or factors.handles
        joins: list[Any] = []
        for home, routes in zip(self.homes[axis], self.routes[axis], strict=True):
            is_selected, pieces = [], list[Any]()
            for n, ((_, rows), source) in enumerate(zip(routes, sources, strict=True)):
                part = factors.handles[n] if source == home else sent[n]
                is_selected.append(rows is not None and source == home)
                if rows is None:
                    pieces.append(part)
                elif source == home:  # without another copy
                    pieces += [part, rows]
                else:
                    pieces.append(self.cluster.call(_rows, part, rows, home=source))
            is_whole = len(pieces) == 1 and not is_selected[0]
            options = {"is_selected": is_selected}
            joins.append(pieces[0] if is_whole else Inline(_joined, tuple(pieces), options))
        factors.sent = None
        return Parts(self, axis, joins)

    def _computed(self, parts: Parts) -> Parts:
        """Return parts that are computed once, by tasks of their own."""
        handles = [
            self.cluster.call(one.function, *one.handles, home=home, **one.options)
            if isinstance(one, Inline)
            else one
            for one, home in zip(parts.handles, self.homes[parts.axis], strict=True)
        ]
        return replace(parts, handles=handles)

    def _inlined(
        self, function: Callable[..., Any], axis: Axis, *factors: Parts, **options: Any
    ) -> Parts:
        """Return the results of `each` as something that each task computes that uses them."""
        handles = zip(self.handles[axis], *(one.handles for one in factors), strict=True)
        return Parts(self, axis, [Inline(function, own, options) for own in handles])

    def solved(self, axis: Axis, other: Parts, *arguments: Any) -> tuple[Parts, Any]:
        """Return a side solved for fixed factors of the other one; see `Operations.solved`."""
        if axis == "col":  # Nothing else uses the rows that are routed.
            other.routes[axis] = self._joins(axis, other)
        solved, report = super().solved(axis, other, *arguments)
        other.routes.pop("col", None)
        return self._kept(solved, report), report

    def _kept(self, factors: Parts, report: Parts | None = None) -> Parts:
        """Return factors, perhaps of a report, as objects that are never sent to other workers.

        Of an object on several workers, Dask removes all but one, and perhaps the one that is
        needed. Those that are sent are removed after they are joined.
        """
        if len(set(self.homes[factors.axis])) == 1:
            return factors
        kept = (
            self.each(_same, factors.axis, factors)
            if report is None
            else self.each(blocks.factors_of, factors.axis, report)
        )
        return replace(kept, sent=factors.handles)

    def transformed(
        self, factors: dict[Axis, Any], function: Callable[..., Any]
    ) -> dict[Axis, Parts]:
        """Return F B of both sides; see `Operations`. Each task computes its B."""
        nodes: dict[Axis, list[Handle]] = {
            axis: self.each(blocks.gramian_sums, axis, one, by_penalty=True).handles
            for axis, one in factors.items()
        }
        lengths = {axis: len(handles) for axis, handles in nodes.items()}
        arguments = tuple(chain.from_iterable(nodes.values()))

        def turned(axis: Axis, one: Parts) -> Parts:
            options = {"function": function, "lengths": lengths, "axis": axis}
            matrix = Inline(_matrix, arguments, options)
            return self._kept(self.each(_times, axis, one, matrix))

        return {axis: turned(axis, one) for axis, one in factors.items()}

    def routed_gramian(self, axis: Axis, factors: Parts) -> Parts:
        """Return the `gramian` of factors of the other side, on each worker of this side."""
        sums = self.each(blocks.gramian_sums, other_axis(axis), factors, by_penalty=False)
        return Parts(self, axis, [Inline(_gramian, tuple(sums.handles))] * len(self.homes[axis]))

    def rows_moved(self, axis: Axis) -> int:
        """Return how many factors of the other side go to another worker when they are `routed`."""
        sources = self.homes[other_axis(axis)]
        return sum(
            route.n_rows
            for home, routes in zip(self.homes[axis], self.routes[axis], strict=True)
            for route, source in zip(routes, sources, strict=True)
            if source != home
        )

    def placed(self, axis: Axis, make: Callable[[slice], Array]) -> Parts:
        """Return factors whose ranges of rows are made in order, and sent to the workers."""
        rows = self.divisions[axis].rows
        handles = []
        for n, home in enumerate(self.homes[axis]):
            handles += self.cluster.placed([make(slice(int(rows[n]), int(rows[n + 1])))], home)
        return Parts(self, axis, handles)

    def collected(self, factors: Parts) -> Array:
        """Return factors as one array of this process."""
        rows = self.divisions[factors.axis].rows
        out = empty_aligned(factors.shape, self.dtype)
        for n, handle in enumerate(factors.handles):
            (part,) = self.cluster.values([handle])
            out[rows[n] : rows[n + 1]] = part
            release_pages(out)
        return out

    def triangle_for(self, axis: Axis, other: Parts) -> Any:
        """Return the triangle, once it was missing in a run; see `DaskALS.step`."""
        return self.triangle(axis, other) if self.uses_triangles else missing_triangle

    def extrapolated(self, new: Parts, old: Parts, momentum: float) -> Parts:
        """Return Q + beta (Q - Q_previous), and what is routed of it to the rows.

        Each task that uses them computes them, which takes less time than a task.
        """
        options = {"momentum": momentum}
        result = self._inlined(blocks.extrapolated, "col", new, old, **options)
        moved = self.routed("row", new), self.routed("row", old)
        result.routes["row"] = self._inlined(blocks.extrapolated, "row", *moved, **options)
        return result

    def evaluated(self, point: Point, solved_cols: Any = None) -> Point:
        """Return the point with its value and, if a0 > 0, the Gramians; see `Operations`."""
        rows: Any = point.rows
        cols: Any = point.cols
        has_grams = bool(self.terms.unobserved_weight)
        grams: list[Any] = [self._nodes_later(gram) for gram in point.gramians]
        is_needed = [has_grams and gram is None for gram in grams]
        joins = cols.routes.get("row") or self._joins("row", cols)
        others = [joins] if solved_cols is None else []
        measured = [
            self.each(_measured, "row", rows, *others, needs_gramian=is_needed[0]),
            self.each(_measured, "col", solved_cols or cols, needs_gramian=is_needed[1]),
        ]
        # The next epoch needs them; the workers join them while this process waits for the values.
        cols.routes["row"] = self._computed(joins)
        results = self.values(*measured)
        rows.is_finite, cols.is_finite = (all(one.is_finite for one in part) for part in results)
        for n, part in enumerate(results):
            if is_needed[n]:
                grams[n] = _gramian(*(one.nodes for one in part))
            elif isinstance(grams[n], Parts):
                grams[n] = _gramian(*self.values(grams[n])[0])
        sums, col_sums = (np.concatenate([one.sums for one in part]) for part in results)
        return with_value(
            self.terms, point, grams if has_grams else [], sums, col_sums,
            is_solved=solved_cols is not None,
        )  # fmt: skip

    def _nodes_later(self, gramian: Any) -> Any:
        """Return the nodes of a `routed_gramian`, which come with the next `values`."""
        if not isinstance(gramian, Parts):
            return gramian
        return self.needed_later(replace(gramian, handles=list(gramian.handles[0].handles)))


class _Measured(NamedTuple):
    """What the value of an objective needs of a block."""

    sums: Array
    is_finite: bool
    nodes: list[Node]


def _measured(
    block: Block, solved: Any, *other: Array, needs_gramian: bool, threads: int
) -> _Measured:
    """Return the sums of the value of factors, or of a report of solved rows.

    Without the factors of the other side, or a report, only the penalty is known.
    """
    function: Any = blocks.rows_value if other else blocks.penalty_value
    own = solved
    if isinstance(solved, RowReport):
        function, own = blocks.solved_value, solved.row_factors
    nodes = blocks.gramian_sums(block, own, False, threads) if needs_gramian else []
    return _Measured(function(block, solved, *other, threads=threads), is_finite(own), nodes)


def _gramian(*nodes: list[Node], threads: int = 1) -> NDArray[np.float64]:
    return gramian_of_nodes(chain.from_iterable(nodes))


def _matrix(
    *nodes: list[Node], function: Callable[..., Any], lengths: dict[Axis, int], axis: Axis,
    threads: int,
) -> Array | None:  # fmt: skip
    """Return the matrix of one side that a function returns for the Gramians of both."""
    left = iter(nodes)
    found = function(*(_gramian(*islice(left, length)) for length in lengths.values()))
    return None if found is None else found[axis]


def _times(block: Block, factors: Array, B: Array | None, threads: int) -> Array:
    return factors if B is None else blocks.times(block, factors, B, threads)


def _same(block: Block, factors: Array, threads: int) -> Array:
    return factors


@only_reads
def _copied(array: Array, threads: int) -> Array:
    return array.copy()


@only_reads
def _rows(factors: Array, rows: Array, threads: int) -> Array:
    return factors[rows]


@only_reads
def _joined(*pieces: Array, is_selected: list[bool], threads: int) -> Array:
    """Return rows of the blocks of a side in one array that is aligned.

    A piece has the rows, or is followed by their positions in it.
    """
    left = iter(pieces)
    parts = [(next(left), next(left) if selected else None) for selected in is_selected]
    sizes = [len(part) if rows is None else rows.size for part, rows in parts]
    first = pieces[0]
    out = empty_aligned((sum(sizes), first.shape[1]), first.dtype)
    end = 0
    for (part, rows), size in zip(parts, sizes, strict=True):
        start, end = end, end + size
        if rows is None:
            out[start:end] = part
        else:  # Other modes fill a temporary copy first.
            part.take(rows, axis=0, out=out[start:end], mode="clip")
    return out
