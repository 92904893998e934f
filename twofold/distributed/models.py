"""Models for the workers: a model file, which every worker maps, or a model in memory."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from twofold.exceptions import ClusterError
from twofold.model import FactorModel

__all__ = ["shared_model"]


class FileModel(FactorModel):
    """A model of a file, which a pickle has the path of."""

    file: tuple[str, int, int]
    """The path, the time of its last change in nanoseconds, and its size."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _same_file, (self.file,)


def shared_model(model: Any) -> Any:
    """Return a model that is sent to workers by its file, if it is given as a path."""
    if not isinstance(model, str | os.PathLike):
        return model
    opened: FileModel = FileModel.load(model, mmap=True)
    path = Path(model).resolve()
    opened.file = (str(path), *_stamp(path))
    return opened


@lru_cache(maxsize=4)
def _same_file(file: tuple[str, int, int]) -> FileModel:
    """Open the file of a model on a worker."""
    opened: FileModel = FileModel.load(file[0], mmap=True)
    opened.file = file
    if _stamp(Path(file[0])) != file[1:]:
        raise ClusterError(
            f"the worker has another file {file[0]!r} than the client: give the path of a file "
            "system that all of them share, or the model instead of its path"
        )
    return opened


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
