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

    Examples
    --------
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.solvers import ALS
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0))
    >>> model = model.fit(Pairings.from_arrays([1, 1, 2], [7, 9, 7]))
    >>> updated = model.partial_fit(Pairings.from_arrays([2, 3], [9, 9]))
    >>> updated.changes.n_new_rows, updated.changes.n_changed_rows, updated.changes.n_new_pairs
    (1, 1, 2)
    """

    n_new_rows: int
    n_changed_rows: int
    n_new_cols: int
    n_changed_cols: int
    n_new_pairs: int
    n_replaced_pairs: int
