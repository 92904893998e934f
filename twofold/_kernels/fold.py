"""Fold-in for any loss and separable regulariser by accelerated proximal gradient steps."""

from typing import Any, NamedTuple

import numpy as np

from twofold._kernels.arguments import center_of, excluded_weight, target, weight
from twofold._kernels.formulas import (
    loss_derivative,
    loss_value,
    penalty_derivative,
    penalty_proximal,
    penalty_value,
)
from twofold._kernels.jit import device, kernel
from twofold._kernels.vectors.tasks import next_task

_MAX_HALVINGS = 60
_VALUE_ROUNDING = 1e-9  # relative difference of two values that may be due to rounding


class Scratch(NamedTuple):
    """Working memory of one thread."""

    p: Any
    y: Any
    """The point from which the step is taken."""
    new: Any
    g: Any
    """The gradient at y."""
    new_g: Any


@kernel
def fold_rows(
    counter, n_tasks, bounds, entries, loss, penalty, G, Q, max_steps, accuracy, out, steps
):
    """Minimise each row's part of the objective over p, in float64, starting from its center.

    FISTA (Beck & Teboulle 2009) with backtracking and with the gradient scheme for restarting the
    momentum (O'Donoghue & Candes 2015). ``steps`` is set to the number of steps of each row. The
    iteration stops after three consecutive steps shorter than ``accuracy`` times the length of p.
    """
    k = G.shape[0]
    s = Scratch(np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k), np.zeros(k))
    task = next_task(counter)
    while task < n_tasks:
        for u in range(bounds[task], bounds[task + 1]):
            steps[u] = 0
            if entries.indptr[u] < entries.indptr[u + 1] or penalty.center.size:
                steps[u] = _minimise(u, entries, loss, penalty, G, Q, max_steps, accuracy, s)
                for f in range(k):
                    out[u, f] = s.p[f]
        task = next_task(counter)


@device
def _minimise(u, entries, loss, penalty, G, Q, max_steps, accuracy, s):
    for f in range(s.p.size):
        s.p[f] = s.y[f] = center_of(penalty, u, f)
    momentum = 1.0
    curvature = 1e-3  # Initial guess, which backtracking corrects.
    n_small_steps = 0
    for taken in range(1, max_steps + 1):
        curvature = _step(u, entries, loss, penalty, G, Q, curvature, s)
        moved = length = ascent = 0.0
        for f in range(s.p.size):
            moved += (s.new[f] - s.p[f]) ** 2
            length += s.new[f] ** 2
            ascent += (s.y[f] - s.new[f]) * (s.new[f] - s.p[f])
        n_small_steps = n_small_steps + 1 if moved <= accuracy * accuracy * length else 0
        next_momentum = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum * momentum))
        if ascent > 0.0:
            momentum = next_momentum = 1.0
        for f in range(s.p.size):
            s.y[f] = s.new[f] + (momentum - 1.0) / next_momentum * (s.new[f] - s.p[f])
            s.p[f] = s.new[f]
        if n_small_steps == 3:
            return taken
        momentum = next_momentum
        curvature *= 0.9
    return max_steps


@device
def _step(u, entries, loss, penalty, G, Q, curvature, s):
    """Set ``new`` to the proximal step from y by backtracking; return the curvature."""
    at_y = _smooth_part(u, entries, loss, penalty, G, Q, s.y, s.g)
    for _ in range(_MAX_HALVINGS):
        slope = square = 0.0
        for f in range(s.y.size):
            scale = entries.scale[u] / curvature
            center = center_of(penalty, u, f)
            moved = s.y[f] - s.g[f] / curvature
            s.new[f] = center + penalty_proximal(penalty, moved - center, scale)
            if f == penalty.fixed:
                s.new[f] = 1.0
            slope += s.g[f] * (s.new[f] - s.y[f])
            square += (s.new[f] - s.y[f]) ** 2
        rise = 0.5 * curvature * square
        at_new = _smooth_part(u, entries, loss, penalty, G, Q, s.new, s.new_g)
        if rise <= _VALUE_ROUNDING * abs(at_y):
            gradient_change = 0.0  # The values differ by rounding only: compare gradients.
            for f in range(s.y.size):
                gradient_change += (s.new_g[f] - s.g[f]) * (s.new[f] - s.y[f])
            if gradient_change <= 2.0 * rise:
                break
        elif at_new <= at_y + slope + rise:
            break
        curvature *= 2.0
    return curvature


@device
def _smooth_part(u, entries, loss, penalty, G, Q, p, g):
    """Return sum_e [w l(r, p.q) - a0' (p.q)^2] + p'Gp + scale phi(p - c); set g to its gradient."""
    total = 0.0
    for f in range(p.size):
        row = 0.0
        for h in range(p.size):
            row += G[f, h] * p[h]
        total += row * p[f]
        g[f] = 2.0 * row
        if penalty.smooth and f != penalty.fixed:
            x = p[f] - center_of(penalty, u, f)
            total += entries.scale[u] * penalty_value(penalty, x)
            g[f] += entries.scale[u] * penalty_derivative(penalty, x)
    for e in range(entries.indptr[u], entries.indptr[u + 1]):
        i = entries.indices[e]
        x = 0.0
        for f in range(p.size):
            x += p[f] * np.float64(Q[i, f])
        r, w, excluded = target(entries, e), weight(entries, e), excluded_weight(entries, e)
        total += w * loss_value(loss, r, x) - excluded * x * x
        slope = w * loss_derivative(loss, r, x) - 2.0 * excluded * x
        for f in range(p.size):
            g[f] += slope * np.float64(Q[i, f])
    return total
