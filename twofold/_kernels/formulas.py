"""Losses and regularisers inside kernels, selected by an integer code, in float64.

Passing functions to a kernel would compile it once for each of them and bypass the disk cache. The
code `EXTERNAL` calls a user's own formula by its address. The reference implementations are the
classes of `twofold.objective`.
"""

import math

from twofold._kernels.external import call
from twofold._kernels.jit import device

SQUARED, HUBER, LOGISTIC = 0, 1, 2
SQUARE, ABSOLUTE = 0, 1
EXTERNAL = 9


@device
def loss_value(loss, target, x):
    """Return l(target, x)."""
    if loss.code == SQUARED:
        return (target - x) * (target - x)
    if loss.code == HUBER:
        distance = abs(target - x)
        if distance <= loss.parameter:
            return distance * distance
        return loss.parameter * (2.0 * distance - loss.parameter)
    if loss.code == LOGISTIC:
        margin = target * x
        return math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)
    return call(loss.value_address, target, x)


@device
def loss_derivative(loss, target, x):
    """Return dl/dx at (target, x)."""
    if loss.code == SQUARED:
        return 2.0 * (x - target)
    if loss.code == HUBER:
        return 2.0 * max(-loss.parameter, min(loss.parameter, x - target))
    if loss.code == LOGISTIC:
        margin = target * x
        exp_margin = math.exp(-abs(margin))
        return -target * (1.0 if margin < 0.0 else exp_margin) / (1.0 + exp_margin)
    return call(loss.derivative_address, target, x)


@device
def penalty_value(penalty, x):
    """Return phi(x) of a separable regulariser."""
    if penalty.code == SQUARE:
        return x * x
    if penalty.code == ABSOLUTE:
        return abs(x)
    return call(penalty.value_address, x, 0.0)


@device
def penalty_derivative(penalty, x):
    """Return phi'(x), and 0 at the kink of |x|."""
    if penalty.code == SQUARE:
        return 2.0 * x
    if penalty.code == ABSOLUTE:
        return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)
    return call(penalty.derivative_or_proximal_address, x, 0.0)


@device
def penalty_proximal(penalty, x, step):
    """Return argmin_z step phi(z) + (z - x)^2 / 2 if phi is not smooth, otherwise x.

    With the constraint z >= 0, the minimum is max(z, 0), because phi is convex.
    """
    z = x
    if not penalty.smooth and step > 0.0:
        if penalty.code == ABSOLUTE:
            z = x - max(-step, min(step, x))
        else:
            z = call(penalty.derivative_or_proximal_address, x, step)
    return 0.0 if penalty.nonnegative and z < 0.0 else z
