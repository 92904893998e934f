"""`WithSelection`: positions of ids, and pairings with some of the rows and columns."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.arrays import Ids, Times
from twofold._common.cached import cached_property
from twofold._common.checks import check_choice
from twofold.data.csr import with_data
from twofold.data.entries import entries_over
from twofold.data.vocabulary import Vocabulary, as_ids
from twofold.exceptions import InvalidInputError, UnknownIdError

if TYPE_CHECKING:
    from twofold.data.pairings import Pairings

__all__ = ["WithSelection"]


class WithSelection:
    """The methods of `Pairings` that find and select rows and columns."""

    if TYPE_CHECKING:  # of `Pairings`
        matrix: sparse.csr_array
        row_ids: Ids
        col_ids: Ids
        weights: NDArray[np.float64] | None
        times: Times | None

        def _made(self, *arguments: Any, **options: Any) -> Pairings: ...

    @property
    def beside(self) -> dict[str, Any]:
        """The weights and times of the pairs, by name, as far as there are any."""
        named = {"weights": self.weights, "times": self.times}
        return {name: numbers for name, numbers in named.items() if numbers is not None}

    @cached_property
    def _rows(self) -> Vocabulary:
        return Vocabulary(self.row_ids, "row")

    @cached_property
    def _cols(self) -> Vocabulary:
        return Vocabulary(self.col_ids, "column")

    def row_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of the given row ids, shape (n,); `UnknownIdError` if there is no such id.

        Parameters
        ----------
        ids : array_like, shape (n,), or int or str
            Row ids, or a single one.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            If there is no such id.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> pairings.row_index(["tue"]).tolist()
        [1]
        """
        return self._rows.positions(ids)

    def col_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Positions of the given column ids, shape (n,); `UnknownIdError` if there is no such id.

        Parameters
        ----------
        ids : array_like, shape (n,), or int or str
            Column ids, or a single one.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            If there is no such id.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> pairings.col_index([9]).tolist()
        [1]
        """
        return self._cols.positions(ids)

    def __getitem__(self, rows: Any) -> "Pairings":
        """Return some rows as `take_rows` does; scikit-learn divides pairings by it.

        Parameters
        ----------
        rows : int, slice, or array_like of int or bool, shape (n,) or (n_rows,)
            Positions, as for an array of the rows: not ids.
        """
        if isinstance(rows, tuple) and rows[1:] == (Ellipsis,):  # as scikit-learn writes it
            rows = rows[0]
        return self.take_rows(np.atleast_1d(np.arange(self.row_ids.size)[rows]))

    def take_rows(self, positions: ArrayLike) -> "Pairings":
        """Return the rows at the given positions, in that order, with all columns.

        Parameters
        ----------
        positions : array_like of int, shape (n,)
            Positions from 0 to n_rows - 1 (not ids: see `row_index`), each at most once.

        Returns
        -------
        Pairings

        Raises
        ------
        InvalidInputError
            If a position is not a whole number, out of range, or repeated.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> pairings.take_rows([1]).row_ids.tolist()
        ['tue']
        """
        taken = np.asarray(positions)
        if taken.ndim != 1 or (taken.size and taken.dtype.kind not in "iu"):
            raise InvalidInputError(
                f"positions is an array of {taken.dtype} with {taken.ndim} dimensions: give a flat "
                "sequence of whole numbers, for instance numpy.flatnonzero(mask)"
            )
        taken = taken.astype(np.int64, copy=False)
        outside = taken[(taken < 0) | (taken >= self.row_ids.size)]
        if outside.size:
            raise InvalidInputError(
                f"position {outside[0]} is not one of the {self.row_ids.size} rows, which are "
                "counted from 0: for ids, see row_index"
            )
        matrix, beside = self.matrix[taken], self.beside
        if beside:
            entries = with_data(self.matrix, np.arange(self.matrix.nnz))[taken].data
            beside = {name: numbers[entries] for name, numbers in beside.items()}
        return self._made(matrix, self.row_ids[taken], self.col_ids, **beside)

    def drop_empty_cols(self) -> "Pairings":
        """Return the same pairs and rows without the columns that have no stored pair.

        Returns
        -------
        Pairings
            The other columns keep their order.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["mon", "tue"], [7, 9]).take_rows([1])
        >>> pairings.drop_empty_cols().col_ids
        array([9])
        """
        indices = self.matrix.indices
        has_pair = np.zeros(self.col_ids.size, dtype=bool)
        has_pair[indices] = True
        positions = (np.cumsum(has_pair) - 1).astype(indices.dtype)
        matrix = sparse.csr_array(
            (self.matrix.data, positions[indices], self.matrix.indptr),
            shape=(self.row_ids.size, np.count_nonzero(has_pair)),
        )
        return self._made(matrix, self.row_ids, self.col_ids[has_pair], **self.beside)

    def align(
        self, col_ids: "ArrayLike | Pairings", *, unknown: Literal["drop", "error"] = "drop"
    ) -> "Pairings":
        """Re-index the columns to another vocabulary, for instance that of a trained model.

        Parameters
        ----------
        col_ids : array_like, shape (n,), or Pairings
            The columns of the result, in this order. Those of other pairings are looked up in an
            index that they keep.
        unknown : {"drop", "error"}, default "drop"
            What to do with pairs whose column is not in `col_ids`: leave them out, and say how
            many in `n_dropped_pairs` and `n_dropped_cols`; or raise.

        Returns
        -------
        Pairings
            With the same rows, also those that are empty now, and `n` columns.

        Raises
        ------
        InvalidInputError
            If `col_ids` repeats an id, they are integers and those of the pairings are strings (or
            the other way round), or `unknown` is neither of the two.
        UnknownIdError
            If `unknown="error"` and a stored pair has a column that is not in `col_ids`.

        Examples
        --------
        >>> from twofold import Pairings
        >>> pairings = Pairings.from_arrays(["mon", "mon", "tue"], [7, 9, 7])
        >>> aligned = pairings.align([9, 11])
        >>> aligned.shape, aligned.n_dropped_pairs
        ((2, 2), 2)
        """
        check_choice(unknown, "unknown", ("drop", "error"))
        if isinstance(col_ids, WithSelection):
            columns = col_ids._cols
        else:
            columns = Vocabulary(as_ids(col_ids, "col_ids"), "column")
        entries = entries_over(self, columns)
        if entries.lost.size and unknown == "error":
            raise UnknownIdError(
                f"{entries.lost.size} columns are not in the vocabulary, the first is "
                f'{self.col_ids.item(entries.lost[0])!r}: use unknown="drop" to leave their pairs '
                "out"
            )
        return self._made(
            entries.matrix,
            self.row_ids,
            entries.col_ids,
            **entries.beside,
            n_dropped_pairs=self.matrix.nnz - entries.indices.size,
            n_dropped_cols=entries.lost.size,
        )
