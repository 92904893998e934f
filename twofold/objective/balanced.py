"""`Balanced`: an objective for recommendations whose weights follow from the sizes of the data."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.checks import check_choice, check_real
from twofold.data.csr import as_csr
from twofold.exceptions import InvalidInputError
from twofold.objective.objective import Objective
from twofold.objective.regularizers import L2

__all__ = ["Balanced"]


@dataclass(frozen=True)
class Balanced:
    """A rule that makes an `Objective` of the number of rows, columns and pairs.

    With W the sum of the weights of all pairs (their number with ``data="ones"``), the objective
    has squared loss and

    .. code-block:: text

        a0  = ratio W / (n_rows n_cols)          the weight of a cell that is not stored
        lam = shrinkage / (1 + ratio)            L2, exponent 1

    All cells together weigh `ratio` times as much as the stored pairs, however sparse the data are;
    a fixed a0 means the opposite on dense and on sparse data. The ridge of a row is the share lam
    of all weight that it takes part in, lam (n_u + a0 n_cols).

    The value of lam has this reason. If all cells had the same weight, the minimum would be the
    singular value decomposition of the scaled matrix S_row^-1/2 R S_col^-1/2 with its singular
    values reduced by lam, those below it to 0 (Mazumder et al. 2010, lemma 1); S holds the sums
    n_u + a0 n_cols, and the largest singular value is 1 / (1 + ratio) where rows and columns have
    equal lengths. So components that are weaker than `shrinkage` times the strongest are left out
    as noise.

    Parameters
    ----------
    ratio : float, default 15.0
        Weight of all cells over the weight of all pairs, > 0.
    shrinkage : float, default 0.1
        Relative strength below which a component vanishes, >= 0.
    data, unobserved, nonnegative
        As for `Objective`.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    References
    ----------
    Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item Recommendation
    Benchmarks", 2021, arXiv 2110.14037: the objective, with the exponent nu = 1.
    Mazumder, Hastie and Tibshirani, "Spectral Regularization Algorithms for Learning Large
    Incomplete Matrices", JMLR 11, 2010.

    Examples
    --------
    >>> from scipy import sparse
    >>> Balanced().for_data(sparse.eye_array(100)).unobserved_weight
    0.15
    """

    ratio: float = 15.0
    shrinkage: float = 0.1
    _: KW_ONLY
    data: Literal["ones", "targets", "weights", "signed"] = "ones"
    unobserved: Literal["all", "missing"] = "all"
    nonnegative: bool = False

    def __post_init__(self) -> None:
        check_real(self.ratio, "ratio", above=0.0)
        check_real(self.shrinkage, "shrinkage", minimum=0.0)
        check_choice(self.data, "data", ("ones", "targets", "weights", "signed"))
        check_choice(self.unobserved, "unobserved", ("all", "missing"))

    def for_data(self, matrix: Any, weights: Any = None) -> Objective:
        """Return the objective for a matrix.

        Parameters
        ----------
        matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
            The training pairs.
        weights : scipy sparse matrix, or array_like of shape (n_entries,), optional
            A weight >= 0 for each stored entry, as for `Solver.solve`.

        Returns
        -------
        Objective

        Raises
        ------
        InvalidInputError
            If no entry has a weight above 0, or the weights do not fit the matrix.
        """
        csr, weights = as_csr(matrix, weights)
        return self.for_sizes(self.total_weight(csr, weights), csr.shape)

    def total_weight(self, matrix: sparse.csr_array, weights: NDArray[Any] | None) -> float:
        """Return W, the sum of the weights of the pairs.

        Parameters
        ----------
        matrix : csr_array
            The training pairs.
        weights : ndarray, shape (n_entries,), optional
            A weight for each stored entry.

        Returns
        -------
        float

        Examples
        --------
        >>> from scipy import sparse
        >>> Balanced(data="weights").total_weight(sparse.csr_array([[1.0, -2.0]]), None)
        3.0
        """
        if weights is not None:
            return float(np.sum(weights))
        if self.data in ("weights", "signed"):
            return float(np.abs(matrix.data[: matrix.nnz]).sum())
        return float(matrix.nnz)

    def for_sizes(self, total_weight: float, shape: tuple[int, int]) -> Objective:
        """Return the objective for data of given sizes.

        Parameters
        ----------
        total_weight : float
            W, the sum of the weights of all pairs.
        shape : tuple of int
            (n_rows, n_cols).

        Returns
        -------
        Objective

        Raises
        ------
        InvalidInputError
            If the sum is not above 0.

        Examples
        --------
        >>> Balanced().for_sizes(100.0, (100, 100)).unobserved_weight
        0.15
        """
        if not 0.0 < total_weight < np.inf:
            raise InvalidInputError(
                f"the weights of the pairs add up to {total_weight:g}: Balanced needs a sum above 0"
            )
        return Objective(
            regularizer=L2(self.shrinkage / (1.0 + self.ratio), exponent=1.0),
            data=self.data,
            unobserved_weight=self.ratio * total_weight / (shape[0] * shape[1]),
            unobserved=self.unobserved,
            nonnegative=self.nonnegative,
        )
