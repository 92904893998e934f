"""What a loss and a regulariser promise; see `twofold.testing`."""

from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold.objective import Loss, Objective, Regularizer
from twofold.solvers import GD
from twofold.testing import reference

__all__ = ["check_loss", "check_regularizer", "require"]

# Not at round numbers, where a formula may have a kink.
_POINTS = np.linspace(-4.03, 3.91, 41)
_EXTREME = np.array([-1e6, -1e3, 1e3, 1e6])
_STEP = 1e-6


def require(condition: object, message: str) -> None:
    """Raise AssertionError unless the condition holds, under ``python -O`` too."""
    if not condition:
        raise AssertionError(message)


def check_loss(loss: Loss, *, targets: ArrayLike | None = None) -> None:
    """Check that a loss keeps the promises that solvers rely on.

    It is a frozen dataclass; value and derivative agree on floats and arrays, are finite at extreme
    predictions, and fit each other; what the kernels compute is what the Python formulas say.

    Parameters
    ----------
    loss : Loss
        The loss to check.
    targets : array_like of float, optional
        Targets to check it at; default: those of -1, 0, 1 and 2.5 that it accepts.

    Raises
    ------
    AssertionError
        Naming the promise that is broken, and where.
    """
    name = type(loss).__name__
    _require_frozen(loss, Loss)
    tried = np.asarray([-1.0, 0.0, 1.0, 2.5] if targets is None else targets, dtype=np.float64)
    valid = np.asarray(loss.valid_targets(tried))
    require(
        valid.shape == tried.shape and valid.dtype == bool,
        f"{name}.valid_targets must return a bool for each target",
    )
    require(targets is None or valid.all(), f"{name} does not accept the targets {tried[~valid]}")
    tried = tried[valid]
    require(tried.size, f"{name} accepts none of -1, 0, 1 and 2.5 as a target: give targets=")

    target, x = (grid.ravel() for grid in np.meshgrid(tried, _POINTS, indexing="ij"))
    for method in ("value", "derivative"):
        formula = getattr(loss, method)
        _require_elementwise(f"{name}.{method}", formula, target, x)
        far = np.repeat(tried, _EXTREME.size), np.tile(_EXTREME, tried.size)
        with np.errstate(all="ignore"):
            finite = np.isfinite(formula(*far))
        require(
            finite.all(),
            f"{name}.{method} is not finite at target, prediction = {_at(far, ~finite)}",
        )
    _require_slope(
        f"{name}.derivative", loss.derivative(target, x),
        loss.value(target, x + _STEP), loss.value(target, x - _STEP), (target, x),
    )  # fmt: skip

    n = x.size
    matrix = sparse.csr_array((target, np.arange(n), np.arange(n + 1)), shape=(n, n))
    objective = Objective(loss, data="targets")
    _require_kernel(f"{name}", objective, matrix, np.ones((n, 1)), x[:, None])


def check_regularizer(regularizer: Regularizer) -> None:
    """Check that a regulariser keeps the promises that solvers rely on.

    It is a frozen dataclass; phi(0) = 0 and phi >= 0; values agree on floats and arrays; a smooth
    one has the derivative of its values, another one a proximal step that minimises; what the
    kernels compute is what the Python formulas say.

    Parameters
    ----------
    regularizer : Regularizer
        The regulariser to check.

    Raises
    ------
    AssertionError
        Naming the promise that is broken, and where.
    """
    name, phi, x = type(regularizer).__name__, regularizer.value, _POINTS
    _require_frozen(regularizer, Regularizer)
    _require_elementwise(f"{name}.value", phi, x)
    require(float(phi(0.0)) == 0.0, f"{name}.value(0) is {phi(0.0)}: it must be 0")
    for points in (x, _EXTREME):
        bad = ~((phi(points) >= 0.0) & np.isfinite(phi(points)))
        require(
            not bad.any(), f"{name}.value is negative or not finite at x = {_at((points,), bad)}"
        )
    scale = np.asarray(regularizer.scale(np.array([0.0, 1.0, 4.0]), 0.5))
    require(
        scale.shape == (3,) and np.isfinite(scale).all() and (scale >= 0.0).all(),
        f"{name}.scale must return a finite number >= 0 for each row, not {scale}",
    )

    n = x.size
    matrix = sparse.eye_array(n, format="csr")
    P, Q = x[:, None], x[::-1, None].copy()
    if regularizer.smooth:
        _require_elementwise(f"{name}.derivative", regularizer.derivative, x)
        _require_slope(
            f"{name}.derivative", regularizer.derivative(x), phi(x + _STEP), phi(x - _STEP), (x,)
        )
        _require_kernel(name, Objective(regularizer=regularizer), matrix, P, Q)
        return
    for step in (0.0, 0.01, 0.3, 2.0):
        _require_proximal(regularizer, step)
    plain = replace(regularizer, weight=1.0, exponent=0.0)
    # Every target is its prediction, so that only the penalty moves the factors.
    fitted = Objective(regularizer=plain, data="targets")
    step = 0.3
    targets = sparse.csr_array((x * x[::-1], np.arange(n), np.arange(n + 1)), shape=(n, n))
    solver = GD(n_factors=1, max_epochs=1, learning_rate=step, dtype="float64")
    moved = solver.solve(fitted, targets, init=(P, Q))
    _require_close(
        f"{name}.proximal in the kernel", moved.row_factors[:, 0], plain.proximal(x, step)
    )
    expected = reference.value(fitted, targets, P, Q)["penalty"]
    _require_close(f"{name} in the kernel", fitted.value(targets, P, Q).penalty, expected)


