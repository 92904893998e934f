"""Splits of the last pairs of each row from the others."""

from typing import Any

import numpy as np

from twofold._common.checks import check_whole
from twofold.data.pairings import Pairings
from twofold.splits.parts import PairSplit, canonical, order_of, pair_split, ranks

__all__ = ["split_last"]


def split_last(pairings: Pairings, n: int = 1, *, order: Any = "times") -> PairSplit:
    """Hold out the last n pairs of each row, as "leave-one-last-out" does with n = 1.

    Of pairs of a row with the same order, the one with the larger column position is the later one.
    A row with n pairs or fewer keeps its first pair: of m pairs, min(n, m - 1) are held out.

    The times of different rows are not compared: a seen pair of one row may be later than a
    held-out pair of another, so a model of all seen pairs is trained on the future of that pair
    (Ji et al. 2023). `split_time` has one cut for all rows.

    Parameters
    ----------
    pairings : Pairings
        The pairs to split. It is not changed. A pair that is stored twice counts as one pair with
        the sum of its values, the sum of its weights and the later of its times and orders.
    n : int, default 1
        Pairs to hold out of each row, >= 1.
    order : {"times", "values"} or array_like, shape (n_pairs,), default "times"
        What orders the pairs of a row, ascending: `Pairings.times`; the values of the matrix, for
        instance positions in a playlist; or numbers or times in the order of ``matrix.data``.

    Returns
    -------
    PairSplit
        `seen` and `heldout`, each with all rows and all columns of `pairings` at their positions,
        and with its values, weights and times.

    Raises
    ------
    InvalidInputError
        If n is not a whole number >= 1, or there is no order, or it has NaN or another length.

    References
    ----------
    Meng, McCreadie, Macdonald, Ounis, "Exploring Data Splitting Strategies for the Evaluation of
    Recommendation Models", RecSys 2020.

    Ji, Sun, Zhang, Li, "A Critical Study on Data Leakage in Recommender System Offline Evaluation",
    ACM Transactions on Information Systems 41(3), 2023.

    Examples
    --------
    >>> pairings = Pairings.from_arrays([1, 1, 1, 2], ["a", "b", "c", "a"], times=[30, 20, 10, 5])
    >>> split_last(pairings).heldout.matrix.toarray()
    array([[1., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    check_whole(n, "n", 1)
    pairings, keys = canonical(pairings, order_of(pairings, order))
    lengths = np.diff(pairings.matrix.indptr)
    n_seen = np.maximum(lengths - n, 1)
    return pair_split(pairings, ranks(pairings.matrix, keys) >= np.repeat(n_seen, lengths))
