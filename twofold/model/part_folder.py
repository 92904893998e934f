"""Folders of Parquet files that a run writes, one for each block of rows, and can continue."""

import re
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from twofold.data.columns import import_pyarrow
from twofold.exceptions import InvalidInputError

__all__ = ["PartFolder"]

_PART = re.compile(r"part-\d{5,}\.parquet")


@dataclass(frozen=True)
class PartFolder:
    """A folder with ``part-00000.parquet`` and so on.

    Parameters
    ----------
    path : Path
        The folder.
    content : str
        What the parts contain, for errors.
    name : str
        The key of the metadata of a part that has the key of its run.
    """

    path: Path
    content: str
    name: str

    def part(self, number: int) -> Path:
        """Return the file of a block."""
        return self.path / f"part-{number:05}.parquet"

    def found(self, if_exists: str) -> dict[Path, bytes]:
        """Return the parts in the folder with the keys of their runs.

        Raises
        ------
        InvalidInputError
            If there are parts and `if_exists` is "error" or "append", there are other files, the
            folder cannot be read, or pyarrow is not installed.
        """
        import_pyarrow()
        if if_exists == "append":
            raise InvalidInputError(
                f'{str(self.path)!r} is a folder: use if_exists="resume" or "replace", or another '
                "folder"
            )
        with self._usable():
            found = self._parts()
        if found and if_exists == "error":
            raise InvalidInputError(
                f'{str(self.path)!r} has parts of {self.content}: use if_exists="resume" or '
                '"replace", or another folder'
            )
        return found

    def keep(self, parts: Set[Path]) -> None:
        """Make the folder, or delete all files of it but some parts.

        Among these are the files of a killed process, with which polars does not read the folder.
        """
        with self._usable():
            self.path.mkdir(exist_ok=True)
            for path in {*self.path.glob(".part-*.parquet.*.tmp"), *self._parts()} - parts:
                path.unlink()

    def key_of(self, part: Path) -> bytes | None:
        """Return the key of the run that wrote a file; None if it is not one of these parts."""
        from pyarrow import ArrowException, parquet

        with suppress(OSError, ArrowException):
            key: bytes | None = (parquet.read_schema(part).metadata or {}).get(self.name.encode())
            return key
        return None

    def _parts(self) -> dict[Path, bytes]:
        found = {}
        for path in sorted(self.path.iterdir()) if self.path.exists() else ():
            if path.name.startswith((".", "_")):  # readers of folders ignore these
                continue
            key = self.key_of(path) if _PART.fullmatch(path.name) else None
            if key is None:
                raise InvalidInputError(
                    f"{str(path)!r} is not a part of {self.content}: delete it, or give another "
                    "folder"
                )
            found[path] = key
        return found

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InvalidInputError(
                f"cannot write to the folder {str(self.path)!r}: {error.strerror or error}; check "
                "that the folder that contains it exists and may be written to"
            ) from error
