"""The one file format."""

import json
import os
import signal
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from twofold.data.files import kind_of_file, read_arrays, read_file, write_file
from twofold.exceptions import FileFormatError, InvalidInputError

dtypes = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=40))
metas = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5)
)


def texts_of(*texts: str) -> np.ndarray:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def read(path, *, kind="thing", version=1, mapped=True, verify=False):
    return read_file(path, kind, version, mapped=mapped, verify=verify)


@settings(max_examples=50, deadline=None)
@given(st.lists(arrays, max_size=3), st.lists(st.text(), max_size=5), metas, st.booleans())
def test_round_trip(tmp_path_factory, several, texts, meta, mapped):
    path = tmp_path_factory.mktemp("file") / "a.twofold"
    written = {str(position): array for position, array in enumerate(several)}
    write_file(path, "thing", 1, {**written, "texts": texts_of(*texts)}, meta)
    found, found_meta = read_file(path, "thing", 1, mapped=mapped)
    assert found_meta == meta
    assert found.pop("texts").tolist() == texts
    assert list(found) == list(written)
    with np.load(path, allow_pickle=False) as plain:  # numpy reads the same
        for name, array in written.items():
            assert found[name].dtype == plain[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
            np.testing.assert_array_equal(plain[name], array)


def test_arrays_are_aligned_writeable_and_private(tmp_path):
    path = tmp_path / "a"
    long = {f"a name of {n} letters" + n * "é": np.arange(n) for n in range(20)}
    write_file(path, "thing", 1, {"a": np.arange(3), "b": np.arange(5.0), **long}, {})
    found, _ = read(path)
    assert {array.ctypes.data % 64 for array in found.values()} == {0}
    found["a"][:] = 7
    assert read(path)[0]["a"].tolist() == [0, 1, 2]
    write_file(path, "thing", 1, {"a": np.zeros(3)}, {})  # replaces what is mapped
    assert found["b"].tolist() == [0, 1, 2, 3, 4]


def test_no_texts_at_all(tmp_path):
    write_file(tmp_path / "a", "thing", 1, {"texts": texts_of()}, {})
    assert read(tmp_path / "a")[0]["texts"].tolist() == []


def test_lone_surrogates_survive(tmp_path):
    write_file(tmp_path / "a", "thing", 1, {"texts": texts_of("\udcff", "ok")}, {})
    assert read(tmp_path / "a")[0]["texts"].tolist() == ["\udcff", "ok"]


def test_kind_and_version_are_checked(tmp_path):
    path = tmp_path / "a"
    write_file(path, "thing", 2, {}, {})
    assert read(path, version=3) == ({}, {})
    with pytest.raises(FileFormatError, match="holds a twofold thing, not a model"):
        read(path, kind="model", version=2)
    with pytest.raises(FileFormatError, match=r"version 2, .* up to 1: upgrade"):
        read(path, version=1)


@pytest.mark.parametrize("verify", [True, False])
def test_truncated_files(verify, tmp_path):
    path = tmp_path / "a"
    write_file(path, "thing", 1, {"a": np.arange(500)}, {})
    whole = path.read_bytes()
    for end in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(FileFormatError, match=r"truncated or damaged|empty file|text file"):
            read(path, verify=verify)


def test_verify_compares_the_checksums(tmp_path):
    path, data = tmp_path / "a", np.arange(500)
    write_file(path, "thing", 1, {"a": data}, {})
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(data.tobytes()) + 40] ^= 1
    path.write_bytes(damaged)
    assert read(path)[0]["a"].size == 500
    for mapped in (True, False):
        with pytest.raises(FileFormatError, match=r"'a' in .* its checksum differs: write"):
            read(path, mapped=mapped, verify=True)


def with_header(path, change):
    """Write a file whose header is changed, with the right checksum."""
    write_file(path, "thing", 1, {"a": np.arange(500)}, {})
    with zipfile.ZipFile(path) as file:
        header = json.loads(file.read("twofold.json"))
        members = {info.filename: file.read(info) for info in file.infolist()}
    members["twofold.json"] = change(header)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "|O"}, {"dtype": "<U4"}, {"shape": [-1]}, {"shape": [50_001]},
        {"shape": [2**62, 9]}, {"offset": -64}, {"offset": 2**70}, {"shape": "x"},
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path, change):
    """Arrays cannot reach outside of the file."""

    def changed(header):
        header["arrays"]["a"] |= change
        return json.dumps(header)

    with_header(tmp_path / "a", changed)
    with pytest.raises(FileFormatError, match="damaged"):
        read(tmp_path / "a")