def _require_frozen(owner: Any, base: type) -> None:
    name = type(owner).__name__
    require(isinstance(owner, base), f"{name} must be a subclass of {base.__name__}")
    kind: Any = type(owner)
    frozen = is_dataclass(owner) and kind.__dataclass_params__.frozen
    require(frozen, f"{name} must be a dataclass(frozen=True)")


def _require_elementwise(name: str, formula: Any, *arguments: NDArray[np.float64]) -> None:
    """Compare the numbers for an array with those for its elements, one float at a time."""
    at_once = np.asarray(formula(*arguments))
    require(
        at_once.shape == arguments[0].shape,
        f"{name} of arrays of shape {arguments[0].shape} has shape {at_once.shape}",
    )
    one_by_one = [
        float(formula(*numbers)) for numbers in zip(*(a.tolist() for a in arguments), strict=True)
    ]
    _require_close(f"{name} of an array, against single floats,", at_once, np.array(one_by_one))


def _require_slope(
    name: str, slope: Any, after: Any, before: Any, arguments: tuple[NDArray[np.float64], ...]
) -> None:
    difference = (after - before) / (2.0 * _STEP)
    bad = ~(np.abs(slope - difference) <= 1e-4 * (1.0 + np.abs(difference)))
    require(
        not bad.any(),
        f"{name} is not the slope of the values at {_at(arguments, bad)}: it is "
        f"{np.asarray(slope)[bad][:1]}, and finite differences give {difference[bad][:1]}",
    )


def _require_proximal(regularizer: Regularizer, step: float) -> None:
    """No point of a fine grid does better than the proximal step."""

    def cost(z: Any) -> Any:
        return step * regularizer.value(z) + 0.5 * (z - _POINTS) ** 2

    name = f"{type(regularizer).__name__}.proximal"
    best = np.asarray(regularizer.proximal(_POINTS, step))
    _require_elementwise(name, lambda x: regularizer.proximal(x, step), _POINTS)
    grid = np.linspace(-6.0, 6.0, 4801)[:, None]
    bad = ~(cost(best) <= np.min(cost(grid), axis=0) + 1e-9)
    require(
        not bad.any(), f"{name} does not minimise for step {step} at x = {_at((_POINTS,), bad)}"
    )


def _require_kernel(
    name: str,
    objective: Objective,
    matrix: Any,
    P: NDArray[np.float64],
    Q: NDArray[np.float64],
) -> None:
    """Kernels and plain numpy agree about an objective and its gradient."""
    found, expected = objective.value(matrix, P, Q), reference.value(objective, matrix, P, Q)
    for part in ("loss", "unobserved", "penalty"):
        _require_close(f"the {part} of {name} in the kernel", getattr(found, part), expected[part])
    gradients = objective.gradient(matrix, P, Q), reference.gradient(objective, matrix, P, Q)
    for found_slope, expected_slope in zip(*gradients, strict=True):
        _require_close(f"the derivative of {name} in the kernel", found_slope, expected_slope)


def _require_close(name: str, found: Any, expected: Any) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    bad = ~(np.abs(found - expected) <= 1e-9 * (1.0 + np.abs(expected)))
    require(not bad.any(), f"{name} is {found[bad][:1]} where {expected[bad][:1]} is right")


def _at(arguments: tuple[NDArray[np.float64], ...], bad: NDArray[np.bool_]) -> str:
    return ", ".join(f"{value:g}" for argument in arguments for value in argument[bad][:1])
