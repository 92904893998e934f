import json
import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from twofold.data.archive import read_archive, replaced, write_archive
from twofold.exceptions import FileFormatError, InvalidInputError

dtypes = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4))
metas = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5)
)


def texts_of(*texts: str) -> np.ndarray:
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


@settings(max_examples=50, deadline=None)
@given(arrays, st.lists(st.text(), min_size=1, max_size=5), metas)
def test_round_trip(tmp_path_factory, array, texts, meta):
    path = tmp_path_factory.mktemp("archive") / "a.twofold"
    write_archive(path, "thing", 1, {"a": array, "texts": texts_of(*texts)}, meta)
    found, found_meta = read_archive(path, "thing", 1)
    assert sorted(found) == ["a", "texts"]
    assert found["a"].dtype == array.dtype
    np.testing.assert_array_equal(found["a"], array)
    assert found["texts"].tolist() == texts
    assert found_meta == meta


def test_no_texts_at_all(tmp_path):
    write_archive(tmp_path / "a", "thing", 1, {"texts": texts_of()}, {})
    assert read_archive(tmp_path / "a", "thing", 1)[0]["texts"].tolist() == []


def test_lone_surrogates_survive(tmp_path):
    write_archive(tmp_path / "a", "thing", 1, {"texts": texts_of("\udcff", "ok")}, {})
    assert read_archive(tmp_path / "a", "thing", 1)[0]["texts"].tolist() == ["\udcff", "ok"]


def test_nothing_is_pickled(tmp_path):
    path = tmp_path / "a"
    write_archive(path, "thing", 1, {"texts": texts_of("x"), "a": np.ones(2)}, {})
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_kind_and_version_are_checked(tmp_path):
    path = tmp_path / "a"
    write_archive(path, "thing", 2, {}, {})
    assert read_archive(path, "thing", 3) == ({}, {})
    with pytest.raises(FileFormatError, match="holds a twofold thing, not a model"):
        read_archive(path, "model", 2)
    with pytest.raises(FileFormatError, match=r"version 2, .* up to 1: upgrade"):
        read_archive(path, "thing", 1)


def test_truncated_files(tmp_path):
    path = tmp_path / "a"
    write_archive(path, "thing", 1, {"a": np.arange(500)}, {})
    whole = path.read_bytes()
    for end in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(FileFormatError, match=repr(str(path))):
            read_archive(path, "thing", 1)


def test_a_flipped_byte_in_an_array_is_noticed(tmp_path):
    path = tmp_path / "a"
    data = np.arange(500)
    write_archive(path, "thing", 1, {"a": data}, {})
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(data.tobytes()) + 40] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FileFormatError, match="damaged"):
        read_archive(path, "thing", 1)


@pytest.mark.parametrize("header", [b"", b"not JSON", b"[]", b"{}", b'{"kind": "thing"}'])
def test_damaged_headers(tmp_path, header):
    with (tmp_path / "a").open("wb") as file:
        np.savez(file, twofold=np.frombuffer(header, dtype=np.uint8))
    with pytest.raises(FileFormatError):
        read_archive(tmp_path / "a", "thing", 1)


def test_text_without_its_ends(tmp_path):
    header = json.dumps({"kind": "thing", "version": 1, "meta": {}}).encode()
    with (tmp_path / "a").open("wb") as file:
        text = {"t.utf8": np.zeros(3, dtype=np.uint8)}
        np.savez(file, twofold=np.frombuffer(header, dtype=np.uint8), **text)
    with pytest.raises(FileFormatError, match=r"t\.ends"):
        read_archive(tmp_path / "a", "thing", 1)


def test_foreign_files(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    np.save(tmp_path / "single.npy", np.ones(2))
    for name in ("other.npz", "single.npy"):
        with pytest.raises(FileFormatError, match=r"not a (file that twofold wrote|twofold file)"):
            read_archive(tmp_path / name, "thing", 1)


def test_files_that_cannot_be_opened(tmp_path):
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidInputError, match="cannot read"):
            read_archive(path, "thing", 1)
    with pytest.raises(InvalidInputError, match=r"cannot write .*folder"):
        write_archive(tmp_path / "none" / "a", "thing", 1, {}, {})


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch):
    path = tmp_path / "a"
    write_archive(path, "thing", 1, {"a": np.array([1])}, {})

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InvalidInputError, match="No space left"):
        write_archive(path, "thing", 1, {"a": np.array([2])}, {})
    assert read_archive(path, "thing", 1)[0]["a"].tolist() == [1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("field", ["method", "flags"])
def test_alien_compression_and_encryption_are_damage(field, tmp_path):
    """zipfile raises NotImplementedError and RuntimeError for these."""
    path = tmp_path / "file"
    write_archive(path, "thing", 1, {"a": np.arange(4)}, {})
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(signature, start)) >= 0:
            if field == "flags":
                content[start + at] |= 1
            else:
                content[start + at + 2] = 99
            start += 4
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="damaged"):
        read_archive(path, "thing", 1)


