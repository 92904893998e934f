"""Predictions of pairs, and the objective of new rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold.data.pairings import Pairings
from twofold.data.vocabulary import Vocabulary
from twofold.exceptions import InvalidInputError
from twofold.model.fitted import Fitted
from twofold.objective import ObjectiveValue

__all__ = ["predicted", "value_of_new"]

_BLOCK = 1 << 14  # pairs that are predicted together


def predicted(
    fitted: Fitted, pairings: Pairings, seen: Pairings | None, center: ArrayLike | None
) -> NDArray[np.float64]:
    """Return the predictions of pairs; see `FactorModel.predict`."""
    Q = fitted.solution.col_factors
    if seen is not None:
        folded = fitted.folded(seen, center)[0]
        P, row_ids = folded.row_factors, folded.row_ids
    else:
        fitted.check_has_rows("rows")
        if center is not None:
            raise InvalidInputError("center= is for rows that are folded in: give seen= too")
        P, row_ids = fitted.row_factors, fitted.pairings.row_ids
    rows = Vocabulary(row_ids, "row").find(pairings.row_ids)
    cols = Vocabulary(fitted.pairings.col_ids, "column").find(pairings.col_ids)
    matrix = pairings.matrix
    rows, cols = np.repeat(rows, np.diff(matrix.indptr)), cols[matrix.indices]
    predictions = np.empty(rows.size)
    for low in range(0, rows.size, _BLOCK):
        block = slice(low, low + _BLOCK)
        factors = []
        for own, at, of_unknown in zip(
            (P, Q), (rows[block], cols[block]), fitted.of_unknown, strict=True
        ):
            chosen = own[at].astype(np.float64)
            chosen[at < 0] = of_unknown
            factors.append(chosen)
        predictions[block] = (factors[0] * factors[1]).sum(axis=1)
    return predictions


def value_of_new(fitted: Fitted, pairings: Pairings, center: ArrayLike | None) -> ObjectiveValue:
    """Return the objective of new rows; see `FactorModel.value`."""
    folded, known = fitted.folded(pairings, center)
    P, Q = folded.row_factors, fitted.solution.col_factors
    weights = known.beside.get("weights")
    objective = fitted.objective
    objective = objective.with_centers(center, objective.regularizer.centers[1])
    return objective.value(known.matrix, P, Q, weights=weights, n_threads=fitted.solver.n_threads)
