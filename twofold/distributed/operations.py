"""`ClusterOperations`: the operations of ALS with the blocks and factors on the workers of Dask.

Each block of rows, and of columns, is on one worker, and so are its factors. To solve a block, its
worker gets those rows of the other factor that the entries refer to, and nothing else: the lists of
these rows are made once. Sums come back for each of the fixed tasks and are added in order, so that
every result has the same bits as on one machine.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.aligned import empty_aligned
from twofold._kernels.mapped import release_pages
from twofold.distributed import tasks
from twofold.distributed.blocks import (
    block_of,
    numbers_of,
    referring,
    route_of,
    route_sizes,
)
from twofold.distributed.layout import Layout
from twofold.distributed.parts import Extrapolated, Parts, Route
from twofold.distributed.residents import Homes, Inline
from twofold.objective import Point
from twofold.objective.biases import Axis
from twofold.objective.evaluation import with_value
from twofold.objective.terms import Terms
from twofold.solvers import blocks
from twofold.solvers.operations import AXES, Operations, other_axis
from twofold.solvers.triangles import missing_triangle
from twofold.solvers.unsolved import UnsolvedRows, unsolved_rows

__all__ = ["ClusterOperations"]

Array = NDArray[Any]


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
        self.expected: Extrapolated | None = None
        self.balances = False
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
                rows = self.cluster.call(tasks.copied, rows, home=sources[number])
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

    def forget_all(self) -> None:
        """Forget all factors, which refer to these operations."""
        self.forget_results()
        self.expected = None

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
        wanted = [one for one in dict.fromkeys(results) if one.fetched is None]
        if wanted:
            handles = [one for part in wanted for one in self._computed(part).handles]
            found = iter(self.cluster.values(handles))
            for part in wanted:
                part.fetched = [next(found) for _ in part.handles]
        return [part.fetched or [] for part in results]

    def needed_later(self, results: Parts) -> Parts:
        """Return results for columns; the next call of `evaluated` fetches their values, too."""
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
                    pieces.append(self.cluster.call(tasks.rows, part, rows, home=source))
            is_whole = len(pieces) == 1 and not is_selected[0]
            options = {"is_selected": is_selected}
            joins.append(pieces[0] if is_whole else Inline(tasks.joined, tuple(pieces), options))
        factors.sent = None
        return Parts(self, axis, joins)

    def _computed(self, parts: Parts) -> Parts:
        """Return parts that are computed once, by tasks of their own."""
        handles = [
            self.cluster.call(one.function, *one.arguments, home=home, **one.options)
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
        axis = factors.axis
        if len(set(self.homes[axis])) == 1:
            return factors
        if report is None:
            kept = self.each(tasks.same, axis, factors)
        else:
            kept = self._inlined(blocks.factors_of, axis, report)
        return replace(kept, sent=factors.handles)

    def transformed(
        self, factors: dict[Axis, Any], function: Callable[..., Any]
    ) -> dict[Axis, Parts]:
        """Return F B of both sides; see `Operations`. Each worker computes the matrices B."""
        nodes = [self._penalized(axis, one).handles for axis, one in factors.items()]
        matrices = {
            home: self.cluster.call(
                tasks.matrices_of_gramians, *chain.from_iterable(nodes), home=home,
                make=function, lengths=[len(handles) for handles in nodes],
            )
            for home in dict.fromkeys(chain.from_iterable(self.homes.values()))
        }  # fmt: skip
        turned: dict[Axis, Parts] = {}
        for axis, one in factors.items():
            own = Parts(self, axis, [matrices[home] for home in self.homes[axis]])
            turned[axis] = self._kept(self.each(tasks.times, axis, one, own))
            if axis == "row" and self.terms.unobserved_weight:  # before the columns
                turned[axis].gramian = self.routed_gramian("col", turned[axis])
        return turned

    def _penalized(self, axis: Axis, factors: Parts) -> Parts:
        """Return the sums of the Gramian with the weights of the penalty."""
        return factors.penalized or self.each(blocks.gramian_sums, axis, factors, by_penalty=True)

    def routed_gramian(self, axis: Axis, factors: Parts) -> Parts:
        """Return the `gramian` of factors of the other side, on each worker of this side."""
        if factors.gramian is not None:
            return factors.gramian
        if axis == "col":
            factors.measured = self._measured(factors, [], needs_gramian=True)
            function: Any = tasks.gramian_of_measured
            handles = factors.measured.handles
        else:
            function = tasks.gramian
            handles = self.each(blocks.gramian_sums, "col", factors, by_penalty=False).handles
        return Parts(self, axis, [Inline(function, tuple(handles))] * len(self.homes[axis]))

    def turning_sums(self, start: Parts, old: Parts, new: Parts) -> Parts:
        """Return the parts of <Y - Q_new, Q_new - Q>, computed by the task that measures Q_new."""
        return self._inlined(blocks.turning_sums, "col", start, old, new)

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
        for n, handle in enumerate(self._computed(factors).handles):
            (part,) = self.cluster.values([handle])  # one at a time, which bounds the memory
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
        expected, self.expected = self.expected, None
        if expected is not None and expected[:3] == (new, old, momentum) and expected.result:
            return expected.result
        options = {"momentum": momentum}
        result = self._inlined(blocks.extrapolated, "col", new, old, **options)
        moved = self.routed("row", new), self.routed("row", old)
        result.routes["row"] = self._inlined(blocks.extrapolated, "row", *moved, **options)
        return result

    def expect(self, new: Parts, old: Parts, momentum: float) -> None:
        """Note what is probably extrapolated next; see `Operations`."""
        self.expected = Extrapolated(new, old, momentum) if momentum else None

    def _begin_expected(self, cols: Parts) -> None:
        """Begin with the Gramian that is needed next, while this process waits for the values.

        It is that of the extrapolated columns, or that for `balanced` factors.
        """
        if self.expected is None and self.balances:
            cols.penalized = self._penalized("col", cols)
        if self.expected is not None:
            expected = self.expected
            result = self.extrapolated(*expected[:3])
            result.gramian = self.routed_gramian("row", result)
            self.expected = expected._replace(result=result)

    def evaluated(self, point: Point, solved_cols: Any = None) -> Point:
        """Return the point with its value and, if a0 > 0, the Gramians; see `Operations`."""
        rows: Any = point.rows
        cols: Any = point.cols
        has_grams, is_solved = bool(self.terms.unobserved_weight), solved_cols is not None
        grams: list[Any] = list(point.gramians) if has_grams else []
        is_missing = [has_grams and gram is None for gram in point.gramians]
        joins = cols.routes.get("row") or self._joins("row", cols)
        of_rows, (later, self.later) = rows.measured, (self.later, [])
        if of_rows is None or not is_solved:
            others = [] if is_solved else [joins]
            of_rows = self._measured(rows, [], *others, needs_gramian=is_missing[0])
        of_cols = self._measured(solved_cols or cols, later, needs_gramian=is_missing[1])
        # The next epoch needs them; the workers join them while this process waits for the values.
        cols.routes["row"] = self._computed(joins)
        self._begin_expected(cols)
        of_nodes = [of_rows if is_missing[0] else rows.measured or of_rows, of_cols]
        found = self.values(of_rows, of_cols, of_nodes[0])
        for number, one in enumerate(later):
            one.fetched = [part.more[number] for part in found[1]]
        rows.is_finite, cols.is_finite = (all(one.is_finite for one in part) for part in found[:2])
        for n, gram in enumerate(grams):
            if is_missing[n] or isinstance(gram, Parts):
                grams[n] = tasks.gramian_of_measured(*(of_nodes[n].fetched or []))
        sums, col_sums = (np.concatenate([one.sums for one in part]) for part in found[:2])
        return with_value(self.terms, point, grams, sums, col_sums, is_solved=is_solved)

    def _measured(
        self, solved: Parts, later: list[Parts], *other: Parts, needs_gramian: bool
    ) -> Parts:
        """Return what is `tasks.measured` of each block, with the results that are needed later."""
        ready = replace(solved, handles=solved.sent or solved.handles)
        more = [
            Inline(tasks.listed, one) for one in zip(*(one.handles for one in later), strict=True)
        ]
        return self.each(
            tasks.measured, solved.axis, ready,
            Parts(self, solved.axis, more) if later else [], *other, needs_gramian=needs_gramian,
        )  # fmt: skip