@pytest.mark.parametrize("header", [b"", b"not JSON", b"[]", b"{}", b'{"kind": "thing"}'])
def test_damaged_headers(tmp_path, header):
    with_header(tmp_path / "a", lambda _: header)
    with pytest.raises(FileFormatError, match="damaged"):
        read(tmp_path / "a")


def test_text_without_its_ends(tmp_path):
    write_file(tmp_path / "a", "thing", 1, {"t.utf8": np.zeros(3, np.uint8)}, {})
    with pytest.raises(FileFormatError, match=r"t\.ends"):
        read(tmp_path / "a")


@pytest.mark.parametrize("ends", [[1, 2], [2, 1, 3], [-1, 3]])
def test_text_whose_ends_do_not_divide_it(tmp_path, ends):
    arrays = {"t.utf8": np.zeros(3, np.uint8), "t.ends": np.array(ends)}
    write_file(tmp_path / "a", "thing", 1, arrays, {})
    with pytest.raises(FileFormatError, match="the texts of 't' do not end where they should"):
        read(tmp_path / "a")


def test_foreign_files(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    np.save(tmp_path / "single.npy", np.ones(2))
    (tmp_path / "a.csv").write_text("pid,tid\n1,2\n")
    for name, message in (
        ("other.npz", "is not a file that twofold wrote"),
        ("single.npy", "is a single array of numpy, not a file of twofold"),
        ("a.csv", "is a text file, not a file of twofold"),
    ):
        with pytest.raises(FileFormatError, match=message):
            read(tmp_path / name)
    assert kind_of_file(tmp_path) == "a folder"
    assert kind_of_file(tmp_path / "missing") is None


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot read"):
            read(path)
    with pytest.raises(InvalidInputError, match=r"cannot write .*folder"):
        write_file(tmp_path / "none" / "a", "thing", 1, {}, {})


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch):
    path = tmp_path / "a"
    write_file(path, "thing", 1, {"a": np.array([1])}, {})

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InvalidInputError, match="No space left"):
        write_file(path, "thing", 1, {"a": np.array([2])}, {})
    assert read(path)[0]["a"].tolist() == [1]
    assert list(tmp_path.iterdir()) == [path]


def read_a(path):
    with zipfile.ZipFile(path) as file:
        return read_arrays(file, ["a"])


@pytest.mark.parametrize("n", [4, 1000])
def test_every_flipped_bit_in_the_header_of_an_array_of_numpy_is_noticed(n, tmp_path):
    """zipfile compares checksums after 4 KB, when numpy has parsed the header as Python."""
    path = tmp_path / "a"
    with path.open("wb") as file:
        np.savez(file, a=np.arange(n))
    whole = path.read_bytes()
    start = whole.index(b"\x93NUMPY")
    for at in range(start, whole.index(b"\n", start) + 1):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(FileFormatError, match="damaged"):
                read_a(path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': ('<i8', 'fortran_order': False, 'shape': (4,), }",  # tokenize.TokenError
        "{'descr': '\\u', 'fortran_order': False, 'shape': (4,), }",  # SyntaxError
        "{'descr': '<i8', 'fortran_order': False, 'shape': (4L,), }",  # a warning
        "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "{'descr': [('a', '<i8', 3, 4)], 'fortran_order': False, 'shape': (4,), }",
        "(" * 300 + ")" * 300,
        "{'descr': '|V3', 'fortran_order': False, 'shape': (4,), }",
    ],
)
def test_headers_that_numpy_cannot_parse_although_the_checksum_is_right(header, tmp_path):
    text = header.encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(FileFormatError, match=r"'a' in .* damaged"):
        read_a(tmp_path / "a")


def test_an_array_that_ends_before_its_data_is_compared_to_the_end(tmp_path):
    path = tmp_path / "a"
    with path.open("wb") as file:
        np.savez(file, a=np.arange(100_000))
    path.write_bytes(path.read_bytes().replace(b"(100000,)", b"(000000,)"))
    with pytest.raises(FileFormatError, match="damaged"):
        read_a(path)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # between open, with
def test_ctrl_c_at_any_moment_is_a_keyboard_interrupt(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    rng = np.random.default_rng(0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(400):
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 2e-3))
                write_file(tmp_path / "a", "thing", 1, {"a": np.arange(9), "b": np.arange(9)}, {})
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(list(tmp_path.iterdir())) <= 1


def test_equal_contents_are_equal_bytes_at_any_time(tmp_path):
    write_file(tmp_path / "one", "test", 1, {"a": np.arange(3)}, {"b": 1})
    with zipfile.ZipFile(tmp_path / "one") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
