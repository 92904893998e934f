"""Division of a problem into blocks of rows and blocks of columns for the workers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.arguments import Entries, PenaltyCall
from twofold.objective import Problem
from twofold.objective.biases import Axis
from twofold.objective.side import Margin, Part, Side, select_entries
from twofold.solvers.blocks import Block

__all__ = ["Division", "block_of", "divided"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Division:
    """The bounds of the blocks of one side.

    Parameters
    ----------
    tasks : ndarray of int64, shape (n_blocks + 1,)
        The first task of each block; see `Margin.bounds`.
    rows : ndarray of int64, shape (n_blocks + 1,)
        The first row of each block.
    """

    tasks: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return self.rows.size - 1


def divided(margin: Margin, n_blocks: int, width: int) -> Division:
    """Divide a side into at most ``n_blocks`` blocks of similar cost.

    Their bounds are those of tasks in which sums of matrices of shape (width, width), and smaller
    ones, are computed.
    """
    allowed = np.searchsorted(margin.bounds, margin.coarse_bounds(width))
    n_chosen = min(n_blocks, allowed.size - 1)
    ends = np.round(np.linspace(0, allowed.size - 1, n_chosen + 1)).astype(np.int64)
    tasks = allowed[ends]
    return Division(tasks, margin.bounds[tasks])


def block_of(
    problem: Problem, axis: Axis, penalty: PenaltyCall, divisions: dict[Axis, Division], number: int
) -> tuple[Block, list[NDArray[np.int32]]]:
    """Return a block, and the rows of each block of the other side that its entries refer to.

    The latter are positions in the blocks of the other side.
    """
    sides: dict[Axis, Side] = {"row": problem.rows, "col": problem.cols}
    side, other = sides[axis], sides["col" if axis == "row" else "row"]
    own, across = divisions[axis], divisions["col" if axis == "row" else "row"]
    low, high = own.rows[number : number + 2]
    first, last = side.entries.indptr[[low, high]]
    referred, positions = _compact(side.entries.indices[first:last], other.n)
    block = Block(
        problem.objective,
        axis,
        _rows_of(side, slice(low, high), own, number, positions),
        _penalty_of(penalty, slice(low, high)),
        _part(other.multiplicity, referred),
        other.summed_weights[referred],
        other.n_original,
    )
    ends = np.searchsorted(referred, across.rows)
    routes = [
        (referred[ends[n] : ends[n + 1]] - across.rows[n]).astype(np.int32)
        for n in range(across.n_blocks)
    ]
    return block, routes


def _rows_of(side: Side, rows: slice, own: Division, number: int, positions: Array) -> Side:
    """Return the rows of a block with the given columns of their entries."""
    tasks = own.tasks[number : number + 2]
    bounds = side.bounds[tasks[0] : tasks[1] + 1] - rows.start
    indptr = side.entries.indptr[rows.start : rows.stop + 1]
    chosen: Any = slice(indptr[0], indptr[-1])
    entries: Entries = select_entries(side.entries, chosen)
    scale = side.scale[rows]
    global_positions = side.positions[rows]
    if not global_positions.size:
        global_positions = np.arange(rows.start, rows.stop)
    return replace(
        side,
        counts=side.counts[rows],
        summed_weights=side.summed_weights[rows],
        scale=scale,
        multiplicity=_part(side.multiplicity, rows),
        positions=global_positions,
        part=Part(bounds, side.bounds.size - 1),
        entries=entries._replace(indptr=indptr - indptr[0], indices=positions, scale=scale),
    )


def _compact(indices: Array, n: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the distinct indices, ascending, and the position of each index among them."""
    is_referred = np.zeros(n, np.bool_)
    is_referred[indices] = True
    positions = np.cumsum(is_referred, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(is_referred), positions[indices]


def _part(values: Array, rows: Any) -> Array:
    return values[rows] if values.size else values


def _penalty_of(penalty: PenaltyCall, rows: slice) -> PenaltyCall:
    is_common = len(penalty.center) <= 1
    return penalty if is_common else penalty._replace(center=penalty.center[rows])
