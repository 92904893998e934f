"""Reference implementation of the formulas in float64 numpy, slow and simple, for tests.

It does not use the kernels. It shares only the elementwise formulas of losses and regularisers with
the solvers, which `check_loss` and `check_regularizer` test.
"""

from twofold.testing.reference.formulas import entries, gradient, mean, scales, value
from twofold.testing.reference.notebook import notebook_epochs, notebook_fold_in
from twofold.testing.reference.ranking import top_columns
from twofold.testing.reference.steps import accelerated_epochs as accelerated_epochs
from twofold.testing.reference.steps import balanced, fold_in, half_step

__all__ = [
    "balanced",
    "entries",
    "fold_in",
    "gradient",
    "half_step",
    "mean",
    "notebook_epochs",
    "notebook_fold_in",
    "scales",
    "top_columns",
    "value",
]
