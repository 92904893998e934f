"""Pictures of runs, searches, models and data by matplotlib, the extra ``plot``.

Every function draws into the axes ``ax``, by default into those of a new figure of pyplot, and
returns them, so that titles, limits and scales can be changed afterwards. The colours can be
distinguished with colour blindness. The public names are listed in ``__init__.pyi`` and loaded when
first used, and matplotlib is imported by the first picture.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
