"""The one file format: a zip of plain arrays and a JSON header, without pickle.

Models, solutions and pairings are all stored this way (the layout is numpy's ``.npz``); only the
cache of pairings, which is mapped into memory, is another (`twofold.data.mapped`). A file is
written under a temporary name in the same folder and renamed, so that a reader sees the old file or
the new one and never half of one.
"""

import errno
import json
import os
import secrets
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.checks import check_path
from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = [
    "DAMAGE", "check_kind", "check_version", "damage_explained", "join_texts", "names_of_arrays",
    "read_archive", "read_arrays", "replaced", "split_texts", "write_archive",
]  # fmt: skip

# What numpy and zipfile raise for files that are cut short, altered or of another kind.
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, OverflowError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_HEADER = "twofold"
_PART = 1 << 20  # bytes read at a time


def write_archive(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    arrays: Mapping[str, NDArray[Any]],
    meta: Mapping[str, Any],
) -> None:
    """Write arrays and a JSON header to ``path``, atomically.

    Object arrays hold strings (ids) and are stored as UTF-8 bytes with offsets.
    """
    header = {"kind": kind, "version": version, "meta": dict(meta)}
    stored: dict[str, Any] = split_texts(arrays)
    stored[_HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with replaced(path) as file:
        np.savez(file, **stored)  # only plain arrays: strings became bytes above


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name when the block has ended well.

    A file that is replaced hands on its mode and, where permitted, its owner and group. Of a
    symbolic link the target is written, and the link stays.

    Raises
    ------
    InvalidInputError
        If the file cannot be written; what was there before is still there.
    """
    check_path(path)
    if not Path(path).name:
        raise InvalidInputError(f"the path is {str(path)!r}: give the name of a file")
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        old = _status(target)
        # Private at first: the new content is never readable by more users than the old one.
        mode = 0o666 if old is None else 0o600
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            if old is not None:
                _copy_permissions(old, temporary)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise InvalidInputError(
            f"cannot write {str(path)!r}: {error.strerror or error}; "
            "check that the folder exists, may be written to and has room"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _status(target: Path) -> os.stat_result | None:
    """Return the status of a regular file, or None if there is no file; OSError otherwise."""
    try:
        status = target.lstat()  # of a link only if links lead in a circle
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a device, a pipe or a socket")
    return status


def _copy_permissions(old: os.stat_result, new: Path) -> None:
    """Give a file the mode of another one and, where permitted, its owner and group."""
    if hasattr(os, "chown"):
        for owner, group in ((old.st_uid, -1), (-1, old.st_gid)):
            with suppress(OSError):  # not permitted
                os.chown(new, owner, group)
    os.chmod(new, stat.S_IMODE(old.st_mode))


def read_archive(
    path: str | os.PathLike[str], kind: str, version: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `write_archive` wrote.

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged, of another kind, or of a newer version.
    InvalidInputError
        If the file cannot be opened.
    """
    with damage_explained(path), zipfile.ZipFile(path) as file:
        names = names_of_arrays(file)
        if _HEADER not in names:
            raise FileFormatError(f"{str(path)!r} is not a file that twofold wrote")
        header = json.loads(read_arrays(file, [_HEADER])[_HEADER].tobytes())
        check_kind(path, header["kind"], kind)
        check_version(path, header["version"], version)
        stored = read_arrays(file, [name for name in names if name != _HEADER])
        return join_texts(stored), dict(header["meta"])


def names_of_arrays(file: zipfile.ZipFile) -> list[str]:
    """Names of the arrays in a ``.npz`` file."""
    return [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]


def read_arrays(file: zipfile.ZipFile, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read arrays of a ``.npz`` file to their ends, where checksums are compared.

    Raises
    ------
    FileFormatError
        If an array is not there, damaged or not plain.
    """
    arrays = {}
    for name in names:
        try:
            with file.open(f"{name}.npy") as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                while member.read(_PART):  # numpy stops where a damaged header says
                    pass
        except Exception as error:  # numpy parses headers as Python: damage can raise anything
            raise FileFormatError(
                f"the array {name!r} in {str(file.filename)!r} is truncated or damaged: {error}"
            ) from error
    return arrays


@contextmanager
def damage_explained(path: str | os.PathLike[str], what: str = "a twofold file") -> Iterator[None]:
    """Turn whatever a damaged file leads to into `FileFormatError`.

    Raises
    ------
    FileFormatError
        If reading fails inside the block.
    InvalidInputError
        If the file cannot be opened.
    """
    check_path(path)
    name = str(path)
    try:
        yield
    except FileFormatError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            raise InvalidInputError(f"cannot read {name!r}: {error.strerror or error}") from error
        raise FileFormatError(f"{name!r} is damaged: {error}") from error
    except EOFError as error:
        raise FileFormatError(f"{name!r} is empty or truncated") from error
    except DAMAGE as error:
        raise FileFormatError(f"{name!r} is truncated, damaged or not {what} ({error})") from error


def check_kind(path: str | os.PathLike[str], found: Any, kind: str) -> None:
    """Raise FileFormatError unless the file holds what is asked for."""
    if found != kind:
        raise FileFormatError(f"{str(path)!r} holds a twofold {found}, not a {kind}")


def check_version(path: str | os.PathLike[str], found: int, version: int) -> None:
    """Raise FileFormatError if the file is of a newer version."""
    if found > version:
        raise FileFormatError(
            f"{str(path)!r} has format version {found}, but this twofold reads up to {version}: "
            "upgrade twofold"
        )


def split_texts(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Replace each object array, which holds strings, by UTF-8 bytes and where each string ends."""
    stored = {}
    for name, array in arrays.items():
        if array.dtype == object:
            texts = [str(text).encode("utf-8", "surrogatepass") for text in array]
            stored[f"{name}.utf8"] = np.frombuffer(b"".join(texts), dtype=np.uint8)
            stored[f"{name}.ends"] = np.cumsum([len(text) for text in texts], dtype=np.int64)
        else:
            stored[name] = array
    return stored


def join_texts(stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Undo `split_texts`.

    Raises
    ------
    ValueError
        If the ends do not divide the bytes into whole strings.
    """
    arrays = {}
    for key, array in stored.items():
        if key.endswith(".utf8"):
            name = key.removesuffix(".utf8")
            ends = stored[f"{name}.ends"].tolist()
            blob = array.tobytes()
            bounds = [0, *ends]
            if sorted(bounds) != bounds or bounds[-1] != len(blob):
                raise ValueError(f"the texts of {name!r} do not end where they should")
            texts = np.empty(len(ends), dtype=object)
            for position, (start, end) in enumerate(pairwise(bounds)):
                texts[position] = blob[start:end].decode("utf-8", "surrogatepass")
            arrays[name] = texts
        elif not key.endswith(".ends"):
            arrays[key] = array
    return arrays
