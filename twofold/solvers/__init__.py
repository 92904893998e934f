"""Solvers: classes that minimise an `Objective`, all through one loop.

============  =================================================================
`ALS`         exact rows and columns in turn; squared loss and L2
`SGD`         pair by pair; observed pairs only; any loss and regulariser
`GD`          whole gradient or mini-batches; any objective
============  =================================================================

Modules: ``base`` (the class to subclass), ``loop`` (the outer loop), ``state`` (between two
epochs), ``result`` (the solution and its history), ``registry`` (names and plug-ins),
``column_system`` (columns prepared for solving rows), ``folding`` (new rows for fixed columns).
"""

from twofold.solvers.als import ALS
from twofold.solvers.base import Init, Solver, Support
from twofold.solvers.column_system import ColumnSystem, Route, RowReport
from twofold.solvers.folding import fold_in
from twofold.solvers.gd import GD
from twofold.solvers.loop import Callback
from twofold.solvers.registry import available_solvers, get_solver, solvers_for
from twofold.solvers.result import Record, Solution, Status
from twofold.solvers.sgd import SGD
from twofold.solvers.state import State

__all__ = [
    "ALS",
    "GD",
    "SGD",
    "Callback",
    "ColumnSystem",
    "Init",
    "Record",
    "Route",
    "RowReport",
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
