"""Playlists in and out: SQL databases, the Million Playlist Dataset and files.

A playlist is a row of the matrix and a track is a column.
"""

from twofold.io.mpd import MpdPairings, read_mpd
from twofold.io.mtx import read_mtx, write_mtx
from twofold.io.npz import read_npz, write_npz
from twofold.io.results import write_factors, write_recommendations
from twofold.io.sql_read import read_sql
from twofold.io.sql_write import write_sql
from twofold.io.tabular import read_csv, read_parquet

__all__ = [
    "MpdPairings",
    "read_csv",
    "read_mpd",
    "read_mtx",
    "read_npz",
    "read_parquet",
    "read_sql",
    "write_factors",
    "write_mtx",
    "write_npz",
    "write_recommendations",
    "write_sql",
]
