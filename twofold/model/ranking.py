"""The best columns of each row: blocked products and partial sorts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._kernels.threads import available_threads
from twofold.data.make_frame import make_frame
from twofold.objective.evaluation import multiplied
from twofold.objective.point import padded_factors

__all__ = ["Ranking", "best_columns"]

_BLOCK_BYTES = 1 << 26
_FEW = 16  # rows for which transposing the columns would take longer than the product


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best columns of some rows, best first.

    Parameters
    ----------
    row_ids : ndarray, shape (n_rows,)
        Whom they are for.
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
    """

    row_ids: NDArray[Any]
    col_ids: NDArray[Any]
    scores: NDArray[Any]
    mask: NDArray[np.bool_]
    positions: NDArray[np.int64]
    fallback: NDArray[np.bool_]

    def __iter__(self) -> Iterator[tuple[Any, list[tuple[Any, float]]]]:
        """Yield (row id, [(column id, score), ...]) without the padding."""
        for row, ids, scores, mask in zip(
            self.row_ids.tolist(), self.col_ids, self.scores, self.mask, strict=True
        ):
            yield row, list(zip(ids[mask].tolist(), scores[mask].tolist(), strict=True))

    def to_frame(self, backend: str | None = None) -> Any:
        """Return a data frame with a line for each recommendation, without the padding.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            Library of the frame; default: the first of these that is installed.

        Returns
        -------
        DataFrame or Table
            Columns ``row``, ``rank`` (from 1), ``col`` and ``score``.

        Raises
        ------
        InvalidInputError
            If narwhals or the library is not installed.
        """
        row, place = np.nonzero(self.mask)
        columns = {"row": self.row_ids[row], "rank": place + 1}
        columns |= {"col": self.col_ids[self.mask], "score": self.scores[self.mask]}
        return make_frame(columns, backend)

    def __repr__(self) -> str:
        rows, n = self.mask.shape
        return f"<Ranking: {n} columns for each of {rows} rows, {(~self.mask).sum()} of padding>"

    @classmethod
    def of_factors(
        cls,
        row_ids: NDArray[Any],
        vocabulary: NDArray[Any],
        row_factors: NDArray[Any],
        col_factors: NDArray[Any],
        n: int,
        excluded: sparse.csr_array | None = None,
    ) -> "Ranking":
        """Rank by p . q as `best_columns`; rows whose factors are all zero get padding only."""
        positions, scores = best_columns(row_factors, col_factors, n, excluded)
        positions[~row_factors.any(axis=1)] = -1
        scores[positions < 0] = np.nan
        return cls.of(row_ids, vocabulary, positions, scores)

    @classmethod
    def of(
        cls,
        row_ids: NDArray[Any],
        vocabulary: NDArray[Any],
        positions: NDArray[np.int64],
        scores: NDArray[Any],
        fallback: NDArray[np.bool_] | None = None,
    ) -> "Ranking":
        """Put ids to positions; by default no row has a fallback."""
        mask = positions >= 0
        col_ids = np.full(positions.shape, None if vocabulary.dtype == object else -1)
        col_ids = col_ids.astype(vocabulary.dtype)
        col_ids[mask] = vocabulary[positions[mask]]
        if fallback is None:
            fallback = np.zeros(len(row_ids), dtype=bool)
        return cls(row_ids, col_ids, scores, mask, positions, fallback)


def best_columns(
    row_factors: NDArray[Any],
    col_factors: NDArray[Any],
    n: int,
    excluded: sparse.csr_array | None = None,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Find the n columns with the largest p . q for each row.

    Equal scores are ordered by position. Rows with fewer candidates are padded.

    Parameters
    ----------
    row_factors, col_factors : ndarray, shape (n_rows, k) and (n_cols, k)
        Factors of the same dtype.
    n : int
        Columns for each row, >= 1.
    excluded : csr_array, shape (n_rows, n_cols), optional
        Stored entries are not candidates.

    Returns
    -------
    tuple of ndarray, shape (n_rows, n)
        Positions (-1: padding) and scores (nan: padding).
    """
    n_rows, n_cols = row_factors.shape[0], col_factors.shape[0]
    positions = np.full((n_rows, n), -1, dtype=np.int64)
    scores = np.full((n_rows, n), np.nan, dtype=row_factors.dtype)
    kept = min(n, n_cols)
    block = max(1, _BLOCK_BYTES // max(1, n_cols * row_factors.itemsize))
    Q, transposed = padded_factors(col_factors), None
    if n_rows > _FEW:
        transposed = padded_factors(Q.T)
    for low in range(0, n_rows, block) if kept else ():
        high = min(low + block, n_rows)
        scored = _scores(row_factors[low:high], Q, transposed)
        if excluded is not None:
            start, stop = excluded.indptr[low], excluded.indptr[high]
            rows = np.repeat(np.arange(high - low), np.diff(excluded.indptr[low : high + 1]))
            scored[rows, excluded.indices[start:stop]] = -np.inf
        # The place after the last one is found too: it tells whether there is a tie for the last.
        best = np.argpartition(-scored, min(kept, n_cols - 1), axis=1)
        found = best[:, :kept]
        if kept < n_cols:
            _order_ties(scored, found, best[:, kept])
        found.sort(axis=1)
        values = np.take_along_axis(scored, found, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found, values = (np.take_along_axis(part, order, axis=1) for part in (found, values))
        padding = np.isneginf(values)
        positions[low:high, :kept] = np.where(padding, -1, found)
        scores[low:high, :kept] = np.where(padding, np.nan, values)
    return positions, scores


def _scores(P: NDArray[Any], Q: NDArray[Any], transposed: NDArray[Any] | None) -> NDArray[Any]:
    """Return P Q'. The bits of an element do not depend on the other rows and columns.

    For a few rows, Q is not transposed before but the product after.
    """
    threads = available_threads()
    if transposed is None:
        few = np.zeros((Q.shape[1], len(P) + -len(P) % 8), P.dtype)
        few[: P.shape[1], : len(P)] = P.T
        out = np.empty((len(Q), few.shape[1]), P.dtype)
        multiplied(Q, few, out, threads)
        return np.ascontiguousarray(out[:, : len(P)].T)
    out = np.empty((len(P), transposed.shape[1]), P.dtype)
    multiplied(padded_factors(P), transposed, out, threads)
    return out[:, : len(Q)]


def _order_ties(
    scored: NDArray[Any], found: NDArray[np.int64], following: NDArray[np.int64]
) -> None:
    """Keep the first of the columns that tie for the last place of each row of ``found``.

    ``following`` is the best column that is not among them.
    """
    last = np.take_along_axis(scored, found, axis=1).min(axis=1)
    after = scored[np.arange(len(found)), following]
    for row in np.flatnonzero((last == after) & ~np.isneginf(last)):
        candidates = np.flatnonzero(scored[row] >= last[row])
        order = np.argsort(-scored[row, candidates], kind="stable")
        found[row] = candidates[order[: found.shape[1]]]
