"""`Parts`: factors, and results, of which each block of a side has its part on its worker."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from twofold.objective.biases import Axis

if TYPE_CHECKING:
    from twofold.distributed.operations import ClusterOperations

__all__ = ["Extrapolated", "Parts"]

Array = NDArray[Any]


@dataclass(eq=False)
class Parts:
    """Something with a row for each row of a side, of which each block has its part.

    Parameters
    ----------
    operations : ClusterOperations
    axis : {"row", "col"}
    handles : list of Handle, Item or Inline
        The part of each block.
    """

    operations: "ClusterOperations"
    axis: Axis
    handles: list[Any]
    routes: dict[Axis, "Parts"] = field(default_factory=dict)
    """What was already routed to the other side."""
    is_finite: bool | None = None
    """Whether all factors are finite, if that is known."""
    gramian: "Parts | None" = None
    """The `routed_gramian`, if it is being computed already."""
    penalized: "Parts | None" = None
    """The sums of the Gramian with the weights of the penalty, if they are being computed."""
    measured: "Parts | None" = None
    """What was measured of factors when they were computed."""
    fetched: list[Any] | None = None
    """The values of the handles, if they came to this process."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of factors, with the padding."""
        return self.operations.sizes[self.axis], self.operations.width

    @property
    def dtype(self) -> Any:
        """Dtype of factors."""
        return self.operations.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Return the factors as an array of this process."""
        whole = self.operations.collected(self)
        return whole if dtype is None else whole.astype(dtype, copy=False)


class Extrapolated(NamedTuple):
    """Factors of columns that are extrapolated, and the result, if it was begun."""

    new: Parts
    old: Parts
    momentum: float
    result: Parts | None = None
