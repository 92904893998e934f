"""`ReadReport`: what a reader read, and how fast."""

import time
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["ReadReport"]


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """What was read, and how fast.

    Parameters
    ----------
    reader : {"sqlalchemy", "connectorx", "arrays", "arrow", "csv", "lists", "parquet", "mpd"}
        Name of the reader; of databases SQLAlchemy or ConnectorX.
    n_read : int
        Pairs that came from the source.
    n_null_dropped : int
        How many of them were left out because an id is NULL.
    n_duplicates : int
        How many were merged into another one of the same row and column.
    n_pairs, n_rows, n_cols : int
        What is left of them: stored pairs, and different rows (playlists) and columns (tracks).
    seconds : float
        From the call to the finished pairings.
    """

    reader: str
    n_read: int
    n_null_dropped: int
    n_duplicates: int
    n_pairs: int
    n_rows: int
    n_cols: int
    seconds: float

    @property
    def pairs_per_second(self) -> float:
        """Pairs read in a second."""
        return self.n_read / self.seconds

    def __str__(self) -> str:
        left_out = [
            f"{count:,} {what}"
            for count, what in (
                (self.n_duplicates, "duplicates merged"),
                (self.n_null_dropped, "with a NULL id dropped"),
            )
            if count
        ]
        return (
            f"{self.n_read:,} pairs read by {self.reader} in {self.seconds:.2f} s "
            f"({self.pairs_per_second / 1e6:.2f} M/s): {self.n_rows:,} rows, "
            f"{self.n_cols:,} columns, {self.n_pairs:,} pairs"
            + "".join(f", {part}" for part in left_out)
        )


AnyPairings = TypeVar("AnyPairings", bound=Any)


def reported(pairings: AnyPairings, reader: str, n_read: int, started: float) -> AnyPairings:
    """Return the same pairings with the report of a reader.

    ``n_read`` pairs, those with a NULL id too, since `time.perf_counter` was ``started``.
    """
    result = copy(pairings)
    report = ReadReport(
        reader=reader,
        n_read=n_read,
        n_null_dropped=pairings.n_null_dropped,
        n_duplicates=n_read - pairings.n_null_dropped - pairings.n_pairs,
        n_pairs=pairings.n_pairs,
        n_rows=pairings.shape[0],
        n_cols=pairings.shape[1],
        seconds=time.perf_counter() - started,
    )
    object.__setattr__(result, "report", report)  # which is frozen for others
    return result
