"""Ids of rows and columns, int64 or object arrays of `str`, and the index that finds them."""

import uuid
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.arrays import Ids
from twofold._common.cached import cached_property
from twofold.exceptions import InvalidInputError, UnknownIdError

__all__ = ["Vocabulary", "as_ids", "as_text_array", "check_unique"]

_SINGLE = (int, np.integer, str, uuid.UUID)


def as_text_array(texts: list[Any]) -> Ids:
    """Return an object array of `str`."""
    ids = np.empty(len(texts), dtype=object)
    ids[:] = texts if set(map(type, texts)) <= {str} else list(map(str, texts))
    return ids


def as_ids(values: ArrayLike, name: str) -> Ids:
    """Return ids as int64 or as an object array of `str`.

    Raises
    ------
    InvalidInputError
        Naming the first item that is neither an integer of 64 bits, a string nor a UUID.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidInputError(
            f"{name} is a masked array: leave the masked entries out, by {name}.compressed()"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInputError(
            f"{name} is nested unevenly: ids must be a flat sequence"
        ) from error
    if array.ndim == 0:
        raise InvalidInputError(f"{name} are a {type(values).__name__}: give a list or an array")
    if array.ndim != 1:
        raise InvalidInputError(f"{name} has {array.ndim} dimensions: ids must be a flat sequence")
    if array.dtype.kind == "i" or array.size == 0:
        return array.astype(np.int64, copy=False)
    if array.dtype.kind in "mM":
        raise InvalidInputError(f"{name} holds {array.dtype}: ids must be whole numbers or strings")
    limit = np.iinfo(np.int64)
    if array.dtype.kind == "u" and array.max() <= limit.max:
        return array.astype(np.int64)
    # A list that mixes numbers and text becomes text in np.asarray: look at the values themselves.
    items = array.tolist() if isinstance(values, np.ndarray) else list(values)  # type: ignore[arg-type]
    text_types = (str, uuid.UUID)
    kinds = set(map(type, items))
    if kinds == {str} and array.dtype == object:
        return array
    if all(issubclass(kind, text_types) for kind in kinds):
        return as_text_array(items)
    first_is_text = isinstance(items[0], text_types)
    for position, item in enumerate(items):
        is_text = isinstance(item, text_types)
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
                f"{name}[{position}] is {item}, which is beyond 64-bit integers: make strings of "
                "the ids"
            )
    return np.array(items, dtype=np.int64)


class Vocabulary:
    """The ids of one axis, with an index that is built when it is first used.

    Parameters
    ----------
    ids : ndarray, shape (n,)
        As of `as_ids`.
    name : {"row", "column"}
        The axis, for messages.
    """

    def __init__(self, ids: Ids, name: str) -> None:
        self.ids = ids
        self.name = name

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
        """Return the position of each id, or -1 where it is unknown.

        Raises
        ------
        InvalidInputError
            If these are integers and the own ones strings, or the other way round.
        """
        own = self.ids
        if ids.size == 0 or own.size == 0:
            return np.full(ids.size, -1, dtype=np.int64)
        if ids.dtype != own.dtype:
            mine, theirs = (
                f"{'strings' if each.dtype == object else 'integers'} such as {each.item(0)!r}"
                for each in (own, ids)
            )
            kind = "text" if own.dtype == object else "integer"
            raise InvalidInputError(
                f"{self.name} ids are {theirs}, but the known ones are {mine}: give ids of the "
                f'same type; readers make them by id_type="{kind}"'
            )
        if ids.dtype == object:
            return np.array([self._places.get(text, -1) for text in ids.tolist()], dtype=np.int64)
        order = self._order
        slot = np.minimum(np.searchsorted(own, ids, sorter=order), own.size - 1)
        place = slot if order is None else order[slot]
        return np.where(own[place] == ids, place, -1).astype(np.int64)

    def of(self, ids: ArrayLike) -> Ids:
        """Return ids of this axis that a caller gave, one or several, as of `as_ids`."""
        given: Any = [ids] if isinstance(ids, _SINGLE) else ids
        return as_ids(given, f"{self.name} ids")

    def positions(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Return the position of each id.

        Raises
        ------
        UnknownIdError
            Naming the first id that is unknown.
        """
        wanted = self.of(ids)
        is_known_type = wanted.dtype == self.ids.dtype
        positions = self.find(wanted) if is_known_type else np.full(wanted.size, -1)
        missing = np.flatnonzero(positions < 0)
        if missing.size:
            kind = "strings" if self.ids.dtype == object else "integers"
            raise UnknownIdError(
                f"{self.name} id {wanted.item(missing[0])!r} is unknown: it is not among the "
                f"{self.ids.size} {self.name} ids, which are {kind}"
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
