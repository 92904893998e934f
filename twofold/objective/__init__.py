"""The objective, its losses and its regularisers."""

from twofold.objective.losses import HuberLoss, LogisticLoss, Loss, SquaredLoss
from twofold.objective.objective import Objective
from twofold.objective.problem import ObjectiveValue, Problem, Side
from twofold.objective.regularizers import L1, L2, Regularizer

__all__ = [
    "L1",
    "L2",
    "HuberLoss",
    "LogisticLoss",
    "Loss",
    "Objective",
    "ObjectiveValue",
    "Problem",
    "Regularizer",
    "Side",
    "SquaredLoss",
]
