"""The objective function, which all solvers minimise and all comparisons evaluate."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold._common.checks import check_choice
from twofold.objective.biases import N_BIAS_COLUMNS, BiasColumns, FactorParts
from twofold.objective.point import ObjectiveValue
from twofold.objective.problem import Problem
from twofold.objective.regularizers import L2
from twofold.objective.terms import Terms

__all__ = ["PUBLISHED", "Objective"]

PUBLISHED = {
    "ml-20m": (0.1, 0.003),
    "msd": (0.02, 0.002),
    "ml-1m": (0.3, 0.007),
    "pinterest": (0.007, 0.02),
}
"""Data sets of Rendle et al. 2021 with the weights a0 and lam of their objectives."""


@dataclass(frozen=True)
class Objective(Terms):
    """The objective function of two factors that the solvers minimise.

    .. code-block:: text

        F(P, Q) =  sum over stored (u,i)  w_ui l(r_ui, p_u . q_i)
                 + a0  sum over U         (p_u . q_i)^2
                 + lam [ sum_u s_u phi(p_u)  +  sum_i s_i phi(q_i) ]

    P has shape (n_rows, n_factors) and Q (n_cols, n_factors). There is no factor 1/2 and no
    averaging. phi(p) is |p|^2 for `L2`, or |p - c_u|^2 if it has centers, and
    s_u = (n_u + a0 n_cols)^exponent, where n_u is the sum of the weights of row u;
    s_i = (n_i + a0 n_rows)^exponent.

    Parameters
    ----------
    loss : Loss, default SquaredLoss()
        l(r, x).
    regularizer : Regularizer, default L2(0.005, exponent=0.0)
        lam, phi and the exponent.
    data : {"ones", "targets", "weights", "signed"}, default "ones"
        Interpretation of the stored values: ignored (r = 1, w = 1), targets (r = value, w = 1),
        weights (r = 1, w = value >= 0, such as a confidence or a count), or signed confidences
        (r = 1, w = value if value >= 0, and r = 0, w = |value| otherwise, such as a dislike). With
        "ones" and "targets", separate weights can be given. An entry of weight 0 is not stored, an
        entry with target 0 is stored, and an entry that is stored twice counts twice.
    unobserved_weight : float, default 0.0
        a0 >= 0, the weight of the squared predictions of the cells in U.
    unobserved : {"all", "missing"}, default "all"
        U: all cells (Rendle et al. 2021, arXiv 2110.14037), or all cells that are not stored (Hu,
        Koren & Volinsky 2008). The sum over all cells is computed as <P'P, Q'Q>.
    nonnegative : bool, default False
        Minimise over factors >= 0 only; not with centers of `L2`.
    biases : bool, default False
        Add a bias for each row and column to the predictions; see Notes.
    mean : float or None, default None
        mu, to which the biases of columns are drawn. None computes it from the training data.

    Raises
    ------
    InvalidInputError
        If a parameter is invalid.

    Notes
    -----
    With ``biases=True`` predictions are p_u . q_i + b_u + b_i instead of p_u . q_i, in every term
    and for every cell in U, and the penalty is

    .. code-block:: text

        lam [ sum_u s_u (phi(p_u) + phi(b_u))  +  sum_i s_i (phi(q_i) + phi(b_i - mu)) ]

    with the constant prediction mu that minimises the first two terms of F for the squared loss,
    mu = sum w r / (sum w + a0 |U|). Without biases a product of factors has to explain the mean of
    ratings too (Koren, Bell & Volinsky 2009, "Matrix Factorization Techniques for Recommender
    Systems", eq. 4 and 5). The factors have two columns more, P^ = [p, b_u, 1] and
    Q^ = [q, 1, b_i], so that P^ . Q^ is the prediction; `parts` takes them apart. The constraint
    ``nonnegative`` does not go with biases.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> R = sparse.csr_array(np.array([[1.0, 0.0], [1.0, 1.0]]))
    >>> from twofold import L2
    >>> P, Q = np.ones((2, 1)), np.full((2, 1), 0.5)
    >>> Objective(regularizer=L2(0.1)).value(R, P, Q)
    ObjectiveValue(loss=0.75, unobserved=0.0, penalty=0.25)
    """

    @classmethod
    def notebook(cls, weight: float = 0.005, exponent: float = 0.0) -> Self:
        """Return the objective of the research notebook: squared loss of the stored pairs only.

        It is also what ``Objective()`` is. Since nothing tells it that missing pairs are less
        likely, it does not recommend; see `Balanced`.

        Parameters
        ----------
        weight : float, default 0.005
            lam >= 0.
        exponent : float, default 0.0
            0 as in the notebook's ``error_function_l2``, or 1 as in its gradient descent.

        Returns
        -------
        Objective

        Examples
        --------
        >>> Objective.notebook().regularizer
        L2(weight=0.005, exponent=0.0)
        """
        return cls(regularizer=L2(weight, exponent))

    @classmethod
    def rendle2021(cls, data_set: str) -> Self:
        """Return the objective that was published for a benchmark data set.

        Parameters
        ----------
        data_set : {"ml-20m", "msd", "ml-1m", "pinterest"}
            MovieLens 20M, Million Song Dataset, MovieLens 1M or Pinterest.

        Returns
        -------
        Objective
            With exponent 1.

        Raises
        ------
        InvalidInputError
            If there is no such data set.

        References
        ----------
        Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS on Item
        Recommendation Benchmarks", 2021, arXiv 2110.14037, and the code published with it.

        Examples
        --------
        >>> Objective.rendle2021("ml-20m").unobserved_weight
        0.1
        """
        check_choice(data_set, "data_set", tuple(PUBLISHED))
        a0, weight = PUBLISHED[data_set]
        return cls(regularizer=L2(weight, exponent=1.0), unobserved_weight=a0)

    def for_data(self, matrix: Any, weights: Any = None) -> Self:
        """Return this objective, with the mean of the data if it has biases and no mean.

        Parameters
        ----------
        matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
            The training pairs.
        weights : scipy sparse matrix, or array_like of shape (n_entries,), optional
            A weight >= 0 for each stored entry, as for `Solver.solve`.

        Returns
        -------
        Objective

        Examples
        --------
        >>> from scipy import sparse
        >>> objective = Objective(unobserved_weight=0.1)
        >>> objective.for_data(sparse.csr_array([[1, 0], [0, 1]])) is objective
        True
        """
        if not self.biases or self.mean is not None:
            return self
        return replace(self, mean=Problem.of(self, matrix, weights).mean)

    def parts(self, row_factors: ArrayLike, col_factors: ArrayLike) -> FactorParts:
        """Return the parts of factors of this objective.

        Parameters
        ----------
        row_factors, col_factors : array_like, shape (n_rows, k) and (n_cols, k)
            Factors of a `Solution` or a `FactorModel`.

        Returns
        -------
        FactorParts
            ``row_factors, row_biases, col_factors, col_biases``; without biases these are 0.

        Examples
        --------
        >>> from scipy import sparse
        >>> from twofold.solvers import ALS
        >>> objective = Objective(data="targets", biases=True)
        >>> R = sparse.csr_array([[5.0, 4.0], [4.0, 3.0]])
        >>> solution = ALS(n_factors=1, rng=0).solve(objective, R)
        >>> parts = objective.parts(solution.row_factors, solution.col_factors)
        >>> parts.row_biases.shape, parts.col_factors.shape
        ((2,), (2, 1))
        """
        P, Q = np.asarray(row_factors), np.asarray(col_factors)
        if not self.biases:
            return FactorParts(P, np.zeros(len(P), P.dtype), Q, np.zeros(len(Q), Q.dtype))
        rows, cols = (BiasColumns.of("row", P.shape[1]), BiasColumns.of("col", Q.shape[1]))
        rows.check(P, "row_factors")
        cols.check(Q, "col_factors")
        return FactorParts(
            P[:, :-N_BIAS_COLUMNS], P[:, rows.bias], Q[:, :-N_BIAS_COLUMNS], Q[:, cols.bias]
        )

    def value(
        self,
        matrix: Any,
        row_factors: ArrayLike,
        col_factors: ArrayLike,
        *,
        weights: Any = None,
        n_threads: int | None = None,
    ) -> ObjectiveValue:
        """Evaluate F in float64, for any dtype of the factors.

        Parameters
        ----------
        matrix : scipy sparse matrix or array, shape (n_rows, n_cols)
            The stored entries.
        row_factors : array_like, shape (n_rows, n_factors)
            P.
        col_factors : array_like, shape (n_cols, n_factors)
            Q.
        weights : scipy sparse matrix, or array_like of shape (n_entries,), optional
            A weight >= 0 for each stored entry, as for `Solver.solve`.
        n_threads : int, optional
            Default: all. The result is bitwise independent of it.

        Returns
        -------
        ObjectiveValue
            loss, unobserved, penalty and total.

        Raises
        ------
        InvalidInputError
            If shapes do not match or a number is not finite.
        """
        problem = Problem.of(self, matrix, weights)
        P, Q = _float_factors(problem, row_factors, col_factors)
        return problem.value(P, Q, n_threads=n_threads)

    def gradient(
        self,
        matrix: Any,
        row_factors: ArrayLike,
        col_factors: ArrayLike,
        *,
        weights: Any = None,
        n_threads: int | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Evaluate the gradient of F in float64, or a subgradient where phi has a kink.

        Parameters
        ----------
        matrix, row_factors, col_factors, weights, n_threads
            As for `value`.

        Returns
        -------
        tuple of ndarray of float64
            dF/dP, shape (n_rows, n_factors), and dF/dQ, shape (n_cols, n_factors). A custom
            regulariser without a derivative is not included.

        Raises
        ------
        InvalidInputError
            If shapes do not match or a number is not finite.

        Examples
        --------
        >>> from scipy import sparse
        >>> R = sparse.csr_array([[1, 1, 0], [0, 1, 1]])
        >>> dP, dQ = Objective().gradient(R, np.ones((2, 1)), np.full((3, 1), 0.5))
        >>> dP.round(2).tolist()
        [[-0.99], [-0.99]]
        """
        problem = Problem.of(self, matrix, weights)
        P, Q = _float_factors(problem, row_factors, col_factors)
        return problem.gradient(P.astype(np.float64), Q.astype(np.float64), n_threads=n_threads)


def _float_factors(
    problem: Problem, row_factors: ArrayLike, col_factors: ArrayLike
) -> tuple[NDArray[Any], NDArray[Any]]:
    P, Q = np.asarray(row_factors), np.asarray(col_factors)
    problem.check_factors(P, Q)
    dtype = np.float32 if P.dtype == Q.dtype == np.float32 else np.float64
    return P.astype(dtype, copy=False), Q.astype(dtype, copy=False)
