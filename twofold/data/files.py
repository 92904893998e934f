"""The one file format: an uncompressed ``.npz`` whose arrays can be mapped into memory.

Pairings, models and solutions are stored alike. `numpy.load` reads the arrays. A member
``twofold.json``, written last, has the kind and version of the file, its numbers, and the offset,
dtype, shape and CRC-32 of each array, so that a file can be mapped without parsing anything else.
Arrays begin at multiples of 64 bytes. Strings are stored as UTF-8 bytes with the end of each. There
is no pickle. A file is written under a temporary name in the same folder and renamed, so that
readers find the old file or the new one and never a part of one.
"""

import errno
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from mmap import ACCESS_COPY, mmap
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.atomic import Path_, replaced
from twofold._common.checks import check_path
from twofold.exceptions import FileFormatError, InvalidInputError

__all__ = [
    "SIGNATURES", "ZIP", "damage_explained", "kind_of_file", "read_arrays", "read_file",
    "write_file",
]  # fmt: skip

# Exceptions that numpy and zipfile raise for files that are truncated, altered or of another kind.
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, OverflowError, RuntimeError,
    AttributeError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip

ZIP = "a zip archive"
_HEADER = "twofold.json"
_DTYPES = ("<i4", "<i8", "<f4", "<f8", "|u1", "|b1", "<M8[us]")
_ALIGNMENT = 64
_PART = 1 << 20  # bytes read at a time

Arrays = Mapping[str, NDArray[Any]]


def write_file(
    path: Path_, kind: str, version: int, arrays: Arrays, meta: Mapping[str, Any]
) -> None:
    """Write arrays and plain values to ``path``, atomically; object arrays hold strings."""
    entries: dict[str, Any] = {}
    with replaced(path) as file:
        archive = _Archive(file, "w")
        for name, array in _without_texts(arrays).items():
            entries[name] = _write_array(file, archive, name, array)
        header = {"kind": kind, "version": version, "meta": dict(meta), "arrays": entries}
        archive.writestr(zipfile.ZipInfo(_HEADER), json.dumps(header))  # dated 1980
        archive.close()


class _Archive(zipfile.ZipFile):
    """An archive that is not closed when Ctrl-C interrupts it: closing would raise ValueError."""

    def __del__(self) -> None:
        """Leave the file to its opener."""


def _write_array(
    file: IO[bytes], archive: zipfile.ZipFile, name: str, array: NDArray[Any]
) -> dict[str, Any]:
    """Write one array as a ``.npy`` member whose data is aligned, and describe it."""
    stored = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    member = zipfile.ZipInfo(f"{name}.npy")
    # The local header has 30 bytes, the name, 20 bytes of ZIP64 and our extra field, of 4 bytes
    # and its content. The header of the array takes a multiple of 64 bytes.
    end = file.tell() + 30 + len(member.filename.encode()) + 20 + 4
    padding = -end % _ALIGNMENT
    member.extra = struct.pack("<HH", 0x5446, padding) + bytes(padding)
    with archive.open(member, "w", force_zip64=True) as opened:
        np.lib.format.write_array_header_1_0(
            opened, np.lib.format.header_data_from_array_1_0(stored)
        )
        offset = file.tell()
        data = _bytes_of(stored)
        opened.write(data)
    return {
        "offset": offset,
        "dtype": stored.dtype.str,
        "shape": list(stored.shape),
        "crc32": zlib.crc32(data),
    }


