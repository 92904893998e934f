"""Types of the arrays of results, for annotations."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["FactorArray", "Ids", "Times"]

FactorArray = NDArray[np.float32 | np.float64]
"""Factors, and scores computed from them: in the ``dtype`` of the solver."""
Ids = NDArray[np.int64] | NDArray[np.object_]
"""Ids of rows or columns: whole numbers, or objects that are all `str`."""
Times = NDArray[np.int64] | NDArray[np.datetime64]
"""Times of pairs: whole numbers in the caller's unit, or dates in microseconds."""
