"""Different texts are numbered, by a hash table; and sorted.

The hash multiplies each eight bytes by a random number and folds the product of 128 bits, so that
nobody can choose texts of which many have the same hash, which would make the table slow.
"""

import numpy as np

from twofold._kernels.jit import device, kernel
from twofold._kernels.words import fold_product, load_byte, load_word

FREE = -1  # a slot of the table without a text

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@kernel
def number_texts(data, ends, first, key, slots, arena, starts, n_texts, numbers):
    """Give texts numbers in the order in which they first occur: those from ``first`` on.

    Parameters
    ----------
    data, ends : uint8 array, int64 array
        The texts one after the other, and where each ends.
    first : int
        The text to begin with.
    key : tuple of two uint64
        Of the hash.
    slots : int64 array, of a power of two
        The table: half a hash and a number in each slot, or `FREE`.
    arena, starts : uint8 array, int64 array
        The different texts one after the other, and where each begins; starts[n_texts] is their
        end.
    n_texts : int
        How many there are.
    numbers : int32 array
        Filled with the number of each text.

    Returns
    -------
    tuple of int
        The text at which it stopped, as something has to grow, and how many different ones there
        are then.
    """
    mask = np.uint64(slots.size - 1)
    for e in range(first, ends.size):
        begin = ends[e - 1] if e else 0
        size = ends[e] - begin
        if (
            2 * n_texts >= slots.size
            or n_texts + 1 >= starts.size
            or arena.size - starts[n_texts] < size
        ):
            return e, n_texts
        text = data.ctypes.data + begin
        hashed = _hash(text, size, key)
        place = hashed & mask
        while True:
            slot = slots[place]
            if slot == FREE:
                slots[place] = np.int64((hashed & ~_LOW) >> np.uint64(1)) | n_texts
                start = starts[n_texts]
                for i in range(size):
                    arena[start + i] = data[begin + i]
                numbers[e] = n_texts
                n_texts += 1
                starts[n_texts] = start + size
                break
            number = slot & np.int64(0x7FFFFFFF)
            known = arena.ctypes.data + starts[number]
            if (
                (slot >> np.int64(31)) == np.int64(hashed >> _HALF)
                and starts[number + 1] - starts[number] == size
                and _equal(text, known, size)
            ):
                numbers[e] = number
                break
            place = (place + np.uint64(1)) & mask
    return ends.size, n_texts


@kernel
def rebuild(arena, starts, n_texts, key, slots):
    """Fill an empty table."""
    mask = np.uint64(slots.size - 1)
    for number in range(n_texts):
        size = starts[number + 1] - starts[number]
        hashed = _hash(arena.ctypes.data + starts[number], size, key)
        place = hashed & mask
        while slots[place] != FREE:
            place = (place + np.uint64(1)) & mask
        slots[place] = np.int64((hashed & ~_LOW) >> np.uint64(1)) | number


@device
def _hash(address, size, key):
    """Fold the product of the words so far with each next word; ``key`` is two random numbers."""
    hashed = key[0] ^ np.uint64(size)
    for i in range(0, size, 8):
        hashed = fold_product(hashed ^ _word(address + i, size - i), key[1])
    return fold_product(hashed, key[1])


@device
def _word(address, size):
    """Return up to eight bytes as a number in which the first one counts most."""
    if size >= 8:
        return load_word(address)
    word = np.uint64(0)
    for i in range(size):
        word |= np.uint64(load_byte(address + i)) << np.uint64(56 - 8 * i)
    return word


@device
def _equal(one, other, size):
    for i in range(0, size, 8):  # noqa: SIM110 - which numba does not compile
        if _word(one + i, size - i) != _word(other + i, size - i):
            return False
    return True


@kernel
def words_at(arena, starts, numbers, skip, words):
    """Set words[e] to the eight bytes of text numbers[e] after the first ``skip``.

    The first byte counts most, so that numbers have the order of texts; behind the end are zeros.
    """
    address = arena.ctypes.data
    for e in range(numbers.size):
        begin = starts[numbers[e]] + skip
        words[e] = _word(address + begin, starts[numbers[e] + 1] - begin)
