"""Splits of the pairs of each row at random."""

import numpy as np

from twofold._common.checks import check_real, seed_of
from twofold.data.pairings import Pairings
from twofold.splits.parts import PairSplit, canonical, pair_split, ranks

__all__ = ["split_pairs"]


def split_pairs(
    pairings: Pairings,
    *,
    fraction: float = 0.2,
    rng: int | np.random.Generator | None = 11,
) -> PairSplit:
    """Hold out a share of the pairs of each row at random, to be predicted from the others.

    This is how folded-in rows are evaluated ("strong generalisation", Marlin 2004): fold in the
    seen pairs of rows that a model was not trained on, and score its recommendations with the
    held-out pairs. A row of n pairs loses ``fraction * n`` of them, rounded to the nearest whole
    number (a half to the even one), but keeps at least one.

    Parameters
    ----------
    pairings : Pairings
        The pairs to split. It is not changed. A pair that is stored twice counts as one pair with
        the sum of its values and the sum of its weights.
    fraction : float, default 0.2
        Share of each row's pairs that is held out, from 0 (included) to 1 (excluded).
    rng : int, numpy.random.Generator or None, default 11
        Seed of the random choice. None draws a new one from the operating system.

    Returns
    -------
    PairSplit
        `seen` and `heldout`, each with all rows and all columns of `pairings` at their positions,
        and with its values, weights and times.

    Raises
    ------
    InvalidInputError
        If the fraction is out of range.

    References
    ----------
    Marlin, "Collaborative Filtering: A Machine Learning Perspective", 2004, section 3.2.

    Examples
    --------
    >>> seen, heldout = split_pairs(Pairings.from_arrays([5] * 10, range(10)), fraction=0.3)
    >>> seen.n_pairs, heldout.n_pairs
    (7, 3)
    """
    check_real(fraction, "fraction", minimum=0.0, below=1.0)
    pairings, _ = canonical(pairings)
    lengths = np.diff(pairings.matrix.indptr)
    n_heldout = np.minimum(np.rint(fraction * lengths), np.maximum(lengths - 1, 0)).astype(np.int64)
    draws = np.random.default_rng(seed_of(rng)).random(pairings.n_pairs)
    is_heldout = ranks(pairings.matrix, draws) < np.repeat(n_heldout, lengths)
    return pair_split(pairings, is_heldout)
