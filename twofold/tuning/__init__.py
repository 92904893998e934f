"""Searches over the fields of a solver and of an objective, which end in a model.

`search` runs a strategy: `Grid`, `Random`, `Halving` or `Optuna`. `grid_search` is `search` with a
grid. The public names are listed in ``__init__.pyi`` and loaded when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
