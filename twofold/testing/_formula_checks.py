"""Requirements for losses and regularisers; see `twofold.testing`."""

from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold.objective import Loss, Objective, Regularizer
from twofold.solvers import GD
from twofold.testing import reference

__all__ = ["check_loss", "check_regularizer", "require"]

# Avoids round numbers, where a formula may have a kink.
_POINTS = np.linspace(-4.03, 3.91, 41)
_EXTREME = np.array([-1e6, -1e3, 1e3, 1e6])
_STEP = 1e-6


def require(condition: object, message: str) -> None:
    """Raise AssertionError unless the condition holds, also with ``python -O``."""
    if not condition:
        raise AssertionError(message)


def check_loss(loss: Loss, *, targets: ArrayLike | None = None) -> None:
    """Check that a loss satisfies the requirements of the solvers.

    It must be a frozen dataclass. Its value and derivative must be elementwise, finite at extreme
    predictions and consistent with each other, and equal to the results of the kernels.

    Parameters
    ----------
    loss : Loss
        The loss to check.
    targets : array_like of float, optional
        Targets at which to check; by default the valid ones of -1, 0, 1 and 2.5.

    Raises
    ------
    AssertionError
        If a requirement is violated; the message contains the point.

    Examples
    --------
    >>> from twofold import HuberLoss
    >>> check_loss(HuberLoss(0.5))
    """
    name = type(loss).__name__
    _require_frozen(loss, Loss)
    tested = np.asarray([-1.0, 0.0, 1.0, 2.5] if targets is None else targets, dtype=np.float64)
    valid = np.asarray(loss.valid_targets(tested))
    require(
        valid.shape == tested.shape and valid.dtype == bool,
        f"{name}.valid_targets must return a bool for each target",
    )
    require(targets is None or valid.all(), f"{name} does not support targets {tested[~valid]}")
    tested = tested[valid]
    require(tested.size, f"{name} does not support the targets -1, 0, 1 and 2.5: give targets=")

    target, x = (grid.ravel() for grid in np.meshgrid(tested, _POINTS, indexing="ij"))
    for method in ("value", "derivative"):
        formula = getattr(loss, method)
        _require_elementwise(f"{name}.{method}", formula, target, x)
        far = np.repeat(tested, _EXTREME.size), np.tile(_EXTREME, tested.size)
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
    """Check that a regulariser satisfies the requirements of the solvers.

    It must be a frozen dataclass with phi(0) = 0 and phi >= 0. Its methods must be elementwise and
    equal to the results of the kernels. If it is smooth, the derivative must be that of phi,
    otherwise the proximal step must minimise its definition.

    Parameters
    ----------
    regularizer : Regularizer
        The regulariser to check.

    Raises
    ------
    AssertionError
        If a requirement is violated; the message contains the point.

    Examples
    --------
    >>> from twofold import L1
    >>> check_regularizer(L1(0.1))
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
    unscaled = replace(regularizer, weight=1.0, exponent=0.0)
    # The targets equal the predictions, so that only the penalty changes the factors.
    objective = Objective(regularizer=unscaled, data="targets")
    step = 0.3
    targets = sparse.csr_array((x * x[::-1], np.arange(n), np.arange(n + 1)), shape=(n, n))
    solver = GD(n_factors=1, max_epochs=1, learning_rate=step, dtype="float64")
    solution = solver.solve(objective, targets, init=(P, Q))
    _require_close(
        f"{name}.proximal in the kernel", solution.row_factors[:, 0], unscaled.proximal(x, step)
    )
    expected = reference.value(objective, targets, P, Q)["penalty"]
    _require_close(f"{name} in the kernel", objective.value(targets, P, Q).penalty, expected)


def _require_frozen(owner: Any, base: type) -> None:
    name = type(owner).__name__
    require(isinstance(owner, base), f"{name} must be a subclass of {base.__name__}")
    cls: Any = type(owner)
    frozen = is_dataclass(owner) and cls.__dataclass_params__.frozen
    require(frozen, f"{name} must be a dataclass(frozen=True)")


def _require_elementwise(name: str, formula: Any, *arguments: NDArray[np.float64]) -> None:
    """Require that the results for an array equal those for its elements."""
    of_array = np.asarray(formula(*arguments))
    require(
        of_array.shape == arguments[0].shape,
        f"{name} of arrays of shape {arguments[0].shape} has shape {of_array.shape}",
    )
    of_floats = [
        float(formula(*numbers)) for numbers in zip(*(a.tolist() for a in arguments), strict=True)
    ]
    _require_close(f"{name} of an array, against single floats,", of_array, np.array(of_floats))


def _require_slope(
    name: str, slope: Any, after: Any, before: Any, arguments: tuple[NDArray[np.float64], ...]
) -> None:
    difference = (after - before) / (2.0 * _STEP)
    bad = ~(np.abs(slope - difference) <= 1e-4 * (1.0 + np.abs(difference)))
    require(
        not bad.any(),
        f"{name} is not the derivative of the values at {_at(arguments, bad)}: it is "
        f"{np.asarray(slope)[bad][:1]} instead of {difference[bad][:1]}",
    )


def _require_proximal(regularizer: Regularizer, step: float) -> None:
    """Require that no point of a fine grid has a lower cost than the proximal step."""

    def cost(z: Any) -> Any:
        return step * regularizer.value(z) + 0.5 * (z - _POINTS) ** 2

    name = f"{type(regularizer).__name__}.proximal"
    minimum = np.asarray(regularizer.proximal(_POINTS, step))
    _require_elementwise(name, lambda x: regularizer.proximal(x, step), _POINTS)
    grid = np.linspace(-6.0, 6.0, 4801)[:, None]
    bad = ~(cost(minimum) <= np.min(cost(grid), axis=0) + 1e-9)
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
    """Require that kernels and reference agree on an objective and its gradient."""
    actual, expected = objective.value(matrix, P, Q), reference.value(objective, matrix, P, Q)
    for part in ("loss", "unobserved", "penalty"):
        _require_close(f"the {part} of {name} in the kernel", getattr(actual, part), expected[part])
    gradients = objective.gradient(matrix, P, Q), reference.gradient(objective, matrix, P, Q)
    for actual_slope, expected_slope in zip(*gradients, strict=True):
        _require_close(f"the derivative of {name} in the kernel", actual_slope, expected_slope)


def _require_close(name: str, actual: Any, expected: Any) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    bad = ~(np.abs(actual - expected) <= 1e-9 * (1.0 + np.abs(expected)))
    require(not bad.any(), f"{name} is {actual[bad][:1]} instead of {expected[bad][:1]}")


def _at(arguments: tuple[NDArray[np.float64], ...], bad: NDArray[np.bool_]) -> str:
    return ", ".join(f"{value:g}" for argument in arguments for value in argument[bad][:1])
