"""The best columns of each row, by the kernels of `twofold._kernels.topn`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.arrays import FactorArray, Ids
from twofold._kernels import topn
from twofold._kernels.screen import Screen, top_by_screen
from twofold._kernels.threads import check_n_threads, run
from twofold._kernels.vectors.scores import STRIP
from twofold.data.with_frame import WithFrame

__all__ = ["NO_RULES", "Ranking", "Rules", "best_columns", "scores_of_pairs", "zero_rows"]

_THREAD_BYTES = 1 << 20  # of the strips of a thread
_MAX_STRIPS = 20  # more do not make the products faster
_BLOCK = 4096  # rows that are compared with zero together
_NONE, _NO_ROWS = np.empty(0, np.int64), np.empty(0, np.bool_)


@dataclass(frozen=True, eq=False)
class Ranking(WithFrame):
    """The best columns of some rows, best first.

    Parameters
    ----------
    row_ids : ndarray, shape (n_rows,)
        Ids of the rows.
    col_ids : ndarray, shape (n_rows, n)
        Ids of the best columns. Where ``mask`` is False there was no further candidate, and the
        entry is -1 for integer ids and None for strings.
    scores : ndarray of float, shape (n_rows, n)
        Predictions p . q (or similarities); nan where ``mask`` is False.
    mask : ndarray of bool, shape (n_rows, n)
        True for a recommendation, False for padding at the end of a row.
    positions : ndarray of int64, shape (n_rows, n)
        Positions of the columns in the model, -1 where ``mask`` is False: what `twofold.metrics`
        takes.
    fallback : ndarray of bool, shape (n_rows,)
        True for a row with zero factors whose columns are those of ``fallback="popular"`` of
        `FactorModel.recommend`. Its scores are numbers of training pairs.

    Notes
    -----
    `to_frame` has a line for each recommendation, without the padding: ``row``, ``rank`` (from 1),
    ``col`` and ``score``.

    Examples
    --------
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.solvers import ALS
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0))
    >>> model = model.fit(Pairings.from_arrays([1, 1, 2], [7, 9, 7]))
    >>> ranking = model.recommend([1, 2], n=1)
    >>> ranking
    <Ranking: 1 columns for each of 2 rows, 1 of padding>
    >>> [(row, [col for col, score in found]) for row, found in ranking]
    [(1, []), (2, [9])]
    """

    row_ids: Ids
    col_ids: Ids
    scores: FactorArray
    mask: NDArray[np.bool_]
    positions: NDArray[np.int64]
    fallback: NDArray[np.bool_]

    def __iter__(self) -> Iterator[tuple[Any, list[tuple[Any, float]]]]:
        """Yield (row id, [(column id, score), ...]) without the padding."""
        for row, ids, scores, mask in zip(
            self.row_ids.tolist(), self.col_ids, self.scores, self.mask, strict=True
        ):
            yield row, list(zip(ids[mask].tolist(), scores[mask].tolist(), strict=True))

    def _frame_columns(self) -> dict[str, Any]:
        row, place = np.nonzero(self.mask)
        columns = {"row": self.row_ids[row], "rank": place + 1}
        return columns | {"col": self.col_ids[self.mask], "score": self.scores[self.mask]}

    def __repr__(self) -> str:
        rows, n = self.mask.shape
        return f"<Ranking: {n} columns for each of {rows} rows, {(~self.mask).sum()} of padding>"

    @classmethod
    def of(
        cls,
        row_ids: NDArray[Any],
        vocabulary: NDArray[Any],
        positions: NDArray[np.int64],
        scores: NDArray[Any],
        fallback: NDArray[np.bool_] | None = None,
    ) -> "Ranking":
        """Put ids to positions; by default no row has a fallback.

        Parameters
        ----------
        row_ids : ndarray, shape (n_rows,)
            Ids of the rows.
        vocabulary : ndarray, shape (n_cols,)
            Ids of all columns.
        positions : ndarray of int64, shape (n_rows, n)
            Positions of the best columns; -1 for padding.
        scores : ndarray of float, shape (n_rows, n)
            Their scores.
        fallback : ndarray of bool, shape (n_rows,), optional
            Rows with the columns of a fallback.

        Returns
        -------
        Ranking

        Examples
        --------
        >>> ids, positions = np.array([4]), np.array([[1, -1]])
        >>> ranking = Ranking.of(ids, np.array([7, 9]), positions, np.array([[0.5, np.nan]]))
        >>> list(ranking)
        [(4, [(9, 0.5)])]
        """
        mask = positions >= 0
        col_ids = np.full(positions.shape, None if vocabulary.dtype == object else -1)
        col_ids = col_ids.astype(vocabulary.dtype)
        col_ids[mask] = vocabulary[positions[mask]]
        if fallback is None:
            fallback = np.zeros(len(row_ids), dtype=bool)
        return cls(row_ids, col_ids, scores, mask, positions, fallback)


@dataclass(frozen=True, eq=False)
class Rules:
    """Which columns can be recommended, apart from the pairs that a row has.

    Parameters
    ----------
    allowed, blocked : ndarray of int64, or csr_array of shape (n_rows, n_cols), optional
        Positions of the only candidates, and of columns that are no candidates: ascending, for all
        rows; or a stored entry for each row and column. Default: no restriction.
    """

    allowed: NDArray[np.int64] | sparse.csr_array | None = None
    blocked: NDArray[np.int64] | sparse.csr_array | None = None

    def of_rows(self, positions: NDArray[np.int64]) -> "Rules":
        """Return the rules of some of the rows."""
        return Rules(*(
            part if part is None or isinstance(part, np.ndarray) else part[positions]
            for part in (self.allowed, self.blocked)
        ))  # fmt: skip


NO_RULES = Rules()


def best_columns(
    row_factors: NDArray[Any],
    col_factors: NDArray[Any],
    n: int,
    excluded: sparse.csr_array | None = None,
    *,
    rows: NDArray[np.int64] | None = None,
    rules: Rules = NO_RULES,
    unranked: NDArray[np.bool_] | None = None,
    scale: NDArray[Any] | None = None,
    screen: Screen | None = None,
    n_threads: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Find the n columns with the largest p . q for each row.

    Equal scores are ordered by position. A score that is nan or -inf is not ranked. Rows with fewer
    candidates are padded. The scores of a row are bitwise independent of the other rows and of the
    number of threads. The factors are not copied. Beside the result, each thread needs about 1 MB,
    and at most 24 bytes for each of n or of all candidates, if these are fewer. With a screen, it
    needs up to 8 bytes for each column.

    Parameters
    ----------
    row_factors, col_factors : ndarray, shape (n_rows, k) and (n_cols, k)
        Factors of the same dtype.
    n : int
        Columns for each row, >= 1.
    excluded : csr_array, shape (n_rows, n_cols), optional
        Stored entries are not candidates.
    rows : ndarray of int64, shape (m,), optional
        Positions of the rows to rank, in ``row_factors`` and ``excluded``; default all.
    rules : Rules, optional
        Further restrictions, for the m rows.
    unranked : ndarray of bool, shape (m,), optional
        Rows without candidates.
    scale : ndarray, shape (n_cols,), optional
        Factors by which the scores are multiplied.
    screen : Screen, optional
        That of `prepare_screen` for ``col_factors``, by which a few rows are ranked faster, with
        the same result. It is not used together with ``allowed`` or ``scale``.
    n_threads : int, optional
        Number of threads; default all.

    Returns
    -------
    tuple of ndarray, shape (m, n)
        Positions (-1: padding) and scores (nan: padding).
    """
    P, Q = np.ascontiguousarray(row_factors), np.ascontiguousarray(col_factors)
    m = len(P) if rows is None else rows.size
    candidates, n_candidates = _candidates(m, len(Q), excluded, rows, rules, P.dtype)
    candidates = candidates._replace(
        zero=_NO_ROWS if unranked is None else unranked,
        scale=np.empty(0, P.dtype) if scale is None else scale.astype(P.dtype, copy=False),
    )
    positions, scores = np.empty((m, n), np.int64), np.empty((m, n), P.dtype)
    threads = check_n_threads(n_threads)
    if not m:
        return positions, scores
    # One more than all candidates: then the n best need not be selected before the end.
    capacity = min(max(2 * n, n + STRIP // 2), n_candidates + 1)
    if screen is not None and not candidates.lists.size and not candidates.scale.size:
        run(
            top_by_screen, m, threads, P, Q, screen, candidates, capacity, positions, scores,
            np.empty(m, np.int64),
        )  # fmt: skip
        return positions, scores
    strip_bytes = STRIP * (P.shape[1] * P.itemsize + capacity * (P.itemsize + 4))
    if m == 1 or candidates.lists.size > 2 or strip_bytes > _THREAD_BYTES:
        run(topn.top_of_rows, m, threads, P, Q, candidates, capacity, positions, scores)
    else:
        strips = min(_MAX_STRIPS, _THREAD_BYTES // strip_bytes, -(-m // (4 * threads * STRIP)))
        bounds = np.append(np.arange(0, m, max(1, strips) * STRIP), m)
        run(
            topn.top_of_strips, bounds.size - 1, threads, bounds, P, Q, candidates, capacity,
            positions, scores,
        )  # fmt: skip
    return positions, scores


def _candidates(
    m: int,
    n_cols: int,
    excluded: sparse.csr_array | None,
    rows: NDArray[np.int64] | None,
    rules: Rules,
    dtype: Any,
) -> tuple[topn.Candidates, int]:
    """Return the arguments of the kernel, and the largest number of candidates of a row."""
    starts, stops, indices = _NONE, _NONE, _NONE.astype(np.int32)
    at = rows
    if sparse.issparse(rules.blocked):
        own = [] if excluded is None else [excluded if rows is None else excluded[rows]]
        excluded, at = sum(map(_pattern, own), _pattern(rules.blocked)), None
    if excluded is not None:
        if not excluded.has_sorted_indices:
            excluded, at = (excluded if at is None else excluded[at]).sorted_indices(), None
        first, last = excluded.indptr[:-1], excluded.indptr[1:]
        starts, stops = (
            np.asarray(end if at is None else end[at], np.int64) for end in (first, last)
        )
        indices = excluded.indices.astype(np.int32, copy=False)
    blocked, lists, allowed, n_candidates = _NO_ROWS, _NONE, _NONE.astype(np.int32), n_cols
    if isinstance(rules.blocked, np.ndarray):
        blocked = np.zeros(n_cols, bool)
        blocked[rules.blocked] = True
    if isinstance(rules.allowed, np.ndarray):
        allowed = rules.allowed.astype(np.int32)
        lists, n_candidates = np.array([0, allowed.size]), allowed.size
    elif rules.allowed is not None:
        of_rows = rules.allowed.sorted_indices()
        lists, allowed = of_rows.indptr.astype(np.int64), of_rows.indices.astype(np.int32)
        n_candidates = int(np.diff(lists).max(initial=0))
    return topn.Candidates(
        _NONE if rows is None else rows, _NO_ROWS, starts, stops, indices, blocked, lists, allowed,
        np.empty(0, dtype),
    ), n_candidates  # fmt: skip


def _pattern(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return the stored entries as True, of which a sum is the union."""
    stored = np.ones(matrix.indices.size, bool)
    return sparse.csr_array((stored, matrix.indices, matrix.indptr), shape=matrix.shape)


def zero_rows(factors: NDArray[Any], rows: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
    """Return which of the rows, by default of all, have factors that are all zero."""
    if rows is None:
        rows = np.arange(len(factors))
    zero = np.empty(rows.size, bool)
    for low in range(0, rows.size, _BLOCK):
        block = slice(low, low + _BLOCK)
        zero[block] = ~factors[rows[block]].any(axis=1)
    return zero


def scores_of_pairs(
    row_factors: NDArray[Any],
    col_factors: NDArray[Any],
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    n_threads: int | None = None,
) -> NDArray[Any]:
    """Return p . q of pairs of positions, with the bits of `best_columns`."""
    P, Q = np.ascontiguousarray(row_factors), np.ascontiguousarray(col_factors)
    scores = np.empty(rows.size, P.dtype)
    n_tasks = -(-rows.size // topn.PAIRS)
    run(topn.score_pairs, n_tasks, check_n_threads(n_threads), P, Q, rows, cols, scores)
    return scores
