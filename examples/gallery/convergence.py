"""Gap to the best objective: the convergence of the solvers to the minimum of one objective."""

from twofold import Objective, plot
from twofold.datasets import make_playlists
from twofold.solvers import ALS, GD

pairings = make_playlists(2_000, 1_000, rng=0).pairings
objective = Objective(unobserved_weight=0.1)
solvers = {
    "ALS": ALS(n_factors=16, max_epochs=30, tol=0, rng=0),
    "ALS, not accelerated": ALS(n_factors=16, max_epochs=30, tol=0, acceleration=None, rng=0),
    "GD": GD(n_factors=16, max_epochs=30, tol=0, rng=0),
}
runs = {name: solver.solve(objective, pairings.matrix) for name, solver in solvers.items()}
longer = ALS(n_factors=16, max_epochs=200, tol=0, rng=0).solve(objective, pairings.matrix)

ax = plot.convergence(runs, best=longer.objective_value)
ax.figure.savefig("convergence.png", dpi=100)
