"""`PairBuilder`: chunks of columns, from any reader, become `Pairings`."""

import time as clock
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from twofold._common.arrays import Ids
from twofold._common.checks import check_choice, check_names
from twofold.data.columns import (
    ItemError,
    is_arrow,
    is_integer_text,
    item_of,
    masked,
    null_mask,
    to_ids,
    to_numbers,
    to_times,
    whole_numbers,
)
from twofold.data.csr import Duplicates, build_csr
from twofold.data.report import ReadReport
from twofold.data.vocabulary import as_text_array
from twofold.exceptions import InvalidInputError

__all__ = ["IdType", "OnNull", "PairBuilder"]

OnNull = Literal["error", "drop"]
IdType = Literal["text", "integer"]

_GATHERED = 1 << 20  # integers that are gathered before they are stored in fewer bytes
_GATHERED_TEXTS = 1 << 21  # more: with each part the dictionary so far is encoded again
_MANY_TEXTS = 50_000  # from here on pyarrow saves more time than importing it takes
_SMALL_SPAN = 1 << 22  # ids in so small a range are looked up in a table, however few there are


class PairBuilder:
    """Makes `Pairings` of chunks of columns.

    Parameters
    ----------
    row, col : str
        Names of the columns of ids, for messages.
    value, weight, time : str, optional
        Names of the columns of values, weights and times. A chunk has the columns that have a name,
        in this order.
    duplicates : {"keep-one", "count", "error"}, default "keep-one"
        As for `Pairings.from_arrays`.
    on_null : {"error", "drop"}, default "error"
        Raise if an id is NULL, or leave the pair out and count it.
    id_type : {"text", "integer", "infer"}, optional
        What ids become. By default integers stay integers and text stays text; ``"infer"`` makes
        integers of text if all ids of a column are written as integers.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> from twofold import Pairings
    >>> builder = PairBuilder("user", "film", value="stars")
    >>> builder.add([[1, 1], ["Alien", "Brazil"], [5.0, 3.0]])
    >>> builder.add([[2], ["Alien"], [4.0]])
    >>> pairings = Pairings(**builder.build("own reader"))
    >>> pairings.matrix.toarray()
    array([[5., 3.],
           [4., 0.]])
    >>> pairings.report.n_read
    3
    """

    def __init__(
        self,
        row: str,
        col: str,
        value: str | None = None,
        weight: str | None = None,
        time: str | None = None,
        *,
        duplicates: Duplicates = "keep-one",
        on_null: OnNull = "error",
        id_type: IdType | Literal["infer"] | None = None,
    ) -> None:
        self.started = clock.perf_counter()
        check_choice(duplicates, "duplicates", ("keep-one", "count", "error"))
        check_choice(on_null, "on_null", ("error", "drop"))
        if id_type is not None:
            check_choice(id_type, "id_type", ("text", "integer", "infer"))
        numbers = {"value": value, "weight": weight, "time": time}
        check_names({"row": row, "col": col}, numbers)
        self.names = [row, col, *(name for name in numbers.values() if name is not None)]
        """Of the columns of a chunk."""
        self.texts = [row, col] + ([] if time is None else [time])
        """Names of those that may be text."""
        self.float_bytes = [8, 8]
        """Bytes of the floats that the ids of rows and columns may come from."""
        self.noun = "column"
        """What the names are of, in messages."""
        self.n_read = self.n_null = 0
        self._duplicates, self._on_null, self._id_type = duplicates, on_null, id_type
        self._ids = tuple(_IdColumn(infer=id_type == "infer") for _ in range(2))
        self._numbers: dict[str, list[NDArray[Any]]] = {
            kind: [] for kind, name in numbers.items() if name is not None
        }

    def add(self, columns: Sequence[Any]) -> None:
        """Append a chunk.

        Parameters
        ----------
        columns : sequence of array_like or of pyarrow's arrays
            Parallel columns, in the order of the names that the builder has: ids of rows and of
            columns, then values, weights and times.

        Raises
        ------
        InvalidInputError
            Naming the column and the pair that cannot be used.
        """
        columns = list(columns)
        self.n_read += len(columns[0])
        masks = [null_mask(column) for column in columns[:2]]
        nulls: list[Any] = [mask for mask in masks if mask is not None]
        if nulls:
            null = np.logical_or.reduce(nulls)
            if self._on_null == "error":
                bad = ItemError(int(np.argmax(null)), 'use on_null="drop" to leave such pairs out')
                is_row = masks[0] is not None and masks[0][bad.position]
                self._fail(0 if is_row else 1, columns, bad)
            self.n_null += int(np.count_nonzero(null))
            columns = [masked(column, ~null) for column in columns]
        if not len(columns[0]):
            return
        found = []
        for axis, kind in enumerate(["id", "id", *self._numbers]):
            try:
                found.append(self._checked(axis, kind, columns[axis]))
            except ItemError as bad:
                self._fail(axis, columns, bad)
        for axis in (0, 1):
            self._ids[axis].add(found[axis])
        for parts, numbers in zip(self._numbers.values(), found[2:], strict=True):
            parts.append(numbers)

    def _checked(self, axis: int, kind: str, column: Any) -> Any:
        if kind == "id":
            as_text = self._id_type == "text"
            ids = to_ids(column, as_text=as_text, n_bytes=self.float_bytes[axis])
            self._ids[axis].check_kind(ids)
            return ids
        if kind == "time":
            return to_times(column)
        advice = f"{kind}s must be finite" + (" and >= 0" if kind == "weight" else " numbers")
        numbers = to_numbers(column, advice)
        if kind == "weight" and (numbers < 0).any():
            raise ItemError(int(np.argmax(numbers < 0)), advice)
        return numbers

    def _fail(self, axis: int, columns: Sequence[Any], bad: ItemError) -> NoReturn:
        shown = [
            _shown(item_of(column, bad.position), is_id=place < 2)
            for place, column in enumerate(columns)
        ]
        others = " and ".join(
            f"{self.names[other]} is {shown[other]}" for other in (0, 1) if other != axis
        )
        raise InvalidInputError(
            f"{self.noun} {self.names[axis]!r} holds {shown[axis]} where {others}: {bad}"
        ) from None

    def build(self, reader: str, row_ids: Any = None) -> dict[str, Any]:
        """Return the parameters of `Pairings` of all chunks: `Pairings(**builder.build("csv"))`.

        Ids are in ascending order.

        Parameters
        ----------
        reader : str
            Name of the reader, for the report.
        row_ids : column of ids, optional
            Rows that exist, whether or not they have a pair.

        Returns
        -------
        dict of str to object
            The matrix, the ids, the weights and times, and the report.

        Raises
        ------
        InvalidInputError
            If ids are not of the type `id_type`, or a duplicate is not allowed.
        """
        n_pairs = self.n_read - self.n_null
        if row_ids is not None and len(row_ids):
            self._ids[0].add(to_ids(row_ids, as_text=self._id_type == "text"))
        encoded: list[Any] = []
        for column in self._ids:
            column.store()  # both at the same time
        for axis, column in enumerate(self._ids):
            ids, places = column.encoded()
            encoded += _typed(ids, places[:n_pairs], self._id_type, self.names[axis])
        rows, cols = encoded[1], encoded[3]
        numbers = {}
        for kind, parts in self._numbers.items():
            numbers[kind] = np.concatenate(parts) if parts else np.empty(0)
            parts.clear()
        row_ids, col_ids = encoded[0], encoded[2]
        matrix, beside = build_csr(rows, cols, numbers, row_ids, col_ids, self._duplicates)
        report = ReadReport.of(matrix, reader, self.n_read, self.n_null, self.started)
        made = {"matrix": matrix, "row_ids": row_ids, "col_ids": col_ids, **beside}
        return {**made, "n_null_dropped": self.n_null, "report": report}


