"""Sides of a problem in parts, from which the workers make their blocks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold._kernels.arguments import PenaltyCall
from twofold.objective.biases import Axis
from twofold.objective.side import Margin, Part, Side, select_entries, task_stride
from twofold.objective.terms import Terms
from twofold.solvers.blocks import Block

__all__ = [
    "Division",
    "Referring",
    "block_of",
    "both_divided",
    "divided",
    "joined",
    "numbers_of",
    "part_of",
    "penalty_of",
    "referring",
    "route_of",
    "route_sizes",
]

Array = NDArray[Any]
# Measured with 64 factors: the cost of a row without its entries, with what is computed of its
# solution, divided by the number of factors, and how much more an entry costs whenever the numbers
# that a row refers to, which are in slower caches then, are twice as many.
_ROW_COST = 0.85
_SHORT, _DOUBLING_COST = 4096, 0.25
_ALMOST_ALL = 0.9  # of the rows of a block; to select them would take longer than to send the rest


@dataclass(frozen=True, eq=False)
class Division:
    """The bounds of the blocks of one side.

    Parameters
    ----------
    bounds : ndarray of int64
        Those of the tasks of all rows; see `Margin.bounds`.
    tasks : ndarray of int64, shape (n_blocks + 1,)
        The first task of each block.
    """

    bounds: NDArray[np.int64]
    tasks: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """The first row of each block, and the number of rows; shape (n_blocks + 1,)."""
        return self.bounds[self.tasks]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return self.tasks.size - 1

    def slices(self) -> list[slice]:
        """Return the rows of each block."""
        return [slice(low, high) for low, high in pairwise(self.rows.tolist())]

    def part(self, number: int) -> Part:
        """Return the tasks of a block."""
        first, last = self.tasks[number : number + 2]
        own = self.bounds[first : last + 1]
        return Part(own - own[0], self.bounds.size - 1, int(first))


def divided(margin: Margin, n_blocks: int, width: int) -> Division:
    """Divide a side into ``n_blocks`` blocks of similar cost, or into as many as possible.

    Their bounds are those of tasks in which sums of matrices of shape (width, width), and smaller
    ones, are computed. No block is empty, also if one row costs more than the others together.
    """
    n_tasks = margin.bounds.size - 1
    allowed = np.append(np.arange(0, n_tasks, task_stride(n_tasks, width)), n_tasks)
    before = np.append(0.0, np.cumsum(_cost(margin.counts, width)))[margin.bounds[allowed]]
    last = allowed.size - 1
    n_blocks = min(n_blocks, last)
    number = np.arange(1, n_blocks)
    ends = np.maximum(_nearest(before, before[-1] * number / n_blocks), 1)
    ends = np.minimum(np.maximum.accumulate(ends - number) + number, last - n_blocks + number)
    return Division(margin.bounds, allowed[np.concatenate([[0], ends, [last]])])


def both_divided(margins: Mapping[Axis, Margin], n_blocks: int, width: int) -> dict[Axis, Division]:
    """Divide both sides into the same number of blocks, at most ``n_blocks``; see `divided`."""
    most = min(divided(margin, n_blocks, width).n_blocks for margin in margins.values())
    return {axis: divided(margin, most, width) for axis, margin in margins.items()}


def _cost(counts: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Return about how much it costs to solve rows, in entries of a short row."""
    doublings = np.log2(np.maximum(counts * (width / _SHORT), 1.0))
    return np.asarray(_ROW_COST * width + counts * (1.0 + _DOUBLING_COST * doublings))


def _nearest(ascending: Array, values: Array) -> NDArray[np.int64]:
    """Return the positions of the numbers that are nearest to some values."""
    middles = 0.5 * (ascending[1:] + ascending[:-1])
    return np.searchsorted(middles, values).astype(np.int64)


