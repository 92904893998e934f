"""How fast pairs come out of databases: beside the notebook's loop, ConnectorX and pandas.

    python -m benchmarks.io sqlite [--pairs 5000000]
    python -m benchmarks.io postgres --url postgresql+psycopg://me@localhost/music
    python -m benchmarks.io large [--folder FOLDER]
    python -m benchmarks.io cache [--folder FOLDER]

``sqlite`` reads a file by the notebook's loop, by ConnectorX alone, and by `read_sql` with each of
its engines, and the same pairs with text ids; ``postgres`` reads a table that it makes and drops,
beside pandas.read_sql; ``large`` makes an SQLite file at the size of the Million Playlist Dataset
(1 GB, two minutes) and reads it in a new process, with its peak memory; ``cache`` saves as many
pairs and opens them.
"""

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks.als import median_seconds
from benchmarks.machine import machine
from twofold.io import read_sql

_LOOP_ROWS = 500_000  # of the notebook's loop: it does not get faster with more


def make_pairs(n_pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return playlists of 66 tracks in order, with tracks of unequal popularity."""
    tracks = (2_262_292 * rng.random(n_pairs) ** 3).astype(np.int64)
    return np.arange(n_pairs) // 66, tracks


def write_sqlite(path: Path, rows: np.ndarray, cols: np.ndarray, *, texts: bool = False) -> None:
    """Make the notebook's table, or one with ids that are texts."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = off")
    connection.execute("PRAGMA synchronous = off")
    kind = "TEXT" if texts else "BIGINT"
    connection.execute(f"CREATE TABLE pairings (pid {kind} NOT NULL, tid {kind} NOT NULL)")
    for first in range(0, rows.size, 1_000_000):
        part = slice(first, first + 1_000_000)
        pairs = zip(rows[part].tolist(), cols[part].tolist(), strict=True)
        if texts:
            pairs = ((f"playlist {row}", uri(col)) for row, col in pairs)
        connection.executemany("INSERT INTO pairings VALUES (?, ?)", pairs)
    connection.commit()
    connection.close()


def uri(track: int) -> str:
    """Return a text like those of Spotify, in another order than the tracks."""
    return f"spotify:track:{track * 2654435761 % 2**62:022d}"


def notebook_loop(url: str, to_float: bool = True) -> float:
    """Do what the notebook's make_R_list_sql does, row by row; return seconds for one row.

    Text ids cannot become floats: they are only fetched.
    """
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        n = connection.execute(sa.text("SELECT COUNT(*) FROM pairings")).scalar_one()
        result = connection.execute(sa.text("SELECT pid, tid FROM pairings"))
        found = np.empty((n, 2))
        n_timed = min(n, _LOOP_ROWS)
        started = time.perf_counter()
        for place in range(n_timed):
            if place % np.round(n * 5.0 / 100) == 0:
                pass  # where it prints how far it is
            row = result.fetchone()
            if to_float:
                found[place, 0] = int(row[0])
                found[place, 1] = int(row[1])
        spent = time.perf_counter() - started
    engine.dispose()
    return spent / n_timed


def connectorx_alone(url: str) -> object:
    """Return two Arrow columns."""
    import connectorx

    text = "SELECT pid, tid FROM pairings"
    return connectorx.read_sql(url, text, return_type="arrow")


def show(name: str, n_pairs: int, spent: float, base: float) -> None:
    print(
        f"| {name} | {spent:.2f} | {n_pairs / spent / 1e6:.2f} | {base / spent:.2f} |", flush=True
    )


def sqlite(n_pairs: int, repeats: int) -> None:
    """Print seconds and pairs a second from an SQLite file."""
    pairs = make_pairs(n_pairs, np.random.default_rng(0))
    print(f"{n_pairs:,} pairs; the loop is timed for {_LOOP_ROWS:,}")
    with tempfile.TemporaryDirectory() as folder:
        for texts in (False, True):
            path = Path(folder) / f"{texts}.db"
            write_sqlite(path, *pairs, texts=texts)
            url = f"sqlite:///{path}"
            loop = n_pairs * notebook_loop(url, to_float=not texts)
            print(f"\n{'Text' if texts else 'Integer'} ids:\n")
            print("| way | s | M pairs/s | times as fast as the notebook |")
            print("|---" * 4 + "|")
            show("the notebook's loop", n_pairs, loop, loop)
            plain = median_seconds(lambda url=url: read_sql(url), repeats)
            show("read_sql", n_pairs, plain, loop)
            alone = median_seconds(lambda path=path: connectorx_alone(f"sqlite://{path}"), repeats)
            show("ConnectorX alone, two Arrow columns", n_pairs, alone, loop)
            ours = median_seconds(lambda url=url: read_sql(url, engine="connectorx"), repeats)
            show('read_sql, engine="connectorx"', n_pairs, ours, loop)
            print(f"\nread_sql has {alone / ours:.2f} of the speed of ConnectorX, CSR included.")


def postgres(url: str, n_pairs: int, repeats: int) -> None:
    """Print seconds and pairs a second from PostgreSQL."""
    import pandas as pd

    engine = sa.create_engine(url)
    rows, cols = make_pairs(n_pairs, np.random.default_rng(0))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE pairings (pid bigint, tid bigint)")
        driver = connection.connection.dbapi_connection
        with driver.cursor().copy("COPY pairings FROM STDIN") as copy:
            for first in range(0, n_pairs, 100_000):
                part = slice(first, first + 100_000)
                pairs = zip(rows[part].tolist(), cols[part].tolist(), strict=True)
                copy.write("".join(f"{row}\t{col}\n" for row, col in pairs))
    try:
        text = "SELECT pid, tid FROM pairings"
        base = median_seconds(lambda: pd.read_sql(text, engine), repeats)
        print("| way | s | M pairs/s | times as fast as pandas |")
        print("|---" * 4 + "|")
        show("pandas.read_sql, a frame", n_pairs, base, base)
        plain = median_seconds(lambda: read_sql(engine), repeats)
        show("read_sql", n_pairs, plain, base)
        other = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        alone = median_seconds(lambda: connectorx_alone(other), repeats)
        show("ConnectorX alone, two Arrow columns", n_pairs, alone, base)
        quick = median_seconds(lambda: read_sql(url, engine="connectorx"), repeats)
        show('read_sql, engine="connectorx"', n_pairs, quick, base)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE pairings")
        engine.dispose()


_IN_A_NEW_PROCESS = """
import sys
from benchmarks.machine import memory_mb
from twofold.io import read_sql
print(f"{read_sql(sys.argv[1], engine=sys.argv[2]).report}; peak {memory_mb('VmHWM') / 1e3:.2f} GB")
"""


def large(folder: str | None) -> None:
    """Print time and peak memory of reading 63 million pairs from SQLite."""
    from twofold.datasets import make_playlists

    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "large.db"
        made = make_playlists(1_000_000, 2_262_292, n_groups=4_000, mean_length=66, rng=0)
        matrix = made.pairings.matrix
        lengths = np.diff(matrix.indptr)
        write_sqlite(path, np.repeat(np.arange(lengths.size), lengths), matrix.indices)
        del made, matrix
        path.read_bytes()  # a warm file
        for engine in ("connectorx", "sqlalchemy"):
            command = [sys.executable, "-c", _IN_A_NEW_PROCESS, f"sqlite:///{path}", engine]
            subprocess.run(command, check=True)


def cache(folder: str | None, repeats: int) -> None:
    """Print time and size of saving 63 million pairs, and of opening them in new processes."""
    from twofold.datasets import make_playlists

    pairings = make_playlists(1_000_000, 2_262_292, n_groups=4_000, mean_length=66, rng=0).pairings
    with tempfile.TemporaryDirectory(dir=folder) as name:
        path = Path(name) / "large.pairings"
        started = time.perf_counter()
        pairings.save(path)
        spent = time.perf_counter() - started
        print(f"{pairings}: saved in {spent:.2f} s, {path.stat().st_size / 1e6:.0f} MB")
        for options in ("", "verify=True", "mmap=False"):
            code = (
                "import time; from twofold import Pairings; Pairings.open; "
                "started = time.perf_counter(); "
                f"Pairings.open({str(path)!r}, {options}); print(time.perf_counter() - started)"
            )
            found = [
                float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
                      .stdout)
                for _ in range(repeats)
            ]  # fmt: skip
            middle = statistics.median(found)
            print(
                f"Pairings.open({options}): {middle:.3f} s ({min(found):.3f} to {max(found):.3f})"
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.io", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("what", choices=["sqlite", "postgres", "large", "cache"])
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--url", help="of a PostgreSQL database in which a table may be made")
    parser.add_argument("--folder", help="for files of up to 1 GB")
    chosen = parser.parse_args()
    print(machine())
    if chosen.what == "sqlite":
        sqlite(chosen.pairs, chosen.repeats)
    elif chosen.what == "postgres":
        if chosen.url is None:
            parser.error("postgres needs --url")
        postgres(chosen.url, chosen.pairs, chosen.repeats)
    elif chosen.what == "large":
        large(chosen.folder)
    else:
        cache(chosen.folder, chosen.repeats)


if __name__ == "__main__":
    main()
