"""Contract suites for solvers, losses and regularisers, ours and yours.

Call them from a test; each raises `AssertionError` with a sentence that says which promise was
broken. ``reference`` is the objective in plain numpy, to compare with.
"""

from twofold.testing import reference
from twofold.testing.checks import check_loss, check_regularizer, check_solver

__all__ = ["check_loss", "check_regularizer", "check_solver", "reference"]
