"""The proximal step of a separable regulariser."""

import numpy as np
from numba import prange

from twofold._kernels.formulas import penalty_proximal
from twofold._kernels.jit import parallel_jit

__all__ = ["proximal_rows"]


@parallel_jit
def proximal_rows(bounds, scale, code, address, P):
    """Replace each p_uf by its proximal step of length scale_u."""
    real = P.dtype.type
    for chunk in prange(bounds.size - 1):
        for u in range(bounds[chunk], bounds[chunk + 1]):
            if scale[u] > 0.0:
                for f in range(P.shape[1]):
                    P[u, f] = real(penalty_proximal(code, address, np.float64(P[u, f]), scale[u]))
