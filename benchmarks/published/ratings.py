"""MovieLens: errors of predicted ratings over random folds.

Only training ratings choose the hyper-parameters: in each fold a tenth of them is hidden, settings
are drawn at random, and the one with the least RMSE is fitted to all training ratings of the fold.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twofold import L2, FactorModel, Objective, Pairings, metrics
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS

__all__ = ["DATA_SETS", "RatingData", "Ratings", "cross_validate"]

_NAME = "twofold, ALS with biases"


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


@dataclass(frozen=True)
class RatingData:
    """A published table of predicted ratings.

    Parameters
    ----------
    read : callable
        Reads the ratings from a folder; InvalidInputError if it has none of the files.
    n_folds : int
        Number of folds, of which each holds the test ratings once.
    n_tested : int
        Number of folds that are tested by default, from 1 to ``n_folds``.
    ranks : tuple of int
        Numbers of factors that are drawn.
    exponents : tuple of float
        Exponents of `L2` that are drawn.
    shares : tuple of float
        Lowest and highest ridge of a typical row, as a share of its number of ratings.
    metrics : tuple of str
        Errors of `twofold.metrics`; the first chooses.
    published : dict of str to tuple of float
        Figures of other methods, of as many of the metrics as were published.
    source : str
        Where these figures stand.
    """

    read: Callable[[Path], Ratings]
    n_folds: int
    n_tested: int
    ranks: tuple[int, ...]
    exponents: tuple[float, ...]
    shares: tuple[float, float]
    metrics: tuple[str, ...]
    published: dict[str, tuple[float, ...]]
    source: str


def _columns(path: Path, positions: tuple[int, int, int], **layout: object) -> Ratings:
    """Read the columns of rows, columns and values of a text file."""
    rows, cols, values = np.loadtxt(path, usecols=positions, unpack=True, **layout)
    return Ratings(rows.astype(np.int64), cols.astype(np.int64), values)


def _read_100k(folder: Path) -> Ratings:
    if (folder / "u.data").exists():
        return _columns(folder / "u.data", (0, 1, 2))
    if (folder / "ml100k.npz").exists():
        with np.load(folder / "ml100k.npz") as arrays:
            rows, cols, values = (arrays[name] for name in ("rows", "cols", "ratings"))
        return Ratings(rows.astype(np.int64), cols.astype(np.int64), values.astype(np.float64))
    raise _missing(
        folder, "ml100k.npz with arrays rows, cols and ratings; or u.data of MovieLens 100k"
    )


def _read_10m(folder: Path) -> Ratings:
    if (folder / "ratings.dat").exists():  # user::movie::rating::time has empty columns
        return _columns(folder / "ratings.dat", (0, 2, 4), delimiter=":")
    if (folder / "ratings.csv").exists():
        return _columns(folder / "ratings.csv", (0, 1, 2), delimiter=",", skiprows=1)
    raise _missing(
        folder,
        "ratings.dat of MovieLens 10M, lines user::movie::rating::time; or ratings.csv with a line "
        "of names and the columns user, movie, rating",
    )


def _missing(folder: Path, files: str) -> InvalidInputError:
    return InvalidInputError(f"there is no file of ratings in {str(folder)!r}: give {files}")


DATA_SETS = {
    "ml-100k": RatingData(
        _read_100k, 5, 5, (16, 32, 64), (0.3, 0.5, 0.7), (0.08, 0.3), ("rmse", "mae"),
        {
            "baseline, biases only": (0.944, 0.748), "NMF": (0.963, 0.758), "SVD": (0.934, 0.737),
            "SVD++": (0.919, 0.721), "k-NN baseline": (0.931, 0.733),
        },
        "README of Surprise (github.com/NicolasHug/Surprise), 5-fold cross-validation",
    ),
    "ml-10m": RatingData(
        _read_10m, 10, 1, (64, 128), (0.3, 0.5, 0.7, 1.0), (0.03, 0.2), ("rmse", "mae"),
        {
            "SGD MF": (0.7720,), "Bayesian MF": (0.7633,), "Bayesian timeSVD": (0.7587,),
            "Bayesian SVD++": (0.7563,), "Bayesian timeSVD++": (0.7523,),
            "the same, flipped": (0.7485,),
        },
        "Rendle, Zhang and Koren 2019, arXiv 1905.01395, their runs on random 90:10 splits",
    ),
}  # fmt: skip


def folds(n: int, n_folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the positions of training and test ratings."""
    parts = np.array_split(np.random.default_rng(seed).permutation(n), n_folds)
    for test in range(n_folds):
        rest = [part for number, part in enumerate(parts) if number != test]
        yield np.sort(np.concatenate(rest)), np.sort(parts[test])


