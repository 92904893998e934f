"""Update a served model every night, and fit it anew once a week.

    python examples/nightly.py

The database is made of generated playlists: the table pairings(pid, tid, day), where every night
adds playlists and tracks that are new on that day. With your own, replace DATABASE and `where`.
"""

import numpy as np
import sqlalchemy as sa

from twofold import FactorModel, evaluate, split_pairs
from twofold.datasets import make_playlists
from twofold.io import read_sql
from twofold.solvers import ALS
from twofold.splits import PairSplit

DATABASE = "sqlite:///nightly.db"
MODEL = "nightly.twofold"
N_DAYS = 3


def make_database() -> PairSplit:
    """Write the pairs with their days; return them with hidden pairs, to judge models."""
    rng = np.random.default_rng(0)
    split = split_pairs(make_playlists(2_000, 1_000, rng=0).pairings, fraction=0.2, rng=0)
    seen = split.seen
    # Four of five playlists and nine of ten tracks exist from the beginning, day 0.
    of_row, of_col = (
        np.where(rng.random(n) < old, 0, rng.integers(1, N_DAYS + 1, n))
        for n, old in zip(seen.shape, (0.8, 0.9), strict=True)
    )
    row = np.repeat(np.arange(seen.shape[0]), np.diff(seen.matrix.indptr))
    col = seen.matrix.indices
    columns = seen.row_ids[row], seen.col_ids[col], np.maximum(of_row[row], of_col[col])
    engine = sa.create_engine(DATABASE)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS pairings"))
        connection.execute(sa.text("CREATE TABLE pairings (pid INT, tid INT, day INT)"))
        lines = [dict(zip(("p", "t", "d"), line, strict=True)) for line in
                 zip(*(each.tolist() for each in columns), strict=True)]  # fmt: skip
        connection.execute(sa.text("INSERT INTO pairings VALUES (:p, :t, :d)"), lines)
    engine.dispose()
    return split


def main() -> None:
    """Fit a model, update it every night, and compare it with one that is fitted anew."""
    split = make_database()
    solver = ALS(n_factors=16, rng=0)
    FactorModel(solver=solver).fit(read_sql(DATABASE, where="day = 0")).save(MODEL)

    for day in range(1, N_DAYS + 1):
        model = FactorModel.load(MODEL)
        model = model.partial_fit(read_sql(DATABASE, where=f"day = {day}"))
        model.save(MODEL)  # replaces the file as a whole: servers can load it at any time
        print(f"night {day}: {model.changes}")

    # Every week: a fit of all pairs, which also renews what the updates keep, such as the weights
    # that Balanced derives from the sizes of the data. From the last model it needs fewer epochs.
    pairings = read_sql(DATABASE)
    weekly = FactorModel(solver=ALS(n_factors=16, max_epochs=5, rng=0)).fit(pairings, init=model)
    print(evaluate({"updated": model, "fitted": weekly}, split, ["recall@20"]))


if __name__ == "__main__":
    main()
