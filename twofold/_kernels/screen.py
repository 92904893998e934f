"""The n best columns of single rows, where bounds of the scores rule out most columns.

A score p . q costs 4 k bytes of memory to read. Its bounds cost k + 8 bytes. Only the columns whose
upper bound is above the n-th largest lower bound are scored, by the code of `topn`, so the result
has the same bits.

**The bounds.** A column is stored as q = s z + a with whole numbers |z_f| <= 127, a scale s, and an
error of length |a| <= e; the row is p = t y + b with whole numbers |y_f| <= Y and t = max |p| / Y,
so that |b| <= sqrt(k) t / 2 <= d |p| with d = sqrt(k) / (2 Y). By the inequality of Cauchy and
Schwarz and |s z| <= |q| + e,

    |p . q - s t (y . z)| = |p . a + b . s z| <= |p| (e + d (|q| + e)).

The sum y . z is exact in 32 bits, because Y <= (2^31 - 1) / (127 k). The score itself is a sum of k
products in floating point, whose error is at most gamma_k |p| |q| + k 2^-149 with
gamma_k = k u / (1 - k u) and u = 2^-24 (Higham 2002, Accuracy and Stability of Numerical
Algorithms, section 3.1, with an underflow of each product). The bounds are computed in float32 with
five roundings. All scores of a row are divided by |p|, which does not change their order; then

    | score / |p| - (t / |p|) s (y . z) | < r + margin,    r = e + (d + 1.1 (k + 8) u) (|q| + e),

where r does not depend on the row, and the margin is for underflows. It is positive, so that a
column whose upper bound is not above the n-th largest lower bound has a score below the n best.

Columns that are too long to be represented, or not finite, have r = inf and are always scored. A
row is not screened if a sum for another column might overflow.
"""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.jit import device, kernel
from twofold._kernels.topn import (
    BLOCK,
    Best,
    Candidates,
    finish,
    keep,
    keep_columns,
    select,
    start_row,
)
from twofold._kernels.vectors.bounds import set_bounds
from twofold._kernels.vectors.scores import STRIP, next_above
from twofold._kernels.vectors.tasks import next_task

STRIPS = 256
"""Number of strips of columns in a task of `quantise`."""
MAX_FACTORS = 1 << 16
"""Largest k for which the bounds hold."""
_CODE = 127
_ROUNDING = 2.0**-24
_TINY = 2.0**-148
_LONGEST_COLUMN, _LARGEST_SCORE, _SHORTEST_ROW = 1e37, 1e38, 1e-100
_SHORTEST_STEP = 1e-36  # Below it, z = 0.

Array = Any


class Screen(NamedTuple):
    """Columns in 8 bits, in strips of STRIP columns, of which the last one is padded."""

    codes: Array
    """int8, shape (n_strips, 2 ceil(k / 2) STRIP): z as `set_bounds` reads it."""
    steps: Array
    """float32, shape (n_strips, STRIP): s."""
    radii: Array
    """float32, shape (n_strips, STRIP): r."""
    longest: Array
    """float64, shape (n_tasks,): the largest |q| with a finite r in each task of `quantise`."""


