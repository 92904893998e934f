"""Playlists in and out: SQL databases, the Million Playlist Dataset and files.

A playlist is a row of the matrix and a track is a column. Names are loaded when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twofold.io.mpd.database import ImportedMpd, import_mpd, write_mpd_sql
    from twofold.io.mpd.read import MpdPairings, read_mpd
    from twofold.io.mtx import read_mtx, write_mtx
    from twofold.io.npz import read_npz, write_npz
    from twofold.io.sql_read import read_sql
    from twofold.io.sql_write import write_sql
    from twofold.io.tabular import read_csv, read_parquet

__all__ = [
    "ImportedMpd",
    "MpdPairings",
    "import_mpd",
    "read_csv",
    "read_mpd",
    "read_mtx",
    "read_npz",
    "read_parquet",
    "read_sql",
    "write_mpd_sql",
    "write_mtx",
    "write_npz",
    "write_sql",
]

_MODULE_OF = {
    "ImportedMpd": "mpd.database",
    "MpdPairings": "mpd.read",
    "import_mpd": "mpd.database",
    "read_csv": "tabular",
    "read_mpd": "mpd.read",
    "read_mtx": "mtx",
    "read_npz": "npz",
    "read_parquet": "tabular",
    "read_sql": "sql_read",
    "write_mpd_sql": "mpd.database",
    "write_mtx": "mtx",
    "write_npz": "npz",
    "write_sql": "sql_write",
}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"twofold.io.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'twofold.io' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
