"""The objective function with its losses and regularisers."""

from twofold.objective.balanced import Balanced
from twofold.objective.losses import HuberLoss, LogisticLoss, Loss, SquaredLoss
from twofold.objective.objective import Objective
from twofold.objective.point import ObjectiveValue, Point
from twofold.objective.problem import Problem
from twofold.objective.regularizers import L1, L2, Regularizer
from twofold.objective.side import Margin, Side
from twofold.objective.terms import Terms

__all__ = [
    "L1",
    "L2",
    "Balanced",
    "HuberLoss",
    "LogisticLoss",
    "Loss",
    "Margin",
    "Objective",
    "ObjectiveValue",
    "Point",
    "Problem",
    "Regularizer",
    "Side",
    "SquaredLoss",
    "Terms",
]