@device
def _largest_code(k):
    """Return Y, the largest element of y."""
    return min(32767, (2**31 - 1) // (_CODE * k))


@kernel
def quantise(counter, n_tasks, Q, screen):
    """Set the screen of the columns Q."""
    k = Q.shape[1]
    share = 1.000001 * np.sqrt(k) / (2.0 * _largest_code(k)) + 1.1 * (k + 8) * _ROUNDING
    width = (k + 3) // 4 * 4
    values, codes = np.zeros(width), np.zeros(width, np.int8)
    task = next_task(counter)
    while task < n_tasks:
        longest, first = 0.0, task * STRIPS * STRIP
        for col in range(first, min(first + STRIPS * STRIP, screen.steps.size)):
            values[:] = 0.0
            if col < Q.shape[0]:  # The others pad the last strip.
                for f in range(k):
                    values[f] = Q[col, f]
            longest = max(longest, _quantise_column(values, codes, col, share, screen))
        screen.longest[task] = longest
        task = next_task(counter)


@device
def _quantise_column(values, codes, col, share, screen):
    """Set the screen of a column, and return its length, or 0 if r is infinite."""
    g, lane, square = col // STRIP, col % STRIP, 0.0
    for f in range(values.size):
        square += values[f] * values[f]
    length, radius = np.sqrt(square), np.inf
    is_usual = length <= _LONGEST_COLUMN
    largest = _largest(values) if is_usual else 0.0
    screen.steps[g, lane] = largest / _CODE if largest > _CODE * _SHORTEST_STEP else 0.0
    step = np.float64(screen.steps[g, lane])
    if step > 0.0:
        inverse = 1.0 / step
        error = 0.0
        for f in range(values.size):
            code = np.rint(values[f] * inverse)
            codes[f] = np.int8(code)
            rest = values[f] - step * code
            error += rest * rest
        error = np.sqrt(error)
    else:
        codes[:] = 0
        error = length
    if is_usual:
        radius = (error + share * (length + error)) * 1.000001 + _TINY
    screen.radii[g, lane] = radius
    pairs, of_strip = codes.view(np.int16), screen.codes.view(np.int16)
    for h in range(of_strip.shape[1] // STRIP):
        of_strip[g, h * STRIP + lane] = pairs[h]
    return length if is_usual else 0.0


@device
def _largest(values):
    """Return max |values|, of which there are a multiple of four."""
    one = two = three = four = 0.0
    for f in range(0, values.size, 4):  # four independent chains of comparisons
        one, two = max(one, abs(values[f])), max(two, abs(values[f + 1]))
        three, four = max(three, abs(values[f + 2])), max(four, abs(values[f + 3]))
    return max(max(one, two), max(three, four))


@kernel
def top_by_screen(
    counter, n_tasks, P, Q, screen, candidates, capacity, positions, scores, n_scored
):  # fmt: skip
    """Do the same as `topn.top_of_rows` without lists and scale, and count the scores."""
    k, n_cols, n = Q.shape[1], Q.shape[0], positions.shape[1]
    x, y = np.zeros(k, P.dtype), np.zeros((k + 1) // 2 * 2, np.int16)
    panel, C = np.zeros((BLOCK, k), P.dtype), np.zeros((BLOCK // STRIP, STRIP), P.dtype)
    best = Best(
        np.empty((1, capacity), P.dtype), np.empty((1, capacity), np.int32),
        np.zeros(1, np.int64), np.empty(STRIP, P.dtype), np.zeros(1, np.int64),
    )  # fmt: skip
    lower = Best(
        np.empty((1, capacity), np.float32), np.empty((1, capacity), np.int32),
        np.zeros(1, np.int64), np.empty(STRIP, np.float32), np.zeros(1, np.int64),
    )  # fmt: skip
    bounds, upper = np.empty((2, STRIP), np.float32), np.empty(n_cols, np.float32)
    found, longest = np.empty(n_cols, np.int32), np.max(screen.longest)
    listed = Candidates(
        candidates.rows, candidates.zero, candidates.starts, candidates.stops, candidates.excluded,
        candidates.blocked, np.zeros(2, np.int64), found, candidates.scale,
    )  # fmt: skip
    task = next_task(counter)
    while task < n_tasks:
        row = candidates.rows[task] if candidates.rows.size else task
        for f in range(k):
            x[f] = P[row, f]
        unit, margin = _quantise_row(x, y, longest)
        n_found = n_cols
        if unit > 0.0:
            start_row(candidates, task, 0, lower)
            n_found = _screen_row(
                candidates, task, screen, y, unit, margin, bounds, upper, found, n, lower
            )
        best.sizes[0] = 0
        start_row(candidates, task, 0, best)
        if n_found < n_cols // 4:
            keep_columns(listed, task, 0, n_found, Q, x, panel, C, n, best)
        else:  # in the order of the memory
            keep_columns(candidates, task, 0, n_cols, Q, x, panel, C, n, best)
        finish(best, 0, positions, scores, task)
        n_scored[task] = n_found
        task = next_task(counter)


@device
def _quantise_row(x, y, longest):
    """Set y, and return t / |p| and the margin; or return 0 for a row that is not screened."""
    square, largest = 0.0, 0.0
    for f in range(x.size):
        square += np.float64(x[f]) * np.float64(x[f])
        largest = max(largest, abs(np.float64(x[f])))
    length = np.sqrt(square)
    if not (length > _SHORTEST_ROW and length * longest <= _LARGEST_SCORE):
        return np.float32(0.0), np.float32(0.0)
    unit = largest / _largest_code(x.size)
    for f in range(x.size):
        y[f] = np.int16(np.rint(x[f] / unit))
    margin = 1.01 * (_TINY + _TINY * x.size / min(length, 1.0))
    return np.float32(unit / length), np.float32(margin)


@device
def _screen_row(candidates, u, screen, y, unit, margin, bounds, upper, found, n, lower):
    """Set the first elements of ``found`` to the columns to score, and return their number."""
    n_cols, size = found.size, 0
    lower.sizes[0] = 0
    lower.limits[1:] = lower.limits[0]
    for g in range(screen.codes.shape[0]):
        set_bounds(bounds, screen.codes, g, y, screen.steps, screen.radii, unit, margin)
        j = next_above(bounds, 0, lower.limits, 0, 0)
        while j < min(STRIP, n_cols - g * STRIP):
            upper[size], found[size] = bounds[0, j], g * STRIP + j
            size += 1
            if bounds[1, j] > lower.limits[0]:
                keep(candidates, u, g * STRIP + j, bounds[1, j], n, lower, 0)
                lower.limits[1:] = lower.limits[0]
            j = next_above(bounds, 0, lower.limits, 0, j + 1)
    if lower.sizes[0] >= n:
        select(lower, 0, lower.sizes[0], n)
        lower.limits[0] = lower.scores[0, n - 1]
    kept = 0
    for e in range(size):
        if upper[e] > lower.limits[0]:
            found[kept] = found[e]
            kept += 1
    return kept
