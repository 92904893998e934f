"""`PartitionedPairings`: training pairs that are not in this process."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from twofold._common.arrays import Ids
from twofold.objective import Balanced, Objective

__all__ = ["PartitionedPairings"]


class PartitionedPairings(ABC):
    """Training pairs in parts outside of this process, which a solver of a cluster reads.

    Attributes
    ----------
    row_ids, col_ids : ndarray
        The ids of rows and columns, once a solver has read the pairs.
    col_counts : ndarray of int64, shape (n_cols,)
        Number of rows that have a pair with each column.
    """

    row_ids: Ids
    col_ids: Ids
    col_counts: NDArray[np.int64]

    @abstractmethod
    def objective_for(self, given: Objective | Balanced) -> Objective:
        """Return the objective that is minimised for these pairs."""
