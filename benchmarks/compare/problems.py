"""The problems: data, an objective, and held-out pairs for the metric.

The training problems are not convex, and their best known value is the lowest of all solvers. The
fold-in problems have fixed columns, and each row is a convex problem with a known optimum.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from scipy import sparse

from twofold import L2, Objective, Pairings, split_pairs, split_rows
from twofold.datasets import make_playlists
from twofold.exceptions import TwofoldError
from twofold.io import read_npz, read_sql
from twofold.metrics import recall_at_k, rmse
from twofold.solvers import ALS

SIZES = {
    "tiny": (200, 120), "small": (5_000, 3_000), "medium": (50_000, 20_000),
    "large": (200_000, 100_000), "mpd": (1_000_000, 2_262_292),
}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """A named problem, independent of the data."""

    objective: Objective
    text: str
    convex: bool = False
    is_default: bool = True
    """Whether ``python -m benchmarks run`` solves it if no problem is named."""


_ALL = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
_MISSING = Objective(regularizer=L2(1.0), unobserved_weight=0.1, unobserved="missing")

PROBLEMS = {
    "all": Problem(_ALL, "every pair is 1, every cell is also 0 with weight 0.1; lam = 1"),
    "missing": Problem(_MISSING, "every pair is 1, every other cell 0 with weight 0.1; lam = 1"),
    "unpenalised": Problem(
        replace(_MISSING, regularizer=L2(0.0)),
        "every pair is 1, every other cell 0 with weight 0.1; lam = 0",
        is_default=False,
    ),
    "observed": Problem(
        Objective(regularizer=L2(0.05, exponent=1.0)),
        "every pair is 1, other cells do not count; lam = 0.05 for each pair",
    ),
    "ratings": Problem(
        Objective(regularizer=L2(0.05, exponent=1.0), data="targets"),
        "values of the data or, where all are 1, of planted rank 8 plus noise; lam = 0.05 for each "
        "pair",
    ),
    "fold-all": Problem(_ALL, "new rows for fixed columns, objective 'all'", convex=True),
    "fold-missing": Problem(
        _MISSING, "new rows for fixed columns, objective 'missing'", convex=True
    ),
}

DEFAULT_PROBLEMS = [name for name, one in PROBLEMS.items() if one.is_default]

_JUDGED = 500  # number of rows for the held-out metric
_NOISE = 0.3  # standard deviation of the noise of "ratings"


@dataclass(frozen=True)
class Task:
    """A problem with data: a matrix, an objective and held-out pairs."""

    objective: Objective
    matrix: Any
    """csr_array of the training pairs."""
    heldout: Any
    """csr_array of the held-out pairs, over the same columns."""
    col_factors: np.ndarray | None = None
    """The fixed columns of a fold-in problem."""

    @property
    def metric_name(self) -> str:
        """Name of the metric."""
        return "RMSE" if self.objective.data == "targets" else "Recall@20"

    def metric(self, row_factors: np.ndarray, col_factors: np.ndarray) -> float:
        """Recall@20, or RMSE for ratings, of the held-out pairs of the first 500 rows."""
        rows = slice(0, _JUDGED)
        P = np.ascontiguousarray(row_factors[rows])
        if self.metric_name == "RMSE":
            truth = self.heldout[rows].tocoo()
            predicted = np.einsum("ek,ek->e", P[truth.row], col_factors[truth.col])
            return rmse(predicted, truth.data)
        found = _best_columns(P, col_factors, self.matrix[rows])
        return float(recall_at_k(found, self.heldout[rows], 20))

    @cached_property
    def constant(self) -> float:
        """The penalty of fixed columns, which is constant."""
        if self.col_factors is None:
            return 0.0
        nothing = np.zeros((self.matrix.shape[0], self.col_factors.shape[1]))
        return self.objective.value(self.matrix, nothing, self.col_factors).penalty

    def value(self, P: np.ndarray, Q: np.ndarray) -> float:
        """Return the objective in float64 without its constant part."""
        return self.objective.value(self.matrix, P, Q).total - self.constant

    def gradient_norm(self, P: np.ndarray, Q: np.ndarray) -> float:
        """Return the Euclidean norm of the gradient in float64, without that of fixed columns."""
        P, Q = (np.asarray(factors, dtype=np.float64) for factors in (P, Q))
        parts = self.objective.gradient(self.matrix, P, Q)
        free = parts if self.col_factors is None else parts[:1]
        return float(np.sqrt(sum(np.sum(part**2) for part in free)))

    @cached_property
    def optimum(self) -> float | None:
        """Return the minimum if the problem is convex, otherwise None."""
        if self.col_factors is None:
            return None
        Q = self.col_factors.astype(np.float64)
        return self.value(exact_rows(self.objective, self.matrix, Q), Q)


@cache
def task(data: str, problem: str, n_factors: int) -> Task:
    """Create a task from data (see `load`) and the name of a problem."""
    return make_task(load(data), problem, n_factors)


def make_task(pairings: Pairings, problem: str, n_factors: int) -> Task:
    """Create a task from pairs and the name of a problem."""
    chosen = PROBLEMS[problem]
    if not chosen.convex:
        if chosen.objective.data == "targets" and (pairings.matrix.data == 1.0).all():
            pairings = _with_ratings(pairings)
        seen, heldout = split_pairs(pairings, fraction=0.2, rng=0)
        return Task(chosen.objective, seen.matrix, heldout.matrix)
    parts = split_rows(pairings, validation=0.0, test=0.2, rng=0)
    trained = ALS(n_factors=n_factors, max_epochs=5, rng=0).solve(
        chosen.objective, parts.train.matrix
    )
    seen, heldout = split_pairs(parts.test.align(parts.train.col_ids), fraction=0.2, rng=0)
    return Task(chosen.objective, seen.matrix, heldout.matrix, trained.col_factors)


def load(data: str) -> Pairings:
    """Return generated pairs of a size, or those of a ``.npz`` file or SQL table ``pairings``."""
    if data in SIZES:
        n_playlists, n_tracks = SIZES[data]
        return make_playlists(
            n_playlists, n_tracks, n_groups=max(8, n_tracks // 500), mean_length=40, rng=0
        ).pairings
    return read_npz(data) if data.endswith(".npz") else read_sql(data)


def check_data(data: str) -> None:
    """Raise ValueError unless the data can be read; a database is not read to its end."""
    if data in SIZES:
        return
    if data.endswith(".npz"):
        if not Path(data).is_file():
            raise ValueError(f"{data}: there is no such file")
        try:
            read_npz(data)
        except TwofoldError as error:
            raise ValueError(str(error)) from None
        return
    try:
        url = sa.make_url(data)
    except sa.exc.ArgumentError:
        raise ValueError(
            f"{data!r} is invalid: give {', '.join(SIZES)}, a .npz file or a database URL"
        ) from None
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise ValueError(f"{data}: there is no such file")
    columns = [sa.column("pid"), sa.column("tid")]
    try:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            connection.execute(sa.select(*columns).select_from(sa.table("pairings")).limit(1))
        engine.dispose()
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise ValueError(f"{data}: pairings(pid, tid) cannot be read: {reason}") from None


def _best_columns(P: np.ndarray, Q: np.ndarray, seen: Any, n: int = 20) -> np.ndarray:
    """Return the n columns with the highest scores of each row, unordered, without those seen."""
    found = []
    for first in range(0, len(P), 50):
        scores = P[first : first + 50] @ Q.T
        entries = seen[first : first + 50].tocoo()
        scores[entries.row, entries.col] = -np.inf
        found.append(np.argpartition(scores, -n, axis=1)[:, -n:])
    return np.concatenate(found)


def _with_ratings(pairings: Pairings) -> Pairings:
    """Return the pairs with values x_u . y_i + noise, for seeded normal x and y of rank 8."""
    matrix, rng = pairings.matrix, np.random.default_rng(8)
    rows, cols = (rng.standard_normal((n, 8)) / 8**0.25 for n in matrix.shape)
    row_of_entry = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    values = np.einsum("ek,ek->e", rows[row_of_entry], cols[matrix.indices])
    values += _NOISE * rng.standard_normal(values.size)
    rated = sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)
    return replace(pairings, matrix=rated)


def exact_rows(objective: Objective, matrix: Any, Q: np.ndarray) -> np.ndarray:
    """Solve the normal equations of each row in float64 numpy, as the notebook does."""
    k, a0 = Q.shape[1], objective.unobserved_weight
    c = 1.0 - a0 if objective.unobserved == "missing" else 1.0
    regularised = a0 * (Q.T @ Q) + objective.regularizer.weight * np.identity(k)
    P = np.zeros((matrix.shape[0], k))
    for row in range(matrix.shape[0]):
        Y = Q[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]]
        if len(Y):
            P[row] = np.linalg.solve(regularised + c * (Y.T @ Y), Y.sum(axis=0))
    return P


def start(shape: tuple[int, int], n_factors: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the initial factors of all solvers, float32."""
    rng = np.random.default_rng(seed)
    scale = np.float32(0.1 / np.sqrt(n_factors))
    P, Q = (rng.standard_normal((n, n_factors), dtype=np.float32) * scale for n in shape)
    return P, Q
