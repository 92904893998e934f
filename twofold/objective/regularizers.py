"""Regularisers lam s_u sum_f phi(p_uf), with one phi for every factor.

The same regulariser holds for both sides. Its scale is s_u = (n_u + a0 n_cols)^exponent for a row
with summed weight n_u, and likewise for a column. A regulariser of your own is a frozen dataclass
that gives phi, and its derivative or its proximal step::

    @dataclass(frozen=True)
    class SmoothedL1(Regularizer):
        width: float = 0.1

        def value(self, x):
            return np.sqrt(x * x + self.width**2) - self.width

        def derivative(self, x):
            return x / np.sqrt(x * x + self.width**2)

`twofold.testing.check_regularizer` tests it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from twofold._common.checks import check_real
from twofold._kernels import formulas

__all__ = ["L1", "L2", "Regularizer"]


@dataclass(frozen=True)
class Regularizer(ABC):
    """A separable penalty; subclasses are frozen dataclasses.

    Parameters
    ----------
    weight : float, default 0.005
        lam >= 0. The unit is that of the loss over a squared factor.
    exponent : float, default 0.0
        How the penalty of a row grows with its number of entries, 0 <= exponent: 0 is the plain
        penalty, 1 counts it once for each stored pair (with a0 = 0), numbers between are the nu of
        Rendle et al. 2021 (arXiv 2110.14037, section 3).

    Raises
    ------
    InvalidInputError
        If one of them is negative or not finite.
    """

    weight: float = 0.005
    exponent: float = 0.0

    kernel_code: ClassVar[int] = formulas.EXTERNAL
    smooth: ClassVar[bool] = True
    """True: solvers use `derivative`. False: they use `proximal`."""

    def __post_init__(self) -> None:
        check_real(self.weight, "the regularizer's weight", minimum=0.0)
        check_real(self.exponent, "the regularizer's exponent", minimum=0.0)

    @abstractmethod
    def value(self, x: Any) -> Any:
        """Return phi(x), elementwise."""

    def derivative(self, x: Any) -> Any:
        """Return phi'(x), elementwise. Needed if `smooth`."""
        raise TypeError(f"{type(self).__name__} is smooth, so it needs a derivative(x)")

    def proximal(self, x: Any, step: Any) -> Any:
        """Return argmin_z step phi(z) + (z - x)^2 / 2, elementwise. Needed if not `smooth`."""
        raise TypeError(f"{type(self).__name__} is not smooth, so it needs a proximal(x, step)")

    def scale(self, summed_weights: Any, all_cells_weight: float) -> Any:
        """Return s_u = (n_u + all_cells_weight)^exponent, with 0^0 = 1.

        Parameters
        ----------
        summed_weights : ndarray, shape (n,)
            n_u, the sum of the weights of each row.
        all_cells_weight : float
            a0 times the number of columns.
        """
        return (np.asarray(summed_weights, dtype=np.float64) + all_cells_weight) ** self.exponent


@dataclass(frozen=True)
class L2(Regularizer):
    """phi(x) = x^2, the squared Euclidean norm of each row: no factor 1/2.

    Parameters
    ----------
    weight : float, default 0.005
        lam >= 0.
    exponent : float, default 0.0
        Power of the row's summed weight, >= 0; 1 is the count-weighted penalty of ALS-WR (Zhou et
        al. 2008) and, with a0 = 0, of the notebook's gradient descent.
    """

    kernel_code: ClassVar[int] = formulas.SQUARE

    def value(self, x: Any) -> Any:
        """Return x^2."""
        return x * x

    def derivative(self, x: Any) -> Any:
        """Return 2 x."""
        return 2.0 * x

    def proximal(self, x: Any, step: Any) -> Any:
        """Return x / (1 + 2 step)."""
        return x / (1.0 + 2.0 * step)


@dataclass(frozen=True)
class L1(Regularizer):
    """phi(x) = |x|, which makes factors exactly zero. For GD and SGD, by its proximal step.

    Parameters
    ----------
    weight : float, default 0.005
        lam >= 0.
    exponent : float, default 0.0
        Power of the row's summed weight, >= 0.
    """

    kernel_code: ClassVar[int] = formulas.ABSOLUTE
    smooth: ClassVar[bool] = False

    def value(self, x: Any) -> Any:
        """Return |x|."""
        return np.abs(x)

    def derivative(self, x: Any) -> Any:
        """Return the sign of x: a subgradient, 0 at 0."""
        return np.sign(x)

    def proximal(self, x: Any, step: Any) -> Any:
        """Return x moved towards zero by step (soft thresholding)."""
        return x - np.maximum(-step, np.minimum(step, x))
