"""Ids that are texts: the different ones in ascending order, and the place of each text there."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.data.vocabulary import Ids

__all__ = ["EncodedTexts", "TextNumbers", "encode_arrow"]

EncodedTexts = tuple[Ids, NDArray[np.int32]]


class TextNumbers:
    """Numbers texts in the order in which they first occur, some at a time."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = defaultdict(count().__next__)

    def add(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Return the number of each text."""
        return np.fromiter(map(self._numbers.__getitem__, texts), np.int32, len(texts))

    def encoded(self, numbers: NDArray[np.int32]) -> EncodedTexts:
        """Return the different texts in ascending order, and the place of each number there."""
        texts = list(self._numbers)
        order = sorted(range(len(texts)), key=texts.__getitem__)
        ids, places = np.empty(len(texts), dtype=object), np.empty(len(texts), np.int32)
        ids[:] = texts
        places[order] = np.arange(len(texts), dtype=np.int32)
        return ids[order], places[numbers]


def encode_arrow(column: Any) -> EncodedTexts:
    """Encode a pyarrow.ChunkedArray of texts without NULL.

    UTF-8 has the order of Unicode's characters, and so of Python's texts.

    Raises
    ------
    ValueError
        If a text is not UTF-8.
    """
    import pyarrow.compute as pc

    encoded = column.cast("large_string").combine_chunks().dictionary_encode()
    encoded.dictionary.validate(full=True)
    order = pc.array_sort_indices(encoded.dictionary)
    ids = encoded.dictionary.take(order).to_numpy(zero_copy_only=False)
    places = np.empty(len(order), np.int32)
    places[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    of_each: NDArray[np.int32] = places[encoded.indices.to_numpy()]
    return ids, of_each
