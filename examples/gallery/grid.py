"""Error over a grid: the RMSE of held-out ratings for each rank and weight of the penalty."""

import numpy as np

from twofold import L2, Objective, Pairings, plot, split_rows
from twofold.datasets import make_playlists
from twofold.solvers import ALS
from twofold.tuning import grid_search

tastes = make_playlists(1_000, 300, mean_length=60, rng=0)  # pairs; their ratings are made here
generator = np.random.default_rng(0)
people, tracks = generator.normal(size=(1_000, 3)), generator.normal(size=(300, 3))
matrix = tastes.pairings.matrix.tocoo()
ratings = 3.5 + 0.5 * (people[matrix.row] * tracks[matrix.col]).sum(axis=1)
ratings += generator.normal(scale=0.5, size=ratings.size)  # no model can predict this part

train, validation, _ = split_rows(Pairings.from_arrays(matrix.row, matrix.col, ratings), rng=0)
objective = Objective(regularizer=L2(1.0), data="targets", biases=True)
fields = {"n_factors": [1, 2, 3, 5, 8], "regularizer.weight": [0.1, 0.3, 1.0, 3.0, 10.0]}
result = grid_search(ALS(rng=0), objective, train, validation, fields, score="rmse")

ax = plot.grid(result)
ax.figure.savefig("grid.png", dpi=100)
