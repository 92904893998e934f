"""`read_names` and `write_names`: the names of tracks in a database."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import ArrayLike

from twofold._common.checks import check_choice, check_names
from twofold.exceptions import InvalidInputError
from twofold.io import sql_write as sql
from twofold.io.connect import Source, columns_of, connected, find_column

__all__ = ["TrackName", "has_names", "read_names", "write_names"]

_CHUNK = 500  # ids of one SELECT; databases limit the number of parameters
_NUMBERS = (sa.Integer, sa.Numeric, sa.Float)
_LIMIT = 1 << 63
_ARTISTS = ("artist", "artist_name")


class TrackName(NamedTuple):
    """The name of a track and its artist; ``str`` writes them as "name (artist)".

    Attributes
    ----------
    name : str or None
        The name.
    artist : str or None
        The artist, if it is known.

    Examples
    --------
    >>> print(TrackName("Yesterday", "The Beatles"))
    Yesterday (The Beatles)
    """

    name: str | None
    artist: str | None = None

    def __str__(self) -> str:
        """Return "name (artist)", or the name alone."""
        return f"{self.name} ({self.artist})" if self.artist else str(self.name)


def read_names(
    source: Source,
    ids: ArrayLike,
    table: str = "tracks",
    id_column: str = "tid",
    name: str = "name",
    artist: str | None = None,
    *,
    schema: str | None = None,
) -> dict[Any, TrackName]:
    """Read the names of some tracks, by a SELECT for each 500 of them.

    The defaults are those of databases that `import_mpd` and ``twofold demo`` made.

    Parameters
    ----------
    source : str, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database, as for `read_sql`.
    ids : array_like of int or str
        Ids of any shape, such as ``ranking.col_ids``. Each one is read once.
    table : str, default "tracks"
        A table or view with a row for each track.
    id_column : str, default "tid"
        Its column of ids. Integers and their decimal text are equal.
    name : str, default "name"
        Its column of names.
    artist : str, optional
        Its column of artists. By default ``artist`` or ``artist_name`` if there is one.
    schema : str, optional
        The schema of the table.

    Returns
    -------
    dict of id to TrackName
        Without ids that are not in the table or whose name is NULL. ``names.get(track, track)`` is
        what to print.

    Raises
    ------
    DatabaseReadError
        If the database cannot be read, or has no such table or column.

    Examples
    --------
    >>> write_names({7: "Yesterday", 9: "Michelle"}, "sqlite:///music.db")
    >>> names = read_names("sqlite:///music.db", [7, 8])
    >>> [str(names.get(track, track)) for track in (7, 8)]
    ['Yesterday', '8']
    """
    check_names(
        {"table": table, "id_column": id_column, "name": name}, {"artist": artist, "schema": schema}
    )
    given = {str(one): one for one in np.asarray(ids, dtype=object).ravel() if one is not None}
    with connected(source) as connection:
        is_outside = not connection.in_transaction()
        kinds = columns_of(connection, table, schema)
        typed = [id_column, name, *([] if artist is None else [artist])]
        found = [find_column(column, kinds, f"table {table!r}") for column in typed]
        found += [column for column in _ARTISTS if artist is None and column in kinds][:1]
        kind = _key_type(kinds[found[0]], connection.dialect.name)
        key = sa.column(found[0], kind)
        columns = [key, *map(sa.column, found[1:])]
        query = sa.select(*columns).select_from(sa.table(table, schema=schema))
        wanted = _as_stored(given, kind)
        names: dict[Any, TrackName] = {}
        for start in range(0, len(wanted), _CHUNK):
            chunk = query.where(key.in_(wanted[start : start + _CHUNK]))
            for one, *fields in connection.execute(chunk):
                text = str(int(one)) if isinstance(kind, _NUMBERS) else str(one)
                if text in given and fields[0] is not None:
                    names.setdefault(given[text], TrackName(*fields))
        if is_outside:
            connection.rollback()  # SQLAlchemy has begun a transaction
    return names


def _key_type(kind: Any, dialect: str) -> Any:
    """Return the type by which ids are compared with a column of a type."""
    if getattr(kind, "unsigned", False):
        return kind
    # SQLAlchemy would give SQLite floats instead of decimal numbers.
    as_integer = isinstance(kind, sa.Integer | sa.Float) or dialect == "sqlite"
    return sa.BigInteger() if as_integer and isinstance(kind, _NUMBERS) else kind


def _as_stored(ids: Mapping[str, Any], kind: Any) -> list[Any]:
    """Return ids in the type of a column, without those that it cannot have."""
    if isinstance(kind, _NUMBERS):
        numbers = [int(text) for text in ids if text.removeprefix("-").isdecimal()]
        if isinstance(kind, sa.Numeric):
            return list(map(Decimal, numbers))
        limit = _LIMIT if type(kind) is sa.BigInteger else math.inf
        return [number for number in numbers if -limit <= number < limit]
    if isinstance(kind, sa.String):
        return list(ids)
    return [one.item() if isinstance(one, np.generic) else one for one in ids.values()]


def has_names(
    source: Source,
    table: str = "tracks",
    id_column: str = "tid",
    name: str = "name",
    *,
    schema: str | None = None,
) -> bool:
    """Whether a database has a table with these columns."""
    with connected(source) as connection:
        if not sa.inspect(connection).has_table(table, schema=schema):
            return False
        return {id_column, name} <= set(columns_of(connection, table, schema))


def write_names(
    names: Mapping[Any, str | TrackName],
    target: Source,
    table: str = "tracks",
    *,
    id_column: str = "tid",
    schema: str | None = None,
    if_exists: sql.IfExists = "error",
) -> None:
    """Write the names of tracks to a table, where `read_names` finds them.

    Parameters
    ----------
    names : mapping of id to str or TrackName
        Names by the ids of the tracks. If one has an artist, the table has a column ``artist``.
    target : str, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database, as for `write_sql`.
    table : str, default "tracks"
        The table, whose columns are the id, which is the primary key, and ``name``.
    id_column : str, default "tid"
        Its column of ids.
    schema : str, optional
        The schema of the table, which has to exist.
    if_exists : {"error", "replace", "append"}, default "error"
        What to do if the table exists: raise, drop it, or add to it.

    Raises
    ------
    DatabaseReadError, InvalidInputError
        As for `write_sql`.

    Examples
    --------
    >>> write_names({7: "Yesterday", 9: "Michelle"}, "sqlite:///names.db")
    >>> sorted(read_names("sqlite:///names.db", [7, 9]))
    [7, 9]
    """
    check_choice(if_exists, "if_exists", ("error", "replace", "append"))
    check_names({"table": table, "id_column": id_column}, {"schema": schema})
    if not isinstance(names, Mapping):
        raise InvalidInputError(f"names is a {type(names).__name__}: give a dict of names by id")
    values = [TrackName(name) if isinstance(name, str) else name for name in names.values()]
    has_texts = any(isinstance(one, str) for one in names)
    ids = np.array(list(names), dtype=object if has_texts else np.int64)
    columns = {id_column: ids}
    fields = ["name", "artist"] if any(value.artist for value in values) else ["name"]
    for field in fields:
        columns[field] = np.array([getattr(value, field) for value in values], dtype=object)
    sql.check_different("columns", id_column, *fields)
    key = sql.id_type(ids) if has_texts else sql.ROW_NUMBER
    kinds = {id_column: key, **dict.fromkeys(fields, sa.UnicodeText())}
    with sql.transaction(target) as connection:
        described = sql.describe_table(table, kinds, sa.MetaData(schema=schema))
        made = sql.prepare_table(connection, described, if_exists)
        sql.insert_columns(connection, made, columns)
