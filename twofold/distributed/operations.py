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
)
from twofold.distributed.layout import Layout
from twofold.distributed.parts import Extrapolated, Parts
from twofold.distributed.residents import Homes, Inline, Item
from twofold.distributed.routing import Routing
from twofold.objective import Point
from twofold.objective.biases import Axis
from twofold.objective.evaluation import with_value
from twofold.objective.terms import Terms
from twofold.solvers import blocks
from twofold.solvers.blocks import RowOptions
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
        self.routings: dict[Axis, Routing] = {}
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
                for side, home in zip(layout.sides[axis], self.homes, strict=True)
            ]
            for axis in AXES
        }
        numbers = {
            axis: Parts(self, axis, [
                self.cluster.call(numbers_of, side, home=home)
                for side, home in zip(layout.sides[axis], self.homes, strict=True)
            ])
            for axis in AXES
        }  # fmt: skip
        layout.sides.clear()  # so that the workers keep them no longer than they need them
        for axis in AXES:
            lengths = np.diff(self.divisions[other_axis(axis)].rows).tolist()
            self.routings[axis] = Routing.of(self.cluster, self.homes, own[axis], lengths)
        for axis in AXES:
            other = other_axis(axis)
            routed = self.routed(axis, numbers[other])
            self.handles[axis] = [
                self.cluster.call(
                    block_of, own[axis][n], routed.handles[n], home=home, axis=axis,
                    objective=self.terms, part=self.divisions[axis].part(n),
                    penalty=layout.penalties[axis][n], n_other=layout.n_original[other],
                )
                for n, home in enumerate(self.homes)
            ]  # fmt: skip

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
                home=home, **others,
            )
            for n, home in enumerate(self.homes)
        ]  # fmt: skip
        return Parts(self, axis, handles)

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
            handles = [one for part in wanted for one in self._separate(part).handles]
            found = iter(self.cluster.values(handles))
            for part in wanted:
                part.fetched = [next(found) for _ in part.handles]
        return [part.fetched or [] for part in results]

    def needed_later(self, results: Parts) -> Parts:
        """Return results for columns; the next call of `evaluated` fetches their values, too."""
        self.later.append(results)
        return results

    def routed(self, axis: Axis, factors: Parts) -> Parts:
        """Return those factors of the other side that each block refers to, on its worker.

        Each task that uses them computes them, unless they are kept already.
        """
        if axis in factors.routes:
            return factors.routes[axis]
        return Parts(self, axis, self.routings[axis].joins(factors.handles))

    def _computed(self, parts: Parts) -> Parts:
        """Return parts that are computed once, by tasks of their own."""
        handles = [
            self.cluster.call(one.function, *one.arguments, home=home, **one.options)
            if isinstance(one, Inline)
            else one
            for one, home in zip(parts.handles, self.homes, strict=True)
        ]
        return replace(parts, handles=handles)

    def _separate(self, parts: Parts) -> Parts:
        """Return parts without the tuples of which they are items."""
        handles = [
            Inline(tasks.same, (one,)) if isinstance(one, Item) else one for one in parts.handles
        ]
        return self._computed(replace(parts, handles=handles))

    def inlined(
        self, function: Callable[..., Any], axis: Axis, *factors: Parts, **options: Any
    ) -> Parts:
        """Return the results of `each` as something that each task computes that uses them."""
        return self._inlined(function, Parts(self, axis, self.handles[axis]), *factors, **options)

    def _inlined(self, function: Callable[..., Any], *parts: Parts, **options: Any) -> Parts:
        """Return a function of parts as something that each task computes that uses it."""
        handles = zip(*(one.handles for one in parts), strict=True)
        return Parts(self, parts[0].axis, [Inline(function, own, options) for own in handles])

    def _together(self, *parts: Parts) -> Parts:
        """Return tuples of parts, each computed by one task."""
        return self._computed(self._inlined(tasks.together, *parts))

    def solved(
        self, axis: Axis, other: Parts, start: Parts, product: Any, options: RowOptions
    ) -> tuple[Parts, Any]:
        """Return a side solved for fixed factors of the other one; see `Operations.solved`."""
        if axis == "row" and self.expected is not None and other is not self.expected.result:
            self.expected = None  # The epoch starts from other columns.
        if product is None and self.terms.unobserved_weight:
            product = self.routed_gramian(axis, other)
        solved = self.each(
            tasks.solved, axis, self.routed(axis, other), start, product, n_columns=self.n_columns,
            options=options, triangle=self.triangle_for(axis, other),
            needs_gramian=axis == "row" and bool(self.terms.unobserved_weight),
        )  # fmt: skip
        self.solves.append(solved)
        factors = self._items(solved, 0)
        factors.measured = self._items(solved, 1)
        if self.terms.nonnegative:
            found: list[tasks.Measured] = self.values(factors.measured)[0]
            self._note_unsettled(axis, [one.unsettled for one in found])
        return factors, factors.measured if options.needs_sums else None

    def _items(self, tuples: Parts, number: int) -> Parts:
        """Return one of the results of each tuple."""
        return Parts(self, tuples.axis, [Item(one, number) for one in tuples.handles])

    def transformed(
        self, factors: dict[Axis, Any], function: Callable[..., Any]
    ) -> dict[Axis, Parts]:
        """Return F B of both sides; see `Operations`. Each worker computes the matrices B.

        Where the columns were routed already, the workers of rows compute the product with these.
        """
        rows, cols = factors["row"], factors["col"]
        nodes = [self._penalized(axis, one).handles for axis, one in factors.items()]
        found = {
            home: self.cluster.call(
                tasks.matrices_of_gramians, *chain.from_iterable(nodes), home=home,
                make=function, lengths=[len(handles) for handles in nodes],
            )
            for home in dict.fromkeys(self.homes)
        }  # fmt: skip
        matrices = Parts(self, "row", [found[home] for home in self.homes])
        has_gramian = bool(self.terms.unobserved_weight)
        both = self.each(tasks.turned, "row", rows, matrices, needs_gramian=has_gramian)
        turned: dict[Axis, Parts] = {"row": self._items(both, 0)}
        turned["row"].measured = self._items(both, 1)
        turned["col"] = self.each(tasks.times, "col", cols, matrices, side="col")
        joins = self.routed("row", cols)
        moved = self.inlined(tasks.times, "row", joins, matrices, side="col")
        turned["col"].routes["row"] = moved
        return turned

    def _penalized(self, axis: Axis, factors: Parts) -> Parts:
        """Return the sums of the Gramian with the weights of the penalty."""
        return factors.penalized or self.each(blocks.gramian_sums, axis, factors, by_penalty=True)

    def routed_gramian(self, axis: Axis, factors: Parts) -> Parts:
        """Return the `gramian` of factors of the other side, on each worker of this side."""
        if factors.gramian is not None:
            return factors.gramian
        if factors.axis == "row" and factors.measured is not None:
            # Where only some of the factors are sent, it is sent without them.
            selects = self.routings[axis].selects
            measured = self._separate(factors.measured) if selects else factors.measured
            return self._gramian_of(tasks.gramian_of_measured, measured)
        nodes = self.each(blocks.gramian_sums, factors.axis, factors, by_penalty=False)
        return self._gramian_of(tasks.gramian, nodes)

    def _gramian_of(self, function: Callable[..., Any], parts: Parts) -> Parts:
        """Return the Gramian of the parts of one side for each block of the other one."""
        whole = Inline(function, tuple(parts.handles))
        return Parts(self, other_axis(parts.axis), [whole] * len(self.homes))

    def turning_sums(self, start: Parts, old: Parts, new: Parts) -> Parts:
        """Return the parts of <Y - Q_new, Q_new - Q>, computed by the task that measures Q_new."""
        return self.inlined(blocks.turning_sums, "col", start, old, new)

    def placed(self, axis: Axis, make: Callable[[slice], Array]) -> Parts:
        """Return factors whose ranges of rows are made in order, and sent to the workers."""
        rows = self.divisions[axis].rows
        handles = []
        for n, home in enumerate(self.homes):
            handles += self.cluster.placed([make(slice(int(rows[n]), int(rows[n + 1])))], home)
        return Parts(self, axis, handles)

    def collected(self, factors: Parts) -> Array:
        """Return factors as one array of this process."""
        rows = self.divisions[factors.axis].rows
        out = empty_aligned(factors.shape, self.dtype)
        for n, handle in enumerate(self._separate(factors).handles):
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
        result = self.inlined(blocks.extrapolated, "col", new, old, **options)
        for one in (new, old):
            one.routes["row"] = self._computed(self.routed("row", one))
        moved = new.routes["row"], old.routes["row"]
        result.routes["row"] = self.inlined(blocks.extrapolated, "row", *moved, **options)
        return result

    def expect(self, new: Parts, old: Parts, momentum: float) -> None:
        """Note what is probably extrapolated next; see `Operations`."""
        self.expected = Extrapolated(new, old, momentum) if momentum else None

    def evaluated(self, point: Point, solved_cols: Any = None) -> Point:
        """Return the point with its value and, if a0 > 0, the Gramians; see `Operations`."""
        rows: Any = point.rows
        cols: Any = point.cols
        has_grams, is_solved = bool(self.terms.unobserved_weight), solved_cols is not None
        grams: list[Any] = list(point.gramians) if has_grams else []
        later, self.later = self.later, []
        if is_solved:
            found = self._summarized(rows, cols, solved_cols, later)
            grams[:1] = [found[1][0].product] if has_grams else []
        else:
            needed = [has_grams and not isinstance(one, np.ndarray) for one in point.gramians]
            self.keep(rows, cols)
            joins = cols.routes["row"]
            of_rows = self.each(tasks.measured, "row", rows, joins, needs_gramian=needed[0])
            of_cols = self.each(tasks.measured, "col", cols, needs_gramian=needed[1])
            found = self.values(of_rows, of_cols, *later)[:2]
        self.solves.clear()  # All their errors are known.
        for n, gram in enumerate(grams):
            if not isinstance(gram, np.ndarray):
                grams[n] = tasks.gramian_of_measured(*found[n])
        rows.is_finite, cols.is_finite = (all(one.is_finite for one in part) for part in found)
        sums, col_sums = (np.concatenate([one.sums for one in part]) for part in found)
        return with_value(self.terms, point, grams, sums, col_sums, is_solved=is_solved)

    def _summarized(
        self, rows: Parts, cols: Parts, solved: Parts, later: list[Parts]
    ) -> list[list[tasks.Measured]]:
        """Return what was measured of rows and columns, and fetch results that are needed later.

        While this process waits, the workers begin with what is probably needed next: factors that
        are extrapolated with their Gramian, or the sums of that for `balanced` factors.
        """
        expected = self.expected = None if self._is_other(cols) else self.expected
        start, needs_nodes = cols, self.balances
        if expected is not None:
            new, old, momentum, _ = expected
            start = self.inlined(blocks.extrapolated, "col", new, old, momentum=momentum)
            needs_nodes = bool(self.terms.unobserved_weight)
        assert rows.measured is not None
        of_rows = self._inlined(tasks.with_nodes, rows.measured, nodes=[])
        if self.terms.unobserved_weight:
            nodes = self.inlined(blocks.gramian_sums, "col", cols, by_penalty=False)
            solved = self._inlined(tasks.with_nodes, solved, nodes)
        summaries = self._together(of_rows, solved, *later)
        options = {"by_penalty": expected is None}
        begun = [self.each(blocks.gramian_sums, "col", start, **options)] if needs_nodes else []
        if expected is None:
            cols.penalized = begun[0] if begun else None
            self.keep(rows, cols)
        else:
            kept = self.keep(rows, cols, *(self._gramian_of(tasks.gramian, one) for one in begun))
            result = self.extrapolated(*expected[:3])
            result.gramian = self._items(kept, 3) if begun else None
            self.expected = expected._replace(result=result)
        found = self.values(summaries)[0]
        for number, one in enumerate(later, start=2):
            one.fetched = [part[number] for part in found]
        return [[part[n] for part in found] for n in (0, 1)]

    def _is_other(self, cols: Parts) -> bool:
        """Return whether something else is expected to be extrapolated."""
        return self.expected is not None and self.expected.new is not cols

    def keep(self, rows: Parts, cols: Parts, *more: Parts) -> Parts:
        """Let one object of each worker keep factors, what is routed of the columns, and ``more``.

        Objects that were sent are not kept, because, of an object on several workers, Dask removes
        all but one, and perhaps the one that is needed.
        """
        kept = self._together(self.routed("row", cols), rows, cols, *more)
        cols.routes["row"] = self._items(kept, 0)
        rows.handles, cols.handles = (self._items(kept, n).handles for n in (1, 2))
        rows.measured = cols.measured = None
        return kept
