"""`write_factors` on a cluster: the rows of pairings in parts, solved and written by workers."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold._common.checks import check_choice, check_names
from twofold._common.progress import progress_bar
from twofold.data import Pairings
from twofold.distributed.models import shared_model
from twofold.distributed.pairs import ClusterPairings
from twofold.distributed.reading import Pairs, PairsBlock, read_parts
from twofold.distributed.residents import MOST_ATTEMPTS, Handle, Homes, LostError
from twofold.exceptions import InvalidInputError
from twofold.io.sql_write import check_different
from twofold.model import FactorModel
from twofold.model.export import BLOCK
from twofold.model.list_files import write_parquet
from twofold.model.part_folder import PartFolder

__all__ = ["write_factors"]

_IN_FLIGHT = 4  # blocks for each worker that are submitted together


def write_factors(
    model: FactorModel | str | os.PathLike[str],
    pairings: ClusterPairings,
    folder: str | os.PathLike[str],
    *,
    id_column: str = "pid",
    if_exists: Literal["error", "replace", "resume"] = "error",
    client: Any = None,
    progress: bool = False,
) -> None:
    """Write the factors of the rows of pairings in parts, computed and written by the workers.

    The folder gets a Parquet file for each 20,000 rows in the order of their ids,
    ``part-00000.parquet`` and so on, with a column of ids and a column ``factors`` of lists, which
    programs read as one data set. The factors are those that `FactorModel.fold_in` finds, so those
    of trained rows are ``model.row_factors`` of a model of one process. The factors of the columns
    are in the client: write them by `twofold.model.write_factors`.

    Parameters
    ----------
    model : FactorModel, str or path-like
        A fitted model, also one of pairings in parts; or the path of a model file that all workers
        have. Its objective must not have ``row_center``.
    pairings : ClusterPairings
        The rows: the pairings of the fit, or others. Columns that the model does not have are left
        out. The workers read the parts again.
    folder : str or path-like
        A folder that all workers have, new, empty or with such parts.
    id_column : str, default "pid"
        The column of ids.
    if_exists : {"error", "replace", "resume"}, default "error"
        What to do if the folder has parts: raise; write all of them again; or, after an interrupt,
        write those that are missing or of another model or other pairs.
    client : distributed.Client, optional
        The client of the cluster. Default: the current one.
    progress : bool, default False
        Show a progress bar over the parts.

    Raises
    ------
    ClusterError
        If there is no client, no worker, or workers end five times.
    InvalidInputError
        If the model is not fitted, an argument is something else, the folder has parts and
        `if_exists` is "error", it has other files, or a reader or a part raises it.

    Examples
    --------
    With a cluster in the threads of this process:

    >>> from functools import partial
    >>> from distributed import Client
    >>> from twofold import Pairings
    >>> from twofold.distributed import ClusterPairings
    >>> reader = partial(Pairings.from_arrays, [1, 1, 2], [7, 9, 7])
    >>> model = FactorModel().fit(reader())
    >>> with Client(processes=False, dashboard_address=None) as client:
    ...     write_factors(model, ClusterPairings([reader]), "factors", client=client)
    >>> [path.name for path in Path("factors").iterdir()]
    ['part-00000.parquet']
    """
    check_choice(if_exists, "if_exists", ("error", "replace", "resume"))
    check_names({"id_column": id_column}, {})
    check_different("columns", id_column, "factors")
    if not isinstance(pairings, ClusterPairings):
        raise InvalidInputError(
            f"pairings is a {type(pairings).__name__}: give ClusterPairings, or use "
            "twofold.model.write_factors for a model of Pairings"
        )
    opened = shared_model(model)
    if not isinstance(opened, FactorModel):
        raise InvalidInputError(f"model is a {type(model).__name__}: give a fitted FactorModel")
    parts = PartFolder(Path(folder).absolute(), "row factors", "twofold.row_factors")
    key = f"{_digest_of(opened)} {id_column}"
    found, cluster = parts.found(if_exists), Homes(client)
    parts.keep(found.keys() if if_exists == "resume" else set())
    for left in reversed(range(MOST_ATTEMPTS)):
        try:
            pairs = read_parts(cluster, pairings.readers, pairings.duplicates)
            _Writing(cluster, pairs, parts, id_column, key).write(opened, progress)
            return
        except LostError:
            if not left:
                raise


def _digest_of(model: FactorModel) -> str:
    """Return a digest of what the factors of rows depend on."""
    digest = hashlib.blake2b(repr(model.objective).encode(), digest_size=16)
    digest.update(repr(model.col_ids.tolist()).encode("utf-8", "surrogatepass"))
    columns: Any = np.ascontiguousarray(model.col_factors)
    digest.update(columns)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Writing:
    """The parts of a folder, for pairs that are on the workers."""

    cluster: Homes
    pairs: Pairs
    parts: PartFolder
    id_column: str
    key: str

    def write(self, model: FactorModel, progress: bool) -> None:
        """Write all parts, a few for each worker at a time; delete the others."""
        starts = range(0, self.pairs.shape[0], BLOCK)
        self.parts.keep({self.parts.part(number) for number in range(len(starts))})
        shared = {
            home: self.cluster.placed([(model, self.pairs.col_ids)], home)[0]
            for home in dict.fromkeys(one.home for one in self.pairs.blocks)
        }
        window = _IN_FLIGHT * len(shared)
        described = f"{len(starts)} parts on {len(shared)} workers"
        with progress_bar(
            total=len(starts), desc=described, unit="part", shown=progress
        ) as bar, self.pairs.ids_in_errors():  # fmt: skip
            for first in range(0, len(starts), window):
                numbers = range(first, min(first + window, len(starts)))
                self.cluster.values([self._written(number, shared) for number in numbers])
                bar.update(len(numbers))

    def _written(self, number: int, shared: dict[str, Handle]) -> Handle:
        """Write a part on a worker that has some of its rows, and perhaps all."""
        low, high = number * BLOCK, min((number + 1) * BLOCK, self.pairs.shape[0])
        blocks = [one for one in self.pairs.blocks if one.low < high and low < one.high]
        pieces = [
            self.cluster.call(
                _rows_between, one.handle, home=one.home, low=max(low - one.low, 0),
                high=min(high, one.high) - one.low,
            )
            for one in blocks
        ]  # fmt: skip
        home = blocks[0].home
        return self.cluster.call(
            _write_part, shared[home], *pieces, home=home, ids=self.pairs.row_ids[low:high],
            parts=self.parts, number=number, id_column=self.id_column, key=self.key,
        )  # fmt: skip


def _rows_between(block: PairsBlock, low: int, high: int, threads: int) -> PairsBlock:
    """Return some rows of a block."""
    chosen = slice(block.matrix.indptr[low], block.matrix.indptr[high])
    weights = None if block.weights is None else block.weights[chosen]
    return PairsBlock(block.matrix[low:high], weights)


def _write_part(
    shared: tuple[FactorModel, NDArray[Any]], *pieces: PairsBlock, ids: NDArray[Any],
    parts: PartFolder, number: int, id_column: str, key: str, threads: int,
) -> None:  # fmt: skip
    """Write the factors of some rows, unless the file has them."""
    model, col_ids = shared
    matrix = sparse.vstack([one.matrix for one in pieces], format="csr")
    weights = None
    if any(one.weights is not None for one in pieces):
        weights = np.concatenate(
            [np.ones(one.matrix.nnz) if one.weights is None else one.weights for one in pieces]
        )
    rows = Pairings(matrix, ids, col_ids, weights=weights)
    own, file = f"{key} {_digest_of_rows(rows)}", parts.part(number)
    if file.exists() and parts.key_of(file) == own.encode():
        return
    factors = model.fold_in(rows).row_factors
    write_parquet(file, [{id_column: ids, "factors": factors}], {parts.name: own})


def _digest_of_rows(rows: Pairings) -> str:
    """Return a digest of the ids and the entries of rows."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr(rows.row_ids.tolist()).encode("utf-8", "surrogatepass"))
    matrix, weights = rows.matrix, rows.weights
    digest.update(repr(rows.col_ids[matrix.indices].tolist()).encode("utf-8", "surrogatepass"))
    for array in (matrix.indptr, matrix.data, *([] if weights is None else [weights])):
        contiguous: Any = np.ascontiguousarray(array)
        digest.update(contiguous)
    return digest.hexdigest()
