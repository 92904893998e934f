"""Chunks of SQL rows become positions of ids, or an error that names the column and the pair."""

import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from twofold.data.csr import encode_integers
from twofold.data.texts import EncodedTexts, TextNumbers, encode_arrow
from twofold.data.vocabulary import Ids
from twofold.exceptions import InvalidInputError

__all__ = ["IdColumn", "PairReader"]

_EXACT_FLOATS = 2**53  # beyond, neighbouring integers are the same float
_GATHERED = 1 << 20  # ids that are gathered before they are stored more tightly


class IdColumn:
    """The ids of one column: integers in as few bytes as they need, or texts as numbers."""

    def __init__(self) -> None:
        self.texts: TextNumbers | None = None
        self.parts: list[NDArray[Any]] = []
        self._gathered: list[NDArray[np.int64]] = []
        self._n_gathered = 0
        self._texts_encoded: EncodedTexts | None = None

    def add_integers(self, ids: NDArray[Any]) -> None:
        """Append integers."""
        self._gathered.append(ids)
        self._n_gathered += ids.size
        if self._n_gathered >= _GATHERED:
            self._store()

    def add_strings(self, texts: list[str]) -> None:
        """Append texts."""
        self.texts = self.texts or TextNumbers()
        self.parts.append(self.texts.add(texts))

    def set_arrow(self, texts: Any) -> None:
        """Take all texts at once, as a pyarrow.ChunkedArray."""
        self._texts_encoded = encode_arrow(texts)

    def _store(self) -> None:
        if not self._n_gathered:
            return
        ids = np.concatenate(self._gathered)
        limit = np.iinfo(np.int32)
        narrow = ids.dtype == np.int32 or (ids.min() >= limit.min and ids.max() <= limit.max)
        self.parts.append(ids.astype(np.int32 if narrow else np.int64, copy=False))
        self._gathered, self._n_gathered = [], 0

    def encoded(self) -> tuple[Ids, NDArray[np.int32]]:
        """Return the distinct ids in ascending order and the position of each; forget them."""
        self._store()
        if self._texts_encoded is not None:
            return self._texts_encoded
        if self.texts is None:
            return encode_integers(self.parts)
        numbers = np.concatenate(self.parts)
        self.parts.clear()
        return self.texts.encoded(numbers)


class PairReader:
    """Collects SQL rows of a row id, a column id and perhaps numbers: a value, a weight.

    Parameters
    ----------
    names : sequence of str
        Names of the SQL columns, for messages: of the two ids, and any of numbers.
    drop_nulls : bool
        Leave out and count pairs with a NULL id, instead of raising.
    """

    def __init__(self, names: Sequence[str], drop_nulls: bool) -> None:
        self.names = names
        self.drop_nulls = drop_nulls
        self.n_null = 0
        self.n_read = 0
        self.ids = (IdColumn(), IdColumn())
        self.numbers: tuple[list[NDArray[np.float64]], ...] = tuple([] for _ in names[2:])
        self._first: list[Any] = [None, None]
        self._only_integers = False

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Append a chunk of SQL rows.

        Raises
        ------
        InvalidInputError
            If an id is NULL, not a whole number, neither integer nor text, or not of the same kind
            as the others; or if a value is not a finite number.
        """
        self.n_read += len(rows)
        self._add(rows)

    def take_numbers(self) -> list[NDArray[np.float64]]:
        """Return each column of numbers; forget them."""
        columns = []
        for parts in self.numbers:
            columns.append(np.concatenate(parts))
            parts.clear()
        return columns

    def _add(self, rows: Sequence[Sequence[Any]]) -> None:
        if self._only_integers:
            # The quickest way to an array that refuses all that is no integer (but bool, which no
            # column mixes with integers).
            with suppress(struct.error):
                packed = struct.pack(f"{2 * len(rows)}q", *chain.from_iterable(rows))
                pairs = np.frombuffer(packed, np.int64)
                self.ids[0].add_integers(pairs[::2])
                self.ids[1].add_integers(pairs[1::2])
                return
        flat = list(chain.from_iterable(rows))
        columns = [flat[axis :: len(self.names)] for axis in range(len(self.names))]
        kinds = [set(map(type, column)) for column in columns]
        if type(None) in kinds[0] | kinds[1]:
            kept = [row for row in rows if row[0] is not None and row[1] is not None]
            if not self.drop_nulls:
                position = next(i for i, row in enumerate(rows) if None in (row[0], row[1]))
                axis = 0 if columns[0][position] is None else 1
                self._fail(axis, columns, position, 'use on_null="drop" to leave such pairs out')
            self.n_null += len(rows) - len(kept)
            if kept:
                self._add(kept)
            return
        self._only_integers = kinds == [{int}, {int}]
        for axis in (0, 1):
            self._add_ids(axis, columns, kinds[axis])
        for axis, parts in enumerate(self.numbers, start=2):
            parts.append(self._finite(axis, columns, kinds[axis]))

    def _add_ids(self, axis: int, columns: list[list[Any]], kinds: set[type]) -> None:
        items = columns[axis]
        if self._first[axis] is None:
            self._first[axis] = items[0]
        want_text = isinstance(self._first[axis], str)
        if want_text and all(issubclass(kind, str) for kind in kinds):
            self.ids[axis].add_strings(items)
            return
        if not want_text and kinds == {int}:
            with suppress(OverflowError):  # found again below, where it is named
                self.ids[axis].add_integers(np.fromiter(items, np.int64, len(items)))
                return
        numbers = np.empty(len(items), dtype=np.int64)
        for position, item in enumerate(items):
            if isinstance(item, str) != want_text:
                other = f"another id is {self._first[axis]!r}"
                self._fail(
                    axis, columns, position, f"{other}; ids must be all integers or all text"
                )
            if not want_text:
                if not _is_whole(item):
                    self._fail(axis, columns, position, "ids must be 64-bit integers or text")
                numbers[position] = int(item)
        self.ids[axis].add_integers(numbers)

    def _finite(self, axis: int, columns: list[list[Any]], kinds: set[type]) -> NDArray[np.float64]:
        advice = "values must be finite numbers"
        numbers = {int, float, Decimal, bool}
        if not kinds <= numbers:
            position = next(i for i, item in enumerate(columns[axis]) if type(item) not in numbers)
            self._fail(axis, columns, position, advice)
        try:
            values = np.array(columns[axis], dtype=np.float64)
        except (OverflowError, ValueError) as error:
            raise InvalidInputError(f"column {self.names[axis]!r}: {error}; {advice}") from error
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            self._fail(axis, columns, int(bad[0]), advice)
        return values

    def _fail(
        self, axis: int, columns: Iterable[list[Any]], position: int, advice: str
    ) -> NoReturn:
        shown = [_shown(column[position]) for column in columns]
        others = " and ".join(
            f"{self.names[other]} is {shown[other]}" for other in (0, 1) if other != axis
        )
        raise InvalidInputError(
            f"column {self.names[axis]!r} holds {shown[axis]} where {others}: {advice}"
        )


def _shown(item: Any) -> str:
    if item is None:
        return "NULL"
    return str(item) if isinstance(item, Decimal) else repr(item)


def _is_whole(item: Any) -> bool:
    limit = np.iinfo(np.int64)
    if isinstance(item, float):
        return item.is_integer() and abs(item) <= _EXACT_FLOATS
    if isinstance(item, Decimal):
        return item.is_finite() and item == int(item) and limit.min <= item <= limit.max
    return isinstance(item, int) and not isinstance(item, bool) and limit.min <= item <= limit.max
