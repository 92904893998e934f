"""Pairs in any order become CSR, by sorting digits instead of comparing.

Arrays of one entry for each pair have up to 2^31 and more entries: positions among them are int64.
"""

from numba import prange

from twofold._kernels.jit import parallel_jit

__all__ = [
    "DIGITS",
    "count_digits",
    "count_repeats",
    "drop_repeats",
    "find_rows",
    "mark",
    "renumber",
    "sort_by_digit",
]

DIGITS = 1 << 11  # as many places to write to as the second cache has room for

_CHUNK = 1 << 16  # entries that one thread takes at a time
_ROWS = 1 << 9  # rows, likewise


@parallel_jit
def mark(ids, low, present):
    """Set present[id - low] of every id."""
    for chunk in prange((ids.size + _CHUNK - 1) // _CHUNK):
        for e in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, ids.size)):
            present[ids[e] - low] = True  # by two threads perhaps, which write the same


@parallel_jit
def renumber(ids, low, number, out):
    """Set out[e] = number[ids[e] - low]; ``out`` may be ``ids``."""
    for chunk in prange((ids.size + _CHUNK - 1) // _CHUNK):
        for e in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, ids.size)):
            out[e] = number[ids[e] - low]


@parallel_jit
def count_digits(keys, shift, bounds, counts):
    """Count the entries with each digit of their key, in each part: counts[part, digit]."""
    for part in prange(bounds.size - 1):
        for e in range(bounds[part], bounds[part + 1]):
            counts[part, (keys[e] >> shift) & (DIGITS - 1)] += 1


@parallel_jit
def sort_by_digit(keys, others, places, shift, bounds, starts, new_keys, new_others, new_places):
    """Write the entries in the order of a digit of their key, from ``starts`` on.

    Entries with the same digit stay in their order, whatever the number of parts. ``places`` may be
    empty.
    """
    for part in prange(bounds.size - 1):
        for e in range(bounds[part], bounds[part + 1]):
            key = keys[e]
            digit = (key >> shift) & (DIGITS - 1)
            at = starts[part, digit]
            starts[part, digit] += 1
            new_keys[at] = key
            new_others[at] = others[e]
            if places.size:
                new_places[at] = places[e]


@parallel_jit
def find_rows(rows, indptr):
    """Fill ``indptr`` with where each row begins among entries that are sorted by row."""
    n = rows.size
    for chunk in prange((n + 1 + _CHUNK - 1) // _CHUNK):
        for e in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, n + 1)):
            before = rows[e - 1] if e > 0 else -1
            here = rows[e] if e < n else indptr.size - 1
            for row in range(before + 1, here + 1):
                indptr[row] = e


@parallel_jit
def count_repeats(indptr, indices, repeats):
    """Count in each row the entries that have the column of the one before."""
    for chunk in prange((indptr.size - 1 + _ROWS - 1) // _ROWS):
        for u in range(chunk * _ROWS, min((chunk + 1) * _ROWS, indptr.size - 1)):
            n = 0
            for e in range(indptr[u] + 1, indptr[u + 1]):
                n += indices[e] == indices[e - 1]
            repeats[u] = n


@parallel_jit
def drop_repeats(indptr, indices, new_indptr, new_indices, first):
    """Keep one of the entries of a row that have the same column; ``first`` is where it was."""
    for chunk in prange((indptr.size - 1 + _ROWS - 1) // _ROWS):
        for u in range(chunk * _ROWS, min((chunk + 1) * _ROWS, indptr.size - 1)):
            place = new_indptr[u]
            for e in range(indptr[u], indptr[u + 1]):
                if e == indptr[u] or indices[e] != indices[e - 1]:
                    new_indices[place] = indices[e]
                    if first.size:
                        first[place] = e
                    place += 1
