"""Seeded splits: by row (train, validation, test) and by pair (seen, held out)."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from twofold._common.checks import check_real, seed_of
from twofold.data.csr import build_csr
from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError

__all__ = ["PairSplit", "RowSplit", "split_pairs", "split_rows"]


class RowSplit(NamedTuple):
    """Three sets of rows that share no row, all with the same columns.

    Attributes
    ----------
    train, validation, test : Pairings
        Together they hold each row of the input once.
    """

    train: Pairings
    validation: Pairings
    test: Pairings


class PairSplit(NamedTuple):
    """Two sets of pairs that share no pair, both with the same rows and the same columns.

    Attributes
    ----------
    seen, heldout : Pairings
        Together they hold each pair of the input once.
    """

    seen: Pairings
    heldout: Pairings


def split_rows(
    pairings: Pairings,
    *,
    validation: float = 0.15,
    test: float = 0.15,
    rng: int | np.random.Generator | None = 11,
) -> RowSplit:
    """Deal whole rows (playlists) out to train, validation and test at random.

    The validation and the test part get `validation * n_rows` and `test * n_rows` rows, each
    rounded to the nearest whole number (a half to the even one), and train gets all others.

    Parameters
    ----------
    pairings : Pairings
        The rows to split. It is not changed.
    validation, test : float, default 0.15
        Share of the rows, from 0 (included) to 1 (excluded); their sum must be below 1.
    rng : int, numpy.random.Generator or None, default 11
        Seed of the random choice. None draws a new one from the operating system.

    Returns
    -------
    RowSplit
        `train`, `validation` and `test`. Each keeps all columns, and its rows in their order in
        `pairings`.

    Raises
    ------
    InvalidInputError
        If a share is out of range, or no row is left for train.

    Examples
    --------
    >>> pairings = Pairings.from_arrays(range(20), [0, 1] * 10)
    >>> [part.shape for part in split_rows(pairings)]
    [(14, 2), (3, 2), (3, 2)]
    """
    check_real(validation, "validation", minimum=0.0, below=1.0)
    check_real(test, "test", minimum=0.0, below=1.0)
    if validation + test >= 1:
        raise InvalidInputError(
            f"validation + test is {validation + test}: it must be below 1, train gets the rest"
        )
    n_rows = pairings.shape[0]
    n_validation, n_test = round(validation * n_rows), round(test * n_rows)
    if n_validation + n_test >= n_rows:
        raise InvalidInputError(
            f"validation takes {n_validation} and test {n_test} of {n_rows} rows, which leaves "
            "none for train: use smaller shares or more rows"
        )
    shuffled = np.random.default_rng(seed_of(rng)).permutation(n_rows)
    parts = np.split(shuffled, [n_rows - n_validation - n_test, n_rows - n_test])
    return RowSplit(*(pairings.take_rows(np.sort(part)) for part in parts))


def split_pairs(
    pairings: Pairings,
    *,
    fraction: float = 0.2,
    rng: int | np.random.Generator | None = 11,
) -> PairSplit:
    """Hold out a share of the pairs of each row at random, to be predicted from the others.

    This is how folded-in rows are evaluated ("strong generalisation", Marlin 2004): fold in the
    seen pairs of rows that a model was not trained on, and score its recommendations with the
    held-out pairs. A row of n pairs loses `fraction * n` of them, rounded to the nearest whole
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
        and with its values and weights.

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
    matrix, beside = pairings.matrix, pairings.beside
    if not matrix.has_canonical_format:
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        numbers = {"value": matrix.data} | {name[:-1]: each for name, each in beside.items()}
        ids = (pairings.row_ids, pairings.col_ids)
        matrix, beside = build_csr(rows, matrix.indices, numbers, *ids, "count")
    lengths = np.diff(matrix.indptr)
    n_heldout = np.minimum(np.rint(fraction * lengths), np.maximum(lengths - 1, 0)).astype(np.int64)

    # Shuffle inside each row, then hold out what now stands first in it.
    row = np.repeat(np.arange(lengths.size), lengths)
    draws = np.random.default_rng(seed_of(rng)).random(row.size)
    shuffled = np.lexsort((draws, row))
    place = np.arange(row.size) - np.repeat(matrix.indptr[:-1], lengths)
    is_heldout = np.empty(row.size, dtype=bool)
    is_heldout[shuffled] = place < np.repeat(n_heldout, lengths)
    return PairSplit(
        seen=_with_entries(pairings, matrix, beside, ~is_heldout),
        heldout=_with_entries(pairings, matrix, beside, is_heldout),
    )


def _with_entries(
    pairings: Pairings,
    matrix: sparse.csr_array,
    beside: dict[str, Any],
    kept: np.ndarray,
) -> Pairings:
    """Return the pairings with only some of the matrix's entries."""
    n_before = np.concatenate([[0], np.cumsum(kept)])
    indptr = n_before[matrix.indptr]
    part = sparse.csr_array((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)
    beside = {name: numbers[kept] for name, numbers in beside.items()}
    return Pairings(part, pairings.row_ids, pairings.col_ids, **beside)
