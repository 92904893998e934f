"""`ReadReport`: what a reader read, and how fast."""

import time
from dataclasses import dataclass

from scipy import sparse

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

    @classmethod
    def of(
        cls, matrix: sparse.csr_array, reader: str, n_read: int, n_null: int, started: float
    ) -> "ReadReport":
        """Report of a matrix that was read since `time.perf_counter` was ``started``."""
        n_rows, n_cols = matrix.shape
        return cls(
            reader=reader,
            n_read=n_read,
            n_null_dropped=n_null,
            n_duplicates=n_read - n_null - matrix.nnz,
            n_pairs=matrix.nnz,
            n_rows=n_rows,
            n_cols=n_cols,
            seconds=time.perf_counter() - started,
        )

    @property
    def pairs_per_second(self) -> float:
        """Pairs read in a second."""
        return self.n_read / self.seconds

    def __str__(self) -> str:
        left_out = {
            "duplicates merged": self.n_duplicates, "with a NULL id dropped": self.n_null_dropped
        }  # fmt: skip
        return (
            f"{self.n_read:,} pairs read by {self.reader} in {self.seconds:.2f} s "
            f"({self.pairs_per_second / 1e6:.2f} M/s): {self.n_rows:,} rows, "
            f"{self.n_cols:,} columns, {self.n_pairs:,} pairs"
            + "".join(f", {count:,} {what}" for what, count in left_out.items() if count)
        )
