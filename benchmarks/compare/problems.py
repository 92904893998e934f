"""What is solved: data, an objective, and pairs that are held out for the metric."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from twofold import L2, Objective, Pairings, split_pairs
from twofold.datasets import make_playlists
from twofold.io import read_npz, read_sql
from twofold.metrics import recall_at_k
from twofold.model.ranking import best_columns

SIZES = {"small": (5_000, 3_000), "medium": (50_000, 20_000), "mpd": (1_000_000, 2_262_292)}

OBJECTIVES = {
    "observed": Objective(regularizer=L2(0.05, exponent=1.0)),
    "all": Objective(regularizer=L2(1.0), unobserved_weight=0.1),
    "missing": Objective(regularizer=L2(1.0), unobserved_weight=0.1, unobserved="missing"),
}

_JUDGED = 2_000  # rows of the held-out metric


@dataclass(frozen=True)
class Task:
    """A matrix, an objective and held-out pairs."""

    objective: Objective
    seen: Pairings
    heldout: Pairings

    def metric(self, row_factors: np.ndarray, col_factors: np.ndarray) -> float:
        """Recall@20 of the held-out pairs of the first 2,000 rows."""
        rows = slice(0, _JUDGED)
        found, _ = best_columns(
            np.ascontiguousarray(row_factors[rows]), col_factors, 20, self.seen.matrix[rows]
        )
        return float(recall_at_k(found, self.heldout.matrix[rows], 20))


@cache
def task(data: str, objective: str) -> Task:
    """Make a task of data (a size, a URL or a .npz file) and the name of an objective."""
    if data in SIZES:
        n_playlists, n_tracks = SIZES[data]
        pairings = make_playlists(
            n_playlists, n_tracks, n_groups=max(8, n_tracks // 500), mean_length=40, rng=0
        ).pairings
    else:
        pairings = read_npz(data) if data.endswith(".npz") else read_sql(data)
    seen, heldout = split_pairs(pairings, fraction=0.2, rng=0)
    return Task(OBJECTIVES[objective], seen, heldout)


def start(shape: tuple[int, int], n_factors: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors from which every solver starts, float32."""
    rng = np.random.default_rng(seed)
    scale = np.float32(0.1 / np.sqrt(n_factors))
    P, Q = (rng.standard_normal((n, n_factors), dtype=np.float32) * scale for n in shape)
    return P, Q


__all__ = ["OBJECTIVES", "SIZES", "Task", "start", "task"]
