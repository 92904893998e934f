"""Pairs in any order become CSR, by sorting digits instead of comparing.

Arrays of one entry for each pair have up to 2^31 and more entries: positions among them are int64.
"""

from twofold._kernels.jit import device, kernel
from twofold._kernels.vectors.tasks import next_task

DIGITS = 1 << 11  # as many places to write to as the second cache has room for

CHUNK = 1 << 16
"""Entries in a task."""
ROWS = 1 << 9
"""Rows in a task."""


@kernel
def mark(counter, n_tasks, ids, low, present):
    """Set present[id - low] of every id."""
    chunk = next_task(counter)
    while chunk < n_tasks:
        for e in range(chunk * CHUNK, min((chunk + 1) * CHUNK, ids.size)):
            present[ids[e] - low] = True  # by two threads perhaps, which write the same
        chunk = next_task(counter)


@kernel
def renumber(counter, n_tasks, ids, low, number, out):
    """Set out[e] = number[ids[e] - low]; ``out`` may be ``ids``."""
    chunk = next_task(counter)
    while chunk < n_tasks:
        for e in range(chunk * CHUNK, min((chunk + 1) * CHUNK, ids.size)):
            out[e] = number[ids[e] - low]
        chunk = next_task(counter)


@kernel
def count_digits(counter, n_tasks, keys, shift, bounds, counts):
    """Count the entries with each digit of their key, in each part: counts[part, digit]."""
    part = next_task(counter)
    while part < n_tasks:
        for e in range(bounds[part], bounds[part + 1]):
            counts[part, (keys[e] >> shift) & (DIGITS - 1)] += 1
        part = next_task(counter)


@kernel
def sort_by_digit(
    counter, n_tasks, keys, others, places, shift, bounds, starts, new_keys, new_others, new_places
):
    """Write the entries in the order of a digit of their key, from ``starts`` on.

    Entries with the same digit stay in their order, whatever the number of parts. ``places`` may be
    empty.
    """
    part = next_task(counter)
    while part < n_tasks:
        for e in range(bounds[part], bounds[part + 1]):
            key = keys[e]
            digit = (key >> shift) & (DIGITS - 1)
            at = starts[part, digit]
            starts[part, digit] += 1
            new_keys[at] = key
            new_others[at] = others[e]
            if places.size:
                new_places[at] = places[e]
        part = next_task(counter)


@kernel
def find_rows(counter, n_tasks, rows, indptr):
    """Fill ``indptr`` with where each row begins among entries that are sorted by row."""
    n = rows.size
    chunk = next_task(counter)
    while chunk < n_tasks:
        for e in range(chunk * CHUNK, min((chunk + 1) * CHUNK, n + 1)):
            before = rows[e - 1] if e > 0 else -1
            here = rows[e] if e < n else indptr.size - 1
            for row in range(before + 1, here + 1):
                indptr[row] = e
        chunk = next_task(counter)


@kernel
def count_repeats(counter, n_tasks, indptr, indices, repeats):
    """Count in each row the entries that have the column of the one before."""
    chunk = next_task(counter)
    while chunk < n_tasks:
        for u in range(chunk * ROWS, min((chunk + 1) * ROWS, indptr.size - 1)):
            n = 0
            for e in range(indptr[u] + 1, indptr[u + 1]):
                n += indices[e] == indices[e - 1]
            repeats[u] = n
        chunk = next_task(counter)


@kernel
def drop_repeats(counter, n_tasks, indptr, indices, new_indptr, new_indices, first):
    """Keep one of the entries of a row that have the same column; ``first`` is where it was."""
    chunk = next_task(counter)
    while chunk < n_tasks:
        for u in range(chunk * ROWS, min((chunk + 1) * ROWS, indptr.size - 1)):
            _copy_row(u, indptr, indices, new_indptr, new_indices, first)
        chunk = next_task(counter)


@device
def _copy_row(u, indptr, indices, new_indptr, new_indices, first):
    place = new_indptr[u]
    for e in range(indptr[u], indptr[u + 1]):
        if e == indptr[u] or indices[e] != indices[e - 1]:
            new_indices[place] = indices[e]
            if first.size:
                first[place] = e
            place += 1
