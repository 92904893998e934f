"""Losses l(r, x) of a stored target r and a prediction x = p . q.

A loss of your own is a frozen dataclass with two formulas; every solver but ALS accepts it. The
formulas are compiled by numba, so they use the numbers in `self`, `math` and `numpy`::

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
    """A differentiable loss of one stored entry; subclasses are frozen dataclasses.

    `value` and `derivative` must accept both floats and arrays.
    """

    kernel_code: ClassVar[int] = formulas.EXTERNAL

    @abstractmethod
    def value(self, target: Any, prediction: Any) -> Any:
        """Return l(target, prediction), elementwise."""

    @abstractmethod
    def derivative(self, target: Any, prediction: Any) -> Any:
        """Return dl/dprediction, elementwise."""

    @property
    def kernel_parameter(self) -> float:
        """The one number that a built-in loss hands to its kernel."""
        return 0.0

    def valid_targets(self, targets: Any) -> Any:
        """Return a bool array that tells which targets this loss can be used with.

        Parameters
        ----------
        targets : ndarray of float64, shape (n,)
            Finite numbers.
        """
        return np.ones(targets.shape, dtype=bool)

    @property
    def targets_text(self) -> str:
        """What `valid_targets` accepts, in words, for error messages."""
        return "any finite number"


@dataclass(frozen=True)
class SquaredLoss(Loss):
    """l(r, x) = (r - x)^2: no factor 1/2. The default, and the only loss of ALS."""

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
    """l(r, x) = d^2 for d = |r - x| <= delta, and delta (2d - delta) beyond.

    The squared loss near the target and a straight line far from it, so that outliers pull less
    (Huber, Robust Estimation of a Location Parameter, 1964; twice the formula there, as there is
    no factor 1/2 here).

    Parameters
    ----------
    delta : float, default 1.0
        Where the line begins, > 0, in the unit of the targets.

    Raises
    ------
    InvalidInputError
        If delta is not a positive finite number.
    """

    delta: float = 1.0

    kernel_code: ClassVar[int] = formulas.HUBER

    def __post_init__(self) -> None:
        check_real(self.delta, "delta", above=0.0)

    @property
    def kernel_parameter(self) -> float:
        """The delta."""
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

    With ``data="ones"`` and ``data="weights"`` every target is +1. Zeros are not accepted as
    targets: map {0, 1} to {-1, +1} first.
    """

    kernel_code: ClassVar[int] = formulas.LOGISTIC

    def value(self, target: Any, prediction: Any) -> Any:
        """Return log(1 + exp(-target prediction)), without overflow."""
        return np.logaddexp(0.0, -target * prediction)

    def derivative(self, target: Any, prediction: Any) -> Any:
        """Return -target / (1 + exp(target prediction))."""
        margin = target * prediction
        shrunk = np.exp(-np.abs(margin))
        return -target * np.where(margin < 0.0, 1.0, shrunk) / (1.0 + shrunk)

    def valid_targets(self, targets: Any) -> Any:
        """Tell which targets are -1 or +1."""
        return np.abs(targets) == 1.0

    @property
    def targets_text(self) -> str:
        """In words: -1 or +1."""
        return "-1 or +1"
