"""`UnsolvedRows`: rows without a solution, and their error."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

from twofold._common.arrays import Ids
from twofold.data.csr import EntryError
from twofold.exceptions import InvalidInputError, SingularRowError

__all__ = ["UnsolvedRows", "ids_in_errors", "unsolved_rows"]


@dataclass(frozen=True)
class UnsolvedRows:
    """Rows of one side without a solution.

    Parameters
    ----------
    axis : str
        "row" or "col".
    position : int
        That of the first row.
    count : int, optional
        Number of its entries; None if equal rows were merged.
    n_rows : int
        Number of rows.
    overflows : bool
        Whether the solutions are beyond the range of the dtype; otherwise there are none.
    dtype : str
        That of the solutions.
    is_penalised : bool
        Whether the first row has a penalty.
    has_negative_weights : bool
        Whether a row has weights below a0.
    """

    axis: str
    position: int
    count: int | None
    n_rows: int
    overflows: bool
    dtype: str
    is_penalised: bool
    has_negative_weights: bool

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of parts of a side, in the order of their rows."""
        overflown = [part for part in parts if part.overflows]
        if overflown:
            return overflown[0]
        return replace(
            parts[0],
            n_rows=sum(part.n_rows for part in parts),
            has_negative_weights=any(part.has_negative_weights for part in parts),
        )

    def error(self, row: int | str | None = None) -> InvalidInputError | SingularRowError:
        """Return the error, with this object as ``unsolved``; ``row`` is the id of the first."""
        name = f"{self.axis} {self.position if row is None else row!r}"
        error: Any
        if self.overflows:
            error = InvalidInputError(
                f"the solution of {name} is beyond the range of {self.dtype}: scale the stored "
                'values down or use dtype="float64"'
            )
        else:
            count = "" if self.count is None else f" ({self.count} entries)"
            others = f" (and those of {self.n_rows - 1} others)" if self.n_rows > 1 else ""
            error = SingularRowError(
                f"{name}{count} has no unique solution, because its normal equations{others} are "
                f"singular: {self._advice()}"
            )
        error.unsolved = self
        return error  # type: ignore[no-any-return]

    def _advice(self) -> str:
        if self.has_negative_weights:
            return "decrease unobserved_weight, which is larger than some weights"
        if self.is_penalised:
            return "increase the weight of the L2 regularizer, or use fewer factors"
        return "give the L2 regularizer a weight > 0, or use fewer factors"


def unsolved_rows(error: BaseException) -> UnsolvedRows | None:
    """Return the rows of an error that `UnsolvedRows.error` made."""
    return getattr(error, "unsolved", None)


@contextmanager
def ids_in_errors(row_ids: Ids, col_ids: Ids) -> Iterator[None]:
    """Raise errors of rows and entries with ids instead of positions."""
    try:
        yield
    except EntryError as error:
        raise EntryError(error.parts, row_ids.item(error.row), col_ids.item(error.col)) from None
    except (InvalidInputError, SingularRowError) as error:
        found = unsolved_rows(error)
        if found is None:
            raise
        ids = row_ids if found.axis == "row" else col_ids
        raise found.error(ids.item(found.position)) from None
