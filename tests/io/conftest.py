import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

MakeUrl = Callable[..., str]


@pytest.fixture
def make_db(tmp_path: Path) -> MakeUrl:
    """Make an SQLite file from SQL statements, and return its URL."""

    def make(*statements: str, name: str = "made.db") -> str:
        url = f"sqlite:///{tmp_path / name}"
        _run(url, *statements)
        return url

    return make


@pytest.fixture
def make_slice(tmp_path: Path) -> Callable[..., Path]:
    """Write a slice of the Million Playlist Dataset: a list of URIs for each playlist id."""

    def make(playlists: dict[int, list[str]], name: str = "mpd.slice.0-9.json") -> Path:
        content = {
            "info": {"slice": "0-9", "version": "v1"},
            "playlists": [
                {"pid": pid, "name": f"list {pid}", "tracks": [_track(uri) for uri in uris]}
                for pid, uris in playlists.items()
            ],
        }
        path = tmp_path / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return make


def _track(uri: str) -> dict[str, Any]:
    return {
        "track_uri": uri,
        "track_name": f"name of {uri}",
        "artist_name": "Käptn Peng",
        "album_name": 'an "album"',
        "duration_ms": 1000,
    }


def _run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
