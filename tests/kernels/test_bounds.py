"""Bounds of a strip of columns by sums of products of whole numbers."""

import numpy as np
import pytest
from numba import njit

from twofold._kernels.jit import FASTMATH
from twofold._kernels.vectors import bounds
from twofold._kernels.vectors.scores import STRIP

pytestmark = pytest.mark.plain


@njit(fastmath=FASTMATH)
def set_bounds(*arguments):
    bounds.set_bounds(*arguments)


@pytest.mark.parametrize(("k", "largest"), [(2, 32767), (14, 32767), (516, 32767), (4096, 4128)])
def test_bounds_of_a_strip(k, largest):
    """Sums of the largest numbers of both signs fit into 32 bits."""
    rng = np.random.default_rng(k)
    z = rng.integers(-127, 128, (2, STRIP, k))
    y = rng.choice([-largest, largest, 3], k)
    z[1, 0], z[1, 1] = 127 * np.sign(y), -127 * np.sign(y)
    codes = z.reshape(2, STRIP, k // 2, 2).transpose(0, 2, 1, 3).reshape(2, -1).astype(np.int8)
    steps, radii = rng.random((2, 2, STRIP), np.float32)
    unit, margin = np.float32(0.25), np.float32(0.125)
    out = np.zeros((2, STRIP), np.float32)
    set_bounds(out, codes, 1, y.astype(np.int16), steps, radii, unit, margin)
    scores, radius = 0.25 * steps[1] * (z[1] @ y), radii[1] + margin
    np.testing.assert_allclose(out, [scores + radius, scores - radius], rtol=5e-7, atol=1e-6)
