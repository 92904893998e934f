"""`write_factors` and `write_recommendations`: factors and rankings to databases and files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, cast

import sqlalchemy as sa
from numpy.typing import NDArray

from twofold._common.checks import check_choice, check_names, check_whole
from twofold._common.each import Each, serially
from twofold.exceptions import InvalidInputError
from twofold.io.connect import Source
from twofold.io.names import TrackName
from twofold.io.pgvector import Vector, as_texts, check_has_vectors
from twofold.io.sql_write import (
    ROW_NUMBER,
    IfExists,
    check_different,
    id_type,
    insert_columns,
    prepare_table,
    transaction,
)
from twofold.model.list_files import write_csv, write_parquet
from twofold.model.runs import (
    Run,
    columns_of,
    lines_of,
    own_progress,
    write_blocks,
    write_folder,
)

__all__ = ["BLOCK", "Writing", "folder_of", "write_factors", "write_recommendations"]

_LISTS = (".csv", ".csv.gz", ".parquet")  # endings of files
BLOCK = 20_000  # rows of a model that are ranked or written together


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
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.solvers import ALS
    >>> pairings = Pairings.from_arrays([1, 1, 2], [7, 9, 7])
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    >>> write_factors(model, "sqlite:///music.db", "col")  # the table col_factors
    >>> write_factors(model, "rows.parquet", "row")
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
    starts = range(0, max(len(ids), 1), BLOCK)  # once for no ids too, which gives the columns
    blocks = (
        {"id": ids[start : start + BLOCK], "factors": factors[start : start + BLOCK]}
        for start in starts
    )
    if file is not None and vectors:
        raise InvalidInputError(
            f"vectors=True is for PostgreSQL, but {str(file)!r} is a file: leave it out, because a "
            "file has lists of floats"
        )
    if file is not None:
        write_parquet(file, ({name: block["id"], "factors": block["factors"]} for block in blocks))
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

    A folder gets a Parquet file for each 20,000 rows of a model, ``part-00000.parquet`` and so on,
    which programs read as one data set. Each part appears when it is complete.

    Parameters
    ----------
    recommendations : Ranking or FactorModel
        The result of `FactorModel.recommend` or of another method that ranks; or a fitted model, of
        which all rows are ranked, a block of rows at a time, so that the memory is that of a block.
        In the result of `FactorModel.recommend_rows` the rows are the given columns: write it with
        ``row="tid", col="pid"``, and without `names`.
    target : str, path, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database, as for `write_sql`; a path that ends in ``.csv``, ``.csv.gz`` or ``.parquet``;
        or, for a model, a folder: a text that ends in ``/``, a `pathlib.Path` without an ending, or
        a folder that exists. Parquet needs ``twofold[frames]``.
    table : str, default "recommendations"
        The table.
    row : str, default "pid"
        Its column for ``row_ids`` of the ranking.
    col : str, default "tid"
        Its column for ``col_ids`` of the ranking, the recommended ids.
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
        As for `write_factors`. With "replace" the old parts of a folder are deleted first. With
        "resume" a run for all rows of a model that was interrupted continues at the next call with
        the same model and arguments; changed `names` are not noticed. Every block of rows of a
        table has its own transaction, and the table ``<table>_progress`` contains the run and the
        number of its finished rows; a part of a folder contains its run. A complete run writes
        nothing, and a run of another model starts from the first row. Its rows are visible before
        the run is complete.

    Raises
    ------
    DatabaseReadError
        If the database cannot be reached, or refuses to be written to.
    InvalidInputError
        If neither a ranking nor a fitted model is given, the table or file exists and `if_exists`
        is ``"error"``, the file cannot be written, "resume" is given for a file, a ranking or a
        table that it did not write, a folder has other files, or a table ``<table>_progress`` is
        not of a run and `if_exists` is "replace" or "resume".

    Examples
    --------
    >>> from twofold import FactorModel, Pairings
    >>> from twofold.solvers import ALS
    >>> pairings = Pairings.from_arrays([1, 1, 2], [7, 9, 7])
    >>> model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    >>> write_recommendations(model.recommend(pairings, n=1), "lists.csv")
    >>> write_recommendations(model, "sqlite:///music.db", n=1)  # of all rows of the model
    >>> write_recommendations(model, "lists/", n=1, if_exists="resume")  # Parquet
    """
    Writing.of(
        recommendations, target, table, row, col, place=place, score=score, n=n, names=names,
        schema=schema, if_exists=if_exists,
    ).write()  # fmt: skip


