"""Solvers: classes that minimise an `Objective` with a common outer loop.

============  =================================================================
`ALS`         alternating least squares; squared loss and L2
`SGD`         stochastic gradient descent; any loss, no unobserved weight
`GD`          full-batch or mini-batch gradient descent; any objective
============  =================================================================

Modules: ``base`` (the base class), ``loop`` (the outer loop), ``state`` (the state between two
epochs), ``result`` (the solution and its history), ``registry`` (names and plug-ins),
``column_system`` (row solves for prepared columns), ``centered_system`` (the same with biases and
centers), ``folding`` (fold-in of new rows).
"""

from twofold.solvers.als import ALS
from twofold.solvers.base import Init, Solver, Support
from twofold.solvers.column_system import ColumnSystem
from twofold.solvers.folding import fold_in
from twofold.solvers.gd import GD
from twofold.solvers.loop import Callback, OnInterrupt
from twofold.solvers.registry import available_solvers, get_solver, solvers_for
from twofold.solvers.report import Route, RowReport
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
    "OnInterrupt",
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
