"""Rankings of the columns of a model, with candidates and exclusions given by ids."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._kernels.screen import Screen
from twofold.data.entries import aligned_entries, find_cols
from twofold.data.pairings import Pairings
from twofold.data.vocabulary import Vocabulary
from twofold.model.popularity import most_popular
from twofold.model.ranking import NO_RULES, Ranking, Rules, best_columns, zero_rows

__all__ = ["by_cosine", "inverse_lengths", "ranked", "rules_of"]


def rules_of(
    row_ids: NDArray[Any],
    trained: Pairings,
    candidates: ArrayLike | Pairings | None,
    exclude: ArrayLike | Pairings | None,
) -> Rules:
    """Return the rules of rows; columns that are not among the trained ones are left out."""
    allowed, blocked = (
        None if given is None else _positions(given, row_ids, trained)
        for given in (candidates, exclude)
    )
    return Rules(allowed, blocked)


def _positions(
    given: ArrayLike | Pairings, row_ids: NDArray[Any], trained: Pairings
) -> NDArray[np.int64] | sparse.csr_array:
    if not isinstance(given, Pairings):
        found = np.unique(find_cols(trained, given))
        return found[found >= 0]
    entries = aligned_entries(given, trained).matrix.copy()
    entries.sum_duplicates()
    no_entries = sparse.csr_array((1, entries.shape[1]), dtype=entries.dtype)
    # Position -1 of an unknown row is the last one, which has no entries.
    at = Vocabulary(given.row_ids, "row").find(row_ids)
    return sparse.vstack([entries, no_entries], format="csr")[at]


def ranked(
    row_ids: NDArray[Any],
    col_ids: NDArray[Any],
    row_factors: NDArray[Any],
    col_factors: NDArray[Any],
    n: int,
    excluded: sparse.csr_array | None,
    *,
    rows: NDArray[np.int64] | None = None,
    rules: Rules = NO_RULES,
    counts: NDArray[np.int64] | None = None,
    screen: Screen | None = None,
    n_threads: int | None = None,
) -> Ranking:
    """Rank by p . q; rows whose factors are all zero are ranked by the counts of the columns.

    The arguments are those of `best_columns`. Without counts, these rows are padded.
    """
    zero = zero_rows(row_factors, rows)
    found, scores = best_columns(
        row_factors, col_factors, n, excluded,
        rows=rows, rules=rules, unranked=zero, screen=screen, n_threads=n_threads,
    )  # fmt: skip
    if counts is None or not zero.any():
        return Ranking.of(row_ids, col_ids, found, scores)
    at = np.flatnonzero(zero)
    found[at], scores[at] = most_popular(
        counts, at if rows is None else rows[at], n, excluded, rules.of_rows(at), n_threads
    )
    return Ranking.of(row_ids, col_ids, found, scores, zero)


def inverse_lengths(factors: NDArray[Any], n_biases: int) -> NDArray[np.float64]:
    """Return 1 / |p| of every row without its biases, or 1 if it is zero."""
    own = factors[:, : factors.shape[1] - n_biases]
    lengths = np.sqrt(np.einsum("ij,ij->i", own, own, dtype=np.float64))
    return 1.0 / np.where(lengths > 0.0, lengths, 1.0)


def by_cosine(
    ids: NDArray[Any],
    positions: NDArray[np.int64],
    factors: NDArray[Any],
    inverse: NDArray[np.float64],
    n: int,
    n_biases: int,
    n_threads: int | None = None,
) -> Ranking:
    """Rank all rows of one side by their cosine with some of them, without the biases.

    ``inverse`` is that of `inverse_lengths`.
    """
    unit = factors[positions]
    unit[:, factors.shape[1] - n_biases :] = 0.0
    unit *= inverse[positions, np.newaxis].astype(unit.dtype)
    itself = sparse.csr_array(
        (np.ones(positions.size), positions, np.arange(positions.size + 1)),
        shape=(positions.size, ids.size),
    )
    found, scores = best_columns(unit, factors, n, itself, scale=inverse, n_threads=n_threads)
    return Ranking.of(ids[positions], ids, found, scores)
