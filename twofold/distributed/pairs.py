"""`ClusterPairings`: pairings that the workers read, and that never pass through the client."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from twofold._common.checks import check_choice
from twofold.data import Pairings
from twofold.data.csr import Duplicates
from twofold.distributed.layout import entry_bytes, number_of_blocks
from twofold.distributed.reading import Pairs, PairsBlock, read_parts, rows_of_problem
from twofold.distributed.residents import MOST_ATTEMPTS, Homes, LostError
from twofold.distributed.shuffle import PairsLayout, Shuffle
from twofold.exceptions import InvalidInputError
from twofold.model.partitioned import PartitionedPairings
from twofold.objective import Balanced, Objective, Problem

__all__ = ["ClusterPairings"]


class ClusterPairings(PartitionedPairings):
    """Pairings in parts, each of which a worker of a Dask cluster reads.

    The pairs go from worker to worker, and only ids and counts come to the client. Ids are in
    ascending order, so that the positions are those of one reader for all. They are for
    `DaskALS.solve`, or for `FactorModel.fit` with `DaskALS`.

    Parameters
    ----------
    readers : sequence of callable
        Each returns the `Pairings` of a part, and is called by a worker without arguments: for
        instance ``functools.partial(read_parquet, path)``, or ``partial(read_sql, url, query=...)``
        with a range of ids in the query. A part may be read more than once, if a worker ends.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        What a pair of several parts becomes; see `Pairings.from_arrays`. The readers apply their
        own setting to each part first.

    Attributes
    ----------
    row_ids, col_ids : ndarray
        The ids of rows and columns, once a solver has read the pairs.

    Raises
    ------
    InvalidInputError
        If there are no readers, or one of them cannot be called.

    Examples
    --------
    >>> from functools import partial
    >>> from twofold.distributed import ClusterPairings
    >>> from twofold.io import read_parquet
    >>> ClusterPairings([partial(read_parquet, f"pairs-{n}.parquet") for n in range(4)])
    <ClusterPairings of 4 parts>
    """

    def __init__(
        self, readers: Sequence[Callable[[], Pairings]], duplicates: Duplicates = "keep-one"
    ) -> None:
        check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
        self.readers, self.duplicates = list(readers), duplicates
        self._read: tuple[Homes, Pairs] | None = None
        if not self.readers or not all(map(callable, self.readers)):
            raise InvalidInputError(
                "readers must be functions without arguments that return Pairings: give one for "
                "each part, such as functools.partial(read_parquet, path)"
            )

    def __repr__(self) -> str:
        """Return the number of parts."""
        return f"<ClusterPairings of {len(self.readers)} parts>"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and number of columns, once a solver has read the pairs."""
        return len(self.row_ids), len(self.col_ids)

    def objective_for(self, given: Objective | Balanced) -> Objective:
        """Return the objective of a fit, for `Balanced`, or biases without a mean, by the data.

        The pairs that are read for it stay on the workers for the next `layout`.
        """
        if isinstance(given, Objective) and (not given.biases or given.mean is not None):
            return given
        cluster, left = Homes(), MOST_ATTEMPTS
        while True:
            try:
                pairs = self._pairs(cluster)
                sums = [
                    cluster.call(_sums_of, one.handle, home=one.home, rule=given)
                    for one in pairs.blocks
                ]
                with pairs.ids_in_errors():
                    objective = _objective_of(given, cluster.values(sums), pairs.shape)
                self._read = cluster, pairs
                return objective
            except LostError:
                left -= 1
                if not left:
                    raise

    def layout(
        self, cluster: Homes, objective: Objective, n_columns: int, width: int
    ) -> PairsLayout:
        """Read the pairs; return their problem on the workers.

        Parameters
        ----------
        cluster : Homes
            The workers.
        objective : Objective
            What is minimised.
        n_columns : int
            Number of columns of the factors.
        width : int
            The largest number of columns of factors, for the memory of a block.

        Returns
        -------
        PairsLayout

        Raises
        ------
        InvalidInputError
            If the objective has centers, which are by position.

        Examples
        --------
        >>> from functools import partial
        >>> from distributed import Client
        >>> parts = ClusterPairings([partial(Pairings.from_arrays, [1, 2], [7, 8])])
        >>> with Client(processes=False, dashboard_address=None) as client:
        ...     made = parts.layout(Homes(client), Objective(), n_columns=2, width=2)
        ...     print(made.layout)
        2 rows in 1 blocks and 2 cols in 1 blocks, on 1 workers
        """
        if objective.has_centers:
            raise InvalidInputError(
                "an objective with row_center or col_center needs the pairs in one process: give "
                "a matrix instead of ClusterPairings, or leave the centers out"
            )
        pairs = self._pairs(cluster)
        sides = [
            replace(
                one,
                handle=cluster.call(
                    rows_of_problem, one.handle, home=one.home, objective=objective, low=one.low
                ),
            )
            for one in pairs.blocks
        ]
        pairs.blocks.clear()  # so that the workers keep them no longer than they need them
        with pairs.ids_in_errors():
            sizes = [cluster.call(entry_bytes, one.handle, home=one.home) for one in sides]
            n_bytes = sum(cluster.values(sizes))
            n_blocks = number_of_blocks(cluster, n_bytes, pairs.shape, width)
            made = Shuffle(cluster, objective, sides, pairs.shape).layout(
                n_columns, n_blocks, width
            )
        self.row_ids, self.col_ids = pairs.row_ids, pairs.col_ids
        self.col_counts = made.col_counts
        return made

    def _pairs(self, cluster: Homes) -> Pairs:
        """Return the pairs on the workers, which `objective_for` may have read."""
        read, self._read = self._read, None
        if read is not None and read[0].client is cluster.client:
            return read[1]
        return read_parts(cluster, self.readers, self.duplicates)


class _Sums(NamedTuple):
    """What the objective of some rows depends on."""

    weight: float
    explained: float
    """The sum of w r."""
    n_excluded: int
    """Number of cells that are not in U, of an objective."""


def _sums_of(block: PairsBlock, rule: Objective | Balanced, threads: int) -> _Sums:
    if isinstance(rule, Balanced):
        return _Sums(rule.total_weight(block.matrix, block.weights), 0.0, 0)
    rows = Problem.of(rule, block.matrix, block.weights).rows
    entries, summed = rows.entries, float(rows.summed_weights.sum())
    explained, n_excluded = summed, 0
    if entries.targets.size:
        products = entries.weights * entries.targets if entries.weights.size else entries.targets
        explained = float(products.sum())
    if entries.missing_weight:
        excluded = entries.excluded
        n_excluded = int(np.count_nonzero(excluded)) if excluded.size else entries.indices.size
    return _Sums(summed, explained, n_excluded)


def _objective_of(
    given: Objective | Balanced, sums: list[_Sums], shape: tuple[int, int]
) -> Objective:
    """Return the objective for all rows; see `Problem.mean`."""
    weight, explained, n_excluded = (sum(part) for part in zip(*sums, strict=True))
    if isinstance(given, Balanced):
        return given.for_sizes(weight, shape)
    total = weight + given.unobserved_weight * (float(shape[0] * shape[1]) - n_excluded)
    return replace(given, mean=explained / total if total else 0.0)
