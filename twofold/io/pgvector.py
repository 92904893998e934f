"""Vectors in PostgreSQL with the extension pgvector."""

from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from twofold.exceptions import InvalidInputError

__all__ = ["Vector", "as_texts", "check_has_vectors"]


class Vector(sa.types.UserDefinedType[str]):
    """The type ``vector(n)``, whose values are given as texts such as ``[1.5,-2]``.

    Parameters
    ----------
    n : int
        Elements of each vector.
    """

    cache_ok = True

    def __init__(self, n: int) -> None:
        self.n = n

    def get_col_spec(self, **_: Any) -> str:
        """Return the SQL of the type."""
        return f"vector({self.n})"


def as_texts(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the vectors of a 2-d array as texts; float32 values are kept exactly."""
    texts = np.empty(len(rows), dtype=object)
    texts[:] = [str(row).replace(" ", "") for row in rows.tolist()]
    return texts


def check_has_vectors(connection: Connection) -> None:
    """Raise InvalidInputError unless the database is PostgreSQL with the extension."""
    if connection.dialect.name != "postgresql":
        raise InvalidInputError(
            f"vectors=True needs PostgreSQL with pgvector, but the database is "
            f"{connection.dialect.name}: leave it out, for a column for each factor"
        )
    found = connection.exec_driver_sql("SELECT 1 FROM pg_extension WHERE extname = 'vector'")
    if found.first() is None:
        raise InvalidInputError(
            "the database has no type for vectors: install pgvector on its server, and run "
            "CREATE EXTENSION vector"
        )
