"""The n best columns of rows by p . q, exactly, without the matrix of scores.

The scores of a block of columns and a strip of rows are computed by tiles. Those above the n-th
best score of their row so far are appended to a buffer of the row, and if it is full, the n best of
it are selected. Columns are read in ascending order, so a later one with an equal score is not
among the n best.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.jit import device, inlined, kernel
from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.rows import prefetch_row
from twofold._kernels.vectors.scores import STRIP, dot, next_above, set_scores
from twofold._kernels.vectors.tasks import next_task
from twofold._kernels.vectors.tiles import set_tiles_from_rows

BLOCK = 4 * STRIP
"""Number of columns whose scores are computed together."""
PAIRS = 4096
"""Number of pairs in a task of `score_pairs`."""
_AHEAD = 2 * TILE  # prefetch distance in columns

Array = Any


class Candidates(NamedTuple):
    """The rows of a call, and their candidates. Arrays of length 0 stand for no restriction."""

    rows: Array
    """int64, shape (n_rows,): position of each row in the factors; (0,) for all rows in order."""
    zero: Array
    """bool, shape (n_rows,): True for a row without candidates."""
    starts: Array
    """int64, shape (n_rows,): ``excluded[starts[u]:stops[u]]``, ascending, are no
    candidates of row u."""
    stops: Array
    excluded: Array
    """int32."""
    blocked: Array
    """bool, shape (n_cols,): True for a column that is no candidate of any row."""
    lists: Array
    """int64, shape (2,) or (n_rows + 1,): the candidates of row u are
    ``allowed[lists[u]:lists[u + 1]]``, or ``allowed[:lists[1]]`` for all if the length is 2."""
    allowed: Array
    """int32, ascending in each list."""
    scale: Array
    """Factor of the scores of each column, shape (n_cols,)."""


class Best(NamedTuple):
    """The best columns of some rows so far, in any order."""

    scores: Array
    """Shape (n_rows, capacity)."""
    cols: Array
    """int32, shape (n_rows, capacity)."""
    sizes: Array
    """int64, shape (n_rows,)."""
    limits: Array
    """Shape (n_rows,): scores above it are among the n best so far."""
    cursors: Array
    """int64, shape (n_rows,): the next excluded pair."""


@kernel
def top_of_strips(counter, n_tasks, bounds, P, Q, candidates, capacity, positions, scores):
    """Set positions[u] and scores[u] to the best columns of each row u, best first.

    A task is the rows ``bounds[task]:bounds[task + 1]``, in strips. Where there is no further
    candidate, the position is -1 and the score nan.
    """
    n_rows = 0
    for task in range(bounds.size - 1):
        n_rows = max(n_rows, bounds[task + 1] - bounds[task])
    n_strips = (n_rows + STRIP - 1) // STRIP
    k = P.shape[1]
    packed = np.zeros((n_strips * k, STRIP), P.dtype)
    panel, C = np.zeros((BLOCK, k), P.dtype), np.zeros((BLOCK, STRIP), P.dtype)
    best = Best(
        np.empty((n_strips * STRIP, capacity), P.dtype),
        np.empty((n_strips * STRIP, capacity), np.int32),
        np.zeros(n_strips * STRIP, np.int64),
        np.empty(n_strips * STRIP, P.dtype),
        np.zeros(n_strips * STRIP, np.int64),
    )
    listed = candidates.lists.size > 0
    n_cols = candidates.lists[1] if listed else Q.shape[0]
    task = next_task(counter)
    while task < n_tasks:
        low, n_rows = bounds[task], bounds[task + 1] - bounds[task]
        _start(candidates, low, n_rows, P, packed, best)
        for first in range(0, n_cols, BLOCK):
            m = min(BLOCK, n_cols - first)
            gathered = listed or m < BLOCK
            if gathered:
                _gather(candidates, 0, first, m, Q, panel)
            for top in range(0, n_rows, STRIP):
                B = packed[top // STRIP * k : (top // STRIP + 1) * k]
                width = (min(STRIP, n_rows - top) + TILE - 1) // TILE * TILE
                if gathered:
                    _set_block(C, panel, 0, B, width, False)
                else:
                    _set_block(C, Q, first, B, width, top == 0)
                _keep_block(candidates, low, first, m, C, top, positions.shape[1], best)
        for r in range(n_rows):
            finish(best, r, positions, scores, low + r)
        task = next_task(counter)


@device
def _start(candidates, low, n_rows, P, packed, best):
    """Transpose the strips of a task, and empty the buffers."""
    k = P.shape[1]
    for r in range(best.sizes.size):
        best.sizes[r] = 0
        best.limits[r] = np.inf
    for r in range(n_rows):
        u = low + r
        start_row(candidates, u, r, best)
        row = candidates.rows[u] if candidates.rows.size else u
        strip, lane = r // STRIP * k, r % STRIP
        for f in range(k):
            packed[strip + f, lane] = P[row, f]


@inlined
def start_row(candidates, u, r, best):
    best.limits[r] = np.inf if candidates.zero.size and candidates.zero[u] else -np.inf
    best.cursors[r] = candidates.starts[u] if candidates.starts.size else 0


@inlined
def _column(candidates, start, c):
    """Return column c of the list that begins at ``start``."""
    return candidates.allowed[start + c] if candidates.lists.size else c


@device
def _gather(candidates, start, first, m, Q, panel):
    """Copy the factors of the columns first:first+m of a list."""
    for c in range(m):
        col = _column(candidates, start, first + c)
        for f in range(Q.shape[1]):
            panel[c, f] = Q[col, f]


@device
def _set_block(C, A, first, B, width, prefetching):
    """Set C to the scores of the columns A[first:first+BLOCK] and a strip of rows."""
    for c in range(0, BLOCK, TILE):
        if prefetching:
            for r in range(TILE):
                prefetch_row(A, first + c + _AHEAD + r)
        set_tiles_from_rows(C, c, A, B, B.shape[0], first + c, 0, width, 0)


@device
def _keep_block(candidates, low, first, m, C, top, n, best):
    """Keep the scores C of m columns and a strip of rows as far as they may be among the best."""
    if candidates.scale.size:
        for c in range(m):
            factor = candidates.scale[_column(candidates, 0, first + c)]
            for lane in range(STRIP):
                C[c, lane] *= factor
    for c in range(m):
        lane = next_above(C, c, best.limits, top, 0)
        while lane < STRIP:
            r = top + lane
            keep(candidates, low + r, _column(candidates, 0, first + c), C[c, lane], n, best, r)
            lane = next_above(C, c, best.limits, top, lane + 1)


@device
def keep(candidates, u, col, score, n, best, r):
    """Append a column to the buffer r of row u, unless it is excluded."""
    if candidates.blocked.size and candidates.blocked[col]:
        return
    if candidates.starts.size:
        cursor, stop = best.cursors[r], candidates.stops[u]
        while cursor < stop and candidates.excluded[cursor] < col:
            cursor += 1
        best.cursors[r] = cursor
        if cursor < stop and candidates.excluded[cursor] == col:
            return
    size = best.sizes[r]
    best.scores[r, size], best.cols[r, size] = score, col
    best.sizes[r] = size + 1
    if size + 1 == best.scores.shape[1]:
        select(best, r, size + 1, n)
        best.sizes[r] = n
        best.limits[r] = best.scores[r, n - 1]


@inlined
def _precedes(best, r, i, score, col):
    """Return whether element i of buffer r is better than a score, or equal and before it."""
    found = best.scores[r, i]
    return found > score or (found == score and best.cols[r, i] < col)


@inlined
def _swap(best, r, i, j):
    scores, cols = best.scores, best.cols
    scores[r, i], scores[r, j] = scores[r, j], scores[r, i]
    cols[r, i], cols[r, j] = cols[r, j], cols[r, i]


@device
def select(best, r, size, n):
    """Move the n best of ``size`` elements to the front, the last of them to place n - 1.

    Hoare's algorithm (Communications of the ACM 4, 1961, algorithm 65).
    """
    low, high = 0, size - 1
    while low < high:
        score, col = best.scores[r, n - 1], best.cols[r, n - 1]
        i, j = low, high
        while i <= j:
            while _precedes(best, r, i, score, col):
                i += 1
            while not _precedes(best, r, j, score, col) and best.cols[r, j] != col:
                j -= 1
            if i <= j:
                _swap(best, r, i, j)
                i += 1
                j -= 1
        if j < n - 1:
            low = i
        if n - 1 < i:
            high = j


@device
def finish(best, r, positions, scores, u):
    """Write the best of buffer r in descending order, then padding."""
    n = positions.shape[1]
    if best.sizes[r] > n:
        select(best, r, best.sizes[r], n)
    size = min(best.sizes[r], n)
    for root in range(size // 2 - 1, -1, -1):
        _sift_down(best, r, root, size)
    for last in range(size - 1, 0, -1):
        _swap(best, r, 0, last)
        _sift_down(best, r, 0, last)
    for i in range(size):
        positions[u, i], scores[u, i] = best.cols[r, i], best.scores[r, i]
    for i in range(size, n):
        positions[u, i], scores[u, i] = -1, np.nan


@device
def _sift_down(best, r, root, size):
    """Restore the heap of ``size`` elements, whose worst is at the root, from ``root`` down."""
    score, col = best.scores[r, root], best.cols[r, root]
    child = 2 * root + 1
    while child < size:
        if child + 1 < size and _precedes(
            best, r, child, best.scores[r, child + 1], best.cols[r, child + 1]
        ):
            child += 1
        if not _precedes_element(score, col, best, r, child):
            break
        best.scores[r, root], best.cols[r, root] = best.scores[r, child], best.cols[r, child]
        root, child = child, 2 * child + 1
    best.scores[r, root], best.cols[r, root] = score, col


@inlined
def _precedes_element(score, col, best, r, i):
    found = best.scores[r, i]
    return score > found or (score == found and col < best.cols[r, i])


@kernel
def top_of_rows(counter, n_tasks, P, Q, candidates, capacity, positions, scores):
    """Do the same as `top_of_strips` for rows one at a time, which may have their own lists."""
    k = P.shape[1]
    x = np.zeros(k, P.dtype)
    panel, C = np.zeros((BLOCK, k), P.dtype), np.zeros((BLOCK // STRIP, STRIP), P.dtype)
    best = Best(
        np.empty((1, capacity), P.dtype),
        np.empty((1, capacity), np.int32),
        np.zeros(1, np.int64),
        np.empty(STRIP, P.dtype),
        np.zeros(1, np.int64),
    )
    own = candidates.lists.size > 2
    task = next_task(counter)
    while task < n_tasks:
        row = candidates.rows[task] if candidates.rows.size else task
        for f in range(k):
            x[f] = P[row, f]
        best.sizes[0] = start = 0
        start_row(candidates, task, 0, best)
        n_cols = Q.shape[0]
        if candidates.lists.size:
            start = candidates.lists[task] if own else 0
            n_cols = candidates.lists[task + 1 if own else 1] - start
        keep_columns(candidates, task, start, n_cols, Q, x, panel, C, positions.shape[1], best)
        finish(best, 0, positions, scores, task)
        task = next_task(counter)


@device
def keep_columns(candidates, u, start, n_cols, Q, x, panel, C, n, best):
    """Keep the best of all columns, or of the list that begins at ``start``, for row u.

    ``x`` are its factors; ``panel`` (BLOCK, k) and ``C`` (BLOCK // STRIP, STRIP) are overwritten.
    """
    best.limits[1:] = best.limits[0]
    for first in range(0, n_cols, BLOCK):
        m = min(BLOCK, n_cols - first)
        if candidates.lists.size or m < BLOCK:
            _gather(candidates, start, first, m, Q, panel)
            for g in range(BLOCK // STRIP):
                set_scores(C, g, panel, g * STRIP, x)
        else:
            for g in range(BLOCK // STRIP):
                set_scores(C, g, Q, first + g * STRIP, x)
        _keep_scores(candidates, u, start, first, m, C, n, best)


@device
def _keep_scores(candidates, u, start, first, m, C, n, best):
    """Keep the scores C of m columns and row u as far as they may be among the best."""
    if candidates.scale.size:
        for c in range(m):
            factor = candidates.scale[_column(candidates, start, first + c)]
            C[c // STRIP, c % STRIP] *= factor
    for g in range((m + STRIP - 1) // STRIP):
        j = next_above(C, g, best.limits, 0, 0)
        while j < min(STRIP, m - g * STRIP):
            col = _column(candidates, start, first + g * STRIP + j)
            keep(candidates, u, col, C[g, j], n, best, 0)
            for other in range(1, STRIP):
                best.limits[other] = best.limits[0]
            j = next_above(C, g, best.limits, 0, j + 1)


@kernel
def score_pairs(counter, n_tasks, P, Q, rows, cols, out):
    """Set out[e] = P[rows[e]] . Q[cols[e]], with the bits of the other kernels."""
    task = next_task(counter)
    while task < n_tasks:
        for e in range(task * PAIRS, min((task + 1) * PAIRS, rows.size)):
            out[e] = dot(P, rows[e], Q, cols[e])
        task = next_task(counter)
