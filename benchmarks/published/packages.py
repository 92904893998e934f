"""The packages of a published table: each fits the factors of one objective in its own way."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from twofold import L2, Objective
from twofold.solvers import ALS

__all__ = ["PACKAGES", "Package", "Setting"]

_THREADS = 2  # of every package


@dataclass(frozen=True)
class Setting:
    """The hyper-parameters of a trial.

    Parameters
    ----------
    unobserved_weight : float
        a0, of every cell.
    weight, exponent : float
        Of `L2`.
    """

    unobserved_weight: float
    weight: float
    exponent: float

    def objective(self, unobserved: Literal["all", "missing"] = "all") -> Objective:
        """Return the objective of these."""
        return Objective(
            regularizer=L2(self.weight, self.exponent),
            unobserved_weight=self.unobserved_weight,
            unobserved=unobserved,
        )


@dataclass(frozen=True)
class Package:
    """A package that can minimise the squared loss with a weight for all cells.

    Parameters
    ----------
    exponents : tuple of float
        Exponents of the regulariser that it supports.
    fit : callable
        ``fit(setting, matrix, n_factors, n_epochs, seed)`` returns the factors P and Q.
    module : str
        What must be installed.
    unobserved : {"all", "missing"}
        Cells that its objective has besides the stored ones.
    """

    exponents: tuple[float, ...]
    fit: Callable[[Setting, Any, int, int, int], tuple[Any, Any]]
    module: str
    unobserved: Literal["all", "missing"] = "all"

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.module) is not None


def _twofold(
    setting: Setting, matrix: Any, n_factors: int, n_epochs: int, seed: int
) -> tuple[Any, Any]:
    solver = ALS(
        n_factors=n_factors, max_epochs=n_epochs, rng=seed, evaluate_every=n_epochs,
        n_threads=_THREADS,
    )  # fmt: skip
    solution = solver.solve(setting.objective(), matrix)
    return solution.row_factors, solution.col_factors


def _irspack(
    setting: Setting, matrix: Any, n_factors: int, n_epochs: int, seed: int
) -> tuple[Any, Any]:
    from irspack import IALSRecommender

    model = IALSRecommender(
        matrix.astype(np.float32), n_components=n_factors, alpha0=setting.unobserved_weight,
        reg=setting.weight, nu=setting.exponent, loss_type="IALSPP", train_epochs=n_epochs,
        random_seed=seed, n_threads=_THREADS,
    ).learn()  # fmt: skip
    return model.get_user_embedding(), model.get_item_embedding()


def _implicit(
    setting: Setting, matrix: Any, n_factors: int, n_epochs: int, seed: int
) -> tuple[Any, Any]:
    from implicit.als import AlternatingLeastSquares

    # Its weights are 1 for missing cells and alpha times the value for stored ones: the objective
    # divided by a0.
    scale = 1.0 / setting.unobserved_weight
    model = AlternatingLeastSquares(
        factors=n_factors, regularization=scale * setting.weight, alpha=1.0, iterations=n_epochs,
        random_state=seed, num_threads=_THREADS, use_gpu=False,
    )  # fmt: skip
    model.fit((scale * matrix).astype(np.float32), show_progress=False)
    return model.user_factors, model.item_factors


PACKAGES = {
    "twofold": Package((0.5, 0.7, 1.0), _twofold, "twofold"),
    "irspack": Package((0.5, 0.7, 1.0), _irspack, "irspack"),
    "implicit": Package((0.0,), _implicit, "implicit", "missing"),
}
