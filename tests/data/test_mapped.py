import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from twofold.data.mapped import read_mapped, write_mapped
from twofold.exceptions import FileFormatError, InvalidInputError

dtypes = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=40))


def texts_of(*texts: str) -> np.ndarray:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def read(path, *, kind="thing", version=1, mapped=True, verify=True):
    return read_mapped(path, kind, version, mapped=mapped, verify=verify)


@settings(max_examples=50, deadline=None)
@given(st.lists(arrays, max_size=3), st.lists(st.text(), max_size=5), st.booleans())
def test_round_trip(tmp_path_factory, several, texts, mapped):
    path = tmp_path_factory.mktemp("mapped") / "a"
    written = {str(position): array for position, array in enumerate(several)}
    write_mapped(path, "thing", 1, {**written, "texts": texts_of(*texts)}, {"n": 3})
    found, meta = read(path, mapped=mapped)
    assert meta == {"n": 3}
    assert found.pop("texts").tolist() == texts
    assert list(found) == list(written)
    for name, array in written.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_arrays_are_aligned_writeable_and_private(tmp_path):
    path = tmp_path / "a"
    write_mapped(path, "thing", 1, {"a": np.arange(3), "b": np.arange(5.0)}, {})
    found, _ = read(path)
    assert [array.ctypes.data % 64 for array in found.values()] == [0, 0]
    found["a"][:] = 7
    assert read(path)[0]["a"].tolist() == [0, 1, 2]
    write_mapped(path, "thing", 1, {"a": np.zeros(3)}, {})  # replaces what is mapped
    assert found["b"].tolist() == [0, 1, 2, 3, 4]


def test_kind_and_version(tmp_path):
    path = tmp_path / "a"
    write_mapped(path, "thing", 2, {}, {})
    assert read(path, version=3) == ({}, {})
    with pytest.raises(FileFormatError, match="holds a twofold thing, not a model"):
        read(path, kind="model", version=2)
    with pytest.raises(FileFormatError, match=r"version 2, .* up to 1: upgrade"):
        read(path, version=1)


def test_verify_compares_the_checksums(tmp_path):
    path, data = tmp_path / "a", np.arange(500)
    write_mapped(path, "thing", 1, {"a": data}, {})
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(data.tobytes()) + 40] ^= 1
    path.write_bytes(damaged)
    assert read(path, verify=False)[0]["a"].size == 500
    for mapped in (True, False):
        with pytest.raises(FileFormatError, match=r"'a' in .* its checksum differs: write it"):
            read(path, mapped=mapped)


def test_cut_short_and_too_long(tmp_path):
    path = tmp_path / "a"
    write_mapped(path, "thing", 1, {"a": np.arange(500)}, {})
    whole = path.read_bytes()
    header, size = "header of .* damaged", "bytes, but 4.* were written"
    for end, message in [
        (0, "not a cache"), (7, "not a cache"), (20, "truncated"), (100, header), (-1, size),
    ]:  # fmt: skip
        path.write_bytes(whole[:end])
        with pytest.raises(FileFormatError, match=message):
            read(path, verify=False)
    path.write_bytes(whole + b"0")
    with pytest.raises(FileFormatError, match="bytes, but"):
        read(path, verify=False)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "|O"}, {"dtype": "<U4"}, {"shape": [-1]}, {"shape": [501]}, {"shape": [2**62, 9]},
        {"offset": -64}, {"offset": 2**70}, {"shape": "x"}, {"name": None},
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path, change):
    """Made by hand with a right checksum: arrays still cannot reach outside of the file."""
    path = tmp_path / "a"
    write_mapped(path, "thing", 1, {"a": np.arange(500)}, {})
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content, 16)[0]
    header = json.loads(content[24 : 24 + length])
    header["arrays"][0] |= change
    text = json.dumps(header).encode()
    checksum = zlib.crc32(text, zlib.crc32(struct.pack("<IQ", 1, len(text))))
    start = -(-(24 + len(text)) // 64) * 64
    made = content[:8] + struct.pack("<IIQ", 1, checksum, len(text)) + text
    path.write_bytes(made.ljust(start, b"\0") + content[-4000:])
    with pytest.raises(FileFormatError):
        read(path, verify=False)


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot read"):
            read(path)
    (tmp_path / "text").write_text("pid,tid\n1,2\n")
    with pytest.raises(FileFormatError, match="not a cache that twofold wrote"):
        read(tmp_path / "text")
