"""Results in one SQLite file; stored runs are not repeated."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    solver TEXT NOT NULL, data TEXT NOT NULL, problem TEXT NOT NULL, n_factors INTEGER NOT NULL,
    n_threads INTEGER NOT NULL, max_epochs INTEGER NOT NULL, budget REAL NOT NULL,
    seed INTEGER NOT NULL, repeat INTEGER NOT NULL,
    status TEXT NOT NULL, message TEXT NOT NULL, n_pairs INTEGER, metric_name TEXT NOT NULL,
    optimum REAL, wall REAL, start_up REAL, peak_mb REAL, machine TEXT NOT NULL,
    UNIQUE (solver, data, problem, n_factors, n_threads, max_epochs, budget, seed, repeat)
);
CREATE TABLE IF NOT EXISTS points (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL, seconds REAL NOT NULL, total REAL NOT NULL, metric REAL NOT NULL,
    PRIMARY KEY (run, epoch)
);
"""
_KEY = (
    "solver", "data", "problem", "n_factors", "n_threads", "max_epochs", "budget", "seed", "repeat",
)  # fmt: skip
_FOUND = (
    "status", "message", "n_pairs", "metric_name", "optimum", "wall", "start_up", "peak_mb",
    "machine",
)  # fmt: skip
_SAME = " AND ".join(f"{key} = ?" for key in _KEY)
NOTHING: dict[str, Any] = {
    "points": [], "n_pairs": None, "metric_name": "", "optimum": None, "wall": None,
    "start_up": None, "peak_mb": None,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A stored run with its curve: (epoch, seconds, total, metric) for each epoch."""

    solver: str
    data: str
    problem: str
    n_factors: int
    n_threads: int
    max_epochs: int
    budget: float
    seed: int
    repeat: int
    status: str
    message: str
    n_pairs: int | None
    metric_name: str
    optimum: float | None
    wall: float | None
    start_up: float | None
    peak_mb: float | None
    machine: str
    points: list[tuple[int, float, float, float]]

    @property
    def task(self) -> tuple[str, str, int]:
        """The task: data, problem and n_factors."""
        return (self.data, self.problem, self.n_factors)


class Store:
    """The results file."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        try:
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
            tables = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise SystemExit(f"{path} is not a results file: {error}") from None
        if tables and version != _VERSION:
            self.connection.close()
            raise SystemExit(f"{path} is of another version: give a new --results file")
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.executescript(_SCHEMA)
        self.connection.execute(f"PRAGMA user_version = {_VERSION}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def has(self, request: dict[str, Any]) -> bool:
        """Return whether a run is stored, unless it failed or was not installed."""
        found = self.connection.execute(
            f"SELECT status FROM runs WHERE {_SAME}", [request[key] for key in _KEY]
        ).fetchone()
        return found is not None and found[0] not in ("failed", "not installed")

    def add(self, request: dict[str, Any], answer: dict[str, Any], machine: str) -> None:
        """Store a run in one transaction."""
        key = [request[name] for name in _KEY]
        columns = ", ".join((*_KEY, *_FOUND))
        marks = ", ".join("?" * len((*_KEY, *_FOUND)))
        found = answer | {"machine": machine}
        with self.connection as transaction:
            transaction.execute(f"DELETE FROM runs WHERE {_SAME}", key)
            run = transaction.execute(
                f"INSERT INTO runs ({columns}) VALUES ({marks})",
                [*key, *(found[name] for name in _FOUND)],
            ).lastrowid
            transaction.executemany(
                "INSERT INTO points VALUES (?,?,?,?,?)",
                [[run, *point] for point in answer["points"]],
            )

    def runs(self) -> list[Run]:
        """Return all runs in the order of the tasks."""
        found = self.connection.execute(
            f"SELECT id, {', '.join((*_KEY, *_FOUND))} FROM runs "
            "ORDER BY data, problem, n_factors, solver, n_threads, seed, repeat"
        ).fetchall()
        curves: dict[int, list[tuple[int, float, float, float]]] = {}
        for run, *point in self.connection.execute("SELECT * FROM points ORDER BY run, epoch"):
            curves.setdefault(run, []).append(tuple(point))
        return [Run(*row[1:], points=curves.get(row[0], [])) for row in found]
