"""Stored searches: a row for each trial that has ended, in any database of SQLAlchemy."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import URL

from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError
from twofold.io.connect import Source
from twofold.io.sql_write import check_lasting, transaction
from twofold.tuning.run import Trial
from twofold.tuning.space import plain_value
from twofold.tuning.strategies import Proposal

__all__ = ["StoredStudy", "fingerprint_of"]

_METADATA = sa.MetaData()
_STUDIES = sa.Table(
    "tuning_studies",
    _METADATA,
    sa.Column("study", sa.Unicode(255), primary_key=True),
    sa.Column("description", sa.JSON(), nullable=False),
)
_TRIALS = sa.Table(
    "tuning_trials",
    _METADATA,
    sa.Column("study", sa.Unicode(255), primary_key=True),
    sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("rung", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("parameters", sa.JSON(), nullable=False),
    sa.Column("metric", sa.Unicode(255), nullable=False),
    sa.Column("score", sa.Double()),
    sa.Column("train_total", sa.Double()),
    sa.Column("epochs", sa.Integer(), nullable=False),
    sa.Column("seconds", sa.Double(), nullable=False),
    sa.Column("status", sa.Unicode(32), nullable=False),
    sa.Column("message", sa.UnicodeText(), nullable=False),
    sa.Column("finished", sa.DateTime(), nullable=False),  # UTC
)


@dataclass
class StoredStudy:
    """The trials of a search in a database.

    Parameters
    ----------
    target : str, sqlalchemy.URL, sqlalchemy.Engine or sqlalchemy.Connection
        The database.
    name : str
        Name of the study.
    rows : dict of (int, int) to mapping
        Stored trials by number and rung.
    """

    target: Source
    name: str
    rows: dict[tuple[int, int], Any]

    @classmethod
    def open(
        cls, storage: "str | os.PathLike[str] | Source", name: str, description: dict[str, Any]
    ) -> "StoredStudy":
        """Read a study, or begin it.

        Raises
        ------
        InvalidInputError
            If a study of this name has another description.
        DatabaseReadError
            If the database cannot be used.
        """
        target = _target(storage)
        check_lasting(target)
        described = json.loads(json.dumps(description))
        with transaction(target) as connection:
            _METADATA.create_all(connection)
            of_study = _STUDIES.c.study == name
            known = connection.scalar(sa.select(_STUDIES.c.description).where(of_study))
            if known is None:
                row = {"study": name, "description": described}
                connection.execute(sa.insert(_STUDIES).values(row))
            else:
                _check_same(name, known, described)
            query = sa.select(_TRIALS).where(_TRIALS.c.study == name)
            rows = {
                (row["number"], row["rung"]): row for row in connection.execute(query).mappings()
            }
        return cls(target, name, rows)

    def find(self, proposal: Proposal, parameters: dict[str, Any]) -> Trial | None:
        """Return the stored trial of a proposal.

        Raises
        ------
        InvalidInputError
            If the stored trial has other parameters.
        """
        row = self.rows.get((proposal.number, proposal.rung))
        if row is None:
            return None
        if row["parameters"] != _as_json(parameters):
            raise InvalidInputError(
                f"trial {proposal.number} of study={self.name!r} has the parameters "
                f"{row['parameters']}, but the strategy proposes {_as_json(parameters)}: it is not "
                "deterministic, or of another version; give another `study`"
            )
        score, total = (
            math.nan if row[key] is None else row[key] for key in ("score", "train_total")
        )
        return Trial(
            proposal.number, dict(parameters), score, total, row["epochs"], row["seconds"],
            row["status"], row["message"], row["finished"].replace(tzinfo=UTC), row["rung"],
        )  # fmt: skip

    def add(self, trial: Trial, metric: str) -> None:
        """Store a trial in a transaction of its own."""
        row = vars(trial) | {
            "study": self.name,
            "parameters": _as_json(trial.parameters),
            "metric": metric,
            "score": trial.score if math.isfinite(trial.score) else None,
            "train_total": trial.train_total if math.isfinite(trial.train_total) else None,
            "finished": trial.finished.astimezone(UTC).replace(tzinfo=None),
        }
        with transaction(self.target) as connection:
            connection.execute(sa.insert(_TRIALS).values(row))


def _target(storage: "str | os.PathLike[str] | Source") -> Source:
    """Return a storage as SQLAlchemy knows it; a path is that of an SQLite file."""
    if isinstance(storage, os.PathLike) or (isinstance(storage, str) and "://" not in storage):
        return URL.create("sqlite", database=os.fspath(storage))
    return storage


def _as_json(parameters: dict[str, Any]) -> Any:
    return json.loads(json.dumps({name: plain_value(value) for name, value in parameters.items()}))


def _check_same(name: str, stored: dict[str, Any], given: dict[str, Any]) -> None:
    others = [key for key in given if stored.get(key) != given[key]]
    if others:
        raise InvalidInputError(
            f"study={name!r} was made with other values of {', '.join(others)}: continue it with "
            "the same ones, or give another `study`"
        )


def fingerprint_of(pairings: Pairings) -> str:
    """Return a hash of the pairs, their values and weights, and the ids."""
    digest, matrix = hashlib.blake2b(digest_size=16), pairings.matrix
    arrays = [matrix.indptr, matrix.indices[: matrix.nnz], matrix.data[: matrix.nnz]]
    arrays += [pairings.beside[name] for name in ("weights",) if name in pairings.beside]
    for array in [*arrays, pairings.row_ids, pairings.col_ids]:
        digest.update(f"{array.dtype} {array.size} ".encode())
        if array.dtype == object:
            for text in array.tolist():
                digest.update(f"{len(text)} {text}".encode("utf-8", "surrogatepass"))
        else:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
