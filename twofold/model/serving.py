"""The members of a model file for serving: the columns with their counts, prepared for requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.model.partitioned import PartitionedPairings
from twofold.model.rows import solves_rows
from twofold.objective import Objective
from twofold.objective.point import padded_factors
from twofold.solvers import Solution
from twofold.solvers.centered_system import CenteredSystem
from twofold.solvers.column_system import ColumnSystem
from twofold.solvers.folding import fold_in

if TYPE_CHECKING:
    from twofold.model.fitted import Fitted

__all__ = [
    "ColumnsOfParts",
    "ServedColumns",
    "arrays_of_system",
    "factors_of_unknown",
    "restore_system",
]

_MEMBERS = ("col_ids", "col_counts", "of_unknown")
_SYSTEM = ("gram", "spectrum", "vectors", "rotated")


class _NoRowsError(InvalidInputError, AttributeError):
    """So that ``hasattr(model, "row_factors")`` is False."""


@dataclass(frozen=True, eq=False)
class ServedColumns(Pairings):
    """Pairings without rows, in place of the training pairs.

    Parameters
    ----------
    col_counts : ndarray of int64, shape (n_cols,)
        Number of training rows that have each column, for ``fallback="popular"``.
    of_unknown : ndarray, shape (2, n_factors)
        The factors of a row and of a column without pairs.
    has_text_rows : bool
        Whether the ids of the training rows were texts.
    """

    col_counts: NDArray[np.int64] = field(kw_only=True, repr=False)
    of_unknown: NDArray[Any] = field(kw_only=True, repr=False)
    has_text_rows: bool = field(kw_only=True, repr=False)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], has_text_rows: bool) -> "ServedColumns":
        """Undo `to_arrays`; an exception of any kind means that the file is damaged."""
        ids, counts, of_unknown = (arrays[name] for name in _MEMBERS)
        shapes = (ids.shape, (2, arrays["col_factors"].shape[1]))
        if (counts.shape, of_unknown.shape) != shapes or counts.dtype != np.int64:
            raise ValueError("its arrays do not fit together")
        matrix = sparse.csr_array((0, ids.size), dtype=np.float32)
        no_ids = np.empty(0, np.int64)
        return cls(
            matrix, no_ids, ids,
            col_counts=counts, of_unknown=of_unknown, has_text_rows=has_text_rows,
        )  # fmt: skip

    @staticmethod
    def to_arrays(
        col_ids: NDArray[Any], col_counts: NDArray[np.int64], of_unknown: Any
    ) -> dict[str, NDArray[Any]]:
        """Return the arrays of a file by their names."""
        return dict(zip(_MEMBERS, (col_ids, col_counts, np.asarray(of_unknown)), strict=True))

    def row_index(self, ids: ArrayLike) -> NDArray[np.int64]:
        """Raise InvalidInputError, because there are no rows."""
        raise self.no_rows("rows")

    @staticmethod
    def no_rows(what: str) -> InvalidInputError:
        """Return the error of a model without ``what``."""
        return _NoRowsError(
            f"the model is from a file of save(path, serving=True), which has no trained {what}, "
            "but serves new rows: for this, load a file of save(path)"
        )


class ColumnsOfParts(ServedColumns):
    """The columns of a fit to pairings that are not in this process."""

    @classmethod
    def of(
        cls, pairings: PartitionedPairings, objective: Objective, solution: Solution
    ) -> "ColumnsOfParts":
        """Return the columns that a solver has read."""
        ids = pairings.col_ids
        of_unknown = factors_of_unknown(objective, solution.row_factors, solution.col_factors)
        return cls(
            sparse.csr_array((0, ids.size), dtype=np.float32),
            np.empty(0, np.int64),
            ids,
            col_counts=pairings.col_counts,
            of_unknown=np.stack(of_unknown),
            has_text_rows=pairings.row_ids.dtype == object,
        )

    @staticmethod
    def no_rows(what: str) -> InvalidInputError:
        """Return the error of a model without ``what``."""
        return _NoRowsError(
            f"the model was fitted to pairings in parts and has no trained {what}, but serves new "
            "rows: give a part as Pairings instead of ids, and save(path, serving=True)"
        )


def factors_of_unknown(objective: Objective, P: Any, Q: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the factors of a row and of a column without pairs and centers."""
    if not objective.biases:
        return np.zeros_like(Q, shape=Q.shape[1]), np.zeros_like(P, shape=P.shape[1])
    objective = objective.with_centers(None, None)
    row = fold_in(objective, sparse.csr_array((1, len(Q))), Q)
    col = fold_in(objective, sparse.csr_array((1, len(P))), P, axis="col")
    return row[0], col[0]


def arrays_of_system(fitted: "Fitted") -> dict[str, NDArray[Any]]:
    """Return the arrays of `Fitted.system` that processes can share; none if requests compute them.

    With biases the system has further copies of the factors, and without an unobserved term it has
    only the factors themselves.
    """
    objective = fitted.objective
    if objective.biases or not objective.unobserved_weight:
        return {}
    if not solves_rows(objective, fitted.solution):
        return {}
    return {f"system.{name}": getattr(fitted.system.system, name) for name in _SYSTEM}


def restore_system(fitted: "Fitted", arrays: Mapping[str, NDArray[Any]]) -> None:
    """Undo `arrays_of_system`, if a file has its arrays; ValueError if it is damaged."""
    if not any(name.startswith("system.") for name in arrays):
        return
    gram, spectrum, vectors, rotated = (arrays[f"system.{name}"] for name in _SYSTEM)
    factors = padded_factors(fitted.solution.col_factors)
    k, width = fitted.solution.col_factors.shape[1], factors.shape[1]
    small = (gram, spectrum, vectors)
    if (
        [one.shape for one in small] != [(k, k), (width,), (width, width)]
        or {one.dtype for one in small} != {np.dtype(np.float64)}
        or (rotated.shape, rotated.dtype) != (factors.shape, factors.dtype)
    ):
        raise ValueError("the arrays of its system do not fit together")
    system = ColumnSystem(
        fitted.objective,
        factors,
        k,
        gram,
        spectrum,
        vectors,
        padded_factors(rotated),
        n_cols=len(factors),
    )
    vars(fitted)["system"] = CenteredSystem(system, factors, gram, np.arange(k))