def _shown(item: Any, *, is_id: bool) -> str:
    if item is None or (is_id and item != item):
        return "NULL"
    return repr(item) if isinstance(item, str | int | float) else str(item)


class _IdColumn:
    """The ids of one column: integers in as few bytes as they need, or the numbers of texts.

    Texts are numbered by pyarrow where it is installed and there are many of them, and by a
    dictionary otherwise.
    """

    def __init__(self, infer: bool = False) -> None:
        self.first: Any = None
        self._infer = infer
        self._parts: list[Any] = []
        self._gathered: list[Any] = []
        self._n_gathered = self._n_seen = 0
        self._texts: dict[str, int] = defaultdict(count().__next__)
        self._dictionary: list[Any] = []  # of pyarrow: one array, if there are texts in it
        self._thread: ThreadPoolExecutor | None = None
        self._without_arrow = False

    def check_kind(self, ids: Any) -> None:
        """Raise ItemError unless these are integers or texts as the ids before are."""
        first = item_of(ids, 0)
        if self.first is None:
            self.first = first
        if isinstance(first, str) != isinstance(self.first, str):
            raise ItemError(
                0,
                f"another id is {self.first!r}; ids must be all integers or all text: "
                'id_type="text" reads all as text',
            )

    def add(self, ids: Any) -> None:
        """Append integers, texts of pyarrow, or a list of texts."""
        self._n_seen += len(ids)
        if self._infer and is_arrow(ids):
            ids = self._inferred(ids)
        if isinstance(ids, list) and self._n_seen >= _MANY_TEXTS:
            ids = self._arrow(ids)
        self._gathered.append(ids)
        self._n_gathered += len(ids)
        if self._n_gathered >= (_GATHERED if isinstance(ids, np.ndarray) else _GATHERED_TEXTS):
            self.store()

    def _inferred(self, texts: Any) -> Any:
        """Return texts as integers, as long as all so far are written as integers."""
        integers = whole_numbers(texts)
        if integers is not None:
            return integers
        import pyarrow as pa

        self._infer = False
        self.store()
        parts, self._parts = self._parts, []
        for part in parts:  # which are written as before
            self.add(pa.array(part).cast("large_string"))
        return texts

    def _arrow(self, texts: list[str]) -> Any:
        """Return an array of pyarrow, or the list if that is not possible."""
        if not self._without_arrow:
            try:
                import pyarrow as pa

                return pa.array(texts, pa.large_string())
            except (ImportError, UnicodeEncodeError):  # a lone surrogate
                self._without_arrow = True
        return texts

    def store(self) -> None:
        """Store what was gathered; pyarrow encodes it in a thread."""
        parts, self._gathered, self._n_gathered = self._gathered, [], 0
        if not parts:
            return
        if isinstance(parts[0], np.ndarray):
            self._parts.append(_narrow(np.concatenate(parts)))
            return
        if any(not isinstance(part, list) for part in parts):
            parts = [self._arrow(part) if isinstance(part, list) else part for part in parts]
        if any(isinstance(part, list) for part in parts):
            lists = (part if isinstance(part, list) else part.to_pylist() for part in parts)
            self._parts.append(self._numbers([text for part in lists for text in part]))
        else:  # pyarrow works without the interpreter's lock, while the reader continues
            self._thread = self._thread or ThreadPoolExecutor(1)
            self._parts.append(self._thread.submit(self._dictionary_encoded, parts))

    def _dictionary_encoded(self, parts: list[Any]) -> NDArray[np.int32]:
        """Return the numbers of texts, and append new ones to the dictionary."""
        import pyarrow as pa

        n_known = sum(map(len, self._dictionary))
        encoded = pa.chunked_array(self._dictionary + parts).combine_chunks().dictionary_encode()
        self._dictionary = [encoded.dictionary]
        return np.array(encoded.indices[n_known:])

    def _numbers(self, texts: list[str]) -> NDArray[np.int32]:
        return np.fromiter(map(self._texts.__getitem__, texts), np.int32, len(texts))

    def encoded(self) -> tuple[Ids, NDArray[np.int32]]:
        """Return the distinct ids in ascending order and the position of each; forget them."""
        self.store()
        parts, self._parts = self._parts, []
        if self._thread is not None:
            self._thread.shutdown()
            if not self._texts:
                numbers = np.concatenate([part.result() for part in parts])
                (texts,) = self._dictionary
                order = _sorting(texts)
                return texts.take(order).to_numpy(False), _places(order.to_numpy(), numbers)
            known = self._numbers(self._dictionary[0].to_pylist())
            parts = [known[part.result()] if isinstance(part, Future) else part for part in parts]
        if not self._texts:
            return encode_integers(parts)
        texts = list(self._texts)
        order = np.array(sorted(range(len(texts)), key=texts.__getitem__))
        return as_text_array(texts)[order], _places(order, np.concatenate(parts))


