"""Files of recommendations and factors: CSV and Parquet, from blocks of columns."""

import csv
import gzip
import io
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold._common.atomic import replaced
from twofold.data.columns import import_pyarrow
from twofold.exceptions import InvalidInputError

__all__ = ["Columns", "write_csv", "write_parquet"]

Columns = dict[str, NDArray[Any]]
"""Parallel arrays by their names."""


def write_csv(file: Path, blocks: Iterable[Columns]) -> None:
    """Write blocks of the same columns with a header, compressed if the name ends in .gz."""
    with replaced(file) as opened, ExitStack() as stack:
        target: Any = opened
        if file.suffix.lower() == ".gz":  # without a time, for the same bytes at any time
            target = stack.enter_context(gzip.GzipFile("", "wb", 6, opened, mtime=0))
        text = io.TextIOWrapper(target, encoding="utf-8", newline="")
        lines = csv.writer(text, lineterminator="\n")
        try:
            for number, block in enumerate(blocks):
                if not number:
                    lines.writerow(block)
                lines.writerows(zip(*(part.tolist() for part in block.values()), strict=True))
            text.flush()
        except UnicodeEncodeError as error:
            raise _not_encodable(error) from error
        finally:
            text.detach()


def write_parquet(
    file: Path, blocks: Iterable[Columns], metadata: Mapping[Any, Any] | None = None
) -> None:
    """Write blocks of the same columns, of which two-dimensional ones become lists."""
    pa = import_pyarrow()
    from pyarrow import parquet

    with replaced(file) as opened:
        writer = None
        try:
            for block in blocks:
                table = pa.table({name: _arrow(column) for name, column in block.items()})
                table = table.replace_schema_metadata(metadata)
                writer = writer or parquet.ParquetWriter(opened, table.schema)
                writer.write_table(table)
        except UnicodeEncodeError as error:
            raise _not_encodable(error) from error
        finally:
            if writer is not None:
                writer.close()


def _not_encodable(error: UnicodeEncodeError) -> InvalidInputError:
    return InvalidInputError(
        f"the text {error.object!r} cannot be encoded as UTF-8: replace its surrogates"
    )


def _arrow(column: NDArray[Any]) -> Any:
    pa = import_pyarrow()
    if column.dtype == object:
        return pa.array(column.tolist(), pa.string())
    if column.ndim == 1:
        return pa.array(column)
    ends = np.arange(0, column.size + 1, column.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(ends, pa.array(column.ravel()))
