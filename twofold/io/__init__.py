"""Playlists in and out: SQL databases, the Million Playlist Dataset and ``.npz`` files.

A playlist is a row of the matrix and a track is a column.
"""

from twofold.io.mpd import MpdPairings, read_mpd
from twofold.io.npz import read_npz, write_npz
from twofold.io.sql_read import read_sql
from twofold.io.sql_write import write_sql

__all__ = ["MpdPairings", "read_mpd", "read_npz", "read_sql", "write_npz", "write_sql"]
