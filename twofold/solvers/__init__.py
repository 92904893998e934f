"""Solvers: classes that minimise an `Objective`, all through one loop.

============  =================================================================
`ALS`         exact rows and columns in turn; squared loss and L2
`SGD`         pair by pair; observed pairs only; any loss and regulariser
`GD`          whole gradient or mini-batches; any objective
============  =================================================================

Modules: ``base`` (the class to subclass), ``_loop`` (the outer loop), ``result`` (what comes back),
``registry`` (names and plug-ins), ``folding`` (new rows for fixed columns).
"""

from twofold.solvers.als import ALS
from twofold.solvers.base import Solver, Support
from twofold.solvers.folding import fold_in
from twofold.solvers.gd import GD
from twofold.solvers.registry import available_solvers, get_solver, solvers_for
from twofold.solvers.result import Record, Solution, Status
from twofold.solvers.sgd import SGD
from twofold.solvers.state import State

__all__ = [
    "ALS",
    "GD",
    "SGD",
    "Record",
    "Solution",
    "Solver",
    "State",
    "Status",
    "Support",
    "available_solvers",
    "fold_in",
    "get_solver",
    "solvers_for",
]
