"""The Million Playlist Dataset Challenge: hidden playlists of its slices, judged by its metrics.

The answers of the challenge set are not public. `split_challenge` makes the ten tasks of playlists
of the slices, and a model of the others, with the default objective, completes them. R-precision
has a quarter for each artist in common, as printed in the rules, and NDCG is that of the published
evaluation program. Playlists without a seed track get the most popular tracks; titles are not used.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.published.data import need
from twofold import FactorModel, evaluate, metrics, split_challenge
from twofold.io import MpdPairings, read_mpd, write_submission
from twofold.model import Ranking
from twofold.solvers import ALS
from twofold.splits import CHALLENGE_TASKS, ChallengeSplit

__all__ = ["METRICS", "NAME", "Completed", "judge_tasks", "read_slices", "run"]

NAME = "challenge"
METRICS = ("mpd-r-precision", "ndcg@500", "clicks@500")
PUBLISHED = {"vl6 (the winners)": (0.2241, 0.3946, 1.7839)}
SOURCE = (
    "Zamani, Schedl, Lamere and Chen 2019, arXiv 1810.01520, main track of the RecSys Challenge "
    "2018, on the hidden challenge set"
)
_SLICES = "mpd.slice.*.json"
_CHALLENGE_SET = "challenge_set.json"
_FILES = (
    f"{_SLICES} of the Million Playlist Dataset, and for a submission {_CHALLENGE_SET} "
    "(www.aicrowd.com/challenges/spotify-million-playlist-dataset-challenge)"
)


class Completed:
    """A model that recommends the most popular columns to rows without a known one."""

    def __init__(self, model: FactorModel) -> None:
        self.model, self.pairings = model, model.pairings

    def recommend(self, rows: Any, n: int = 10, *, exclude_known: bool = True) -> Ranking:
        """Return the n best columns for trained rows (ids) or new ones (`Pairings`)."""
        return self.model.recommend(rows, n, exclude_known=exclude_known, fallback="popular")


def read_slices(folder: Path) -> MpdPairings:
    """Read the playlists with the positions of their tracks.

    Raises
    ------
    InvalidInputError
        If there is no slice.
    """
    need(folder, (_SLICES,), _FILES)
    return read_mpd(folder, positions=True)


def judge_tasks(
    model: FactorModel, split: ChallengeSplit, artists: Any
) -> dict[str, dict[int, tuple[float, ...]]]:
    """Return the metrics of the model and of the most popular tracks in each task."""
    first, *others = METRICS
    chosen = [metrics.get(first).given(artists=artists), *others]
    found: dict[str, dict[int, tuple[float, ...]]] = {}
    for number, task in split.tasks.items():
        judged = evaluate(Completed(model), task, chosen)
        for name, scores in judged.scores.items():
            name = "twofold" if name == "model" else name
            found.setdefault(name, {})[number] = tuple(scores[metric] for metric in METRICS)
    return found


def _table(found: dict[str, dict[int, tuple[float, ...]]]) -> str:
    """Return the tasks of the model, then the means over the tasks and the published figures."""
    lines = {
        f"{number}: {CHALLENGE_TASKS[number]}": scores
        for number, scores in found["twofold"].items()
    }
    lines |= {
        f"{name}, mean": tuple(np.mean([*tasks.values()], axis=0)) for name, tasks in found.items()
    }
    text = [" " * 32 + "".join(f"{metric:>17}" for metric in METRICS)]
    for name, figures in (lines | PUBLISHED).items():
        text.append(f"{name:>32}" + "".join(f"{figure:>17.4f}" for figure in figures))
    return "\n".join([*text, f"Figures of other methods: {SOURCE}."])


def run(
    playlists: MpdPairings,
    folder: Path,
    *,
    n_rows: int,
    n_factors: int,
    n_epochs: int,
    seed: int,
    team: str,
    email: str,
    output: Path,
) -> None:
    """Train, judge the tasks, print the table, and write a submission for the challenge set."""
    started = time.perf_counter()
    split = split_challenge(playlists, n_rows, rng=seed)
    print(f"{NAME}: {split}", flush=True)
    solver = ALS(n_factors=n_factors, max_epochs=n_epochs, rng=seed, evaluate_every=n_epochs)
    trained = time.perf_counter()
    model = FactorModel(solver=solver).fit(split.train)
    fitted = time.perf_counter()
    artists = playlists.tracks["artist"][playlists.col_index(split.train.col_ids)]
    found = judge_tasks(model, split, artists)
    judged = time.perf_counter()
    print(_table(found))
    print(
        f"Minutes: split {(trained - started) / 60:.1f}, fit {(fitted - trained) / 60:.1f} with "
        f"{n_factors} factors and {model.objective}, judging {(judged - fitted) / 60:.1f}."
    )
    if (folder / _CHALLENGE_SET).exists():
        seeds = read_mpd(folder / _CHALLENGE_SET)
        write_submission(output, team, email, Completed(model).recommend(seeds, 500), seeds)
        print(f"The submission for {_CHALLENGE_SET} is in {output}.")
