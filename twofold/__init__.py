"""twofold: sparse matrix factorisation, with one objective and pluggable solvers.

Modules: ``objective`` (the formula, losses, regularisers), ``solvers`` (ALS, SGD, GD, fold-in),
``io`` (SQL, Million Playlist Dataset, files), ``model`` (factors with ids), ``metrics``,
``splits``, ``tuning``, ``datasets``, ``testing``.
Names are loaded when first used, so importing is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold import datasets as datasets
    from twofold import io as io
    from twofold import metrics as metrics
    from twofold import solvers as solvers
    from twofold import testing as testing
    from twofold import tuning as tuning
    from twofold.data.pairings import Pairings
    from twofold.model import FactorModel
    from twofold.model.warm_up import warm_up
    from twofold.objective import (
        L1,
        L2,
        HuberLoss,
        LogisticLoss,
        Loss,
        Objective,
        ObjectiveValue,
        Regularizer,
        SquaredLoss,
    )
    from twofold.solvers import fold_in
    from twofold.splits import split_pairs, split_rows

__version__ = "0.1.0"

# Classes and functions only: with modules, `from twofold import *` would hide Python's own `io`.
__all__ = [
    "L1",
    "L2",
    "FactorModel",
    "HuberLoss",
    "LogisticLoss",
    "Loss",
    "Objective",
    "ObjectiveValue",
    "Pairings",
    "Regularizer",
    "SquaredLoss",
    "fold_in",
    "split_pairs",
    "split_rows",
    "warm_up",
]

_MODULES = ("datasets", "io", "metrics", "solvers", "testing", "tuning")
_MODULE_OF = {
    **dict.fromkeys(
        ["L1", "L2", "HuberLoss", "LogisticLoss", "Loss", "Objective", "ObjectiveValue"],
        "twofold.objective",
    ),
    "Regularizer": "twofold.objective",
    "SquaredLoss": "twofold.objective",
    "FactorModel": "twofold.model",
    "Pairings": "twofold.data.pairings",
    "fold_in": "twofold.solvers",
    "split_pairs": "twofold.splits",
    "split_rows": "twofold.splits",
    "warm_up": "twofold.model.warm_up",
}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"twofold.{name}")
    raise AttributeError(f"module 'twofold' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