@pytest.mark.parametrize("n", [4, 1000])
def test_every_flipped_bit_in_the_header_of_an_array_is_noticed(n, tmp_path):
    """zipfile compares checksums after 4 KB, when numpy has parsed the header as Python."""
    path = tmp_path / "a"
    write_archive(path, "thing", 1, {"a": np.arange(n)}, {})
    whole = path.read_bytes()
    start = whole.index(b"\x93NUMPY")
    for at in range(start, whole.index(b"\n", start) + 1):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(FileFormatError, match="damaged"):
                read_archive(path, "thing", 1)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': ('<i8', 'fortran_order': False, 'shape': (4,), }",  # tokenize.TokenError
        "{'descr': '\\u', 'fortran_order': False, 'shape': (4,), }",  # SyntaxError
        "{'descr': '<i8', 'fortran_order': False, 'shape': (4L,), }",  # a warning
        "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999,), }",
        "{'descr': [('a', '<i8', 3, 4)], 'fortran_order': False, 'shape': (4,), }",
        "(" * 300 + ")" * 300,
        "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
    ],
)
def test_headers_that_numpy_cannot_parse_although_the_checksum_is_right(header, tmp_path):
    path = tmp_path / "a"
    write_archive(path, "thing", 1, {}, {})
    text = header.encode() + b"\n"
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(FileFormatError, match=r"'a' in .* damaged"):
        read_archive(path, "thing", 1)


def test_an_array_that_ends_before_its_data_is_compared_to_the_end(tmp_path):
    path = tmp_path / "a"
    write_archive(path, "thing", 1, {"a": np.arange(100_000)}, {})
    path.write_bytes(path.read_bytes().replace(b"(100000,)", b"(000000,)"))
    with pytest.raises(FileFormatError, match="damaged"):
        read_archive(path, "thing", 1)


posix = pytest.mark.skipif(os.name != "posix", reason="needs modes and links of POSIX")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, content: bytes = b"new") -> None:
    with replaced(path) as file:
        file.write(content)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_a_replaced_file_keeps_its_mode(mode, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(mode)
    with replaced(path) as file:
        assert {mode_of(each) for each in tmp_path.iterdir()} == {mode}  # also in the meantime
        file.write(b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", mode)


@posix
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_of_the_umask(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a") == mode


@posix
def test_a_replaced_file_keeps_its_owner_where_permitted(tmp_path, monkeypatch):
    path, asked = tmp_path / "a", []
    path.write_bytes(b"old")

    def refuse(_: object, owner: int, group: int) -> None:
        asked.append((owner, group))
        raise PermissionError(1, "Operation not permitted")

    status = path.stat()
    with monkeypatch.context() as patch:
        patch.setattr(os, "chown", refuse)
        write(path)
    assert asked == [(status.st_uid, -1), (-1, status.st_gid)]
    assert path.read_bytes() == b"new"
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
        write(path)
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@posix
@pytest.mark.parametrize("exists", [True, False])
def test_through_a_symbolic_link_its_target_is_written(exists, tmp_path):
    (tmp_path / "folder").mkdir()
    target, link, second = tmp_path / "folder" / "target", tmp_path / "link", tmp_path / "second"
    link.symlink_to(Path("folder") / "target")
    second.symlink_to(link)
    if exists:
        target.write_bytes(b"old")
        target.chmod(0o600)
    with replaced(second) as file:
        assert len(list(target.parent.iterdir())) == 1 + exists  # the temporary file
        file.write(b"new")
    assert link.is_symlink()
    assert second.is_symlink()
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()
    assert [each.name for each in target.parent.iterdir()] == ["target"]
    if exists:
        assert mode_of(target) == 0o600


@posix
def test_what_cannot_be_replaced_is_named_and_stays(tmp_path):
    folder, pipe, circle, lost = (tmp_path / name for name in ("folder", "pipe", "circle", "lost"))
    folder.mkdir()
    os.mkfifo(pipe)
    circle.symlink_to(circle)
    lost.symlink_to(tmp_path / "nowhere" / "a")
    for path, reason in (
        (folder, "Is a directory"),
        (pipe, "a device, a pipe or a socket"),
        (circle, "symbolic links"),
        (lost, "No such file"),
    ):
        with pytest.raises(InvalidInputError, match=f"cannot write '{path}': .*{reason}"):
            write(path)
    assert {each.name for each in tmp_path.iterdir()} == {"folder", "pipe", "circle", "lost"}
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert circle.is_symlink()
    assert lost.is_symlink()
