"""twofold: sparse matrix factorisation, with one objective and pluggable solvers.

Modules: ``objective`` (the formula, losses, regularisers), ``solvers`` (ALS, SGD, GD, fold-in),
``data`` (pairings), ``io`` (SQL, Million Playlist Dataset, files), ``model`` (factors with ids),
``metrics``, ``splits``, ``tuning``, ``distributed``, ``plot``, ``datasets``, ``testing``.
The public names are listed in ``__init__.pyi`` and loaded when first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)

_MODULES = {
    "data", "datasets", "distributed", "io", "metrics", "model", "plot", "solvers", "splits",
    "testing", "tuning",
}  # fmt: skip
# Not modules: `from twofold import *` would hide Python's own `io`.
__all__ = sorted(set(_names) - _MODULES)
