"""Losses l(r, x) of a stored target r and a prediction x = p . q.

A custom loss is a frozen dataclass with two methods. It is supported by every solver except ALS.
The methods are compiled by numba and may use the numbers in `self`, `math` and `numpy`::

    @dataclass(frozen=True)
    class LogCosh(Loss):
        scale: float = 1.0

        def value(self, target, prediction):
            distance = np.abs(prediction - target)
            return self.scale * (distance + np.log1p(np.exp(-2.0 * distance)) - np.log(2.0))

        def derivative(self, target, prediction):
            return self.scale * np.tanh(prediction - target)

`twofold.testing.check_loss` tests it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from twofold._common.checks import check_real
from twofold._kernels import formulas

__all__ = ["HuberLoss", "LogisticLoss", "Loss", "SquaredLoss"]


class Loss(ABC):
    """Base class of differentiable losses; subclasses are frozen dataclasses.

    `value` and `derivative` must accept both floats and arrays.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from twofold.testing import check_loss
    >>> @dataclass(frozen=True)
    ... class LogCosh(Loss):
    ...     def value(self, target, prediction):
    ...         distance = np.abs(prediction - target)
    ...         return distance + np.log1p(np.exp(-2.0 * distance)) - np.log(2.0)
    ...     def derivative(self, target, prediction):
    ...         return np.tanh(prediction - target)
    ...
    >>> check_loss(LogCosh())
    >>> LogCosh().valid_targets(np.array([0.5, 2.0])).tolist()
    [True, True]
    """

    kernel_code: ClassVar[int] = formulas.EXTERNAL

    @abstractmethod
    def value(self, target: Any, prediction: Any) -> Any:
        """Return l(target, prediction), elementwise.

        Parameters
        ----------
        target, prediction : float or ndarray
            r and x, of one shape.

        Returns
        -------
        float or ndarray
            The loss of each pair.
        """

    @abstractmethod
    def derivative(self, target: Any, prediction: Any) -> Any:
        """Return dl/dprediction, elementwise.

        Parameters
        ----------
        target, prediction : float or ndarray
            r and x, of one shape.

        Returns
        -------
        float or ndarray
            The slope of each pair.
        """

    @property
    def kernel_parameter(self) -> float:
        """The parameter of a built-in loss for the kernels."""
        return 0.0

    def valid_targets(self, targets: Any) -> Any:
        """Return a bool array that is True for the targets that this loss supports.

        Parameters
        ----------
        targets : ndarray of float64, shape (n,)
            Finite numbers.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        return np.ones(targets.shape, dtype=bool)

    @property
    def targets_text(self) -> str:
        """Description of the targets that `valid_targets` accepts, for error messages."""
        return "any finite number"


@dataclass(frozen=True)
class SquaredLoss(Loss):
    """l(r, x) = (r - x)^2, without a factor 1/2. It is the default and the only loss of ALS.

    Examples
    --------
    >>> SquaredLoss().value(1.0, 0.5)
    0.25
    """

    kernel_code: ClassVar[int] = formulas.SQUARED

    def value(self, target: Any, prediction: Any) -> Any:
        """Return (target - prediction)^2."""
        difference = target - prediction
        return difference * difference

    def derivative(self, target: Any, prediction: Any) -> Any:
        """Return 2 (prediction - target)."""
        return 2.0 * (prediction - target)


@dataclass(frozen=True)
class HuberLoss(Loss):
    """l(r, x) = d^2 for d = |r - x| <= delta, and delta (2d - delta) otherwise.

    The loss is quadratic near the target and linear far from it, which reduces the influence of
    outliers (Huber, Robust Estimation of a Location Parameter, 1964; twice the formula there,
    because there is no factor 1/2 here).

    Parameters
    ----------
    delta : float, default 1.0
        Distance from which on the loss is linear, > 0, in the unit of the targets.

    Raises
    ------
    InvalidInputError
        If delta is not a positive finite number.

    Examples
    --------
    >>> loss = HuberLoss(delta=1.0)
    >>> float(loss.value(0.0, 0.5)), float(loss.value(0.0, 3.0))
    (0.25, 5.0)
    """

    delta: float = 1.0

    kernel_code: ClassVar[int] = formulas.HUBER

    def __post_init__(self) -> None:
        check_real(self.delta, "delta", above=0.0)

    @property
    def kernel_parameter(self) -> float:
        """Delta."""
        return float(self.delta)

    def value(self, target: Any, prediction: Any) -> Any:
        """Return d^2 or delta (2d - delta)."""
        distance = np.abs(target - prediction)
        near = np.minimum(distance, self.delta)
        return near * (2.0 * distance - near)

    def derivative(self, target: Any, prediction: Any) -> Any:
        """Return 2 (prediction - target), clipped to +-2 delta."""
        difference = prediction - target
        return 2.0 * np.maximum(-self.delta, np.minimum(self.delta, difference))


@dataclass(frozen=True)
class LogisticLoss(Loss):
    """l(r, x) = log(1 + exp(-r x)) for targets r in {-1, +1}.

    With ``data="ones"`` and ``data="weights"`` every target is +1. Targets of 0 are invalid: map
    {0, 1} to {-1, +1} first.

    Examples
    --------
    >>> float(LogisticLoss().value(1.0, 0.0).round(4))
    0.6931
    """

    kernel_code: ClassVar[int] = formulas.LOGISTIC

    def value(self, target: Any, prediction: Any) -> Any:
        """Return log(1 + exp(-target prediction)), without overflow."""
        return np.logaddexp(0.0, -target * prediction)

    def derivative(self, target: Any, prediction: Any) -> Any:
        """Return -target / (1 + exp(target prediction))."""
        margin = target * prediction
        exp_margin = np.exp(-np.abs(margin))
        return -target * np.where(margin < 0.0, 1.0, exp_margin) / (1.0 + exp_margin)

    def valid_targets(self, targets: Any) -> Any:
        """Return a bool array that is True for targets of -1 and +1."""
        return np.abs(targets) == 1.0

    @property
    def targets_text(self) -> str:
        """Description of the valid targets."""
        return "-1 or +1"
