"""`Routing`: which factors of one side the blocks of the other side get."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from twofold.distributed import tasks
from twofold.distributed.blocks import route_of, route_sizes
from twofold.distributed.residents import Homes, Inline

__all__ = ["Route", "Routing"]


class Route(NamedTuple):
    """Those rows of a block of the other side that a block refers to."""

    n_rows: int
    rows: Any
    """Their positions, on the worker that selects them; None for all rows."""


@dataclass(frozen=True, eq=False)
class Routing:
    """The routes to the blocks of one side.

    Parameters
    ----------
    cluster : Homes
    homes : list of str
        The address of the worker of each block, the same one for both sides.
    routes : list of list of Route
        Those to each block, from each block of the other side.
    """

    cluster: Homes
    homes: list[str]
    routes: list[list[Route]]

    @classmethod
    def of(cls, cluster: Homes, homes: list[str], referring: list[Any], lengths: list[int]) -> Self:
        """Return the routes to blocks, which are `Referring` to blocks of some lengths."""
        sizes = cluster.values(
            [
                cluster.call(route_sizes, own, home=home)
                for own, home in zip(referring, homes, strict=True)
            ]
        )

        def route(n: int, number: int) -> Route:
            size = sizes[n][number]
            if size == lengths[number]:
                return Route(size, None)
            rows = cluster.call(route_of, referring[n], home=homes[n], number=number)
            if homes[number] != homes[n]:
                rows = cluster.call(tasks.copied, rows, home=homes[number])
            return Route(size, rows)

        numbers = range(len(homes))
        return cls(cluster, homes, [[route(n, number) for number in numbers] for n in numbers])

    @property
    def selects(self) -> bool:
        """Whether some blocks get only some of the factors of a block of another worker."""
        return any(one.rows is not None for one in self._between_workers())

    @property
    def n_moved(self) -> int:
        """How many factors go to another worker."""
        return sum(one.n_rows for one in self._between_workers())

    def _between_workers(self) -> list[Route]:
        """Return the routes from one worker to another one."""
        return [
            one
            for home, routes in zip(self.homes, self.routes, strict=True)
            for source, one in zip(self.homes, routes, strict=True)
            if source != home
        ]

    def joins(self, factors: list[Any]) -> list[Any]:
        """Return what each block gets, as something that each task computes that uses it."""
        joins: list[Any] = []
        for home, routes in zip(self.homes, self.routes, strict=True):
            is_selected, pieces = [], list[Any]()
            for part, (_, rows), source in zip(factors, routes, self.homes, strict=True):
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
        return joins
