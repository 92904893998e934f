"""Losses and regularisers inside kernels: an integer code, one parameter, one switch.

Passing functions to a kernel would compile it once for each of them and defeat the disk cache.
The code `EXTERNAL` calls a user's own formula by its address; the formulas themselves are written
for readers in `twofold.objective`, and a test holds the two equal.
"""

import math

from twofold._kernels.external import call
from twofold._kernels.jit import jit

__all__ = [
    "ABSOLUTE",
    "EXTERNAL",
    "HUBER",
    "LOGISTIC",
    "SQUARE",
    "SQUARED",
    "loss_derivative",
    "loss_value",
    "penalty_derivative",
    "penalty_proximal",
    "penalty_value",
]

SQUARED, HUBER, LOGISTIC = 0, 1, 2
SQUARE, ABSOLUTE = 0, 1
EXTERNAL = 9


@jit
def loss_value(code, parameter, address, target, x):
    """l(target, x), in float64."""
    if code == SQUARED:
        return (target - x) * (target - x)
    if code == HUBER:
        distance = abs(target - x)
        if distance <= parameter:
            return distance * distance
        return parameter * (2.0 * distance - parameter)
    if code == LOGISTIC:
        margin = target * x
        return math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)
    return call(address, target, x)


@jit
def loss_derivative(code, parameter, address, target, x):
    """dl/dx at (target, x), in float64."""
    if code == SQUARED:
        return 2.0 * (x - target)
    if code == HUBER:
        return 2.0 * max(-parameter, min(parameter, x - target))
    if code == LOGISTIC:
        margin = target * x
        shrunk = math.exp(-abs(margin))
        return -target * (1.0 if margin < 0.0 else shrunk) / (1.0 + shrunk)
    return call(address, target, x)


@jit
def penalty_value(code, address, x):
    """phi(x) of a separable regulariser."""
    if code == SQUARE:
        return x * x
    if code == ABSOLUTE:
        return abs(x)
    return call(address, x, 0.0)


@jit
def penalty_derivative(code, address, x):
    """phi'(x); 0 at the kink of |x|."""
    if code == SQUARE:
        return 2.0 * x
    if code == ABSOLUTE:
        return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)
    return call(address, x, 0.0)


@jit
def penalty_proximal(code, address, x, step):
    """Argmin over z of step phi(z) + (z - x)^2 / 2."""
    if code == SQUARE:
        return x / (1.0 + 2.0 * step)
    if code == ABSOLUTE:
        return x - max(-step, min(step, x))
    return call(address, x, step)
