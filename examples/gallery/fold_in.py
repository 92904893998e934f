"""Fold-in: the quality of recommendations by the number of known tracks of a new playlist."""

import numpy as np

from twofold import FactorModel, evaluate, plot, split_pairs, split_rows
from twofold.datasets import make_playlists
from twofold.solvers import ALS

pairings = make_playlists(5_000, 1_000, rng=0).pairings
train, _, test = split_rows(pairings, validation=0.0, test=0.2, rng=0)  # by playlist
model = FactorModel(solver=ALS(rng=0)).fit(train)

split = split_pairs(test[np.diff(test.matrix.indptr) >= 25], rng=0)  # 20 or more tracks stay
numbers = (0, 1, 2, 3, 5, 10, 20)
found = {n: evaluate(model, split.limit_seen(n), ["recall@20"]) for n in numbers}

ax = plot.fold_in(found)
ax.set(xlabel="known tracks of a playlist", title="New playlists, a fifth of their tracks hidden")
ax.figure.savefig("fold_in.png", dpi=100)