def errors(
    data: RatingData, setting: Setting, train: Ratings, test: Ratings, n_epochs: int, seed: int
) -> list[float]:
    """Return the errors of predictions that are clipped to the scale of the training ratings."""
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
    return [metrics.get(name).value(predicted, pairings.matrix.data) for name in data.metrics]


def drawn(data: RatingData, train: Ratings, n_trials: int, seed: int) -> Iterator[Setting]:
    """Yield random settings: the ridge is a share of the ratings of a typical row."""
    rng = np.random.default_rng(seed)
    typical = train.rows.size / np.sqrt(np.unique(train.rows).size * np.unique(train.cols).size)
    for _ in range(n_trials):
        exponent, n_factors = float(rng.choice(data.exponents)), int(rng.choice(data.ranks))
        share = float(np.exp(rng.uniform(*np.log(data.shares))))
        yield Setting(n_factors, float(share * typical ** (1.0 - exponent)), exponent)


def tuned(data: RatingData, train: Ratings, n_trials: int, n_epochs: int, seed: int) -> Setting:
    """Return the setting with the least error on a tenth of the training ratings."""
    order = np.random.default_rng([seed, 1]).permutation(train.rows.size)
    hidden, seen = (train.at(np.sort(part)) for part in np.split(order, [train.rows.size // 10]))

    def error(setting: Setting) -> float:
        found = errors(data, setting, seen, hidden, n_epochs, seed)[0]
        print(f"    {data.metrics[0]} {found:.4f}, {setting}", flush=True)
        return found

    return min(drawn(data, train, n_trials, seed), key=error)


def cross_validate(
    data: RatingData,
    ratings: Ratings,
    *,
    n_trials: int,
    n_epochs: int,
    seed: int,
    n_tested: int | None = None,
) -> None:
    """Print the errors of each tested fold, their means, and published figures.

    Raises
    ------
    InvalidInputError
        If there are fewer folds than are to be tested, or none is.
    """
    scores, started = [], time.perf_counter()
    n_tested = data.n_tested if n_tested is None else n_tested
    if not 1 <= n_tested <= data.n_folds:
        raise InvalidInputError(f"--folds {n_tested}: give a number from 1 to {data.n_folds}")
    parts_of = folds(ratings.rows.size, data.n_folds, seed)
    for number, (train, test) in zip(range(n_tested), parts_of, strict=False):
        parts = ratings.at(train), ratings.at(test)
        setting = tuned(data, parts[0], n_trials, n_epochs, seed + number)
        scores.append(errors(data, setting, *parts, n_epochs, seed + number))
        pairs = zip(data.metrics, scores[-1], strict=True)
        found = ", ".join(f"{name} {error:.4f}" for name, error in pairs)
        print(f"  fold {number}: {found} with {setting}", flush=True)
    minutes = (time.perf_counter() - started) / 60
    print(" " * 26 + "".join(f"{name:>10}" for name in data.metrics))
    for name, figures in {**data.published, _NAME: np.mean(scores, axis=0)}.items():
        print(f"{name:>26}" + "".join(f"{figure:>10.4f}" for figure in figures))
    print(
        f"{minutes:.1f} minutes for {len(scores)} of {data.n_folds} folds. Figures of other "
        f"methods: {data.source}."
    )
