"""Work on a cluster of Dask: fold-in, evaluation, recommendations and searches by the workers.

Every function takes a ``client`` of Dask, by default the current one, and returns what its
counterpart on one machine returns, bit for bit. It needs ``twofold[distributed]``. The public names
are listed in ``__init__.pyi`` and loaded when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
