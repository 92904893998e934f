import json
import logging
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from twofold.io import read_sql
from twofold.io.decode import Slow

MakeUrl = Callable[..., str]


@pytest.fixture
def make_db(tmp_path: Path) -> MakeUrl:
    """Make an SQLite file from SQL statements, and return its URL."""

    def make(*statements: str, name: str = "made.db") -> str:
        url = f"sqlite:///{tmp_path / name}"
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()
        return url

    return make


@contextmanager
def _only_sqlalchemy() -> Iterator[None]:
    with patch("twofold.io.sql_read._fetch_quickly", side_effect=Slow("a test")):
        yield


@pytest.fixture(scope="session")
def only_sqlalchemy() -> Callable[[], AbstractContextManager[None]]:
    """Context in which `read_sql` takes the plain path."""
    return _only_sqlalchemy


@pytest.fixture
def path_of(caplog: pytest.LogCaptureFixture) -> Callable[..., tuple[str, str]]:
    """Tell which way `read_sql` goes, and what the log says about it."""

    def find(*args: Any, **options: Any) -> tuple[str, str]:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="twofold.io.sql_read"):
            report = read_sql(*args, **options).report
        (line,) = (record.message for record in caplog.records if record.levelname == "DEBUG")
        assert report is not None
        assert f"is read by {report.reader}" in line
        return report.reader, line

    return find


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


def _find_postgres() -> Path | None:
    folders = [Path("/usr/local/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1]]
    found = [shutil.which("initdb")] + [str(folder / "initdb") for folder in folders]
    for initdb in filter(None, found):
        if Path(initdb).exists() and Path(initdb).with_name("postgres").exists():
            return Path(initdb).parent
    return None


def _unprivileged() -> list[str]:
    """How to run as somebody else: the server refuses to run as root."""
    return ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server for this session only, or skip."""
    pytest.importorskip("psycopg")
    binaries = _find_postgres()
    if binaries is None or (_unprivileged() and shutil.which("runuser") is None):
        raise pytest.skip.Exception("needs the server programs of PostgreSQL")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if _unprivileged():
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        subprocess.run(
            [*_unprivileged(), str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "music",
             "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*_unprivileged(), str(binaries / "postgres"), "-D", str(folder / "data"),
                 "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                 "-c", f"unix_socket_directories={folder}"],
                stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip
        try:
            url = f"postgresql+psycopg://music@127.0.0.1:{port}/postgres"
            _wait_for(url, server, folder / "log")
            yield url
        finally:
            _stop(server, folder / "data" / "postmaster.pid")


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = sa.create_engine(url)
    deadline = time.monotonic() + 30
    try:
        while True:
            try:
                engine.connect().close()
                return
            except sa.exc.OperationalError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(log.read_text()) from None
                time.sleep(0.1)
    finally:
        engine.dispose()


def _stop(server: subprocess.Popen[bytes], pid_file: Path) -> None:
    if _unprivileged() and pid_file.exists():  # runuser may not pass the signal on
        subprocess.run(
            [*_unprivileged(), "kill", "-INT", pid_file.read_text().split()[0]], check=False
        )
    else:
        server.terminate()
    server.wait(timeout=20)


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    yield postgres_server
    engine = sa.create_engine(postgres_server)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS other CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
