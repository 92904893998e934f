"""`write_factors` and `write_recommendations`: factors and rankings to databases and files."""

import csv
import gzip
import hashlib
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from twofold._common.atomic import replaced
from twofold._common.checks import check_choice, check_names, check_whole
from twofold.data.columns import import_pyarrow
from twofold.exceptions import InvalidInputError
from twofold.io.connect import Source
from twofold.io.names import TrackName
from twofold.io.pgvector import Vector, as_texts, check_has_vectors
from twofold.io.sql_write import (
    ROW_NUMBER,
    IfExists,
    check_different,
    check_lasting,
    id_type,
    insert_columns,
    prepare_table,
    transaction,
)

__all__ = ["write_factors", "write_recommendations"]

_BLOCK = 20_000  # rows of a model that are ranked or written together

Columns = dict[str, NDArray[Any]]


def write_factors(
    model: Any,
    target: Source | os.PathLike[str],
    side: Literal["row", "col"],
    *,
    table: str | None = None,
    id_column: str | None = None,
    vectors: bool = False,
    schema: str | None = None,
    if_exists: IfExists = "error",
) -> None:
    """Write the factors of one side: one line for each id.

    In a database a line has the id, which is the primary key, and a column for each factor, ``f0``,
    ``f1`` and so on. In Parquet, and in PostgreSQL with ``vectors=True``, it has the id and
    ``factors``, a list of floats or a vector.

    A table is written in one transaction, as by `write_sql`, and a file appears under its name when
    it is complete. To write both sides in one transaction, give a connection that has begun one.

    Parameters
    ----------
    model : FactorModel or FoldedRows
        A fitted model; or new rows that `FactorModel.fold_in` folded in, which have only one side.
    target : str, path, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database, as for `write_sql`; or a path that ends in ``.parquet``, which needs
        ``twofold[frames]``.
    side : {"row", "col"}
        The playlists or the tracks.
    table : str, optional
        The table, by default ``row_factors`` or ``col_factors``.
    id_column : str, optional
        Its column of ids, by default ``pid`` for rows and ``tid`` for columns.
    vectors : bool, default False
        Write one column ``factors`` of the type ``vector`` of pgvector, in single precision. The
        database is PostgreSQL in which ``CREATE EXTENSION vector`` was run. A query orders by the
        inner product, ``ORDER BY factors <#> vector_of_a_row LIMIT 10``.
    schema : str, optional
        The schema of the table, which has to exist.
    if_exists : {"error", "replace", "append"}, default "error"
        What to do if the table or file exists: raise; replace it; or, for a table, add to it.

    Raises
    ------
    DatabaseReadError
        If the database cannot be reached or written, or the table has one of the ids already.
    InvalidInputError
        If the model is not fitted or has no such side, the table or file exists and `if_exists` is
        ``"error"``, the file cannot be written, or `vectors` is True and the target has none.

    Examples
    --------
    >>> write_factors(model, "sqlite:///music.db", "col")  # doctest: +SKIP
    >>> write_factors(model, "postgresql://host/music", "col", vectors=True)  # doctest: +SKIP
    >>> write_factors(model, "rows.parquet", "row", if_exists="replace")  # doctest: +SKIP
    """
    check_choice(side, "side", ("row", "col"))
    check_choice(if_exists, "if_exists", ("error", "replace", "append"))
    ids, factors = _side_of(model, side)
    name = ("pid" if side == "row" else "tid") if id_column is None else id_column
    table = f"{side}_factors" if table is None else table
    check_names({"table": table, "id_column": name}, {"schema": schema})
    file = _file_of(target, if_exists, (".parquet",))
    if vectors or file is not None:
        check_different("columns", name, "factors")
    starts = range(0, max(len(ids), 1), _BLOCK)  # once for no ids too, which gives the columns
    blocks = (
        {"id": ids[start : start + _BLOCK], "factors": factors[start : start + _BLOCK]}
        for start in starts
    )
    if file is not None and vectors:
        raise InvalidInputError(
            f"vectors=True is for PostgreSQL, but {str(file)!r} is a file: leave it out, because a "
            "file has lists of floats"
        )
    if file is not None:
        _write_parquet(file, ({name: block["id"], "factors": block["factors"]} for block in blocks))
        return
    k = factors.shape[1]
    kinds: dict[str, Any] = {f"f{position}": sa.Double() for position in range(k)}
    if vectors:
        kinds = {"factors": Vector(k)}
    check_different("columns", name, *kinds)
    key = ROW_NUMBER if ids.dtype != object else id_type(ids)
    columns: list[sa.Column[Any]] = [
        sa.Column(name, key, key="id", primary_key=True, autoincrement=False),
        *(sa.Column(number, kind, nullable=False) for number, kind in kinds.items()),
    ]
    with transaction(cast(Source, target)) as connection:  # a path would be a file
        if vectors:
            check_has_vectors(connection)
        made = prepare_table(
            connection, sa.Table(table, sa.MetaData(), *columns, schema=schema), if_exists
        )
        for block in blocks:
            own, rows = {"id": block["id"]}, block["factors"]
            own |= {"factors": as_texts(rows)} if vectors else dict(zip(kinds, rows.T, strict=True))
            insert_columns(connection, made, own)