@dataclass(frozen=True, eq=False)
class Writing:
    """The checked arguments of `write_recommendations`.

    Parameters
    ----------
    recommendations, target, names, schema, if_exists
        As for `write_recommendations`.
    table : str
        Name of the table.
    columns : mapping of str to str
        The result of `columns_of`.
    run : Run, optional
        That of a model; None for a ranking.
    """

    recommendations: Any
    target: Any
    table: str
    columns: Mapping[str, str]
    names: Mapping[Any, TrackName] | None
    schema: str | None
    if_exists: IfExists | Literal["resume"]
    run: Run | None

    @classmethod
    def of(
        cls,
        recommendations: Any,
        target: Any,
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
    ) -> Self:
        """Check the arguments of `write_recommendations`."""
        check_choice(if_exists, "if_exists", ("error", "replace", "append", "resume"))
        named = {"table": table, "row": row, "col": col, "place": place, "score": score}
        check_names(named, {"schema": schema})
        check_whole(n, "n", 1)
        columns = columns_of(names, row, place, col, score)
        run = _run_of(recommendations, n, names, columns)
        return cls(recommendations, target, table, columns, names, schema, if_exists, run)

    def write(self) -> None:
        """Write a ranking or a run in this process."""
        run, if_exists, folder = self.run, self.if_exists, folder_of(self.target)
        if run is None and (folder is not None or if_exists == "resume"):
            what = 'if_exists="resume"' if folder is None else f"the folder {str(folder)!r}"
            raise InvalidInputError(f"{what} is for a model, of which all rows are ranked")
        if run is not None and (folder is not None or if_exists == "resume"):
            self.write_by(serially)
            return
        file = _file_of(self.target, if_exists, _LISTS)
        rankings = [self.recommendations] if run is None else run.rankings()
        blocks = (lines_of(ranking, self.names) for ranking in rankings)
        if file is not None:
            write = write_parquet if file.suffix.lower() == ".parquet" else write_csv
            named = self.columns.items()
            write(file, ({name: block[key] for key, name in named} for block in blocks))
            return
        wanted = self._described_table()
        with transaction(self.target) as connection:
            progress = own_progress(connection, wanted, if_exists)
            made = prepare_table(connection, wanted, cast(IfExists, if_exists))
            if progress is not None:
                progress.drop(connection)  # the table is no longer that of its run
            for block in blocks:
                insert_columns(connection, made, block)

    def write_by(self, each: Each) -> None:
        """Write a run to a folder or a table, every block by a task of its own.

        Raises
        ------
        InvalidInputError
            If the target is a file, or the table is to be added to.
        """
        run, if_exists, folder = cast(Run, self.run), self.if_exists, folder_of(self.target)
        if folder is not None:
            write_folder(folder, run, if_exists, each)
            return
        file = _file_of(self.target, if_exists, _LISTS)
        if file is not None or if_exists == "append":
            what = 'if_exists="append"' if file is None else f"the file {str(file)!r}"
            raise InvalidInputError(
                f"{what} is for one process: give a folder, or a database with "
                'if_exists="replace" or "resume"'
            )
        write_blocks(self.target, self._described_table(), run, if_exists, each)

    def _described_table(self) -> sa.Table:
        return _table_of(self.recommendations, self.columns, self.table, self.schema)


def _table_of(
    recommendations: Any, columns: Mapping[str, str], table: str, schema: str | None
) -> sa.Table:
    """Describe the table of a ranking, or of the run of a model."""
    col_ids = recommendations.col_ids
    if hasattr(recommendations, "mask"):
        col_ids = col_ids[recommendations.mask]
    kinds = {"row": id_type(recommendations.row_ids), "place": sa.Integer(),
             "col": id_type(col_ids), "score": sa.Double()}  # fmt: skip
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
    return sa.Table(table, sa.MetaData(), *described, schema=schema)


def _run_of(
    recommendations: Any, n: int, names: Mapping[Any, TrackName] | None, columns: Mapping[str, str]
) -> Run | None:
    """Return the run of a model, or None for a ranking."""
    if hasattr(recommendations, "recommend"):
        run = Run(recommendations, n, names, columns, BLOCK)
        _ = run.n_rows  # an error if the model is not fitted
        return run
    if all(hasattr(recommendations, part) for part in ("row_ids", "col_ids", "scores", "mask")):
        return None
    raise InvalidInputError(
        f"recommendations is a {type(recommendations).__name__}: give what "
        "FactorModel.recommend returns, or a fitted FactorModel"
    )


def folder_of(target: Any) -> Path | None:
    """Return the folder of parts that a target names; None for a file or a database."""
    is_path = isinstance(target, os.PathLike)
    if not is_path and (not isinstance(target, str) or "://" in target):
        return None
    path = Path(target)
    is_named = target.endswith(("/", os.sep)) if isinstance(target, str) else not path.suffix
    return path if path.is_dir() or (is_named and not path.is_file()) else None


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
