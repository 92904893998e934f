"""Results in one SQLite file: a run that is there is not run again."""

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY,
    solver TEXT NOT NULL, data TEXT NOT NULL, objective TEXT NOT NULL,
    n_factors INTEGER NOT NULL, seed INTEGER NOT NULL,
    status TEXT NOT NULL, message TEXT NOT NULL, peak_mb REAL, machine TEXT NOT NULL,
    UNIQUE (solver, data, objective, n_factors, seed)
);
CREATE TABLE IF NOT EXISTS points (
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL, seconds REAL NOT NULL, total REAL NOT NULL, metric REAL NOT NULL,
    PRIMARY KEY (run, epoch)
);
"""
KEY = ("solver", "data", "objective", "n_factors", "seed")
_SAME = "(solver, data, objective, n_factors, seed) = (?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Run:
    """A stored run with its curve: (epoch, seconds, total, metric) for each epoch."""

    solver: str
    data: str
    objective: str
    n_factors: int
    seed: int
    status: str
    message: str
    peak_mb: float | None
    machine: str
    points: list[tuple[int, float, float, float]]

    @property
    def problem(self) -> tuple[str, str, int]:
        """What was solved."""
        return (self.data, self.objective, self.n_factors)


class Store:
    """The results file."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA foreign_keys = ON")
        self.connection.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def has(self, request: dict[str, Any]) -> bool:
        """Tell whether a run is there; one that failed is tried again."""
        found = self.connection.execute(
            f"SELECT status FROM runs WHERE {_SAME}",
            [request[key] for key in KEY],
        ).fetchone()
        return found is not None and found[0] != "failed"

    def add(self, request: dict[str, Any], answer: dict[str, Any], machine: str) -> None:
        """Store a run, whole or not at all."""
        with self.connection as transaction:
            transaction.execute(
                f"DELETE FROM runs WHERE {_SAME}",
                [request[key] for key in KEY],
            )
            run = transaction.execute(
                "INSERT INTO runs (solver, data, objective, n_factors, seed, status, message, "
                "peak_mb, machine) VALUES (?,?,?,?,?,?,?,?,?)",
                [*(request[key] for key in KEY), answer["status"], answer["message"],
                 answer["peak_mb"], machine],
            ).lastrowid  # fmt: skip
            transaction.executemany(
                "INSERT INTO points VALUES (?,?,?,?,?)",
                [[run, *point] for point in answer["points"]],
            )

    def runs(self) -> list[Run]:
        """Return everything, in the order of solvers."""
        found = self.connection.execute(
            "SELECT id, solver, data, objective, n_factors, seed, status, message, peak_mb, "
            "machine FROM runs ORDER BY data, objective, n_factors, solver, seed"
        ).fetchall()
        curves: dict[int, list[tuple[int, float, float, float]]] = {}
        for run, *point in self.connection.execute("SELECT * FROM points ORDER BY run, epoch"):
            curves.setdefault(run, []).append(tuple(point))
        return [Run(*row[1:], points=curves.get(row[0], [])) for row in found]


def as_json(runs: list[Run]) -> str:
    """Return the runs for the page."""
    return json.dumps([run.__dict__ for run in runs])
