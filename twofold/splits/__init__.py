"""Splits of pairings: by row, by pair, by order, by time, and into the tasks of a challenge.

A part that a model is trained on has only columns with a pair in it: `RowSplit.train`,
`PairSplit.train`, `ChallengeSplit.train`. Other parts keep all columns, and every part keeps the
ids, values, weights and times of its pairs, so that parts are aligned by id. No random choice
depends on anything but the seed and the pairings. The public names are listed in ``__init__.pyi``
and loaded when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
