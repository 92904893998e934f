"""`FoldedRows`: the factors of new rows."""

from dataclasses import dataclass
from typing import Any

from twofold._common.arrays import FactorArray, Ids
from twofold.data.with_frame import WithFrame

__all__ = ["FoldedRows"]


@dataclass(frozen=True, eq=False)
class FoldedRows(WithFrame):
    """Factors of new rows, and what could not be used of them.

    Parameters
    ----------
    row_ids : ndarray, shape (n_rows,)
        Ids of the new rows, in the order given.
    row_factors : ndarray, shape (n_rows, n_factors)
        Zero for a row without any known column.
    n_dropped_pairs : int
        Pairs left out because their column is not in the model.
    n_dropped_cols : int
        Different columns that these pairs had.
    n_empty_rows : int
        Rows without any known column.

    Notes
    -----
    `to_frame` has a line for each row: ``row`` and ``factor_0``, ``factor_1``, ...

    Examples
    --------
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.solvers import ALS
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0))
    >>> model = model.fit(Pairings.from_arrays([1, 1, 2], [7, 9, 7]))
    >>> model.fold_in(Pairings.from_arrays([5, 5, 6], [7, 8, 8]))
    <FoldedRows: 2 rows x 2 factors, 1 rows without a known column, 2 pairs dropped>
    """

    row_ids: Ids
    row_factors: FactorArray
    n_dropped_pairs: int
    n_dropped_cols: int
    n_empty_rows: int

    def __repr__(self) -> str:
        rows, k = self.row_factors.shape
        return (
            f"<FoldedRows: {rows} rows x {k} factors, {self.n_empty_rows} rows without a known "
            f"column, {self.n_dropped_pairs} pairs dropped>"
        )

    def _frame_columns(self) -> dict[str, Any]:
        factors = {f"factor_{i}": column for i, column in enumerate(self.row_factors.T)}
        return {"row": self.row_ids} | factors
