"""Different texts are numbered as they come, and put in order at the end."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._ids import Ids
from twofold._kernels.texts import FREE, number_texts, rebuild, words_at
from twofold.exceptions import InvalidInputError

__all__ = ["NumberedTexts", "TextNumbers"]

_ANY = "surrogatepass"  # half a surrogate pair is possible in Python's texts
_ROUNDS = 4  # of eight bytes each: Python compares the few texts that are still equal then


class TextNumbers:
    """Numbers texts, given as UTF-8, in the order in which they first occur."""

    def __init__(self) -> None:
        self.n_texts = 0
        first, second = np.frombuffer(os.urandom(16), np.uint64)
        self._key = first, second | np.uint64(1 << 63 | 1)  # large and odd
        self._slots = np.full(1 << 10, FREE, np.int64)
        self._starts = np.zeros(1 << 10, np.int64)
        self._arena = np.empty(1 << 14, np.uint8)

    def add(self, data: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the number of each text: they come one after the other, with their ends."""
        numbers = np.empty(ends.size, np.int32)
        done = 0
        with np.errstate(over="ignore"):  # without JIT numpy would warn of what a hash is made of
            while True:
                done, self.n_texts = number_texts(
                    data, ends, done, self._key, self._slots, self._arena, self._starts,
                    self.n_texts, numbers,
                )  # fmt: skip
                if done == ends.size:
                    return numbers
                self._grow(int(ends[done] - (ends[done - 1] if done else 0)))

    def add_strings(self, texts: list[str]) -> NDArray[np.int32]:
        """Return the number of each text."""
        whole, sizes = "".join(texts), map(len, texts)
        if whole.isascii():
            data = whole.encode()
        else:
            parts = [text.encode(errors=_ANY) for text in texts]
            data, sizes = b"".join(parts), map(len, parts)
        ends = np.cumsum(np.fromiter(sizes, np.int64, len(texts)))
        return self.add(np.frombuffer(data, np.uint8), ends)

    def _grow(self, size: int) -> None:
        n = self.n_texts
        if n == np.iinfo(np.int32).max:
            raise InvalidInputError(f"there are more than {n} different texts: too many ids")
        if 2 * n >= self._slots.size:
            self._slots = np.full(4 * self._slots.size, FREE, np.int64)
            rebuild(self._arena, self._starts, n, self._key, self._slots)
        if n + 1 >= self._starts.size:
            self._starts = _longer(self._starts, n + 1, 2 * self._starts.size)
        used = int(self._starts[n])
        if self._arena.size - used < size:
            self._arena = _longer(self._arena, used, 2 * self._arena.size + size)

    def is_utf8(self) -> bool:
        """Whether each of the texts is UTF-8."""
        starts = self._starts[: self.n_texts + 1]
        firsts = self._arena[starts[:-1][starts[1:] > starts[:-1]]]
        try:
            self._arena[: starts[-1]].tobytes().decode()
        except UnicodeDecodeError:
            return False
        return not ((firsts & 0xC0) == 0x80).any()  # in the middle of a character

    def in_order(self) -> tuple[Ids, NDArray[np.int32]]:
        """Return the different texts in ascending order, and the place of each number there."""
        starts = self._starts[: self.n_texts + 1]
        data = self._arena[: starts[-1]].tobytes()
        order = self._order(data)
        # In their order, so that neighbours will be neighbours in memory.
        bounds = zip(starts[order].tolist(), starts[order + 1].tolist(), strict=True)
        texts = np.empty(self.n_texts, dtype=object)
        if data.isascii():  # where bytes are characters
            whole = data.decode()
            texts[:] = [whole[begin:end] for begin, end in bounds]
        else:
            texts[:] = [data[begin:end].decode(errors=_ANY) for begin, end in bounds]
        places = np.empty(self.n_texts, np.int32)
        places[order] = np.arange(self.n_texts, dtype=np.int32)
        return texts, places

    def _order(self, data: bytes) -> NDArray[np.int64]:
        """Sort the texts: UTF-8 has the order of Unicode's characters, and so of Python.

        By eight bytes at a time, behind those that all of them have in common.
        """
        n, starts = self.n_texts, self._starts
        order = np.arange(n)
        words = np.empty(n, np.uint64)
        skip = 0
        while n > 1:
            words_at(self._arena, starts, order, skip, words)
            different = int(np.bitwise_or.reduce(words ^ words[0]))
            if different:
                skip += (64 - different.bit_length()) // 8
                break
            skip += 8
            if skip > int(np.diff(starts[: n + 1]).max()):
                break
        is_first = np.zeros(n + 1, np.bool_)  # of those that are equal up to here
        is_first[[0, n]] = True
        for _ in range(_ROUNDS):
            tied = np.flatnonzero(~(is_first[:-1] & is_first[1:]))
            if not tied.size:
                return order
            words = np.empty(tied.size, np.uint64)
            words_at(self._arena, starts, order[tied], skip, words)
            by = np.lexsort((words, np.cumsum(is_first[:-1])[tied]))
            order[tied], words = order[tied][by], words[by]
            is_first[tied[1:]] |= words[1:] != words[:-1]
            skip += 8
        firsts = np.flatnonzero(is_first)
        for begin, end in zip(firsts[:-1].tolist(), firsts[1:].tolist(), strict=True):
            if end - begin > 1:
                part = order[begin:end].tolist()
                order[begin:end] = sorted(part, key=lambda i: data[starts[i] : starts[i + 1]])
        return order


def _longer(array: NDArray[Any], used: int, size: int) -> NDArray[Any]:
    longer = np.empty(size, array.dtype)
    longer[:used] = array[:used]
    return longer


NumberedTexts = tuple[TextNumbers, NDArray[np.int32]]  # and the number of each
