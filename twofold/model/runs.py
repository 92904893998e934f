"""Runs of `write_recommendations`: a model, block by block, continued after an interrupt.

The finished blocks are those of a table of progress in a database, or the files of a folder.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from twofold._common.cached import cached_property, state_of
from twofold._common.checks import check_names
from twofold._common.each import Each, serially
from twofold.exceptions import InvalidInputError
from twofold.io import connect
from twofold.io.connect import Source, connected
from twofold.io.names import TrackName
from twofold.io.sql_write import (
    check_absent,
    check_different,
    check_lasting,
    insert_columns,
    new_file,
    prepare_table,
    transaction,
)
from twofold.model.list_files import Columns, write_parquet
from twofold.model.part_folder import PartFolder

__all__ = [
    "Run", "columns_of", "lines_of", "own_progress", "write_blocks", "write_folder", "written_run",
]  # fmt: skip

Names = Mapping[Any, TrackName]

_RUN = "twofold.run"  # a key of the metadata of each part


def columns_of(
    names: Names | None,
    row: str = "pid",
    place: str = "place",
    col: str = "tid",
    score: str = "score",
) -> dict[str, str]:
    """Return the names of the columns of recommendations by their keys."""
    columns = {"row": row, "place": place, "col": col, "score": score}
    if names is not None:
        columns |= {"name": "name", "artist": "artist"}
    check_different("columns", *columns.values())
    return columns


def lines_of(ranking: Any, names: Names | None) -> Columns:
    """Return parallel columns of a ranking, without its padding."""
    mask = ranking.mask
    places = np.broadcast_to(np.arange(1, mask.shape[1] + 1), mask.shape)
    lines = {
        "row": np.repeat(ranking.row_ids, np.count_nonzero(mask, axis=1)),
        "place": places[mask],
        "col": ranking.col_ids[mask],
        "score": ranking.scores[mask],
    }
    if names is not None:
        unnamed = TrackName(None)
        found = [names.get(col, unnamed) for col in lines["col"].tolist()]
        lines["name"] = np.array([name for name, _ in found], dtype=object)
        lines["artist"] = np.array([artist for _, artist in found], dtype=object)
    return lines


@dataclass(frozen=True, eq=False)
class Run:
    """The recommendations for all rows of a model.

    Parameters
    ----------
    model : FactorModel
        A fitted model.
    n : int
        Number of recommendations for each row.
    names : mapping of column id to TrackName, optional
        As for `write_recommendations`. A continued run does not notice changed names, because
        `key` has only whether there are names.
    columns : mapping of str to str
        The result of `columns_of`.
    block : int
        Number of rows that are ranked and written together.
    """

    model: Any
    n: int
    names: Names | None
    columns: Mapping[str, str]
    block: int

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is computed on request."""
        return state_of(self)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.model.row_ids)

    @cached_property
    def key(self) -> str:
        """Digest of the model and what is written of it."""
        described = repr((self.n, self.names is None, list(self.columns.values())))
        digest = hashlib.blake2b(described.encode(), digest_size=16)
        for ids in (self.model.row_ids, self.model.col_ids):
            digest.update(repr(ids.tolist()).encode("utf-8", "surrogatepass"))
        matrix = self.model.pairings.matrix
        factors = (self.model.row_factors, self.model.col_factors)
        for array in (*factors, matrix.indptr, matrix.indices):
            contiguous: Any = np.ascontiguousarray(array)
            digest.update(contiguous)
        return digest.hexdigest()

    def starts(self) -> range:
        """Return the first rows of the blocks, at least one."""
        return range(0, max(self.n_rows, 1), self.block)

    def rankings(self) -> Iterator[Any]:
        """Yield the rankings of the blocks."""
        for first in self.starts():
            yield self.ranking(first, first + self.block)

    def ranking(self, first: int, stop: int) -> Any:
        """Return the ranking of some rows."""
        n = min(self.n, max(len(self.model.col_ids), 1))  # there are no more to be written
        return self.model.recommend(self.model.row_ids[first:stop], n)


def write_folder(folder: Path, run: Run, if_exists: str, each: Each = serially) -> None:
    """Write a Parquet file for each block that the folder does not have of the same run."""
    parts = PartFolder(folder, "recommendations", _RUN)
    found = parts.found(if_exists)
    (key,) = each(_key_of, run, [()])
    key = f"{key} {run.block}"
    wanted = {parts.part(i): first for i, first in enumerate(run.starts())}
    done = {
        part
        for part, own in found.items()
        if if_exists == "resume" and part in wanted and own == key.encode()
    }
    parts.keep(done)
    tasks = ((part, first, key) for part, first in wanted.items() if part not in done)
    for _ in each(_write_part, run, tasks):
        pass


