"""Ids of rows and columns: int64, or object arrays of `str`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.cached import cached_property
from twofold.exceptions import InvalidInputError, UnknownIdError

__all__ = ["Ids", "Vocabulary", "as_ids", "check_unique", "index_of"]

Ids = NDArray[Any]


def as_ids(values: ArrayLike, name: str) -> Ids:
    """Return ids as int64 or as an object array of `str`, or say which one is neither."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInputError(
            f"{name} is nested unevenly: ids must be a flat sequence"
        ) from error
    if array.ndim != 1:
        raise InvalidInputError(f"{name} has {array.ndim} dimensions: ids must be a flat sequence")
    if array.dtype.kind == "i" or array.size == 0:
        return array.astype(np.int64, copy=False)
    limit = np.iinfo(np.int64)
    if array.dtype.kind == "u" and array.max() <= limit.max:
        return array.astype(np.int64)
    # A list that mixes numbers and text becomes text in np.asarray: look at the values themselves.
    items = array.tolist() if isinstance(values, np.ndarray) else list(values)  # type: ignore[arg-type]
    kinds = set(map(type, items))
    if all(issubclass(kind, str) for kind in kinds):
        texts = np.empty(len(items), dtype=object)
        texts[:] = items if kinds == {str} else [str(item) for item in items]
        return texts
    first_is_text = isinstance(items[0], str)
    for position, item in enumerate(items):
        is_text = isinstance(item, str)
        if not is_text and (not isinstance(item, int | np.integer) or isinstance(item, bool)):
            raise InvalidInputError(
                f"{name}[{position}] is {item!r}: ids must be whole numbers or strings"
            )
        if is_text != first_is_text:
            raise InvalidInputError(
                f"{name}[{position}] is {item!r}, but {name}[0] is {items[0]!r}: "
                "ids must be all integers or all strings"
            )
        if not is_text and not limit.min <= item <= limit.max:
            raise InvalidInputError(
                f"{name}[{position}] is {item}, which is beyond 64-bit integers"
            )
    return np.array(items, dtype=np.int64)


class Vocabulary:
    """Ids with an index of them, which is built when it is first used."""

    def __init__(self, ids: Ids) -> None:
        self.ids = ids

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text: index for index, text in enumerate(self.ids.tolist())}

    @cached_property
    def _order(self) -> NDArray[np.int64] | None:
        """The positions in ascending order of the ids; None if that is their own order."""
        if (self.ids[1:] > self.ids[:-1]).all():
            return None
        return np.argsort(self.ids, kind="stable")

    def find(self, ids: Ids) -> NDArray[np.int64]:
        """Return the position of each id, or -1 where it is not there."""
        own, order = self.ids, None
        if ids.size == 0 or own.size == 0 or ids.dtype != own.dtype:
            return np.full(ids.size, -1, dtype=np.int64)
        if ids.dtype == object:
            return np.array([self._places.get(text, -1) for text in ids.tolist()], dtype=np.int64)
        order = self._order
        slot = np.minimum(np.searchsorted(own, ids, sorter=order), own.size - 1)
        place = slot if order is None else order[slot]
        return np.where(own[place] == ids, place, -1).astype(np.int64)


def index_of(ids: ArrayLike, vocabulary: Vocabulary, name: str) -> NDArray[np.int64]:
    """Position of each id in the vocabulary, or an error that names the first unknown id."""
    wanted = as_ids(ids, f"{name} ids")
    positions = vocabulary.find(wanted)
    missing = np.flatnonzero(positions < 0)
    if missing.size:
        kind = "strings" if vocabulary.ids.dtype == object else "integers"
        raise UnknownIdError(
            f"{name} id {wanted.item(missing[0])!r} is unknown: it is not among the "
            f"{vocabulary.ids.size} {name} ids, which are {kind}"
        )
    return positions


def check_unique(ids: Ids, name: str) -> None:
    """Raise if an id occurs more than once, naming it."""
    if (ids[1:] > ids[:-1]).all():  # which costs far less than sorting
        return
    if ids.dtype == object and len(set(ids.tolist())) == ids.size:
        return
    values = np.sort(ids)
    repeated = values[1:][values[1:] == values[:-1]]
    if repeated.size:
        raise InvalidInputError(
            f"{name} holds {repeated.item(0)!r} more than once: ids must be unique"
        )
