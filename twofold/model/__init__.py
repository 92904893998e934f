"""Fitted factors with ids: train, fold in, recommend, explain, save."""

from twofold.model.factor_model import FactorModel, FoldedRows
from twofold.model.ranking import Ranking

__all__ = ["FactorModel", "FoldedRows", "Ranking"]