def _key_of(run: Run) -> str:
    return run.key


def _write_part(run: Run, part: Path, first: int, key: str) -> None:
    lines = lines_of(run.ranking(first, first + run.block), run.names)
    block = {name: lines[column] for column, name in run.columns.items()}
    write_parquet(part, [block], {_RUN: key})


def write_blocks(
    target: Source, table: sa.Table, run: Run, if_exists: str, each: Each = serially
) -> None:
    """Write the rows of a run that a table does not have, each block in its own transaction.

    With ``if_exists="replace"`` all rows are written, and with "error" there must be no table.
    """
    check_lasting(target)
    progress = _progress_table(table)
    (key,) = each(_key_of, run, [()])
    with transaction(target) as connection:
        done: list[tuple[int, int]] = []
        if if_exists == "resume":
            found = _written_run(connection, table)
            done = found[1] if found is not None and found[0] == key else []
        else:
            own_progress(connection, table, "replace")
            check_absent(connection, table, if_exists)
        if not done:
            # The progress first: MySQL keeps tables that are made in a transaction that fails.
            for one in (progress, table):
                prepare_table(connection, one, "replace")
    tasks = (
        (target, table, key, first, min(first + run.block, stop))
        for begin, stop in _gaps(done, run.n_rows)
        for first in range(begin, stop, run.block)
    )
    for _ in each(_write_block, run, tasks):
        pass


def _gaps(done: list[tuple[int, int]], n_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges between finished ones."""
    begin = 0
    for first, n in sorted([*done, (n_rows, 0)]):
        if first > begin:
            yield begin, first
        begin = max(begin, first + n)


def _write_block(
    run: Run, target: Source, table: sa.Table, key: str, first: int, stop: int
) -> None:
    """Insert the lines of some rows, unless it has been done."""
    lines = lines_of(run.ranking(first, stop), run.names)
    progress = _progress_table(table)
    row = {"first_row": first, "n_rows": stop - first, "run": key}
    with transaction(target) as connection:
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(progress), row)
        except IntegrityError:
            return  # by a task of the same run, whose worker or client was lost
        insert_columns(connection, table, lines)


def _progress_table(table: sa.Table) -> sa.Table:
    """Return the table of the finished blocks of rows, with the key of their run."""
    return sa.Table(
        f"{table.name}_progress",
        sa.MetaData(),
        sa.Column("first_row", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.Unicode(64), nullable=False),
        schema=table.schema,
    )


def own_progress(connection: sa.Connection, table: sa.Table, if_exists: str) -> sa.Table | None:
    """Return the table of progress if there is one of a run.

    Raises
    ------
    InvalidInputError
        If a table of that name is not of a run and `if_exists` is "replace" or "resume".
    """
    progress = _progress_table(table)
    if not sa.inspect(connection).has_table(progress.name, schema=progress.schema):
        return None
    if {*connect.columns_of(connection, progress.name, progress.schema)} == {*progress.c.keys()}:
        return progress
    if if_exists in ("error", "append"):
        return None
    raise InvalidInputError(
        f"table {progress.name!r} exists, but is not of a run: give another name for the "
        "recommendations"
    )


def written_run(target: Source, table: str) -> tuple[str, int] | None:
    """Return the key of the run in a table and the number of its finished rows.

    Returns
    -------
    tuple of str and int, or None
        None if there is no table, or no block of it is finished.

    Raises
    ------
    DatabaseReadError
        If the database cannot be reached.
    InvalidInputError
        If the database is in memory, the table or that of its progress is not of a run, or its name
        is not a text.
    """
    check_names({"table": table}, {})
    check_lasting(target)
    if new_file(target) is not None:
        return None
    with connected(target, create=True) as connection:
        found = _written_run(connection, sa.Table(table, sa.MetaData()))
    return None if found is None else (found[0], sum(n for _, n in found[1]))


def _written_run(
    connection: sa.Connection, table: sa.Table
) -> tuple[str, list[tuple[int, int]]] | None:
    """Return the key of the run in a table, and the first row and the number of each block."""
    progress = own_progress(connection, table, "resume")
    if not sa.inspect(connection).has_table(table.name, schema=table.schema):
        return None
    if progress is None:
        raise InvalidInputError(
            f"table {table.name!r} exists, but is not of a run that can continue: drop it, or "
            "give another name"
        )
    blocks = connection.execute(sa.select(progress)).all()
    if not blocks:
        return None
    return str(blocks[0].run), [(int(block.first_row), int(block.n_rows)) for block in blocks]
