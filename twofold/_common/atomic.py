"""Files that appear under their name when they are complete."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from twofold._common.checks import check_path
from twofold.exceptions import InvalidInputError

__all__ = ["Path_", "replaced"]

Path_ = str | os.PathLike[str]


@contextmanager
def replaced(path: Path_) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name when the block ends without an error.

    The new file gets the mode of the old one and, where permitted, its owner and group. Of a
    symbolic link the target is written, and the link stays.

    Raises
    ------
    InvalidInputError
        If the file cannot be written; a file of this name stays as it was.
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