def _narrow(ids: NDArray[Any]) -> NDArray[Any]:
    limit = np.iinfo(np.int32)
    is_narrow = ids.size and ids.min() >= limit.min and ids.max() <= limit.max
    return ids.astype(np.int32 if is_narrow else np.int64, copy=False)


def _places(order: NDArray[Any], numbers: NDArray[Any]) -> NDArray[np.int32]:
    """Return what becomes of positions when that of number order[i] is i."""
    places = np.empty(order.size, np.int32)
    places[order] = np.arange(order.size, dtype=np.int32)
    of_each: NDArray[np.int32] = places[numbers]
    return of_each


def _sorting(texts: Any) -> Any:
    """Return the positions of texts in ascending order, all of pyarrow.

    UTF-8 has the order of Unicode's characters, and so of Python's texts. Short texts are sorted by
    words of 8 bytes and their lengths, which is three times as fast: up to 8 keys by radix.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(texts)
    n_words = pc.max(lengths).as_py() // 8 + 1
    if n_words > 7:
        return pc.array_sort_indices(texts)
    padded = pc.ascii_rpad(texts, 8 * n_words, "\0").buffers()[2]
    words = np.frombuffer(padded, ">u8", n_words * len(texts)).reshape(-1, n_words)
    keys = [*map(pa.array, words.T.astype(np.uint64, order="C")), lengths]
    batch = pa.record_batch(keys, names=[str(key) for key in range(len(keys))])
    return pc.sort_indices(batch, [(name, "ascending") for name in batch.schema.names])


def encode_integers(parts: list[NDArray[Any]]) -> tuple[Ids, NDArray[np.int32]]:
    """Distinct integers in ascending order, and the position of each given one among them.

    ``parts`` is emptied on the way, so that each is freed when its positions are known. Ids in a
    range that is not much larger than their number are looked up in a table; others are sorted.
    """
    parts[:] = [part for part in parts if part.size]
    n = sum(part.size for part in parts)
    if not n:
        return np.empty(0, np.int64), np.empty(0, np.int32)
    low, high = min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)
    span = high - low + 1
    if span > max(2 * n, _SMALL_SPAN):
        whole = np.concatenate(parts)
        parts.clear()
        sorted_, inverse = np.unique(whole, return_inverse=True)
        return sorted_.astype(np.int64, copy=False), inverse.astype(np.int32)
    present = np.zeros(span, dtype=np.bool_)
    for part in parts:
        present[np.subtract(part, low, dtype=np.int64)] = True
    number = np.cumsum(present, dtype=np.int32)
    number -= 1
    places, end = np.empty(n, np.int32), n
    while parts:
        part = parts.pop()
        places[end - part.size : end] = number[np.subtract(part, low, dtype=np.int64)]
        end -= part.size
    return np.flatnonzero(present).astype(np.int64, copy=False) + low, places


def _typed(
    ids: Ids, places: NDArray[np.int32], id_type: str | None, name: str
) -> tuple[Ids, NDArray[np.int32]]:
    """Turn text into integers if `id_type` says so; the position of each id may change."""
    if ids.dtype != object or id_type in (None, "text"):
        return ids, places
    texts = ids.tolist()
    if id_type == "infer" and not all(map(is_integer_text, texts)):
        return ids, places
    whole = np.empty(len(texts), np.int64)
    for position, text in enumerate(texts):
        digits = text[1:] if text[:1] in "+-" else text
        try:
            if not (digits.isascii() and digits.isdigit()):
                raise ValueError
            whole[position] = int(text)
        except (OverflowError, ValueError):
            raise InvalidInputError(
                f'column {name!r} holds {text!r}, which is not a 64-bit integer: use id_type="text"'
            ) from None
    distinct, inverse = np.unique(whole, return_inverse=True)
    return distinct, inverse.astype(np.int32)[places]
