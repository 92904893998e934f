"""`Changes`: what `FactorModel.partial_fit` changed."""

from dataclasses import dataclass

__all__ = ["Changes"]


@dataclass(frozen=True)
class Changes:
    """Numbers of rows, columns and pairs of an update.

    Parameters
    ----------
    n_new_rows, n_new_cols : int
        Rows and columns that the model did not have.
    n_changed_rows, n_changed_cols : int
        Rows and columns of the model that have pairs in the update.
    n_new_pairs : int
        Pairs that were added.
    n_replaced_pairs : int
        Pairs of the model that the update replaced.
    """

    n_new_rows: int
    n_changed_rows: int
    n_new_cols: int
    n_changed_cols: int
    n_new_pairs: int
    n_replaced_pairs: int
