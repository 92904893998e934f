"""Compile every kernel in advance, by running a tiny problem of each kind."""

import operator
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from twofold._kernels.cache import cache_folder
from twofold._kernels.threads import available_threads
from twofold.data.pairings import Pairings
from twofold.exceptions import InvalidInputError, KernelCacheWarning, TwofoldError
from twofold.model import FactorModel, Popularity
from twofold.model.ranking import best_columns
from twofold.model.screening import prepare_screen
from twofold.objective import L1, L2, HuberLoss, LogisticLoss, Objective
from twofold.solvers import ALS, GD, SGD, fold_in

__all__ = ["warm_up"]

DType = Literal["float32", "float64"]

_JOB = "import sys; from twofold.model.warm_up import _run; _run(*sys.argv[1:])"


def warm_up(n_processes: int | None = None, *, dtypes: Sequence[str] = ("float32",)) -> Path:
    """Compile all kernels and keep them on disk.

    Kernels are compiled when they are first called, which takes about a minute in all, and then
    loaded from disk. Call this when a container image is built, or before a timed run. Kernels on
    disk are for one kind of processor and one version of twofold, numba and Python.

    Parameters
    ----------
    n_processes : int, optional
        Number of processes that compile at the same time. Default: one for each processor.
    dtypes : sequence of {"float32", "float64"}, default ("float32",)
        Precisions of the factors to compile for.

    Returns
    -------
    pathlib.Path
        Folder of the compiled kernels. Set ``NUMBA_CACHE_DIR`` to choose another one.

    Raises
    ------
    InvalidInputError
        If `n_processes` is not a positive integer, or a dtype is not one of the two.
    TwofoldError
        If the kernels cannot be written to disk.

    Examples
    --------
    >>> import twofold
    >>> folder = twofold.warm_up(n_processes=2)  # doctest: +SKIP
    """
    n = available_threads() if n_processes is None else _positive(n_processes)
    unknown = set(dtypes) - {"float32", "float64"}
    if unknown or isinstance(dtypes, str):
        raise InvalidInputError(f"dtypes={dtypes!r}: give a list of 'float32' and 'float64'")
    with warnings.catch_warnings():
        warnings.simplefilter("error", KernelCacheWarning)
        try:
            folder = cache_folder()
        except KernelCacheWarning as warning:
            raise TwofoldError(str(warning)) from None
    if folder is None:
        raise TwofoldError("compiled kernels cannot be kept: see the warning printed before")
    with ThreadPoolExecutor(n) as pool:
        list(pool.map(_start, product(_KINDS, dtypes)))
    return folder


def _positive(n_processes: int) -> int:
    try:
        n = operator.index(n_processes)
    except TypeError:
        n = 0
    if n < 1:
        raise InvalidInputError(f"n_processes={n_processes!r}: give a whole number from 1")
    return n


def _start(job: tuple[str, str]) -> None:
    path = os.pathsep.join(folder for folder in sys.path if folder)
    done = subprocess.run(
        [sys.executable, "-c", _JOB, *job],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TwofoldError(f"kernels for {' in '.join(job)} were not compiled: {reason}")


def _run(kind: str, dtype: DType) -> None:
    warnings.simplefilter("error", KernelCacheWarning)
    rng = np.random.default_rng(0)
    # Rows and columns with fewer and with more pairs than there are factors.
    shares = np.linspace(0.05, 0.95, 30)
    matrix = sparse.csr_array((rng.random((30, 40)) < shares[:, np.newaxis]).astype(float))
    _KINDS[kind](matrix, dtype)


def _run_als(matrix: Any, dtype: DType) -> None:
    weighted = Objective(regularizer=L2(0.1), data="weights", unobserved_weight=0.1)
    biased = Objective(regularizer=L2(0.1), unobserved_weight=0.1, biases=True)
    ALS(n_factors=8, max_epochs=2, dtype=dtype, rng=0).solve(biased, matrix)
    for objective in (Objective(regularizer=L2(0.1)), weighted):
        for row_solver in ("auto", "direct", "cg"):
            solver = ALS(n_factors=8, max_epochs=2, row_solver=row_solver, dtype=dtype, rng=0)
            solver.solve(objective, matrix)
        constrained = replace(objective, nonnegative=True)
        ALS(n_factors=8, max_epochs=1, dtype=dtype, rng=0).solve(constrained, matrix)


def _run_sgd(matrix: Any, dtype: DType) -> None:
    for schedule in ("adagrad", "constant"):
        SGD(n_factors=8, max_epochs=2, schedule=schedule, dtype=dtype, rng=0).solve(
            Objective(regularizer=L2(0.1)), matrix
        )


def _run_gd(matrix: Any, dtype: DType) -> None:
    for objective in (
        Objective(regularizer=L2(0.1), unobserved_weight=0.1),
        Objective(regularizer=L1(0.1)),
    ):
        GD(n_factors=8, max_epochs=2, dtype=dtype, rng=0).solve(objective, matrix)
        batches = GD(n_factors=8, max_epochs=2, n_batches=2, learning_rate=1e-3, dtype=dtype, rng=0)
        batches.solve(objective, matrix)


def _run_fold_in(matrix: Any, dtype: DType) -> None:
    factors: ArrayLike = np.random.default_rng(0).random((matrix.shape[1], 8)).astype(dtype)
    for objective in (
        Objective(regularizer=L2(0.1)),
        Objective(regularizer=L2(0.1), unobserved_weight=0.1),
        Objective(HuberLoss(), L2(0.1)),
        Objective(LogisticLoss(), L1(0.1)),
    ):
        rows = fold_in(objective, matrix, factors)
        objective.value(matrix, rows, factors)
        objective.gradient(matrix, rows, factors)


def _run_model(matrix: Any, dtype: DType) -> None:
    """Ids that are numbers and ids that are texts, through a database, to recommendations."""
    from twofold.io import read_sql, write_sql  # SQLAlchemy is imported where it is needed

    rows, cols = matrix.nonzero()
    numbers = Pairings.from_arrays(rows, cols)
    texts = Pairings.from_arrays(np.arange(2000).astype(str), np.arange(2000).astype(str))
    with tempfile.TemporaryDirectory() as folder:
        for name, pairings in (("numbers", numbers), ("texts", texts)):
            url = f"sqlite:///{folder}/{name}.db"
            write_sql(pairings, url)
            read = read_sql(url)
            model = FactorModel(solver=ALS(n_factors=8, max_epochs=1, dtype=dtype, rng=0))
            model.fit(read)
            model.recommend(read.row_ids[:3], n=2, fallback="popular")
            model.recommend(read.row_ids[:1], n=2)
            model.similar_cols(read.col_ids[:3], n=2)
            model.score(read.row_ids[:1], read.col_ids[:1])
            P, Q = model.row_factors, model.col_factors
            best_columns(P[:1], Q, 2, screen=prepare_screen(Q))
            model.fold_in(read)
            model.explain(read.row_ids[0], read.col_ids[0])
            popularity = Popularity().fit(read)
            for some in (read.row_ids[:1], read.row_ids):
                popularity.recommend(some)


_KINDS: dict[str, Callable[[Any, DType], None]] = {
    "als": _run_als,
    "fold-in": _run_fold_in,
    "gd": _run_gd,
    "sgd": _run_sgd,
    "model": _run_model,
}
