"""`partial_fit` of a night's pairs beside a full fit: seconds and Recall@20.

    python -m benchmarks.nightly SOURCE... [--n-factors 64] [--epochs 15] [--repeats 3]

A SOURCE is what the command line reads: a database, .npz, CSV, Parquet or .mtx. All stored pairs
count as ones. A fifth of the pairs of each row is hidden. A random 5% of the rows and 2% of the
columns are new: their other pairs are the update, and the rest are those of the first model. All
rows are judged by their hidden pairs, then the new rows only, and then the hidden pairs with new
columns only. Columns that a model does not have are misses. Times are medians, without compiling.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.machine import machine
from twofold import FactorModel, Pairings, evaluate, split_pairs
from twofold.cli.sources import read_source, reader_options
from twofold.solvers import ALS
from twofold.splits import PairSplit

NEW_ROWS, NEW_COLS = 0.05, 0.02


def chosen(pairings: Pairings, is_chosen: NDArray[np.bool_]) -> Pairings:
    """Return some of the pairs, with their rows and columns only."""
    matrix = pairings.matrix
    rows = np.repeat(pairings.row_ids, np.diff(matrix.indptr))
    cols = pairings.col_ids[matrix.indices]
    return Pairings.from_arrays(rows[is_chosen], cols[is_chosen])


def masked(pairings: Pairings, cols: NDArray[np.bool_]) -> Pairings:
    """Return the pairs with some columns, over all rows and columns."""
    kept = sparse.csr_array(pairings.matrix.multiply(cols[np.newaxis]))
    kept.eliminate_zeros()
    return Pairings(kept, pairings.row_ids, pairings.col_ids)


def nightly(
    pairings: Pairings, solver: ALS, n_updates: Sequence[int], repeats: int
) -> list[tuple[str, float, list[float]]]:
    """Return the name, the seconds and the recalls of each model."""
    split, rng = split_pairs(pairings, fraction=0.2, rng=0), np.random.default_rng(0)
    seen = split.seen
    new_rows, new_cols = (
        np.isin(np.arange(n), rng.choice(n, max(int(share * n), 1), replace=False))
        for n, share in zip(seen.shape, (NEW_ROWS, NEW_COLS), strict=True)
    )
    at = np.flatnonzero(new_rows)
    parts = [
        split,
        PairSplit(seen.take_rows(at), split.heldout.take_rows(at)),
        PairSplit(seen, masked(split.heldout, new_cols)),
    ]
    of_entry = np.repeat(new_rows, np.diff(seen.matrix.indptr)) | new_cols[seen.matrix.indices]
    old, update = chosen(seen, ~of_entry), chosen(seen, of_entry)
    model = FactorModel(solver=solver)
    every = chosen(seen, np.ones_like(of_entry))
    first = FactorModel(solver=solver).fit(old)
    print(f"update: {first.partial_fit(update, 0).changes}", flush=True)
    calls: dict[str, Callable[[], FactorModel]] = {
        "first model": lambda: first,
        **{
            f"partial_fit, max_epochs={n}": partial(first.partial_fit, update, n) for n in n_updates
        },
        "fit": lambda: model.fit(every),
    }
    measured = []
    for name, call in calls.items():
        made, spent = call(), []
        for _ in range(repeats):
            started = time.perf_counter()
            made = call()
            spent.append(time.perf_counter() - started)
        recalls = [evaluate(made, part, ["recall@20"], baseline=False) for part in parts]
        scores = [each["recall@20"] for each in recalls]
        measured.append((name, statistics.median(spent), scores))
    return measured


def main() -> None:
    """Measure each source and print a table for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("sources", nargs="+", metavar="SOURCE")
    parser.add_argument("--n-factors", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15, help="of the fits")
    parser.add_argument("--updates", type=int, nargs="+", default=[0, 1, 2], help="max_epochs")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(machine())
    for source in given.sources:
        pairings = read_source(source, reader_options())
        solver = ALS(n_factors=given.n_factors, max_epochs=given.epochs, rng=0)
        print(f"{source}: {pairings.shape[0]:,} x {pairings.shape[1]:,}, k={given.n_factors}")
        measured = nightly(pairings, solver, given.updates, given.repeats)
        _, fit_seconds, of_fit = measured[-1]
        for name, seconds, recalls in measured:
            shown = ", ".join(f"{recall:.4f}" for recall in recalls)
            print(
                f"{name}: {seconds:.3f} s, share {seconds / fit_seconds:.3f}; Recall@20 {shown}, "
                f"share {recalls[0] / of_fit[0]:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
