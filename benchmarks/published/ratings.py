"""MovieLens 100k: errors of predicted ratings over five random folds.

Only training ratings choose the hyper-parameters: in each fold a tenth of them is hidden, settings
are drawn at random, and the one with the least RMSE is fitted to all training ratings of the fold.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold import L2, FactorModel, Objective, Pairings
from twofold.exceptions import InvalidInputError
from twofold.metrics import mae, rmse
from twofold.solvers import ALS

__all__ = ["NAME", "Ratings", "cross_validate", "read_ratings"]

NAME = "ml-100k"
PUBLISHED = {
    "baseline, biases only": (0.944, 0.748), "NMF": (0.963, 0.758), "SVD": (0.934, 0.737),
    "SVD++": (0.919, 0.721), "k-NN baseline": (0.931, 0.733),
}  # fmt: skip
SOURCE = "README of Surprise (github.com/NicolasHug/Surprise), 5-fold cross-validation"
_FILES = "ml100k.npz with arrays rows, cols and ratings; or u.data of MovieLens 100k"
_RANKS = (16, 32, 64)
_EXPONENTS = (0.3, 0.5, 0.7)


class Ratings(NamedTuple):
    """Parallel arrays of ratings."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, chosen: NDArray[np.int64]) -> "Ratings":
        """Return the ratings at some positions."""
        return Ratings(*(part[chosen] for part in self))

    @property
    def pairings(self) -> Pairings:
        """The ratings as pairings."""
        return Pairings.from_arrays(*self)


class Setting(NamedTuple):
    """The hyper-parameters of a trial."""

    n_factors: int
    weight: float
    exponent: float


def read_ratings(folder: Path) -> Ratings:
    """Read the data from a folder.

    Raises
    ------
    InvalidInputError
        If the folder has none of the files.
    """
    if (folder / "ml100k.npz").exists():
        with np.load(folder / "ml100k.npz") as arrays:
            parts = [arrays[name] for name in ("rows", "cols", "ratings")]
    elif (folder / "u.data").exists():
        parts = list(np.loadtxt(folder / "u.data", dtype=np.int64, usecols=(0, 1, 2), unpack=True))
    else:
        raise InvalidInputError(f"there is no file of ratings in {str(folder)!r}: give {_FILES}")
    rows, cols, values = parts
    return Ratings(rows.astype(np.int64), cols.astype(np.int64), values.astype(np.float64))


def folds(n: int, n_folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the positions of training and test ratings."""
    parts = np.array_split(np.random.default_rng(seed).permutation(n), n_folds)
    for test in range(n_folds):
        rest = [part for number, part in enumerate(parts) if number != test]
        yield np.sort(np.concatenate(rest)), np.sort(parts[test])


def errors(
    setting: Setting, train: Ratings, test: Ratings, n_epochs: int, seed: int
) -> tuple[float, float]:
    """Return RMSE and MAE of predictions that are clipped to the scale of the training ratings."""
    objective = Objective(
        regularizer=L2(setting.weight, setting.exponent), data="targets", biases=True
    )
    solver = ALS(
        n_factors=setting.n_factors, max_epochs=n_epochs, rng=seed, init_scale=0.1,
        evaluate_every=n_epochs,
    )  # fmt: skip
    model = FactorModel(objective, solver).fit(train.pairings)
    pairings = test.pairings
    predicted = np.clip(model.predict(pairings), train.values.min(), train.values.max())
    return rmse(predicted, pairings.matrix.data), mae(predicted, pairings.matrix.data)


def drawn(train: Ratings, n_trials: int, seed: int) -> Iterator[Setting]:
    """Yield random settings: the ridge is a share of the ratings of a typical row."""
    rng = np.random.default_rng(seed)
    typical = train.rows.size / np.sqrt(np.unique(train.rows).size * np.unique(train.cols).size)
    for _ in range(n_trials):
        exponent, n_factors = float(rng.choice(_EXPONENTS)), int(rng.choice(_RANKS))
        share = float(np.exp(rng.uniform(np.log(0.08), np.log(0.3))))
        yield Setting(n_factors, float(share * typical ** (1.0 - exponent)), exponent)


def tuned(train: Ratings, n_trials: int, n_epochs: int, seed: int) -> Setting:
    """Return the setting with the least RMSE on a tenth of the training ratings."""
    order = np.random.default_rng([seed, 1]).permutation(train.rows.size)
    hidden, seen = (train.at(np.sort(part)) for part in np.split(order, [train.rows.size // 10]))
    return min(
        drawn(train, n_trials, seed),
        key=lambda setting: errors(setting, seen, hidden, n_epochs, seed)[0],
    )


def cross_validate(
    ratings: Ratings, *, n_trials: int, n_epochs: int, seed: int, n_folds: int = 5
) -> None:
    """Print RMSE and MAE of each fold, their means, and published figures."""
    scores, started = [], time.perf_counter()
    for number, (train, test) in enumerate(folds(ratings.rows.size, n_folds, seed)):
        parts = ratings.at(train), ratings.at(test)
        setting = tuned(parts[0], n_trials, n_epochs, seed + number)
        scores.append(errors(setting, *parts, n_epochs, seed + number))
        found = f"RMSE {scores[-1][0]:.4f}, MAE {scores[-1][1]:.4f}"
        print(f"  fold {number}: {found} with {setting}", flush=True)
    minutes = (time.perf_counter() - started) / 60
    means = {"twofold, ALS with biases": tuple(np.mean(scores, axis=0))}
    for name, (root, absolute) in {**PUBLISHED, **means}.items():
        print(f"{name:>26}{root:>10.4f}{absolute:>10.4f}")
    print(f"{minutes:.1f} minutes. Figures of other methods: {SOURCE}.")
