"""`fold_in` on a cluster: blocks of new rows, for columns that every worker has."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from twofold._common.arrays import FactorArray
from twofold._common.atomic import replaced
from twofold._common.checks import check_choice
from twofold._common.progress import progress_bar
from twofold.data.csr import EntryError, as_csr
from twofold.distributed.engine import Cluster
from twofold.distributed.partition import row_bounds
from twofold.exceptions import InvalidInputError, SingularRowError
from twofold.objective import Objective, Problem
from twofold.objective.biases import Axis
from twofold.solvers.centered_system import CenteredSystem
from twofold.solvers.folding import (
    penalty_of_new,
    prepare_columns,
    solve_new_rows,
    warn_of_unsettled,
)

__all__ = ["fold_in"]


def fold_in(
    objective: Objective,
    matrix: Any,
    col_factors: ArrayLike,
    *,
    weights: Any = None,
    axis: Axis = "row",
    center: ArrayLike | None = None,
    output: str | os.PathLike[str] | None = None,
    client: Any = None,
    progress: bool = False,
) -> FactorArray | list[Path]:
    """Compute the factors of new rows on the workers, with the bits of `twofold.fold_in`.

    The prepared columns are sent to each worker once, and the rows in blocks of about 4 MB.

    Parameters
    ----------
    objective : Objective
        As for `twofold.fold_in`.
    matrix : scipy sparse matrix or array, shape (n_new_rows, n_cols), or iterable of blocks
        The stored entries of the new rows; or blocks of rows, each of them a matrix, or a function
        without arguments that a worker calls to read one. The blocks need not fit into the memory
        of the client together.
    col_factors : array_like, shape (n_cols, n_factors)
        Q.
    weights, center
        As for `twofold.fold_in`, for a whole matrix only.
    axis : {"row", "col"}, default "row"
        As for `twofold.fold_in`.
    output : str or path-like, optional
        A folder that all workers have, empty or new. Each block becomes a file of it,
        ``part-00000.npy`` and so on, written by a worker; nothing returns to the client.
    client : distributed.Client, optional
        The client of the cluster. Default: the current one.
    progress : bool, default False
        Show a progress bar over the blocks, with their number.

    Returns
    -------
    ndarray, shape (n_new_rows, n_factors), or list of Path
        The factors, or the files if `output` is given.

    Raises
    ------
    ClusterError
        If there is no client, no worker, or every worker ends that a block is given to.
    InvalidInputError
        As for `twofold.fold_in`, or if the folder has files.
    SingularRowError
        If a row has no unique solution.

    Warns
    -----
    ConvergenceWarning
        If an iterative method does not converge for a row.

    Examples
    --------
    >>> from twofold import L2
    >>> new_rows, Q = sparse.csr_array([[1, 0], [1, 1]]), np.array([[1.0], [2.0]])
    >>> fold_in(Objective(regularizer=L2(1.0)), new_rows, Q, client=client)  # doctest: +SKIP
    array([[0.5],
           [0.5]])
    """
    check_choice(axis, "axis", ("row", "col"))
    cluster, folder = Cluster(client), None if output is None else _new_folder(output)
    if sparse.issparse(matrix):
        problem = Problem.of(objective, matrix, weights)
        system = prepare_columns(objective, col_factors, problem.shape, axis)
        penalty_of_new(problem, system.n_factors, center, axis)  # its checks
        blocks: Iterable[_Block] = _Whole.of(matrix, weights, center, system)
    elif weights is not None or center is not None:
        raise InvalidInputError("weights and center are for a whole matrix, not for blocks of rows")
    else:
        n_cols = len(np.asarray(col_factors))
        system = prepare_columns(objective, col_factors, (0, n_cols), axis)
        blocks = _given_blocks(matrix)
    n_blocks = len(blocks) if isinstance(blocks, _Whole) else None
    parts: list[Any] = []
    unsettled = []
    described = f"fold in on {cluster.n_workers} workers"
    with progress_bar(total=n_blocks, desc=described, unit="block", shown=progress) as bar:
        tasks = ((block, _part(folder, number)) for number, block in enumerate(blocks))
        for part, rows in cluster.each(_fold_block, _Columns(objective, system, axis), tasks):
            parts.append(part)
            unsettled.append(rows)
            bar.update()
    found = np.concatenate([np.empty(0, np.int64), *unsettled])
    if found.size:
        warn_of_unsettled(found)
    if folder is not None:
        return parts
    return np.concatenate([np.empty((0, system.n_factors), system.col_factors.dtype), *parts])


@dataclass(frozen=True)
class _Columns:
    """What all blocks share."""

    objective: Objective
    system: CenteredSystem
    axis: Axis


@dataclass(frozen=True)
class _Block:
    """Some rows.

    Parameters
    ----------
    matrix : csr_array or callable
        The rows, or a function that reads them.
    weights, center : ndarray, optional
        Of these rows.
    first : int
        Position of the first row.
    name : str
        For messages; empty if the positions of the rows are enough.
    """

    matrix: sparse.csr_array | Callable[[], Any]
    weights: NDArray[Any] | None = None
    center: NDArray[Any] | None = None
    first: int = 0
    name: str = ""


@dataclass(frozen=True)
class _Whole:
    """A matrix, cut into blocks."""

    matrix: sparse.csr_array
    weights: NDArray[Any] | None
    center: NDArray[Any] | None
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, matrix: Any, weights: Any, center: Any, system: CenteredSystem) -> "_Whole":
        csr, weights = as_csr(matrix, weights)
        row_bytes = system.n_factors * system.col_factors.itemsize
        bounds = row_bounds(np.diff(csr.indptr), row_bytes)
        return cls(csr, weights, None if center is None else np.asarray(center), bounds)

    def __len__(self) -> int:
        return self.bounds.size - 1

    def __iter__(self) -> Iterator[_Block]:
        starts = self.matrix.indptr
        for low, high in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True):
            entries = slice(starts[low], starts[high])
            yield _Block(
                self.matrix[low:high],
                None if self.weights is None else self.weights[entries],
                None if self.center is None else self.center[low:high],
                low,
            )


def _given_blocks(blocks: Any) -> Iterator[_Block]:
    if not isinstance(blocks, Iterable):
        raise InvalidInputError(
            f"matrix is a {type(blocks).__name__}: give a scipy sparse matrix, or blocks of rows"
        )
    for number, block in enumerate(blocks):
        if not sparse.issparse(block) and not callable(block):
            raise InvalidInputError(
                f"block {number} of the matrix is a {type(block).__name__}: give scipy sparse "
                "matrices, or functions that read one"
            )
        yield _Block(block, name=f"block {number}: ")


def _fold_block(columns: _Columns, block: _Block, file: Path | None) -> tuple[Any, NDArray[Any]]:
    """Return the factors of a block or their file, and the rows that did not converge."""
    system, axis = columns.system, columns.axis
    try:
        matrix = block.matrix() if callable(block.matrix) else block.matrix
        problem = Problem.of(columns.objective, matrix, block.weights)
        n_cols = len(system.col_factors)
        if problem.shape[1] != n_cols:
            raise InvalidInputError(
                f"the matrix has {problem.shape[1]} cols, but col_factors has {n_cols} rows"
            )
        if block.first:  # messages have the positions in the whole matrix
            positions = np.arange(block.first, block.first + problem.shape[0])
            problem = replace(problem, rows=replace(problem.rows, positions=positions))
        penalty = penalty_of_new(problem, system.n_factors, block.center, axis)
        factors, unsettled = solve_new_rows(system, problem, penalty)
    except EntryError as error:
        before, between, after = error.parts
        parts = f"{block.name}{before}", between, after
        raise EntryError(parts, error.row + block.first, error.col) from None
    except (InvalidInputError, SingularRowError) as error:
        raise type(error)(f"{block.name}{error}") from error
    if file is None:
        return factors, unsettled + block.first
    with replaced(file) as opened:
        np.save(opened, factors)
    return file, unsettled + block.first


def _part(folder: Path | None, number: int) -> Path | None:
    return None if folder is None else folder / f"part-{number:05}.npy"


def _new_folder(output: str | os.PathLike[str]) -> Path:
    folder = Path(output).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise InvalidInputError(
            f"cannot make the folder {str(folder)!r}: {error.strerror or error}"
        ) from error
    if not is_empty:
        raise InvalidInputError(f"the folder {str(folder)!r} has files: give a new or empty one")
    return folder
