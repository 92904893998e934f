"""The disk cache of compiled kernels.

numba's own cache is invalidated by changes of a kernel's file, but not by changes of a function
that it calls from another file. Here the name of the folder is a digest of all kernel files. Each
compiled signature is one file, written under a temporary name and renamed, so that concurrent
processes never read a partial file.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, serialize
from numba.core.runtime import rtsys

from twofold.exceptions import KernelCacheWarning

_MAX_STAMPS = 4
_DIGEST_BYTES = 32


def _stamp() -> str:
    """Return a digest of every kernel file, of numba's settings and of the versions."""
    config = numba.config
    settings = [str(config.OPT), config.BOUNDSCHECK, config.LOOP_VECTORIZE, config.SLP_VECTORIZE]
    digest = hashlib.sha256(f"{numba.__version__} {settings} {sys.flags.optimize}".encode())
    root = Path(__file__).parent
    for path in (root.parent / "__init__.py", *sorted(root.rglob("*.py"))):
        if not path.exists():
            continue  # in a zip file, or distributed without sources
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root.parent)} {len(content)} ".encode() + content)
    return f"{sys.implementation.cache_tag}-{digest.hexdigest()[:20]}"


# Computed at import, because the files may be edited before the first compilation.
_STAMP = _stamp()


def _is_trusted(info: os.stat_result) -> bool:
    """Return whether only this user and root can have written the file, which is machine code."""
    return not hasattr(os, "geteuid") or (
        info.st_uid in (0, os.geteuid()) and not info.st_mode & 0o022
    )


def _user_cache() -> Path:
    home = Path(os.path.expanduser("~"))  # "~" without a home folder, where Path.home() raises
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return Path(xdg) if os.path.isabs(xdg) else home / ".cache"


def _open_folder(parent: Path) -> Path:
    """Return the folder of these kernels in ``parent / "twofold"``; create it if necessary."""
    if not parent.is_absolute():
        raise OSError("there is no home folder")
    root = parent / "twofold"
    folder = root / _STAMP
    is_new = not folder.is_dir()
    if is_new:
        parent.mkdir(parents=True, exist_ok=True)
        root.mkdir(mode=0o755, exist_ok=True)
    if not _is_trusted(root.stat()):
        raise OSError(f"{root} can be written by another user")
    if is_new:
        folder.mkdir(mode=0o755, exist_ok=True)
        _remove_old_stamps(root)
    if not _is_trusted(folder.stat()):
        raise OSError(f"{folder} can be written by another user")
    with contextlib.suppress(OSError):
        os.utime(folder)  # the time of the last use
    return folder


def _remove_old_stamps(root: Path) -> None:
    """Remove all but the last used folders; a process that uses a removed one recreates it."""
    with contextlib.suppress(OSError):  # another process may remove them at the same time
        folders = sorted(root.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for folder in folders[_MAX_STAMPS:]:
            shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _warn(reason: str) -> None:
    warnings.warn(
        f"compiled kernels are not cached, so every process compiles them again ({reason}): "
        "set NUMBA_CACHE_DIR to a folder of this user with 50 MB of free space",
        KernelCacheWarning,
        stacklevel=3,
    )


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder of the compiled kernels; if none can be used, warn once and return None.

    It is in ``NUMBA_CACHE_DIR`` if that is set and usable, otherwise in the user's cache folder. A
    folder that another user owns or can write to is not used.
    """
    chosen = numba.config.CACHE_DIR
    reasons = []
    for parent in ([Path(chosen).absolute()] if chosen else []) + [_user_cache()]:
        try:
            return _open_folder(parent)
        except OSError as error:
            reasons.append(str(error))
    _warn("; ".join(reasons))
    return None


def _fields(numba_types: Any) -> list[Any]:
    """Return the field names of named tuples, which numba's type names do not contain."""
    return [
        (getattr(numba_type, "fields", ()), _fields(getattr(numba_type, "types", ())))
        for numba_type in numba_types
    ]


class KernelCache(caching.NullCache):
    """Cache of one function's signatures, with the interface that numba's dispatchers use."""

    # Converts to and from picklable objects. Created without __init__, which chooses a folder.
    _numba = caching.CompileResultCacheImpl.__new__(caching.CompileResultCacheImpl)

    def __init__(self, function: Any) -> None:
        self._function = function

    @property
    def cache_path(self) -> str | None:
        """The cache folder, for numba's statistics."""
        folder = cache_folder()
        return None if folder is None else str(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code compiled for the signature, or None if it is not cached."""
        folder = cache_folder()
        if folder is None:
            return None
        # Only the runtime; the whole initialisation of the compiler takes a third of a second.
        rtsys.initialize(target_context)
        key = self._key(sig, target_context.codegen())
        path = self._path(folder, key)
        try:
            with path.open("rb") as file:
                if not _is_trusted(os.fstat(file.fileno())):
                    return None
                digest, content = file.read(_DIGEST_BYTES), file.read()
            if digest != hashlib.sha256(content).digest():
                return None
            stored_key, data = pickle.loads(content)
            return self._numba.rebuild(target_context, data) if stored_key == key else None
        except Exception:
            return None  # A missing, damaged or unreadable file is compiled and written again.

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the code compiled for the signature; an OSError becomes a warning."""
        folder = cache_folder()
        if folder is None or data.library.has_dynamic_globals or _stamp() != _STAMP:
            return
        key = self._key(sig, data.codegen)
        path = self._path(folder, key)
        content = serialize.dumps((key, self._numba.reduce(data)))
        try:
            folder.mkdir(mode=0o755, exist_ok=True)  # another process may have removed it
            _write_atomically(path, hashlib.sha256(content).digest() + content)
        except OSError as error:
            if not path.exists():  # On Windows, another process may have written it.
                _warn(f"{folder}: {error.strerror}")

    def _key(self, sig: Any, codegen: Any) -> str:
        code = self._function.__code__
        cells = tuple(cell.cell_contents for cell in self._function.__closure__ or ())
        name = (self._function.__module__, self._function.__qualname__, code.co_firstlineno)
        closure = hashlib.sha256(serialize.dumps(cells)).hexdigest()
        fields = _fields(getattr(sig, "args", sig))
        return repr((name, sig, fields, codegen.magic_tuple(), closure))

    def _path(self, folder: Path, key: str) -> Path:
        digest = hashlib.sha256(key.encode()).hexdigest()[:20]
        return folder / f"{self._function.__name__}-{digest}.kernel"


def _write_atomically(path: Path, content: bytes) -> None:
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with open(number, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
