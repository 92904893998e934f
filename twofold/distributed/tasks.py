"""What the tasks of `ClusterOperations` compute, besides the functions of blocks."""

from collections.abc import Callable
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.aligned import empty_aligned
from twofold.distributed.residents import only_reads
from twofold.objective.biases import Axis
from twofold.objective.evaluation import gramian_of_nodes
from twofold.objective.point import is_finite
from twofold.objective.reduction import Node
from twofold.solvers import blocks
from twofold.solvers.blocks import Block
from twofold.solvers.report import RowReport

__all__ = [
    "Measured",
    "copied",
    "gramian",
    "gramian_of_measured",
    "joined",
    "matrices_of_gramians",
    "measured",
    "rows",
    "same",
    "solved",
    "times",
    "together",
    "turned",
    "with_nodes",
]

Array = NDArray[Any]


class Measured(NamedTuple):
    """What is needed of a block of factors besides these."""

    sums: Array
    """Those of the value of the objective."""
    is_finite: bool
    nodes: list[Node]
    """Those of the Gramian, if they are needed."""
    product: Array | None = None
    """The Gramian of the other side with which rows were solved."""
    unsettled: tuple[int, int] = (0, 0)
    """See `blocks.unsettled`."""


def solved(
    block: Block, other: Array, start: Array, product: Array | None, needs_gramian: bool,
    threads: int, **options: Any,
) -> tuple[Array, Measured]:  # fmt: skip
    """Return solved rows, and what is measured of them."""
    report = blocks.solved(block, other, start, product, threads=threads, **options)
    found = measured(block, report, needs_gramian=needs_gramian, threads=threads)
    unsettled = blocks.unsettled(block, report, threads)
    return report.row_factors, found._replace(product=product, unsettled=unsettled)


def measured(
    block: Block, solved: Any, *other: Array, needs_gramian: bool, threads: int
) -> Measured:
    """Return what is needed of factors, or of a report of solved rows.

    Without the factors of the other side, or sums in the report, the sums are those of the penalty.
    """
    function: Any = blocks.rows_value if other else blocks.penalty_value
    own = solved.row_factors if isinstance(solved, RowReport) else solved
    nodes = blocks.gramian_sums(block, own, False, threads) if needs_gramian else []
    if isinstance(solved, RowReport) and solved.sums.size:
        sums = blocks.solved_value(block, solved, threads)
    else:
        sums = function(block, own, *other, threads=threads)
    # A finite Gramian has finite factors.
    is_known = bool(nodes) and all(np.isfinite(np.diagonal(one.value)).all() for one in nodes)
    return Measured(sums, is_known or is_finite(own), nodes)


def with_nodes(measured: Measured, nodes: list[Node], threads: int) -> Measured:
    """Return what was measured with other nodes."""
    return measured._replace(nodes=nodes)


def together(*results: Any, threads: int) -> tuple[Any, ...]:
    """Return results as a tuple, whose objects are sent together."""
    return results


@only_reads
def same(result: Any, threads: int) -> Any:
    """Return an object."""
    return result


def gramian(*nodes: list[Node], threads: int = 1) -> NDArray[np.float64]:
    """Return the Gramian of the nodes of all blocks."""
    return gramian_of_nodes(chain.from_iterable(nodes))


def gramian_of_measured(*parts: Measured, threads: int = 1) -> NDArray[np.float64]:
    """Return the Gramian of measured factors."""
    return gramian(*(one.nodes for one in parts))


def matrices_of_gramians(
    *nodes: list[Node], make: Callable[..., Any], lengths: list[int], threads: int
) -> Any:
    """Return what a function returns for the Gramians of both sides."""
    left = iter(nodes)
    return make(*(gramian(*islice(left, length)) for length in lengths))


def times(
    block: Block, factors: Array, matrices: dict[Axis, Array] | None, side: Axis, threads: int
) -> Array:
    """Return F B with the matrix of a side, or F without matrices."""
    return factors if matrices is None else blocks.times(block, factors, matrices[side], threads)


def turned(
    block: Block, factors: Array, matrices: dict[Axis, Array] | None, needs_gramian: bool,
    threads: int,
) -> tuple[Array, Measured]:  # fmt: skip
    """Return F B for rows, and what is measured of them."""
    own = times(block, factors, matrices, "row", threads)
    return own, measured(block, own, needs_gramian=needs_gramian, threads=threads)


@only_reads
def copied(array: Array, threads: int) -> Array:
    """Return a copy."""
    return array.copy()


@only_reads
def rows(factors: Array, rows: Array, threads: int) -> Array:
    """Return some rows of factors."""
    return factors[rows]


@only_reads
def joined(*pieces: Array, is_selected: list[bool], threads: int) -> Array:
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
