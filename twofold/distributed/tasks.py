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
    "listed",
    "matrices_of_gramians",
    "measured",
    "rows",
    "same",
    "times",
]

Array = NDArray[Any]


class Measured(NamedTuple):
    """What this process needs to know of a block of factors."""

    sums: Array
    """Those of the value of the objective."""
    is_finite: bool
    nodes: list[Node]
    """Those of the Gramian, if they are needed."""
    more: list[Any]
    """Further results."""


def measured(
    block: Block, solved: Any, more: list[Any], *other: Array, needs_gramian: bool, threads: int
) -> Measured:
    """Return what is needed of factors, or of a report of solved rows.

    Without the factors of the other side, or a report, the sums are those of the penalty only.
    """
    function: Any = blocks.rows_value if other else blocks.penalty_value
    own = solved
    if isinstance(solved, RowReport):
        function, own = blocks.solved_value, solved.row_factors
    nodes = blocks.gramian_sums(block, own, False, threads) if needs_gramian else []
    sums = function(block, solved, *other, threads=threads)
    # A finite Gramian has finite factors.
    is_known = bool(nodes) and all(np.isfinite(np.diagonal(one.value)).all() for one in nodes)
    return Measured(sums, is_known or is_finite(own), nodes, more)


def listed(*results: Any, threads: int) -> list[Any]:
    """Return results as a list."""
    return list(results)


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


def times(block: Block, factors: Array, matrices: dict[Axis, Array] | None, threads: int) -> Array:
    """Return F B with the matrix of the side, or F without matrices."""
    if matrices is None:
        return factors
    return blocks.times(block, factors, matrices[block.axis], threads)


def same(block: Block, factors: Array, threads: int) -> Array:
    """Return the factors."""
    return factors


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
