"""Where the slices of the Million Playlist Dataset are."""

import glob
import os
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from twofold.exceptions import InvalidInputError

__all__ = ["Paths", "find_slices"]

Path_ = str | os.PathLike[str]
Paths = Path_ | Iterable[Path_]


def find_slices(paths: Paths) -> list[Path]:
    """Return the files that paths, folders and patterns stand for, each once.

    Raises
    ------
    InvalidInputError
        If there is no file.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise InvalidInputError(f"paths is a {type(paths).__name__}: give files, folders, patterns")
    given = list(given)
    for item in given:
        if not isinstance(item, str | os.PathLike):
            raise InvalidInputError(f"a path is a {type(item).__name__}: give a text or a Path")
    found: dict[Path, None] = {}
    for item in [os.fspath(path) for path in given]:
        if os.path.isdir(item):
            folder = Path(item)
            files = _in_order(
                chain(folder.glob("mpd.slice.*.json"), folder.glob("mpd.slice.*.json.gz"))
            )
            reason = "has no file mpd.slice.*.json or mpd.slice.*.json.gz"
        elif os.path.exists(item):
            files, reason = [Path(item)], ""
        else:
            files = _in_order(map(Path, glob.glob(item, recursive=True)))
            reason = "matches no file"
        if not files:
            raise InvalidInputError(f"{item!r} {reason}: check the path")
        found.update(dict.fromkeys(files))
    if not found:
        raise InvalidInputError("no paths were given: there is nothing to read")
    return list(found)


def _in_order(files: Iterable[Path]) -> list[Path]:
    def key(file: Path) -> list[Any]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(file))]

    return sorted((file for file in files if file.is_file()), key=key)
