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
    "matrix_of_gramians",
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
    return Measured(sums, is_finite(own), nodes, more)


def listed(*results: Any, threads: int) -> list[Any]:
    """Return results as a list."""
    return list(results)


def gramian(*nodes: list[Node], threads: int = 1) -> NDArray[np.float64]:
    """Return the Gramian of the nodes of all blocks."""
    return gramian_of_nodes(chain.from_iterable(nodes))


def gramian_of_measured(*parts: Measured, threads: int = 1) -> NDArray[np.float64]:
    """Return the Gramian of measured factors."""
    return gramian(*(one.nodes for one in parts))


def matrix_of_gramians(
    *nodes: list[Node], function: Callable[..., Any], lengths: dict[Axis, int], axis: Axis,
    threads: int,
) -> Array | None:  # fmt: skip
    """Return the matrix of one side that a function returns for the Gramians of both."""
    left = iter(nodes)
    found = function(*(gramian(*islice(left, length)) for length in lengths.values()))
    return None if found is None else found[axis]


def times(block: Block, factors: Array, B: Array | None, threads: int) -> Array:
    """Return F B, or F if B is None."""
    return factors if B is None else blocks.times(block, factors, B, threads)


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
