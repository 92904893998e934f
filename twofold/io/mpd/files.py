"""Slices of the Million Playlist Dataset: files, folders, patterns and zip archives."""

import glob
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

from twofold._common.checks import check_path
from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = ["Paths", "SliceFile", "find_slices", "read_content"]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
SliceFile = Path | zipfile.Path

_SLICE = re.compile(r"mpd\.slice\..*\.jsonl?(\.gz)?", re.DOTALL)
_CHALLENGE = "challenge_set.json"
_NONE = f"has no file mpd.slice.*.json, .json.gz or .jsonl, and no {_CHALLENGE}"


@contextmanager
def find_slices(paths: Paths) -> Iterator[list[SliceFile]]:
    """Find slices, each once. Zip archives are open until the ``with`` block ends."""
    several = isinstance(paths, Iterable) and not isinstance(paths, str | bytes)
    given: list[Any] = list(paths) if several else [paths]  # type: ignore[arg-type]
    for path in given:
        check_path(path)
    if not given:
        raise InvalidInputError("no paths were given: there is nothing to read")
    with ExitStack() as archives:
        files = [file for path in given for file in _expanded(os.fspath(path))]
        slices = [slice_ for file in files for slice_ in _slices_of(file, archives)]
        yield list({str(slice_): slice_ for slice_ in slices}.values())


def read_content(file: SliceFile) -> bytes:
    """Return the bytes of a file, or those of a member of a zip archive."""
    try:
        return file.read_bytes()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        advice = "copy the zip archive again, or unpack it by another program and give the folder"
        raise FileFormatError(f"{str(file)!r} cannot be unpacked ({error}): {advice}") from error
    except OSError as error:
        raise InvalidInputError(f"cannot read {str(file)!r}: {error.strerror or error}") from error


def _expanded(path: str) -> list[str]:
    """Return the files of a folder or pattern, or the file itself."""
    if os.path.isdir(path):
        files, problem = _chosen(glob.glob(os.path.join(glob.escape(path), "*"))), _NONE
    elif os.path.exists(path):
        return [path]
    else:
        files, problem = sorted(glob.glob(path, recursive=True), key=_numeric), "matches no file"
    files = list(filter(os.path.isfile, files))
    if not files:
        raise InvalidInputError(f"{path!r} {problem}: check the path")
    return files


def _slices_of(path: str, archives: ExitStack) -> list[SliceFile]:
    """Return the slices in a zip archive, or the file itself if it is not one."""
    start = b""
    if os.path.isfile(path):  # a pipe cannot be read twice
        with suppress(OSError), open(path, "rb") as file:  # read_content explains errors
            start = file.read(4)
    if start not in (b"PK\x03\x04", b"PK\x05\x06"):
        return [Path(path)]
    try:
        archive = archives.enter_context(zipfile.ZipFile(path))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise FileFormatError(f"{path!r} is a damaged zip file ({error}): copy it again") from error
    members = _chosen(archive.namelist())
    if not members:
        raise FileFormatError(f"{path!r} is a zip archive that {_NONE}: give that of the dataset")
    return [zipfile.Path(archive, member) for member in members]


def _chosen(paths: list[str]) -> list[str]:
    """Select the slices of a folder or archive, or the challenge set if there are none."""
    slices = [path for path in paths if _SLICE.fullmatch(PurePath(path).name)]
    return sorted(slices, key=_numeric) or [p for p in paths if PurePath(p).name == _CHALLENGE]


def _numeric(path: str) -> list[int | str]:
    """Return a key that sorts by the numbers in a text."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]