def _side_of(model: Any, side: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the ids and factors of a side."""
    try:
        ids, factors = (getattr(model, f"{side}_{what}") for what in ("ids", "factors"))
    except InvalidInputError:
        raise
    except AttributeError:
        raise InvalidInputError(
            f"model is a {type(model).__name__}, which has no {side}_factors with ids: give a "
            'fitted FactorModel, or rows that it folded in and side="row"'
        ) from None
    return ids, factors


def write_recommendations(
    recommendations: Any,
    target: Source | os.PathLike[str],
    table: str = "recommendations",
    row: str = "pid",
    col: str = "tid",
    *,
    place: str = "place",
    score: str = "score",
    n: int = 10,
    names: Mapping[Any, TrackName] | None = None,
    schema: str | None = None,
    if_exists: IfExists | Literal["resume"] = "error",
) -> None:
    """Write recommendations: a line for each row and recommended column, with place and score.

    A table is written in one transaction, as by `write_sql`, with an index on the row ids; a file
    appears under its name when it is complete. Rows without recommendations have no line.

    Parameters
    ----------
    recommendations : Ranking or FactorModel
        The result of `FactorModel.recommend` or of another method that ranks; or a fitted model, of
        which all rows are ranked, a block of rows at a time.
    target : str, path, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database, as for `write_sql`; or a path that ends in ``.csv``, ``.csv.gz`` or
        ``.parquet``, of which the last needs ``twofold[frames]``.
    table : str, default "recommendations"
        The table.
    row : str, default "pid"
        Its column for the row ids.
    col : str, default "tid"
        Its column for the ids of the recommended columns.
    place : str, default "place"
        Its column for the place in the ranking: 1 is the best.
    score : str, default "score"
        Its column for the prediction p . q.
    n : int, default 10
        Number of recommendations for each row of a model, >= 1.
    names : mapping of column id to TrackName, optional
        Names of columns, as `twofold.io.read_names` returns them. With it there are two more
        columns, ``name`` and ``artist``, which are empty (NULL) where there is no name.
    schema
        As for `write_factors`.
    if_exists : {"error", "replace", "append", "resume"}, default "error"
        As for `write_factors`. With "resume" every block of rows of a model has its own
        transaction, so that a run that was interrupted goes on at the next call with the same model
        and arguments. The table ``<table>_progress`` contains the run and the number of its
        finished rows. A complete run writes nothing, and a run of another model starts from the
        first row. Its rows are visible before the run is complete.

    Raises
    ------
    DatabaseReadError
        If the database cannot be reached, or refuses to be written to.
    InvalidInputError
        If neither a ranking nor a fitted model is given, the table or file exists and `if_exists`
        is ``"error"``, the file cannot be written, or "resume" is given for a file, a ranking or a
        table that it did not write.

    Examples
    --------
    >>> ranking = model.recommend(pairings, n=10)  # doctest: +SKIP
    >>> write_recommendations(ranking, "sqlite:///music.db")  # doctest: +SKIP
    >>> names = read_names("sqlite:///music.db", ranking.col_ids)  # doctest: +SKIP
    >>> write_recommendations(ranking, "lists.csv.gz", names=names)  # doctest: +SKIP
    """
    check_choice(if_exists, "if_exists", ("error", "replace", "append", "resume"))
    check_names(
        {"table": table, "row": row, "col": col, "place": place, "score": score}, {"schema": schema}
    )
    check_whole(n, "n", 1)
    columns = {"row": row, "place": place, "col": col, "score": score}
    if names is not None:
        columns |= {"name": "name", "artist": "artist"}
    check_different("columns", *columns.values())
    row_ids, col_ids, rankings = _rankings(recommendations, n)
    blocks = (_lines(ranking, names) for ranking in rankings)
    file = _file_of(target, if_exists, (".csv", ".csv.gz", ".parquet"))
    if file is not None:
        write = _write_parquet if file.suffix.lower() == ".parquet" else _write_csv
        write(file, ({columns[key]: part for key, part in block.items()} for block in blocks))
        return
    kinds = {"row": id_type(row_ids), "place": sa.Integer(), "col": id_type(col_ids),
             "score": sa.Double()}  # fmt: skip
    described = [
        sa.Column(
            name,
            kinds.get(key, sa.UnicodeText()),
            key=key,
            nullable=key not in kinds,
            index=key == "row",
        )
        for key, name in columns.items()
    ]
    wanted = sa.Table(table, sa.MetaData(), *described, schema=schema)
    if if_exists == "resume":
        _resume(cast(Source, target), wanted, recommendations, n, names)
        return
    with transaction(cast(Source, target)) as connection:  # a path would be a file
        made = prepare_table(connection, wanted, if_exists)
        _progress_of(wanted).drop(connection, checkfirst=True)  # its rows are no longer the table
        for block in blocks:
            insert_columns(connection, made, block)


def _resume(
    target: Source, table: sa.Table, model: Any, n: int, names: Mapping[Any, TrackName] | None
) -> None:
    """Write the rows of a model that are not done, each block in its own transaction."""
    if not hasattr(model, "recommend"):
        raise InvalidInputError('if_exists="resume" is for a model, of which all rows are ranked')
    check_lasting(target)
    progress = _progress_of(table)
    described = repr((n, names is None, [column.name for column in table.columns]))
    digest = hashlib.blake2b(described.encode(), digest_size=16)
    for ids in (model.row_ids, model.col_ids):
        digest.update(repr(ids.tolist()).encode("utf-8", "surrogatepass"))
    matrix = model.pairings.matrix
    for array in (model.row_factors, model.col_factors, matrix.indptr, matrix.indices):
        contiguous: Any = np.ascontiguousarray(array)
        digest.update(contiguous)
    with transaction(target) as connection:
        n_done = _begin_or_go_on(connection, table, progress, digest.hexdigest())
    row_ids, n = model.row_ids, min(n, max(len(model.col_ids), 1))
    for start in range(n_done, len(row_ids), _BLOCK):
        block = row_ids[start : start + _BLOCK]
        lines = _lines(model.recommend(block, n), names)
        with transaction(target) as connection:
            insert_columns(connection, table, lines)
            connection.execute(sa.update(progress).values(n_rows=start + len(block)))


def _progress_of(table: sa.Table) -> sa.Table:
    """Return the table with the run of `_resume` and its number of finished rows."""
    return sa.Table(
        f"{table.name}_progress",
        sa.MetaData(),
        sa.Column("run", sa.Unicode(64), nullable=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=False),
        schema=table.schema,
    )


def _begin_or_go_on(
    connection: sa.Connection, table: sa.Table, progress: sa.Table, run: str
) -> int:
    """Return the number of rows that a run has done; make its tables if it has not begun."""
    exists = [
        sa.inspect(connection).has_table(one.name, schema=one.schema) for one in (table, progress)
    ]
    if all(exists):
        found = connection.execute(sa.select(progress)).first()
        if found is not None and found.run == run:
            return int(found.n_rows)
    elif exists[0]:
        raise InvalidInputError(
            f"table {table.name!r} exists, but is not of a run that can go on: drop it, or give "
            "another name"
        )
    for one in (table, progress):
        prepare_table(connection, one, "replace")
    connection.execute(sa.insert(progress), {"run": run, "n_rows": 0})
    return 0


def _rankings(recommendations: Any, n: int) -> tuple[Any, Any, Iterable[Any]]:
    """Return the ids of rows and columns, and rankings block by block."""
    if hasattr(recommendations, "recommend"):
        row_ids, col_ids = recommendations.row_ids, recommendations.col_ids
        n = min(n, max(len(col_ids), 1))  # there are no more to be written
        blocks = (row_ids[start : start + _BLOCK] for start in range(0, len(row_ids), _BLOCK))
        return row_ids, col_ids, (recommendations.recommend(block, n) for block in blocks)
    if all(hasattr(recommendations, part) for part in ("row_ids", "col_ids", "scores", "mask")):
        col_ids = recommendations.col_ids[recommendations.mask]
        return recommendations.row_ids, col_ids, [recommendations]
    raise InvalidInputError(
        f"recommendations is a {type(recommendations).__name__}: give what "
        "FactorModel.recommend returns, or a fitted FactorModel"
    )


def _lines(ranking: Any, names: Mapping[Any, TrackName] | None) -> Columns:
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


def _file_of(target: Any, if_exists: str, endings: tuple[str, ...]) -> Path | None:
    """Return the file to write, by the ending of its name; None for a database."""
    is_path = isinstance(target, os.PathLike)
    is_file = is_path or (isinstance(target, str) and "://" not in target)
    has_ending = is_file and os.fspath(target).lower().endswith(endings)
    if not is_path and not has_ending:
        return None
    file = Path(target)
    if not has_ending:
        raise InvalidInputError(
            f"the target {str(file)!r} is neither a file *{', *'.join(endings)} nor a database: "
            "for that give a URL, such as sqlite:///my.db"
        )
    if if_exists in ("append", "resume"):
        raise InvalidInputError(
            f'{str(file)!r} is a file, which cannot be added to: use if_exists="replace", or '
            "another file"
        )
    if if_exists == "error" and file.exists():
        raise InvalidInputError(f'{str(file)!r} exists: use if_exists="replace", or another file')
    return file


def _write_csv(file: Path, blocks: Iterable[Columns]) -> None:
    """Write blocks of the same columns with a header, compressed if the name ends in .gz."""
    with replaced(file) as opened, ExitStack() as stack:
        target: Any = opened
        if file.suffix.lower() == ".gz":  # without a time, for the same bytes at any time
            target = stack.enter_context(gzip.GzipFile("", "wb", 6, opened, mtime=0))
        text = io.TextIOWrapper(target, encoding="utf-8", newline="")
        lines = csv.writer(text, lineterminator="\n")
        try:
            for number, block in enumerate(blocks):
                if not number:
                    lines.writerow(block)
                lines.writerows(zip(*(part.tolist() for part in block.values()), strict=True))
            text.flush()
        except UnicodeEncodeError as error:
            raise _not_encodable(error) from error
        finally:
            text.detach()


def _write_parquet(file: Path, blocks: Iterable[Columns]) -> None:
    """Write blocks of the same columns, of which two-dimensional ones become lists."""
    pa = import_pyarrow()
    from pyarrow import parquet

    with replaced(file) as opened:
        writer = None
        try:
            for block in blocks:
                table = pa.table({name: _arrow(column) for name, column in block.items()})
                writer = writer or parquet.ParquetWriter(opened, table.schema)
                writer.write_table(table)
        except UnicodeEncodeError as error:
            raise _not_encodable(error) from error
        finally:
            if writer is not None:
                writer.close()


def _not_encodable(error: UnicodeEncodeError) -> InvalidInputError:
    return InvalidInputError(
        f"the text {error.object!r} cannot be encoded as UTF-8: replace its surrogates"
    )


def _arrow(column: NDArray[Any]) -> Any:
    pa = import_pyarrow()
    if column.dtype == object:
        return pa.array(column.tolist(), pa.string())
    if column.ndim == 1:
        return pa.array(column)
    ends = np.arange(0, column.size + 1, column.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, pa.array(column.ravel()))
