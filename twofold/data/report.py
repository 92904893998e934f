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

    Examples
    --------
    >>> from twofold import Pairings
    >>> report = Pairings.from_arrays([1, 1, 2], [3, 3, 4]).report
    >>> report.reader, report.n_read, report.n_duplicates, report.n_pairs
    ('arrays', 3, 1, 2)
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
        """Return the report of a matrix.

        Parameters
        ----------
        matrix : csr_array, shape (n_rows, n_cols)
            What was read, without duplicates.
        reader : str
            Name of the reader.
        n_read, n_null : int
            Pairs that came from the source, and how many of them were left out.
        started : float
            `time.perf_counter` of the call, in seconds.

        Returns
        -------
        ReadReport

        Examples
        --------
        >>> report = ReadReport.of(sparse.eye_array(3, format="csr"), "csv", 5, 1, started=0.0)
        >>> report.n_duplicates
        1
        """
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
        """Number of pairs read in a second."""
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
