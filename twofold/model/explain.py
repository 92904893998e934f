"""The prediction of a pair as a sum over the pairs of its row."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from twofold.data.entries import aligned_entries
from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError, UnsupportedObjectiveError
from twofold.model.fitted import Fitted
from twofold.model.rows import problem_of
from twofold.objective import Side
from twofold.solvers import ALS
from twofold.solvers.folding import penalty_of_new

__all__ = ["explained"]

_NO_WEIGHT = 2.0**-600


def explained(
    fitted: Fitted, row: Any, col_id: Any, n: int, center: ArrayLike | None
) -> list[tuple[Any, float]]:
    """Return the n largest terms of a prediction; see `FactorModel.explain`."""
    objective, pairings = fitted.objective, fitted.pairings
    missing = ALS.supports.missing(objective)
    if missing or objective.nonnegative:
        missing = missing or "nonnegative=True"
        raise UnsupportedObjectiveError(
            f"{missing} has no such sum: explain needs squared loss and L2"
        )
    col = int(pairings.col_index([col_id])[0])
    if not isinstance(row, Pairings):
        at, centers = pairings.row_index([row]), objective.regularizer.centers[0]
        row, center = pairings.take_rows(at), None if centers is None else centers.values[at]
    elif row.shape[0] != 1:
        raise InvalidInputError(
            f"row has {row.shape[0]} rows: give Pairings with the pairs of one row"
        )
    problem = problem_of(objective, aligned_entries(row, pairings))
    penalty = penalty_of_new(problem, fitted.system.n_factors, center)
    system, side = fitted.system.in_double.reduced(problem.rows, penalty.center)
    report = system.solve(_with_linear_term(side, col), way="direct")
    report.check(side)
    entries = side.entries
    shape = entries.indices.shape
    w, r = (np.broadcast_to(a if a.size else 1.0, shape) for a in entries[3:1:-1])
    terms = w * r * (system.col_factors[entries.indices] @ report.row_factors[0])
    order = np.argsort(-terms, kind="stable")[:n]
    ids = pairings.col_ids[entries.indices[order]]
    return list(zip(ids.tolist(), terms[order].tolist(), strict=True))


def _with_linear_term(side: Side, col: int) -> Side:
    """Return a row whose only linear term is q_col: its solution is A^-1 q_col.

    The term is that of one more entry, whose weight is too small to change the matrix A.
    """
    own = side.entries
    n = own.indices.size
    weights = own.weights if own.weights.size else np.ones(n)
    entries = own._replace(
        indptr=np.array([0, n + 1]),
        indices=np.append(own.indices, np.int32(col)),
        targets=np.append(np.zeros(n), 1.0 / _NO_WEIGHT),
        weights=np.append(weights, _NO_WEIGHT),
        excluded=np.append(np.broadcast_to(side.excluded, n), 0.0),
    )
    return replace(side, counts=side.counts + 1, entries=entries)
