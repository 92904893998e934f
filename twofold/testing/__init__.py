"""Contract checks for solvers, losses and regularisers, ours and yours, and a plain reference.

`check_solver`, `check_loss` and `check_regularizer` raise an `AssertionError` with one sentence
that says which promise is broken; ``reference`` is dense float64 numpy to compare with.
"""

from twofold.testing import reference
from twofold.testing.checks import check_loss, check_regularizer, check_solver

__all__ = ["check_loss", "check_regularizer", "check_solver", "reference"]
