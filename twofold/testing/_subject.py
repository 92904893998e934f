"""Small problems for checking solvers, and the solver class under test."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold.objective import L1, L2, HuberLoss, LogisticLoss, Objective
from twofold.solvers import Solution, Solver
from twofold.testing._formula_checks import require

__all__ = [
    "EPOCHS",
    "OBJECTIVES",
    "RANK",
    "SEED",
    "SHAPE",
    "Factors",
    "Subject",
    "equal",
    "random_init",
    "random_matrix",
]

Factors = tuple[NDArray[Any], NDArray[Any]]

SHAPE, RANK, EPOCHS, SEED = (20, 15), 3, 6, 7


# Exact in float32, so that the gradient of a row without entries is zero at its center.
_ROW_CENTER, _COL_CENTER = (
    np.random.default_rng(n).choice([-0.5, 0.0, 0.5], size=(n, RANK)) for n in SHAPE
)


OBJECTIVES = (
    Objective(regularizer=L2(0.1)),
    Objective(regularizer=L2(0.05, exponent=1.0), data="targets"),
    Objective(regularizer=L2(0.05, exponent=0.5), data="weights"),
    Objective(regularizer=L2(0.1), unobserved_weight=0.1),
    Objective(
        regularizer=L2(0.1), data="weights", unobserved_weight=0.05, unobserved="missing"
    ),
    Objective(HuberLoss(0.7), L2(0.1), data="targets"),
    Objective(LogisticLoss(), L2(0.1), data="targets"),
    Objective(regularizer=L1(0.1)),
    Objective(regularizer=L2(0.1), data="targets", biases=True),
    Objective(
        regularizer=L2(0.1, exponent=0.5), data="weights", unobserved_weight=0.05,
        unobserved="missing", biases=True,
    ),
    Objective(
        regularizer=L2(0.5, row_center=_ROW_CENTER, col_center=_COL_CENTER), data="targets"
    ),
    Objective(
        regularizer=L2(0.2, exponent=0.5, col_center=_COL_CENTER), data="targets",
        unobserved_weight=0.05, biases=True,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """The solver class under test, with its parameters."""

    solver_class: type[Solver]
    parameters: dict[str, Any]
    epochs: int
    stationary: bool

    @property
    def name(self) -> str:
        return self.solver_class.__name__

    @property
    def objectives(self) -> list[Objective]:
        """Those of `OBJECTIVES` that the solver supports."""
        supports = self.solver_class.supports
        return [objective for objective in OBJECTIVES if not supports.missing(objective)]

    def make(self, **changes: Any) -> Solver:
        defaults = {"n_factors": RANK, "max_epochs": EPOCHS, "rng": SEED}
        return self.solver_class(**{**defaults, **self.parameters, **changes})

    def solve(
        self, objective: Objective, matrix: Any = None, init: Any = None, **changes: Any
    ) -> Solution:
        if matrix is None:
            matrix = random_matrix(objective)
        return self.make(**changes).solve(objective, matrix, init)

    def require(self, condition: object, message: str) -> None:
        require(condition, f"{self.name}: {message}")

    @contextmanager
    def raises(self, expected: type[Exception], action: str) -> Iterator[None]:
        try:
            yield
        except expected:
            return
        except Exception as error:
            raise AssertionError(
                f"{self.name}: {action} must raise {expected.__name__}, not "
                f"{type(error).__name__}: {error}"
            ) from error
        raise AssertionError(
            f"{self.name}: {action} is accepted: it must raise {expected.__name__}"
        )


def random_matrix(objective: Objective) -> sparse.csr_array:
    """Return about 100 entries in 20 x 15 cells, at least one in each row and column."""
    n_rows, n_cols = SHAPE
    rng = np.random.default_rng(1)
    stored = rng.random(SHAPE) < 0.3
    stored[np.arange(n_rows), np.arange(n_rows) % n_cols] = True
    values = rng.choice([-1.0, 1.0], size=SHAPE)  # valid targets of every loss
    if objective.data == "weights":
        values = rng.uniform(0.5, 3.0, size=SHAPE)
    return sparse.csr_array(np.where(stored, values, 0.0))


def random_init(objective: Objective) -> Factors:
    rng = np.random.default_rng(2)
    P, Q = (rng.normal(scale=0.6, size=(n, RANK)) for n in SHAPE)
    if objective.biases:
        b_u, b_i = (rng.normal(scale=0.6, size=(n, 1)) for n in SHAPE)
        P, Q = np.hstack([P, b_u, np.ones_like(b_u)]), np.hstack([Q, np.ones_like(b_i), b_i])
    return P, Q


def equal(one: Solution, other: Solution) -> bool:
    return np.array_equal(one.row_factors, other.row_factors) and np.array_equal(
        one.col_factors, other.col_factors
    )
