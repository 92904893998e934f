"""Compute a published table again.

    python -m benchmarks.published yelp2018 FOLDER [--packages twofold,irspack,implicit]
    python -m benchmarks.published ml-100k FOLDER
    python -m benchmarks.published challenge FOLDER [--team TEAM --email EMAIL]

The second, like ml-10m, is a table of predicted ratings: see `benchmarks.published.ratings`. The
third is the Million Playlist Dataset Challenge: see `benchmarks.published.challenge`.

FOLDER holds the files of the data set; without them the error names what is needed. Only training
pairs choose the hyper-parameters: a fifth of each row is hidden, and `--trials` settings are drawn
at random for each package from the same ranges and seed. Larger ranks need a larger ridge: with the
final number of factors, the best setting by the first metric is refined `--refinements` times at
most: the ridge, then the weight of all cells, then the exponent go up, or else down, by a step as
long as the metric rises. With `--minutes` each package has this time for its search instead, half
of it for random settings. The test pairs are used once.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from benchmarks.published import challenge, ratings
from benchmarks.published.data import DATA_SETS, DataSet, Parts
from benchmarks.published.packages import PACKAGES, Package, Setting
from twofold import Evaluation, Objective, Pairings, evaluate, fold_in, split_pairs
from twofold.exceptions import InvalidInputError, TwofoldError
from twofold.metrics.statistics import bootstrap_interval
from twofold.model import Ranking
from twofold.model.rules import ranked
from twofold.splits import PairSplit

_EPOCHS = 10
_JUDGED = 6000  # rows of a trial
_RANKED = {
    "packages": "twofold", "trials": 20, "refinements": 5, "minutes": None,
    "search_factors": 128, "n_factors": None, "epochs": 15, "seed": 0,
}  # fmt: skip
_RATED = {"trials": 20, "epochs": 15, "seed": 0, "folds": None}
_CHALLENGE = {
    "rows": 1000, "n_factors": 128, "epochs": 15, "seed": 11, "team": "twofold",
    "email": "team@example.org", "output": Path("submission.csv.gz"),
}  # fmt: skip


Move = Callable[[Setting], Setting]


class Factors:
    """Factors of any package as a recommender."""

    def __init__(self, pairings: Pairings, P: Any, Q: Any, objective: Objective) -> None:
        self.pairings, self.P, self.Q, self.objective = pairings, P, Q, objective

    def recommend(self, rows: Any, n: int = 10, *, exclude_known: bool = True) -> Ranking:
        """Return the n best columns for trained rows (ids) or new ones (`Pairings`)."""
        if isinstance(rows, Pairings):
            new = rows.align(self.pairings)
            P = fold_in(self.objective, new.matrix, self.Q)
            known, ids = new.matrix, new.row_ids
        else:
            positions = self.pairings.row_index(rows)
            P, known, ids = self.P[positions], self.pairings.matrix[positions], rows
        excluded = known if exclude_known else None
        return ranked(ids, self.pairings.col_ids, P, self.Q, n, excluded)


def fitted(
    package: Package, setting: Setting, train: Pairings, n_factors: int, n_epochs: int, seed: int
) -> Factors:
    """Fit a package."""
    P, Q = (
        np.ascontiguousarray(part, np.float32)
        for part in package.fit(setting, train.matrix, n_factors, n_epochs, seed)
    )
    return Factors(train, P, Q, setting.objective(package.unobserved))


def drawn(package: Package, train: Pairings, seed: int) -> Iterator[Setting]:
    """Draw settings: the weight of all cells and the ridge relative to the sizes of the data."""
    rng = np.random.default_rng(seed)
    n_rows, n_cols = train.shape
    while True:
        ratio = float(np.exp(rng.uniform(np.log(3), np.log(60))))
        share = float(np.exp(rng.uniform(np.log(0.03), np.log(0.4))))
        exponent = package.exponents[int(rng.integers(1 << 16)) % len(package.exponents)]
        typical = train.n_pairs / np.sqrt(n_rows * n_cols) * (1 + ratio)
        weight = float(share / (1 + ratio) * typical ** (1 - exponent))
        yield Setting(ratio * train.n_pairs / (n_rows * n_cols), weight, exponent)


def scaled(setting: Setting, name: str, factor: float) -> Setting:
    """Return the setting with one of its weights multiplied."""
    return replace(setting, **{name: factor * getattr(setting, name)})


def tilted(setting: Setting, by: float, typical: float) -> Setting:
    """Return the setting with another exponent and the same ridge for a row of `typical` size."""
    exponent = max(round(setting.exponent + by, 2), 0.0)
    weight = setting.weight * typical ** (setting.exponent - exponent)
    return replace(setting, exponent=exponent, weight=weight)


def moves(package: Package, typical: float) -> list[tuple[Move, Move]]:
    """Return the steps of a refinement in turn, each with its opposite."""
    steps: list[tuple[Move, Move]] = [
        (partial(scaled, name=name, factor=step), partial(scaled, name=name, factor=1 / step))
        for name, step in (("weight", 1.6), ("unobserved_weight", 1.5))
    ]
    if len(package.exponents) > 1:
        steps.append((
            partial(tilted, by=0.1, typical=typical), partial(tilted, by=-0.1, typical=typical)
        ))  # fmt: skip
    return steps


def refined(
    best: Setting, highest: float, steps: list[tuple[Move, Move]],
    score: Callable[[Setting], float], allowed: Callable[[], bool],
) -> Setting:  # fmt: skip
    """Return the best setting on the way: each step is repeated as long as the score rises.

    The opposite step is tried if the first one does not gain. All are taken again until none gains.
    """
    start = None
    while best != start:
        start = best
        for pair in steps:
            before = best
            for step in pair:
                while allowed() and (tried := step(best)) != best:
                    found = score(tried)
                    if found <= highest:
                        break
                    best, highest = tried, found
                if best != before:
                    break
    return best


def tuned(package: Package, parts: Parts, data: DataSet, chosen: argparse.Namespace) -> Setting:
    """Return the best random setting on hidden training pairs, refined at the final rank."""
    seed = chosen.seed
    started = time.perf_counter()
    seconds = 60 * chosen.minutes if chosen.minutes else math.inf
    n_trials, n_refinements = chosen.trials, chosen.refinements
    if chosen.minutes:
        n_trials = n_refinements = sys.maxsize
    split = split_pairs(parts.train, fraction=0.2, rng=seed)
    some = np.sort(np.random.default_rng(seed).permutation(split.seen.shape[0])[:_JUDGED])
    judged_rows = PairSplit(*(part.take_rows(some) for part in split))
    metric = data.metrics[0]

    def score(setting: Setting, n_factors: int) -> float:
        model = fitted(package, setting, split.seen, n_factors, _EPOCHS, seed)
        found = evaluate(model, judged_rows, [metric], rows="trained", baseline=False)[metric]
        print(f"    {metric} {found:.4f}, {n_factors} factors, {setting}", flush=True)
        return found if found == found else -math.inf

    def spent(share: float) -> bool:
        return time.perf_counter() - started > share * seconds

    scores: dict[Setting, float] = {}
    for setting in islice(drawn(package, split.seen, seed), n_trials):
        if scores and spent(0.5):
            break
        scores[setting] = score(setting, chosen.search_factors)
    best = max(scores, key=scores.__getitem__)
    n_factors = chosen.n_factors or data.n_factors
    left = iter(range(n_refinements))
    n_rows, n_cols = split.seen.shape
    cells = 1 + best.unobserved_weight * n_rows * n_cols / split.seen.n_pairs
    return refined(
        best, score(best, n_factors),
        moves(package, split.seen.n_pairs / math.sqrt(n_rows * n_cols) * cells),
        lambda setting: score(setting, n_factors),
        lambda: not spent(1.0) and next(left, None) is not None,
    )  # fmt: skip


def table(data: DataSet, judged: Evaluation, minutes: dict[str, tuple[float, float]]) -> str:
    """Return the table: published figures, then ours."""
    lines = ["".join(f"{cell:>22}" for cell in ("", *data.metrics, "search", "fit, minutes"))]
    for name, figures in data.published.items():
        lines.append(f"{name:>22}" + "".join(f"{figure:>22.4f}" for figure in figures))
    for name, scores in judged.scores.items():
        line = f"{name:>22}" + "".join(f"{scores[metric]:>22.4f}" for metric in data.metrics)
        lines.append(line + "".join(f"{spent:>22.1f}" for spent in minutes.get(name, ())))
    return "\n".join([*lines, f"Figures of other methods: {data.source}."])


def parsed() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Parse the command line; an option that the table does not have is an error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published", description=__doc__.partition("\n\n")[0],
        argument_default=argparse.SUPPRESS,
    )  # fmt: skip
    parser.add_argument("name", choices=[*DATA_SETS, *ratings.DATA_SETS, challenge.NAME])
    parser.add_argument("folder", type=Path, help="with the files of the data set")
    parser.add_argument("--packages", help="separated by commas; default twofold")
    parser.add_argument("--trials", type=int, help="random settings, default 20")
    parser.add_argument("--refinements", type=int, help="of the best setting, at most, default 5")
    parser.add_argument(
        "--minutes", type=float,
        help="of search for each package, half of them for random settings, instead of the numbers "
        "of --trials and --refinements",
    )  # fmt: skip
    parser.add_argument("--search-factors", type=int, help="rank of the trials, default 128")
    parser.add_argument("--n-factors", type=int, help="rank of the final model")
    parser.add_argument("--epochs", type=int, help="default 15")
    parser.add_argument("--folds", type=int, help="of ratings, that are tested")
    parser.add_argument("--rows", type=int, help="of each task of the challenge, default 1000")
    parser.add_argument("--team", help="of the submission to the challenge")
    parser.add_argument("--email", help="of the submission to the challenge")
    parser.add_argument("--output", type=Path, help="file of the submission to the challenge")
    parser.add_argument("--seed", type=int)
    given = vars(parser.parse_args())
    name, folder = given.pop("name"), given.pop("folder")
    options = _CHALLENGE if name == challenge.NAME else _RANKED if name in DATA_SETS else _RATED
    for option in given:
        if option not in options:
            flags = ", ".join(f"--{each.replace('_', '-')}" for each in options)
            parser.error(f"--{option.replace('_', '-')} is not an option of {name}: it has {flags}")
    if given.get("minutes", 1.0) <= 0.0:
        parser.error("--minutes must be above 0")
    return parser, argparse.Namespace(name=name, folder=folder, **{**options, **given})


def compute_ratings(chosen: argparse.Namespace) -> None:
    """Tune and judge each fold of ratings; print the table."""
    data = ratings.DATA_SETS[chosen.name]
    read = data.read(chosen.folder)
    print(machine())
    ratings.cross_validate(
        data, read, n_trials=chosen.trials, n_epochs=chosen.epochs, seed=chosen.seed,
        n_tested=chosen.folds,
    )  # fmt: skip


def compute_challenge(chosen: argparse.Namespace) -> None:
    """Fit, judge the tasks of the challenge, and write the submission."""
    playlists = challenge.read_slices(chosen.folder)
    print(machine())
    challenge.run(
        playlists, chosen.folder, n_rows=chosen.rows, n_factors=chosen.n_factors,
        n_epochs=chosen.epochs, seed=chosen.seed, team=chosen.team, email=chosen.email,
        output=chosen.output,
    )  # fmt: skip


def compute_ranked(chosen: argparse.Namespace) -> None:
    """Tune, fit and judge each package; print the table."""
    data = DATA_SETS[chosen.name]
    names = chosen.packages.split(",")
    for name in names:
        if name not in PACKAGES or not PACKAGES[name].installed:
            raise InvalidInputError(
                f"--packages {name}: there are {', '.join(PACKAGES)}, if installed"
            )
    parts = data.read(chosen.folder)
    print(machine())
    print(f"{chosen.name}: {parts.train}, {parts.test.heldout.n_pairs:,} test pairs", flush=True)
    models, minutes = {}, {}
    for name in names:
        started = time.perf_counter()
        search = f"{chosen.minutes:g} minutes" if chosen.minutes else f"{chosen.trials} trials"
        print(f"  {name}: {search} of search, {chosen.search_factors} factors", flush=True)
        setting = tuned(PACKAGES[name], parts, data, chosen)
        searched = time.perf_counter()
        n_factors = chosen.n_factors or data.n_factors
        models[name] = fitted(
            PACKAGES[name], setting, parts.train, n_factors, chosen.epochs, chosen.seed
        )
        spent = (searched - started, time.perf_counter() - searched)
        minutes[name] = (spent[0] / 60, spent[1] / 60)
        print(f"  {name}: {n_factors} factors with {setting}", flush=True)
    judged = evaluate(models, parts.test, data.metrics, rows=data.rows)
    print(table(data, judged, minutes))
    for name in names[1:]:
        test = judged.compare(data.metrics[0], names[0], name)
        ours, theirs = (judged.per_row[each][data.metrics[0]] for each in (names[0], name))
        interval = bootstrap_interval(ours - theirs)
        print(
            f"{data.metrics[0]} of {names[0]} - {name}: {interval.mean:+.4f}, 95% interval "
            f"{interval.low:+.4f} to {interval.high:+.4f}, p = {test.p_value:.4f}"
        )


def main() -> None:
    """Compute the table that the command line names."""
    parser, chosen = parsed()
    kinds = dict.fromkeys(ratings.DATA_SETS, compute_ratings) | {challenge.NAME: compute_challenge}
    try:
        kinds.get(chosen.name, compute_ranked)(chosen)
    except TwofoldError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
