"""Stored entries counted and listed by column, and those of merged rows."""

from twofold._kernels.arguments import excluded_weight, target, weight
from twofold._kernels.jit import inlined, kernel


@kernel
def count_columns(indices, weights, counts, summed):
    """Add the numbers of entries and the sums of weights of each column."""
    for e in range(indices.size):
        counts[indices[e]] += 1
        summed[indices[e]] += weights[e] if weights.size else 1.0


@kernel
def transpose(entries, places, out):
    """Set ``out`` to the entries by column, in the order of the rows.

    The first entry of each column is written to its position in ``places``, which is advanced.
    """
    for u in range(entries.indptr.size - 1):
        for e in range(entries.indptr[u], entries.indptr[u + 1]):
            i = entries.indices[e]
            _set_entry(entries, e, 1.0, u, out, places[i])
            places[i] += 1


@kernel
def order_by_column(indices, places, out):
    """Set ``out`` to the positions of the entries in the order of `transpose`."""
    for e in range(indices.size):
        out[places[indices[e]]] = e
        places[indices[e]] += 1


@kernel
def count_merged(entries, rows, first, group, counts):
    """Count the entries of each of the rows that `merge` keeps."""
    for g in range(rows.size):
        for e in range(entries.indptr[rows[g]], entries.indptr[rows[g] + 1]):
            if _is_kept(entries.indices[e], first, group):
                counts[g] += 1


@kernel
def merge(entries, rows, first, group, sizes, out):
    """Set ``out`` to the entries of the rows in columns that are the first of their group.

    Column i is in the group ``group[i]`` of so many columns as ``sizes`` contains, which multiplies
    the weights. ``first`` is the first column of each group.
    """
    for g in range(rows.size):
        place = out.indptr[g]
        for e in range(entries.indptr[rows[g]], entries.indptr[rows[g] + 1]):
            i = entries.indices[e]
            if _is_kept(i, first, group):
                _set_entry(entries, e, sizes[group[i]], group[i], out, place)
                place += 1


@inlined
def _is_kept(i, first, group):
    return first[group[i]] == i


@inlined
def _set_entry(entries, e, times, index, out, place):
    """Copy entry e to a place, with another index and weights multiplied by ``times``."""
    out.indices[place] = index
    if out.targets.size:
        out.targets[place] = target(entries, e)
    if out.weights.size:
        out.weights[place] = times * weight(entries, e)
    if out.excluded.size:
        out.excluded[place] = times * excluded_weight(entries, e)
