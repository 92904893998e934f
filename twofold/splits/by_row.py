"""Splits of whole rows into train, validation and test."""

import numpy as np

from twofold._common.checks import check_real, seed_of
from twofold.data.pairings import Pairings, check_pairings
from twofold.exceptions import InvalidInputError
from twofold.splits.parts import RowSplit

__all__ = ["split_rows"]


def split_rows(
    pairings: Pairings,
    *,
    validation: float = 0.15,
    test: float = 0.15,
    rng: int | np.random.Generator | None = 11,
) -> RowSplit:
    """Assign whole rows (playlists) to train, validation and test at random.

    The validation and the test part get ``validation * n_rows`` and ``test * n_rows`` rows, each
    rounded to the nearest whole number (a half to the even one), and train gets all others.

    The training part has only the columns (tracks) that have a pair in it, whatever its value and
    weight, as nothing can be learnt about the others. The other parts keep all columns, because new
    playlists contain unknown tracks. `FactorModel.fold_in`, `FactorModel.recommend`,
    `Pairings.align` and `tuning.grid_search` match columns by their ids, and leave out and count
    pairs with unknown ones; `RowSplit.unknown` has their number.

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
        `train`, `validation` and `test`, each with its rows in their order in `pairings`, also
        those without a pair, and with its columns in their order in `pairings`.

    Raises
    ------
    InvalidInputError
        If a share is out of range, or no row is left for train.

    Examples
    --------
    >>> pairings = Pairings.from_arrays([*range(20), 2], [0, 1] * 10 + [7])
    >>> split = split_rows(pairings)
    >>> [part.shape for part in split]
    [(14, 3), (3, 3), (3, 3)]
    >>> split.unknown["test"]
    Unknown(n_cols=0, n_pairs=0)
    """
    check_pairings(pairings)
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
    train, *others = (pairings.take_rows(np.sort(part)) for part in parts)
    return RowSplit(train.drop_empty_cols(), *others)
