"""Fold-in for any loss and separable regulariser: accelerated proximal gradient, row by row."""

import numpy as np
from numba import prange

from twofold._kernels.formulas import (
    loss_derivative,
    loss_value,
    penalty_derivative,
    penalty_proximal,
    penalty_value,
)
from twofold._kernels.jit import jit, parallel_jit

__all__ = ["fold_rows"]


@parallel_jit
def fold_rows(
    bounds, indptr, indices, targets, weights, first, missing_weight, G,
    loss_code, parameter, loss_value_address, loss_slope_address,
    scale, penalty_code, penalty_value_address, penalty_address, smooth,
    Q, max_steps, accuracy, out, steps,
):  # fmt: skip
    """Minimise each row's part of the objective over p, in float64, from 0.

    FISTA (Beck & Teboulle 2009) with backtracking, and a restart of the momentum where it points
    uphill (O'Donoghue & Candes 2015, the gradient scheme). ``steps`` tells how many were taken; it
    stops when steps move p by less than ``accuracy`` relative to its length.
    """
    k = Q.shape[1]
    step_t, step_w, step_f = (
        min(targets.size - 1, 1),
        min(weights.size - 1, 1),
        min(first.size - 1, 1),
    )
    for chunk in prange(bounds.size - 1):
        p = np.empty(k)
        y = np.empty(k)
        new = np.empty(k)
        g = np.empty(k)
        new_g = np.empty(k)
        for u in range(bounds[chunk], bounds[chunk + 1]):
            p[:] = 0.0
            y[:] = 0.0
            momentum = 1.0
            # An upper bound of the curvature at the start would do; backtracking finds the rest.
            curvature = 1e-3
            taken = 0
            calm = 0
            while taken < max_steps and calm < 3 and indptr[u] < indptr[u + 1]:
                taken += 1
                at_y = _smooth_part(
                    u, indptr, indices, targets, step_t, weights, step_w, first, step_f,
                    missing_weight, G, loss_code, parameter, loss_value_address,
                    loss_slope_address, scale[u], penalty_code, penalty_value_address,
                    penalty_address, smooth, Q, y, g, True,
                )  # fmt: skip
                for _ in range(60):
                    slope = square = 0.0
                    for f in range(k):
                        z = y[f] - g[f] / curvature
                        if not smooth:
                            z = penalty_proximal(
                                penalty_code, penalty_address, z, scale[u] / curvature
                            )
                        new[f] = z
                        slope += g[f] * (z - y[f])
                        square += (z - y[f]) ** 2
                    rise = 0.5 * curvature * square
                    # Values this close differ by rounding: then the change of slope decides.
                    blurred = rise <= 1e-9 * abs(at_y)
                    at_new = _smooth_part(
                        u, indptr, indices, targets, step_t, weights, step_w, first, step_f,
                        missing_weight, G, loss_code, parameter, loss_value_address,
                        loss_slope_address, scale[u], penalty_code, penalty_value_address,
                        penalty_address, smooth, Q, new, new_g, blurred,
                    )  # fmt: skip
                    if blurred:
                        bend = 0.0
                        for f in range(k):
                            bend += (new_g[f] - g[f]) * (new[f] - y[f])
                        if bend <= 2.0 * rise:
                            break
                    elif at_new <= at_y + slope + rise:
                        break
                    curvature *= 2.0
                moved = length = uphill = 0.0
                for f in range(k):
                    moved += (new[f] - p[f]) ** 2
                    length += new[f] ** 2
                    uphill += (y[f] - new[f]) * (new[f] - p[f])
                calm = calm + 1 if moved <= accuracy * accuracy * length else 0
                after = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum))
                if uphill > 0.0:
                    momentum = after = 1.0
                for f in range(k):
                    y[f] = new[f] + (momentum - 1.0) / after * (new[f] - p[f])
                    p[f] = new[f]
                momentum = after
                curvature *= 0.9
            out[u] = p
            steps[u] = taken


@jit
def _smooth_part(
    u, indptr, indices, targets, step_t, weights, step_w, first, step_f, missing_weight, G,
    loss_code, parameter, loss_value_address, loss_slope_address, scale, penalty_code,
    penalty_value_address, penalty_address, smooth, Q, p, g, with_gradient,
):  # fmt: skip
    """sum_e [w l(r, p.q) - missing_weight first (p.q)^2] + p'Gp + scale phi(p) if it is smooth."""
    k = p.size
    total = 0.0
    for f in range(k):
        row = 0.0
        for h in range(k):
            row += G[f, h] * p[h]
        total += row * p[f]
        if with_gradient:
            g[f] = 2.0 * row
        if smooth:
            total += scale * penalty_value(penalty_code, penalty_value_address, p[f])
            if with_gradient:
                g[f] += scale * penalty_derivative(penalty_code, penalty_address, p[f])
    for e in range(indptr[u], indptr[u + 1]):
        i = indices[e]
        x = 0.0
        for f in range(k):
            x += p[f] * np.float64(Q[i, f])
        r, w = targets[e * step_t], weights[e * step_w]
        given_back = missing_weight * first[e * step_f]
        total += w * loss_value(loss_code, parameter, loss_value_address, r, x) - given_back * x * x
        if with_gradient:
            slope = w * loss_derivative(loss_code, parameter, loss_slope_address, r, x)
            slope -= 2.0 * given_back * x
            for f in range(k):
                g[f] += slope * np.float64(Q[i, f])
    return total
