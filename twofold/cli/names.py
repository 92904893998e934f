"""Tracks in the output of commands: their ids, and names from a table of a database."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from twofold.cli.options import OptionError
from twofold.cli.sources import database_of
from twofold.io import TrackName, read_names
from twofold.io.connect import connected
from twofold.io.names import has_names
from twofold.model import Ranking

__all__ = ["LISTS", "Names", "list_lines", "ranking_json", "track_json", "track_text"]

LISTS = (".csv", ".csv.gz", ".parquet")
"""Endings of files of recommendations."""

TrackNames = Mapping[Any, TrackName]


@dataclass(frozen=True)
class Names:
    """Location of the names of tracks.

    Parameters
    ----------
    names : str, optional
        Table with the names of tracks, and its columns, as TABLE:ID:NAME or TABLE:ID:NAME:ARTIST;
        by default tracks:tid:name and the artists, if the database has this table.
    names_from : str, optional
        Database with the names of tracks, a URL or an SQLite file; by default SOURCE.
    """

    names: str | None = None
    names_from: str | None = None
    source: str | None = None
    reading: Mapping[str, Any] | None = None
    """Options for reading SOURCE; None if SOURCE is given for names only."""
    database: Any = field(init=False)
    """URL of the database; None if there is none."""

    def __post_init__(self) -> None:
        if (self.names is not None and not all(self._parts)) or len(self._parts) not in (3, 4):
            raise OptionError(
                f"--names {self.names}: write it as TABLE:ID:NAME or TABLE:ID:NAME:ARTIST"
            )
        place = self.names_from or self.source
        object.__setattr__(self, "database", place and database_of(place))
        if self.database is None and self._is_required:
            problem = "SOURCE is missing" if place is None else f"{place} is not a database"
            raise OptionError(f"{problem}: give the database with the names by --names-from URL")

    @property
    def _parts(self) -> list[str]:
        """The table and its columns."""
        if self.names is not None:
            return self.names.split(":")
        is_source = self.names_from is None
        return ["tracks", (self.reading or {}).get("col", "tid") if is_source else "tid", "name"]

    @property
    def _is_required(self) -> bool:
        """Whether a database was given for the names."""
        only_names = self.source is not None and self.reading is None
        return bool(self.names or self.names_from or only_names)

    def look_up(self, ids: Any) -> dict[Any, TrackName]:
        """Return the names of some tracks; an empty dictionary if there is no table."""
        if self.database is None:
            return {}
        table, key, name = self._parts[:3]
        schema = (self.reading or {}).get("schema") if self.names_from is None else None
        with connected(self.database) as connection:
            if self.names is None and not has_names(connection, table, key, name, schema=schema):
                if self._is_required:
                    raise OptionError(
                        f"the database has no table {table} with columns {key} and {name}: give "
                        "--names TABLE:ID:NAME"
                    )
                return {}
            return read_names(connection, ids, *self._parts, schema=schema)


def track_text(track: Any, names: TrackNames) -> str:
    """Return the name of a track with its artist, or else its id."""
    return str(names.get(track, track))


def track_json(track: Any, names: TrackNames) -> dict[str, Any]:
    """Return the id of a track, its name or None, and its artist if there is one."""
    name, artist = names.get(track, TrackName(None))
    return {"track": track, "name": name} | ({} if artist is None else {"artist": artist})


def list_lines(found: Iterable[tuple[Any, float]], names: TrackNames) -> Iterator[str]:
    """Yield a line for each track: its place, score and name, and its id if there is a name."""
    for place, (track, score) in enumerate(found, 1):
        id_ = f"  [{track}]" if track in names else ""
        yield f"{place:>4}  {score:>10.4g}  {track_text(track, names)}{id_}"


def ranking_json(ranking: Ranking, names: TrackNames) -> Iterator[dict[str, Any]]:
    """Yield the list of each playlist, with names and scores."""
    for (playlist, found), is_fallback in zip(ranking, ranking.fallback.tolist(), strict=True):
        tracks = [track_json(track, names) | {"score": score} for track, score in found]
        marked = {"fallback": True} if is_fallback else {}
        yield {"playlist": playlist, "tracks": tracks} | marked