def read_file(
    path: Path_, kind: str, version: int, *, mapped: bool = False, verify: bool = True
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file of `write_file` of a kind, up to a version; see `Pairings.open` for its errors.

    Arrays are mapped copy-on-write, or read into memory; strings are read in either case. Without
    ``verify`` only the checksum of the header is compared.
    """
    name = str(path)
    with damage_explained(path, "a file of twofold", ZIP), open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:
            if _HEADER not in archive.namelist():
                raise FileFormatError(f"{name!r} is not a file that twofold wrote")
            header = json.loads(archive.read(_HEADER))
        if header["kind"] != kind:
            raise FileFormatError(f"{name!r} holds a twofold {header['kind']}, not a {kind}")
        if header["version"] > version:
            raise FileFormatError(
                f"{name!r} has format version {header['version']}, but this twofold reads up to "
                f"{version}: upgrade twofold"
            )
        memory = mmap(file.fileno(), 0, access=ACCESS_COPY)
        stored = {}
        for key, entry in header["arrays"].items():
            array = _view(memory, key, entry)
            if not mapped:
                array = array.copy()
            if verify and zlib.crc32(_bytes_of(array)) != entry["crc32"]:
                raise FileFormatError(
                    f"{key!r} in {name!r} is damaged, as its checksum differs: write the file again"
                )
            stored[key] = array.astype(array.dtype.newbyteorder("="), copy=False)
        return _with_texts(stored), dict(header["meta"])


def _bytes_of(array: NDArray[Any]) -> memoryview:
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _view(memory: mmap, name: str, entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array that an entry of the header describes, or raise ValueError."""
    numbers = [entry["offset"], *entry["shape"]]
    within = all(isinstance(number, int) and 0 <= number <= len(memory) for number in numbers)
    if entry["dtype"] not in _DTYPES or not within:
        raise ValueError(f"the header does not describe the array {name!r}: {entry}")
    return np.ndarray(entry["shape"], entry["dtype"], memory, entry["offset"])


def _without_texts(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Replace each object array, of strings, by their UTF-8 bytes and the end of each string."""
    stored = {}
    for name, array in arrays.items():
        if array.dtype == object:
            texts = [str(text).encode("utf-8", "surrogatepass") for text in array]
            stored[f"{name}.utf8"] = np.frombuffer(b"".join(texts), dtype=np.uint8)
            stored[f"{name}.ends"] = np.cumsum([len(text) for text in texts], dtype=np.int64)
        else:
            stored[name] = array
    return stored


def _with_texts(stored: Arrays) -> dict[str, NDArray[Any]]:
    """Undo `_without_texts`; ValueError if the ends do not divide the bytes into strings."""
    arrays = {}
    for key, array in stored.items():
        if key.endswith(".utf8"):
            name = key.removesuffix(".utf8")
            bounds = [0, *stored[f"{name}.ends"].tolist()]
            blob = array.tobytes()
            if sorted(bounds) != bounds or bounds[-1] != len(blob):
                raise ValueError(f"the texts of {name!r} do not end where they should")
            texts = np.empty(len(bounds) - 1, dtype=object)
            texts[:] = [
                blob[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise(bounds)
            ]
            arrays[name] = texts
        elif not key.endswith(".ends"):
            arrays[key] = array
    return arrays


def read_arrays(file: zipfile.ZipFile, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Read arrays of any ``.npz`` file to their ends, where checksums are compared.

    Raises
    ------
    FileFormatError
        If an array is missing, damaged or pickled.
    """
    arrays = {}
    for name in names:
        try:
            with file.open(f"{name}.npy") as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                while member.read(_PART):  # numpy stops at the length that the header gives
                    pass
        except Exception as error:  # numpy parses headers as Python: damage can raise anything
            which = f"the array {name!r} in {str(file.filename)!r}"
            if "allow_pickle" in str(error):
                raise FileFormatError(
                    f"{which} holds Python objects, which are not read: save numbers or text"
                ) from error
            raise FileFormatError(f"{which} is truncated or damaged: {error}") from error
    return arrays


@contextmanager
def damage_explained(path: Path_, wanted: str, *kinds: str) -> Iterator[None]:
    """Turn all exceptions that a damaged file leads to into `FileFormatError`.

    Raises
    ------
    FileFormatError
        If reading fails inside the block. The message says that the file is damaged if it is of one
        of the ``kinds`` that `kind_of_file` tells, and else what it is instead of ``wanted``.
    InvalidInputError
        If the file cannot be opened.
    """
    check_path(path)
    try:
        yield
    except FileFormatError:
        raise
    except _DAMAGE as error:
        name, found = repr(os.fspath(path)), kind_of_file(path)
        if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            is_missing = isinstance(error, FileNotFoundError)  # without a reason if by pyarrow
            reason = error.strerror or (os.strerror(errno.ENOENT) if is_missing else error)
            raise InvalidInputError(f"cannot read {name}: {reason}") from error
        if found is None or found in kinds:
            raise FileFormatError(f"{name} is truncated or damaged: {error}") from error
        raise FileFormatError(f"{name} is {found}, not {wanted}") from error


SIGNATURES = {
    "an SQLite database": b"SQLite format 3\0",
    "a Parquet file": b"PAR1",
    "a file compressed by gzip": b"\x1f\x8b",
    "a file compressed by bzip2": b"BZh",
    "a file compressed by xz": b"\xfd7zXZ",
    "a file compressed by Zstandard": b"\x28\xb5\x2f\xfd",
    "a single array of numpy": b"\x93NUMPY",
    "an HDF5 file": b"\x89HDF",
    "a Matrix Market file": b"%%MatrixMarket",
    "an Arrow file": b"ARROW1",
    ZIP: b"PK",
}
"""The first bytes of files by their kind."""


def kind_of_file(path: Path_) -> str | None:
    """Say what a file is by its first bytes, such as ``"an SQLite database"``.

    Returns
    -------
    str or None
        None if it cannot be read.
    """
    if os.path.isdir(path):
        return "a folder"
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return None
    for what, signature in SIGNATURES.items():
        if start.startswith(signature):
            return what
    if not start:
        return "an empty file"
    return "a binary file of an unknown kind" if b"\0" in start else "a text file"
