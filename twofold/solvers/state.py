"""`State`: where a solver is between two epochs."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["State"]


@dataclass(frozen=True)
class State:
    """Where a solver is between two epochs.

    `step` returns a new state with new arrays; it never writes into those of the old one.
    """

    row_factors: NDArray[Any]
    col_factors: NDArray[Any]
    epoch: int
    """Epochs done."""
    seed: int
    memory: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Arrays that are needed to go on exactly from here; saved with a solution."""
    workspace: Any = None
    """What `prepare` built and can build again."""

    def moved(
        self, row_factors: NDArray[Any], col_factors: NDArray[Any], **memory: NDArray[Any]
    ) -> Self:
        """Return the state with new factors, and new memory where given."""
        return replace(
            self, row_factors=row_factors, col_factors=col_factors, memory=self.memory | memory
        )

    def read_only(self) -> Self:
        """Return a view for others to look at: to write into it is an error."""

        def view(array: NDArray[Any]) -> NDArray[Any]:
            seen = array.view()
            seen.flags.writeable = False
            return seen

        memory = {name: view(array) for name, array in self.memory.items()}
        return replace(
            self,
            row_factors=view(self.row_factors),
            col_factors=view(self.col_factors),
            memory=memory,
        )

    def epoch_rng(self) -> np.random.Generator:
        """Return the generator of this epoch: drawn from seed and epoch alone."""
        return np.random.default_rng([self.seed, self.epoch + 1])