def part_of(side: Side, rows: slice) -> Side:
    """Return some consecutive rows of a side."""
    indptr = side.entries.indptr[rows.start : rows.stop + 1]
    chosen: Any = slice(indptr[0], indptr[-1])
    scale = side.scale[rows]
    entries = select_entries(side.entries, chosen)._replace(
        indptr=indptr - indptr[0], indices=side.entries.indices[chosen], scale=scale
    )
    return replace(
        side,
        counts=side.counts[rows],
        summed_weights=side.summed_weights[rows],
        scale=scale,
        multiplicity=side.multiplicity[rows] if side.multiplicity.size else side.multiplicity,
        positions=side.positions[rows] if side.positions.size else np.arange(rows.start, rows.stop),
        entries=entries,
    )


def joined(sides: list[Side]) -> Side:
    """Return the rows of sides, one after the other."""
    first = sides[0]
    if len(sides) == 1:
        return first

    def all_of(name: str) -> Array:
        return np.concatenate([getattr(side, name) for side in sides])

    def entries_of(name: str) -> Array:
        return np.concatenate([getattr(side.entries, name) for side in sides])

    counts, scale = all_of("counts"), all_of("scale")
    entries = first.entries._replace(
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        indices=entries_of("indices"),
        targets=entries_of("targets"),
        weights=entries_of("weights"),
        excluded=entries_of("excluded"),
        scale=scale,
    )
    return replace(
        first,
        counts=counts,
        summed_weights=all_of("summed_weights"),
        scale=scale,
        multiplicity=all_of("multiplicity"),
        positions=all_of("positions"),
        entries=entries,
    )


class Referring(NamedTuple):
    """Rows with the rows of the other side that their entries refer to."""

    side: Side
    """The rows; the indices of their entries are positions among those that are referred to."""
    routes: list[NDArray[np.int32]]
    """The latter, for each block of the other side, as positions in it."""


def referring(side: Side, across: NDArray[np.int64], threads: int) -> Referring:
    """Return the rows of a block; ``across`` has the first row of each block of the other side.

    They also refer to the few rows that are left of a block of which they need almost all, because
    it is then sent as it is.
    """
    indices = side.entries.indices
    is_referred = np.zeros(across[-1], np.bool_)
    is_referred[indices] = True
    for low, high in pairwise(across):
        own = is_referred[low:high]
        own |= np.count_nonzero(own) >= _ALMOST_ALL * own.size
    positions = np.cumsum(is_referred, dtype=np.int32) - np.int32(1)
    referred = np.flatnonzero(is_referred)
    ends = np.searchsorted(referred, across)
    routes = [
        (referred[ends[n] : ends[n + 1]] - across[n]).astype(np.int32)
        for n in range(across.size - 1)
    ]
    compact = side.entries._replace(indices=positions[indices])
    return Referring(replace(side, entries=compact), routes)


def route_of(own: Referring, number: int, threads: int) -> NDArray[np.int32]:
    """Return the rows of a block of the other side that are referred to."""
    return own.routes[number]


def route_sizes(own: Referring, threads: int) -> list[int]:
    """Return how many rows of each block of the other side are referred to."""
    return [route.size for route in own.routes]


def numbers_of(side: Side, threads: int) -> NDArray[np.float64]:
    """Return the summed weight and the multiplicity, if there is one, of each row, as columns."""
    numbers = [side.summed_weights]
    if side.multiplicity.size:
        numbers.append(side.multiplicity)
    return np.stack(numbers, axis=1)


def block_of(
    own: Referring,
    numbers: NDArray[np.float64],
    objective: Terms,
    axis: Axis,
    part: Part,
    penalty: PenaltyCall,
    n_other: int,
    threads: int,
) -> Block:
    """Return the block of some rows, with the `numbers_of` the rows that they refer to."""
    multiplicity = np.ascontiguousarray(numbers[:, 1]) if numbers.shape[1] > 1 else np.empty(0)
    return Block(
        objective, axis, replace(own.side, part=part), penalty, multiplicity,
        np.ascontiguousarray(numbers[:, 0]), n_other,
    )  # fmt: skip


def penalty_of(penalty: PenaltyCall, rows: slice) -> PenaltyCall:
    """Return the penalty of some rows."""
    is_common = len(penalty.center) <= 1
    return penalty if is_common else penalty._replace(center=penalty.center[rows])
