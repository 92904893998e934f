"""Ids of pairs in any order become positions, and positions become CSR."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._kernels.csr import (
    CHUNK,
    DIGITS,
    ROWS,
    count_digits,
    count_repeats,
    drop_repeats,
    find_rows,
    mark,
    renumber,
    sort_by_digit,
)
from twofold._kernels.threads import available_threads, run
from twofold.data.texts import EncodedTexts, TextNumbers
from twofold.data.vocabulary import Ids
from twofold.exceptions import InvalidInputError

__all__ = [
    "Duplicates",
    "build_csr",
    "check_weights",
    "encode",
    "encode_integers",
    "is_ascending",
    "pair_at",
]

Duplicates = Literal["keep-one", "count", "error"]

_SMALL_SPAN = 1 << 22  # ids in a range so small are looked up in a table, however few there are
_LIMIT = np.iinfo(np.int32).max


def is_ascending(indptr: NDArray[Any], indices: NDArray[Any]) -> bool:
    """Tell whether the column indices of each row ascend, without repeated ones."""
    ascends = indices[1:] > indices[:-1]
    if ascends.all():
        return True
    starts = indptr[1:-1]  # of the second row and those after it
    ascends[starts[(starts > 0) & (starts < indices.size)] - 1] = True
    return bool(ascends.all())


def encode(ids: Ids | EncodedTexts) -> tuple[Ids, NDArray[np.int32]]:
    """Distinct ids in ascending order, and the position of each given id among them."""
    if isinstance(ids, tuple):
        return ids
    if ids.dtype != object:
        return encode_integers([ids])
    texts = TextNumbers()
    return texts.encoded(texts.add(ids.tolist()))


def encode_integers(parts: list[NDArray[Any]]) -> tuple[Ids, NDArray[np.int32]]:
    """Distinct integers in ascending order, and the position of each given one among them.

    ``parts`` is emptied on the way, so that each is gone when its positions are known. Ids in a
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
    distinct: NDArray[np.int64]
    present = np.zeros(span, dtype=np.bool_)
    for part in parts:
        _run(mark, part.size, CHUNK, part, low, present)
    number = np.cumsum(present, dtype=np.int32)
    number -= 1
    places = np.empty(n, np.int32)
    end = n
    while parts:
        part = parts.pop()
        _run(renumber, part.size, CHUNK, part, low, number, places[end - part.size : end])
        end -= part.size
    distinct = np.flatnonzero(present).astype(np.int64, copy=False)
    distinct += low
    return distinct, places


