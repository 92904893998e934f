"""How files are replaced."""

import os
import stat
from pathlib import Path

import pytest

from twofold._common.atomic import replaced
from twofold.exceptions import InvalidInputError

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
    with pytest.raises(InvalidInputError, match="the path is '/': give the name of a file"):
        write("/")
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
