"""Losses and regularisers inside kernels: an integer code, one parameter, one switch.

Passing functions to a kernel would compile it once for each of them and defeat the disk cache.
The code `EXTERNAL` calls a user's own formula by its address; the formulas themselves are written
for readers in `twofold.objective`, and a test holds the two equal. Everything is in float64.
"""

import math

from twofold._kernels.external import call
from twofold._kernels.jit import device

SQUARED, HUBER, LOGISTIC = 0, 1, 2
SQUARE, ABSOLUTE = 0, 1
EXTERNAL = 9


@device
def loss_value(loss, target, x):
    """l(target, x)."""
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
    """dl/dx at (target, x)."""
    if loss.code == SQUARED:
        return 2.0 * (x - target)
    if loss.code == HUBER:
        return 2.0 * max(-loss.parameter, min(loss.parameter, x - target))
    if loss.code == LOGISTIC:
        margin = target * x
        shrunk = math.exp(-abs(margin))
        return -target * (1.0 if margin < 0.0 else shrunk) / (1.0 + shrunk)
    return call(loss.derivative_address, target, x)


@device
def penalty_value(penalty, x):
    """phi(x) of a separable regulariser."""
    if penalty.code == SQUARE:
        return x * x
    if penalty.code == ABSOLUTE:
        return abs(x)
    return call(penalty.value_address, x, 0.0)


@device
def penalty_derivative(penalty, x):
    """phi'(x); 0 at the kink of |x|."""
    if penalty.code == SQUARE:
        return 2.0 * x
    if penalty.code == ABSOLUTE:
        return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)
    return call(penalty.follow_address, x, 0.0)


@device
def penalty_step(penalty, x, step):
    """Argmin over z of step phi(z) + (z - x)^2 / 2 if phi is not smooth, otherwise x.

    With the constraint, over z >= 0: phi is convex, so it is the larger of that z and 0.
    """
    z = x
    if not penalty.smooth and step > 0.0:
        if penalty.code == ABSOLUTE:
            z = x - max(-step, min(step, x))
        else:
            z = call(penalty.follow_address, x, step)
    return 0.0 if penalty.nonnegative and z < 0.0 else z