def _run(kernel: Any, n: int, per_task: int, *arguments: Any) -> None:
    """Run a kernel over n entries or rows."""
    run(kernel, -(-n // per_task), available_threads(), *arguments)


def build_csr(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    values: NDArray[np.float64] | None,
    row_ids: Ids,
    col_ids: Ids,
    duplicates: Duplicates,
    weights: NDArray[np.float64] | None = None,
) -> tuple[sparse.csr_array, NDArray[np.float64] | None]:
    """Return the matrix of positions, with sorted columns in each row, and its entries' weights.

    There is one entry for each pair. The ids give the shape, and name a pair that is refused.
    Values and weights that are added up are so in ascending order: the sum does not depend on the
    order in which the pairs came. Both arrays of positions are written over.
    """
    shape = (row_ids.size, col_ids.size)
    for axis, size in zip(("rows", "columns"), shape, strict=True):
        if size > _LIMIT:
            raise InvalidInputError(f"there are {size} {axis}: at most 2^31 - 1 are possible")
    if weights is not None:
        check_weights(weights, lambda entry: (row_ids.item(rows[entry]), col_ids.item(cols[entry])))
    n = rows.size
    has_numbers = values is not None or weights is not None
    places = np.arange(n if has_numbers else 0)
    indptr, first = np.empty(shape[0] + 1, np.int64), np.empty(0, np.int64)
    # Stable, by column and then by row: every row ends up sorted, and equal pairs in order.
    entries: list[NDArray[Any]] = [cols, rows, places]
    spare = [np.empty_like(array) for array in entries]
    entries, spare = _sort(entries, spare, shape[1])
    entries[:2], spare[:2] = entries[1::-1], spare[1::-1]
    (rows, indices, places), spare = _sort(entries, spare, shape[0])
    _run(find_rows, n + 1, CHUNK, rows, indptr)
    repeats = np.empty(shape[0], np.int64)
    _run(count_repeats, shape[0], ROWS, indptr, indices, repeats)
    n_repeats = int(repeats.sum())
    if n_repeats:
        if has_numbers or duplicates != "keep-one":
            first = np.empty(n - n_repeats, np.int64)
        new_indptr = indptr - np.concatenate([[0], np.cumsum(repeats)])
        new_indices = spare[1][: n - n_repeats]
        _run(drop_repeats, shape[0], ROWS, indptr, indices, new_indptr, new_indices, first)
    data = None if values is None else values[places]
    weights = None if weights is None else weights[places]
    if n_repeats:
        if first.size:
            pair = pair_at(indptr, indices, row_ids, col_ids)
            data, weights = _merged(data, weights, first, n, duplicates, pair)
        indptr, indices = new_indptr, new_indices
    if data is None:
        data = np.ones(indices.size, dtype=np.float32)
    if indices.size <= _LIMIT:  # scipy would give both the larger of their types
        indptr = indptr.astype(np.int32)
    return sparse.csr_array((data, indices, indptr), shape=shape), weights


def check_weights(weights: NDArray[np.float64], pair: Callable[[int], tuple[Any, Any]]) -> None:
    """Raise unless weights are finite and >= 0; ``pair`` gives the two ids of an entry."""
    if weights.size and not (weights.min() >= 0 and weights.max() < np.inf):  # also if one is NaN
        entry = int(np.flatnonzero(~((weights >= 0) & (weights < np.inf)))[0])
        row, col = pair(entry)
        raise InvalidInputError(
            f"the weight of row {row!r}, column {col!r} is {weights[entry]}: "
            "weights must be finite and >= 0"
        )


def pair_at(
    indptr: NDArray[Any], indices: NDArray[Any], row_ids: Ids, col_ids: Ids
) -> Callable[[int], tuple[Any, Any]]:
    """Return a function that gives the row id and the column id of an entry of a CSR matrix."""

    def pair(entry: int) -> tuple[Any, Any]:
        row = np.searchsorted(indptr, entry, side="right") - 1
        return row_ids.item(row), col_ids.item(indices[entry])

    return pair


def _sort(
    entries: list[NDArray[Any]], spare: list[NDArray[Any]], n_keys: int
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Sort entries by their first array, whose numbers are below n_keys, stably, digit by digit.

    Returns the arrays that hold them then, and the others.
    """
    bounds = np.linspace(0, entries[0].size, available_threads() + 1).astype(np.int64)
    shift = 0
    while n_keys > 1 << shift:
        counts = np.zeros((bounds.size - 1, DIGITS), np.int64)
        _run(count_digits, bounds.size - 1, 1, entries[0], shift, bounds, counts)
        by_digit = counts.T  # a digit's entries of the first part come before those of the second
        starts = (np.cumsum(by_digit).reshape(by_digit.shape) - by_digit).T.copy()
        _run(sort_by_digit, bounds.size - 1, 1, *entries, shift, bounds, starts, *spare)
        entries, spare = spare, entries
        shift += DIGITS.bit_length() - 1
    return entries, spare


def _merged(
    data: NDArray[Any] | None,
    weights: NDArray[np.float64] | None,
    first: NDArray[np.int64],
    n: int,
    duplicates: Duplicates,
    pair: Callable[[int], tuple[Any, Any]],
) -> list[NDArray[Any] | None]:
    """Return one value and one weight for each pair; raise if those of a pair cannot be merged."""
    lengths = np.diff(first, append=n)
    if duplicates == "error":
        _refuse(pair(int(first[lengths > 1][0])), "", duplicates)
    merged: list[NDArray[Any] | None] = []
    for what, numbers in (("values", data), ("weights", weights)):
        if numbers is None:
            counts = duplicates == "count" and what == "values"
            merged.append(lengths.astype(np.float32) if counts else None)
            continue
        if duplicates == "count":
            one = _sums(numbers, first, lengths)
            clash = first[~np.isfinite(one)]
        else:
            one = numbers[first]
            clash = np.flatnonzero(numbers != np.repeat(one, lengths))
        if clash.size:
            _refuse(pair(int(clash[0])), what, duplicates)
        merged.append(one)
    return merged


def _sums(
    data: NDArray[np.float64], first: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Add up the values of each pair, in ascending order."""
    group = np.repeat(np.arange(first.size), lengths)
    with np.errstate(over="ignore", invalid="ignore"):
        sums: NDArray[np.float64] = np.add.reduceat(data[np.lexsort((data, group))], first)
    return sums


def _refuse(pair: tuple[Any, Any], what: str, duplicates: Duplicates) -> None:
    reason, way_out = {
        "error": ("occurs more than once", 'use duplicates="keep-one" or "count" to allow it'),
        "keep-one": (f"occurs with different {what}", 'use duplicates="count" to add them up'),
        "count": (f"has {what} whose sum is beyond float64", "scale them down"),
    }[duplicates]
    raise InvalidInputError(
        f"the pair of row {pair[0]!r} and column {pair[1]!r} {reason}: {way_out}"
    )
