"""Fitted factors with ids: train, fold in, recommend, explain, save, write to a database.

The functions that write are loaded when first used, because they need SQLAlchemy.
"""

import importlib
from typing import TYPE_CHECKING, Any

from twofold.model.factor_model import FactorModel, FoldedRows
from twofold.model.ranking import Ranking

if TYPE_CHECKING:
    from twofold.model.export import write_factors, write_recommendations

__all__ = ["FactorModel", "FoldedRows", "Ranking", "write_factors", "write_recommendations"]

_EXPORT = ("write_factors", "write_recommendations")


def __getattr__(name: str) -> Any:
    if name in _EXPORT:
        return getattr(importlib.import_module("twofold.model.export"), name)
    raise AttributeError(f"module 'twofold.model' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORT])
