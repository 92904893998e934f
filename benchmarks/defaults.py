"""Recall@20 of the default objective beside the best of a grid at the same rank.

    python -m benchmarks.defaults SOURCE... [--n-factors 64] [--epochs 15] [--rows 5000]

A SOURCE is what the command line reads: a database, .npz, CSV, Parquet or .mtx. All stored pairs
count as ones. A sixth of the rows is folded in with a fifth of their pairs hidden; columns that the
training rows do not have are misses. The grid has 72 objectives: the weight of all cells is 2 to
120 times that of the pairs, the ridge leaves out components below 0.02 to 0.6 of the strongest, and
its exponent is 1 or 0.5. It is judged on the same hidden pairs as the default, which favours it.
"""

import argparse
import itertools

import numpy as np

from benchmarks.machine import machine
from twofold import (
    L2,
    Balanced,
    FactorModel,
    Objective,
    Pairings,
    evaluate,
    split_pairs,
    split_rows,
)
from twofold.cli.sources import read_source, reader_options
from twofold.evaluation import POPULAR
from twofold.solvers import ALS

RATIOS = (2.0, 8.0, 15.0, 30.0, 60.0, 120.0)
SHRINKAGES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.6)
EXPONENTS = (1.0, 0.5)


def objectives(train: Pairings) -> dict[str, Objective]:
    """Return the objectives of the grid by their parameters."""
    mean = train.n_pairs / train.shape[0]
    made = {}
    for ratio, shrinkage, exponent in itertools.product(RATIOS, SHRINKAGES, EXPONENTS):
        base = Balanced(ratio, shrinkage).for_data(train.matrix)
        # The ridge of a row of mean length is that of exponent 1.
        weight = base.regularizer.weight * (mean * (1.0 + ratio)) ** (1.0 - exponent)
        made[f"ratio={ratio:g} shrinkage={shrinkage:g} exponent={exponent:g}"] = Objective(
            regularizer=L2(weight, exponent), unobserved_weight=base.unobserved_weight
        )
    return made


def main() -> None:
    """Measure each source and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--n-factors", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=5000, help="rows to judge at most")
    chosen = parser.parse_args()
    print(machine())
    for source in chosen.sources:
        pairings = read_source(source, reader_options())
        train, _, test = split_rows(pairings, validation=0.0, test=1 / 6, rng=0)
        few = np.arange(min(chosen.rows, test.shape[0]))
        split = split_pairs(test.take_rows(few), fraction=0.2, rng=0)
        solver = ALS(n_factors=chosen.n_factors, max_epochs=chosen.epochs, rng=0)
        recalls = {}
        for name, objective in ({"default": None} | objectives(train)).items():
            model = FactorModel(objective, solver).fit(train)
            judged = evaluate(model, split, ["recall@20"], baseline=name == "default")
            recalls[name] = judged["recall@20"]
            if name == "default":
                popular = judged[POPULAR, "recall@20"]
        best = max(recalls, key=recalls.__getitem__)
        print(
            f"{source}: {train.shape[0]:,} x {train.shape[1]:,}, {train.n_pairs:,} pairs, "
            f"k={chosen.n_factors}: default {recalls['default']:.4f}, best {recalls[best]:.4f} "
            f"({best}), share {recalls['default'] / recalls[best]:.3f}, popular {popular:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
