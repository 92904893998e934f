"""Separable regularisers lam s_u sum_f phi(p_uf).

The same regulariser applies to rows and columns. The scale of a row with summed weight n_u is
s_u = (n_u + a0 n_cols)^exponent, and likewise for columns. A custom regulariser is a frozen
dataclass that defines phi, and its derivative or its proximal step::

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
    """Base class of separable regularisers; subclasses are frozen dataclasses.

    Parameters
    ----------
    weight : float, default 0.005
        lam >= 0. The unit is that of the loss over a squared factor.
    exponent : float, default 0.0
        Exponent of the growth of a row's penalty with its summed weight, >= 0. 0 is the plain
        penalty, 1 with a0 = 0 applies it once for each stored pair, and values between are the nu
        of Rendle et al. 2021 (arXiv 2110.14037, section 3).

    Raises
    ------
    InvalidInputError
        If a parameter is negative or not finite.
    """

    weight: float = 0.005
    exponent: float = 0.0

    kernel_code: ClassVar[int] = formulas.EXTERNAL
    smooth: ClassVar[bool] = True
    """If True, solvers use `derivative`, otherwise `proximal`."""

    def __post_init__(self) -> None:
        check_real(self.weight, "the regularizer's weight", minimum=0.0)
        check_real(self.exponent, "the regularizer's exponent", minimum=0.0)

    @abstractmethod
    def value(self, x: Any) -> Any:
        """Return phi(x), elementwise."""

    def derivative(self, x: Any) -> Any:
        """Return phi'(x), elementwise. Required if `smooth`."""
        raise TypeError(f"{type(self).__name__} is smooth: define derivative(x)")

    def proximal(self, x: Any, step: Any) -> Any:
        """Return argmin_z step phi(z) + (z - x)^2 / 2, elementwise. Required if not `smooth`."""
        raise TypeError(f"{type(self).__name__} is not smooth: define proximal(x, step)")

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
    """phi(x) = x^2, the squared Euclidean norm of each row, without a factor 1/2.

    Parameters
    ----------
    weight : float, default 0.005
        lam >= 0.
    exponent : float, default 0.0
        Power of the row's summed weight, >= 0. 1 is the count-weighted penalty of ALS-WR (Zhou et
        al. 2008) and, with a0 = 0, of the notebook's gradient descent.

    Examples
    --------
    >>> L2(0.1).value(3.0), L2(0.1).derivative(3.0)
    (9.0, 6.0)
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
    """phi(x) = |x|, for sparse factors. GD and SGD apply its proximal step.

    Parameters
    ----------
    weight : float, default 0.005
        lam >= 0.
    exponent : float, default 0.0
        Power of the row's summed weight, >= 0.

    Examples
    --------
    >>> float(L1(0.1).proximal(3.0, 0.5))
    2.5
    """

    kernel_code: ClassVar[int] = formulas.ABSOLUTE
    smooth: ClassVar[bool] = False

    def value(self, x: Any) -> Any:
        """Return |x|."""
        return np.abs(x)

    def derivative(self, x: Any) -> Any:
        """Return the sign of x, which is the subgradient 0 at x = 0."""
        return np.sign(x)

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the soft thresholding of x by ``step``."""
        return x - np.maximum(-step, np.minimum(step, x))
