"""Files of arrays that are mapped into memory instead of read.

    magic (8 bytes) | version (uint32) | checksum of the rest of the header (uint32)
    | length of the JSON (uint64) | JSON | arrays, each from a multiple of 64 bytes

All of it is little-endian. The JSON has the name, dtype, shape, offset (from the end of the header,
rounded up to 64) and checksum of each array, and the size of the whole, so that a header without
damage and a file of the right size say where everything is. Checksums are CRC-32.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from mmap import ACCESS_COPY, mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.data.archive import (
    check_kind,
    check_version,
    damage_explained,
    join_texts,
    replaced,
    split_texts,
)
from twofold.exceptions import FileFormatError

__all__ = ["read_mapped", "write_mapped"]

_MAGIC = b"\x89TWOFOLD"
_PREFIX = struct.Struct("<8sIIQ")
_DTYPES = ("<i4", "<i8", "<f4", "<f8", "|u1")
_ADVICE = "write it again from its source"

Path_ = str | os.PathLike[str]


def write_mapped(
    path: Path_,
    kind: str,
    version: int,
    arrays: Mapping[str, NDArray[Any]],
    meta: Mapping[str, Any],
) -> None:
    """Write arrays and a JSON header to ``path``, atomically; object arrays hold strings."""
    stored = {
        name: np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        for name, array in split_texts(arrays).items()
    }
    entries: list[dict[str, Any]] = []
    end = 0
    for name, array in stored.items():
        start = _aligned(end)
        end = start + array.nbytes
        entries.append(
            {
                "name": name,
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "offset": start,
                "crc32": zlib.crc32(array.data),
            }
        )
    header = {"kind": kind, "meta": dict(meta), "arrays": entries, "size": end}
    text = json.dumps(header).encode()
    prefix = _PREFIX.pack(_MAGIC, version, _header_checksum(version, text), len(text))
    start = _aligned(len(prefix) + len(text))
    with replaced(path) as file:
        file.write((prefix + text).ljust(start, b"\0"))
        for entry, array in zip(entries, stored.values(), strict=True):
            file.write(bytes(start + entry["offset"] - file.tell()))
            file.write(array.data)


def read_mapped(
    path: Path_, kind: str, version: int, *, mapped: bool, verify: bool
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `write_mapped` wrote.

    Parameters
    ----------
    path, kind, version
        What is expected.
    mapped : bool
        Map the arrays, copy-on-write: they can be written to, and the file does not change.
        Otherwise they are read into memory. Strings are read in either case.
    verify : bool
        Compare the checksums of the arrays, not only that of the header.

    Raises
    ------
    FileFormatError
        If the file is truncated, damaged, of another kind, or of a newer version.
    InvalidInputError
        If the file cannot be opened.
    """
    name = str(path)
    with damage_explained(path), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(_PREFIX.size)
        if not prefix.startswith(_MAGIC):
            raise FileFormatError(f"{name!r} is not a cache that twofold wrote: {_ADVICE}")
        if len(prefix) < _PREFIX.size:
            raise FileFormatError(f"{name!r} is truncated: {_ADVICE}")
        _, found, checksum, length = _PREFIX.unpack(prefix)
        check_version(path, found, version)
        text = file.read(min(length, size))
        if _header_checksum(found, text) != checksum:
            raise FileFormatError(f"the header of {name!r} is damaged: {_ADVICE}")
        header = json.loads(text)
        check_kind(path, header["kind"], kind)
        start = _aligned(_PREFIX.size + length)
        if size != start + header["size"]:
            raise FileFormatError(
                f"{name!r} has {size} bytes, but {start + header['size']} were written: {_ADVICE}"
            )
        memory = mmap(file.fileno(), 0, access=ACCESS_COPY)
        stored = {}
        for entry in header["arrays"]:
            array = _view(memory, start, entry)
            if not mapped:
                array = array.copy()
            if verify and zlib.crc32(array.data) != entry["crc32"]:
                raise FileFormatError(
                    f"{entry['name']!r} in {name!r} is damaged, as its checksum differs: {_ADVICE}"
                )
            stored[entry["name"]] = array.astype(array.dtype.newbyteorder("="), copy=False)
        return join_texts(stored), dict(header["meta"])


def _view(memory: mmap, start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array that an entry describes; ValueError or TypeError if it describes none."""
    numbers = [entry["offset"], *entry["shape"]]
    if (
        not isinstance(entry["name"], str)
        or entry["dtype"] not in _DTYPES
        or not all(isinstance(number, int) and 0 <= number <= len(memory) for number in numbers)
    ):
        raise ValueError(f"the header describes no array: {entry}")
    return np.ndarray(entry["shape"], entry["dtype"], memory, start + entry["offset"])


def _header_checksum(version: int, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(struct.pack("<IQ", version, len(text))))


def _aligned(position: int) -> int:
    """Round up to a multiple of 64, the size of a cache line."""
    return -(-position // 64) * 64
