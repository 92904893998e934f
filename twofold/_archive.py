"""The one file format: a zip of plain arrays and a JSON header, without pickle.

Models, solutions and pairings are all stored this way (the layout is numpy's ``.npz``). A file is
written under a temporary name in the same folder and renamed, so that a reader sees the old file
or the new one and never half of one.
"""

import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = ["DAMAGE", "read_archive", "write_archive"]

# What numpy and zipfile raise for files that are cut short, altered or of another kind.
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

_HEADER = "twofold"


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
    target = Path(path)
    header = {"kind": kind, "version": version, "meta": dict(meta)}
    stored: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype == object:
            texts = [str(text).encode("utf-8", "surrogatepass") for text in array]
            stored[f"{name}.utf8"] = np.frombuffer(b"".join(texts), dtype=np.uint8)
            stored[f"{name}.ends"] = np.cumsum([len(text) for text in texts], dtype=np.int64)
        else:
            stored[name] = array
    stored[_HEADER] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **stored)  # only plain arrays: strings became bytes above
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise InvalidInputError(
            f"cannot write {str(target)!r}: {error.strerror or error}; "
            "check that the folder exists, may be written to and has room"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


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
    name = str(path)
    try:
        # np.load leaves a file open that it cannot read, so it is opened here.
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile) or _HEADER not in file.files:
                raise FileFormatError(f"{name!r} is not a file that twofold wrote")
            header = json.loads(file[_HEADER].tobytes())
            if header["kind"] != kind:
                raise FileFormatError(f"{name!r} holds a twofold {header['kind']}, not a {kind}")
            if header["version"] > version:
                raise FileFormatError(
                    f"{name!r} has format version {header['version']}, but this twofold reads up "
                    f"to {version}: upgrade twofold"
                )
            stored = {key: file[key] for key in file.files if key != _HEADER}
            return _join_texts(stored), dict(header["meta"])
    except FileFormatError:
        raise
    except OSError as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            raise InvalidInputError(f"cannot read {name!r}: {error.strerror}") from error
        raise FileFormatError(f"{name!r} is damaged: {error}") from error
    except EOFError as error:
        raise FileFormatError(f"{name!r} is empty or truncated") from error
    except DAMAGE as error:
        raise FileFormatError(
            f"{name!r} is truncated, damaged or not a twofold file ({error})"
        ) from error


def _join_texts(stored: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    arrays = {}
    for key, array in stored.items():
        if key.endswith(".utf8"):
            name = key.removesuffix(".utf8")
            ends = stored[f"{name}.ends"].tolist()
            blob = array.tobytes()
            starts = [0, *ends][:-1]
            texts = np.empty(len(ends), dtype=object)
            for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
                texts[position] = blob[start:end].decode("utf-8", "surrogatepass")
            arrays[name] = texts
        elif not key.endswith(".ends"):
            arrays[key] = array
    return arrays
