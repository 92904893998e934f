"""Playlists in and out: SQL databases, the Million Playlist Dataset and files.

A playlist is a row of the matrix and a track is a column. The public names are listed in
``__init__.pyi`` and loaded when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
