"""`Layout`: a problem on the workers, in blocks of rows and blocks of columns."""

from dataclasses import dataclass
from typing import Any, Self

from twofold._kernels.arguments import PenaltyCall
from twofold.distributed.blocks import Division, both_divided, part_of, penalty_of
from twofold.distributed.residents import Homes
from twofold.objective import Problem
from twofold.objective.biases import Axis
from twofold.objective.side import Side
from twofold.objective.terms import Terms
from twofold.solvers.operations import AXES

__all__ = ["Layout", "entry_bytes", "number_of_blocks"]


@dataclass(frozen=True, eq=False)
class Layout:
    """A problem on the workers: the rows and columns of its blocks, with their entries.

    Parameters
    ----------
    objective : Terms
    mean : float
        See `Problem.mean`.
    divisions : dict of axis to Division
    homes : list of str
        The address of the worker of each block, the same one for both sides.
    sides : dict of axis to list of distributed.Future
        The `Side` of each block, whose indices are positions in the whole problem.
    penalties : dict of axis to list of PenaltyCall
        The penalty of each block.
    n_original : dict of axis to int
        Number of rows, and of columns, of the data.
    """

    objective: Terms
    mean: float
    divisions: dict[Axis, Division]
    homes: list[str]
    sides: dict[Axis, list[Any]]
    penalties: dict[Axis, list[PenaltyCall]]
    n_original: dict[Axis, int]

    def __str__(self) -> str:
        """Return the sizes of the data and of the division."""
        sides = (
            f"{self.n_original[axis]:,} {axis}s in {self.divisions[axis].n_blocks} blocks"
            for axis in AXES
        )
        n_workers = len(set(self.homes))
        return f"{' and '.join(sides)}, on {n_workers} workers"

    @classmethod
    def of_problem(
        cls, cluster: Homes, problem: Problem, n_columns: int, n_blocks: int, width: int
    ) -> Self:
        """Send a problem of this process to the workers, in ``n_blocks`` blocks of each side.

        The largest number of columns of factors is ``width``.
        """
        sides: dict[Axis, Side] = {"row": problem.rows, "col": problem.cols}
        penalties = dict(zip(AXES, problem.penalties(n_columns), strict=True))
        divisions = both_divided(sides, n_blocks, width)
        homes = cluster.homes(divisions["row"].n_blocks)
        return cls(
            problem.objective,
            problem.mean,
            divisions,
            homes,
            {
                axis: [
                    cluster.placed([part_of(sides[axis], rows)], home)[0]
                    for rows, home in zip(divisions[axis].slices(), homes, strict=True)
                ]
                for axis in AXES
            },
            {
                axis: [penalty_of(penalties[axis], rows) for rows in divisions[axis].slices()]
                for axis in AXES
            },
            {axis: sides[axis].n_original for axis in AXES},
        )


def entry_bytes(side: Side, threads: int = 1) -> int:
    """Return the bytes of the entries of a side."""
    entries = side.entries
    arrays = entries.indices, entries.targets, entries.weights, entries.excluded
    return sum(array.nbytes for array in arrays)


def number_of_blocks(cluster: Homes, n_bytes: int, shape: tuple[int, int], width: int) -> int:
    """Return how many blocks each side is divided into.

    It is one for each worker, and more where the entries of both sides, of ``n_bytes`` each, and
    four times the factors would take more than a quarter of the memory of the workers.
    """
    limits = cluster.memory_limits()
    needed = 2 * n_bytes + 16 * width * sum(shape)
    available = min(limits) * len(limits) // 4
    return len(limits) * max(1, -(-needed // available) if available else 1)
