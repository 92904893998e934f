"""Pairs in any order become CSR, by counting instead of sorting.

Arrays of one entry for each pair have up to 2^31 and more entries: positions among them are int64.
"""

import numpy as np
from numba import prange

from twofold._kernels.jit import jit, parallel_jit

__all__ = ["count", "count_repeats", "drop_repeats", "mark", "renumber", "scatter", "start"]

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
def count(keys, bounds, counts):
    """Count the entries of each key, in each part of them: counts[part, key]."""
    for part in prange(bounds.size - 1):
        for e in range(bounds[part], bounds[part + 1]):
            counts[part, keys[e]] += 1


@jit
def start(counts, indptr):
    """Turn counts[part, key] into where each part writes the entries of a key; fill ``indptr``."""
    total = np.int64(0)
    for key in range(counts.shape[1]):
        indptr[key] = total
        for part in range(counts.shape[0]):
            n = np.int64(counts[part, key])
            counts[part, key] = total
            total += n
    indptr[counts.shape[1]] = total


@parallel_jit
def scatter(keys, others, places, bounds, starts, new_keys, new_others, new_places):
    """Write others[e] and places[e] key by key, and keys[e] too if ``new_keys`` has room.

    Entries of a key stay in their order, whatever the number of parts. ``places`` may be empty.
    """
    for part in prange(bounds.size - 1):
        for e in range(bounds[part], bounds[part + 1]):
            key = keys[e]
            at = starts[part, key]
            starts[part, key] += 1
            new_others[at] = others[e]
            if new_keys.size:
                new_keys[at] = key
            if places.size:
                new_places[at] = places[e]


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
