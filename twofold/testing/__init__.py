"""Contract tests for built-in and custom solvers, losses and regularisers, and a reference.

`check_solver`, `check_loss` and `check_regularizer` raise an `AssertionError` that describes the
violated requirement. ``reference`` is a dense float64 implementation in numpy.
"""

from twofold.testing import reference
from twofold.testing.checks import check_loss, check_regularizer, check_solver

__all__ = ["check_loss", "check_regularizer", "check_solver", "reference"]
