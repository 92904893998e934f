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
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from twofold._common.checks import check_real
from twofold._kernels import formulas
from twofold.objective.centers import Centers

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

    Examples
    --------
    >>> from twofold.testing import check_regularizer
    >>> @dataclass(frozen=True)
    ... class SmoothedL1(Regularizer):
    ...     width: float = 0.1
    ...     def value(self, x):
    ...         return np.sqrt(x * x + self.width**2) - self.width
    ...     def derivative(self, x):
    ...         return x / np.sqrt(x * x + self.width**2)
    ...
    >>> check_regularizer(SmoothedL1())
    >>> SmoothedL1(exponent=0.5).scale([4.0, 9.0], all_cells_weight=0.0).tolist()
    [2.0, 3.0]
    """

    weight: float = 0.005
    exponent: float = 0.0

    kernel_code: ClassVar[int] = formulas.EXTERNAL
    smooth: ClassVar[bool] = True
    """If True, solvers use `derivative`, otherwise `proximal`."""

    @property
    def centers(self) -> tuple[Centers | None, Centers | None]:
        """The centers of rows and of columns; None for zero."""
        return None, None

    def __post_init__(self) -> None:
        check_real(self.weight, "the regularizer's weight", minimum=0.0)
        check_real(self.exponent, "the regularizer's exponent", minimum=0.0)

    @abstractmethod
    def value(self, x: Any) -> Any:
        """Return phi(x), elementwise.

        Parameters
        ----------
        x : float or ndarray
            Factors minus their centers.

        Returns
        -------
        float or ndarray
            phi of each of them.
        """

    def derivative(self, x: Any) -> Any:
        """Return phi'(x), elementwise. Required if `smooth`.

        Parameters
        ----------
        x : float or ndarray
            Factors minus their centers.

        Returns
        -------
        float or ndarray
            The slope of phi at each of them.

        Raises
        ------
        TypeError
            If the subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} is smooth: define derivative(x)")

    def proximal(self, x: Any, step: Any) -> Any:
        """Return argmin_z step phi(z) + (z - x)^2 / 2, elementwise. Required if not `smooth`.

        Parameters
        ----------
        x : float or ndarray
            Factors before the step.
        step : float or ndarray
            The learning rate times the weight of phi, >= 0.

        Returns
        -------
        float or ndarray
            The factors after the step.

        Raises
        ------
        TypeError
            If the subclass does not define it.
        """
        raise TypeError(f"{type(self).__name__} is not smooth: define proximal(x, step)")

    def scale(self, summed_weights: Any, all_cells_weight: float) -> Any:
        """Return s_u = (n_u + all_cells_weight)^exponent, with 0^0 = 1.

        Parameters
        ----------
        summed_weights : ndarray, shape (n,)
            n_u, the sum of the weights of each row.
        all_cells_weight : float
            a0 times the number of columns.

        Returns
        -------
        ndarray of float64, shape (n,)
        """
        return (np.asarray(summed_weights, dtype=np.float64) + all_cells_weight) ** self.exponent


@dataclass(frozen=True)
class L2(Regularizer):
    """phi(x) = x^2, the squared Euclidean norm of each row, without a factor 1/2.

    With centers c_u and d_i, the means of a Gaussian prior of the factors, the penalty is

    .. code-block:: text

        lam [ sum_u s_u |p_u - c_u|^2  +  sum_i s_i |q_i - d_i|^2 ]

    so that rows are drawn to their centers instead of 0 (Agarwal & Chen 2009, "Regression-based
    Latent Factor Models", KDD, where c_u and d_i are linear in features of users and items). A row
    without entries equals its center if a0 = 0; for a0 > 0 it is lam s_u (a0 Q'Q + lam s_u I)^-1
    c_u. Initial factors are drawn around the centers. The constraint ``nonnegative`` does not go
    with centers.

    Parameters
    ----------
    weight : float, default 0.005
        lam >= 0.
    exponent : float, default 0.0
        Power of the row's summed weight, >= 0. 1 is the count-weighted penalty of ALS-WR (Zhou et
        al. 2008) and, with a0 = 0, of the notebook's gradient descent.
    row_center : array_like, shape (n_rows, n_factors), optional
        c_u; default zeros. It is copied, and ``row_center.values`` is the copy. With biases, these
        keep their centers 0 and mu.
    col_center : array_like, shape (n_cols, n_factors), optional
        d_i; default zeros.

    Examples
    --------
    >>> L2(0.1).value(3.0), L2(0.1).derivative(3.0)
    (9.0, 6.0)

    A column without pairs is recommended by its features, from which its factors are predicted:

    >>> import numpy as np
    >>> from scipy import sparse
    >>> from twofold import Objective
    >>> from twofold.solvers import ALS
    >>> R = sparse.csr_array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 0]])
    >>> genres = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])  # of the columns
    >>> plain = Objective(regularizer=L2(0.1), unobserved_weight=0.1)
    >>> Q = ALS(n_factors=2, rng=0).solve(plain, R).col_factors
    >>> B = np.linalg.lstsq(genres[:4], Q[:4], rcond=None)[0]
    >>> centered = Objective(regularizer=L2(0.1, col_center=genres @ B), unobserved_weight=0.1)
    >>> solver = ALS(n_factors=2, init_scale=0.01, rng=0)  # starts near the centers
    >>> solution = solver.solve(centered, R)
    >>> np.abs(solution.row_factors @ solution.col_factors[4]).round(1)
    array([0. , 0. , 0.3, 0.3], dtype=float32)
    """

    row_center: Any = None
    col_center: Any = None

    kernel_code: ClassVar[int] = formulas.SQUARE

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("row_center", "col_center"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Centers.of(getattr(self, name), name))

    @property
    def centers(self) -> tuple[Centers | None, Centers | None]:
        """The centers of rows and of columns; None for zero."""
        return self.row_center, self.col_center

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shown = [f"{name}={value!r}" for name, value in values.items() if value is not None]
        return f"{type(self).__qualname__}({', '.join(shown)})"

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
