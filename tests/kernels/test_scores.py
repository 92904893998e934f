"""Scores of strips: all primitives have the bits of the tiles."""

import numpy as np
import pytest
from numba import njit

from twofold._kernels.jit import FASTMATH
from twofold._kernels.vectors import scores
from twofold._kernels.vectors.scores import STRIP
from twofold._kernels.vectors.tiles import set_tiles_from_rows

pytestmark = pytest.mark.plain


@njit(fastmath=FASTMATH)
def set_scores(*arguments):
    scores.set_scores(*arguments)


@njit(fastmath=FASTMATH)
def dot(*arguments):
    return scores.dot(*arguments)


@njit(fastmath=FASTMATH)
def next_above(*arguments):
    return scores.next_above(*arguments)


@njit(fastmath=FASTMATH)
def set_tiles(*arguments):
    set_tiles_from_rows(*arguments)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3, 4, 8, 13, 66])
def test_scores_of_a_row_have_the_bits_of_the_tiles(k, dtype):
    rng = np.random.default_rng(k)
    Y, x = (rng.normal(size=shape).astype(dtype) for shape in ((3 * STRIP, k), k))
    out, tiles = np.zeros((2, STRIP), dtype), np.zeros((STRIP, STRIP), dtype)
    set_scores(out, 1, Y, 5, x)
    np.testing.assert_allclose(out[1], Y[5 : 5 + STRIP] @ x, rtol=1e-4, atol=1e-5)
    assert not out[0].any()
    transposed = np.repeat(x[:, np.newaxis], STRIP, axis=1)
    for c in range(0, STRIP, 8):
        set_tiles(tiles, c, Y, transposed, k, 5 + c, 0, STRIP, 0)
    np.testing.assert_array_equal(out[1], tiles[:, 7])
    assert out[1].tolist() == [dot(x[np.newaxis], 0, Y, 5 + r) for r in range(STRIP)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_next_above(dtype):
    C, limits = np.zeros((3, STRIP), dtype), np.zeros(2 * STRIP, dtype)
    C[1, [0, 5, STRIP - 1]] = 1.0
    C[1, 3], C[1, 6], limits[STRIP + 7] = np.nan, -1.0, -1.0
    found, j = [], next_above(C, 1, limits, STRIP, 0)
    while j < STRIP:
        found.append(j)
        j = next_above(C, 1, limits, STRIP, j + 1)
    assert found == [0, 5, 7, STRIP - 1]
    assert next_above(C, 0, limits, 0, 0) == STRIP
