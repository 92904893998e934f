"""Recommendations: the best tracks for one playlist, by name."""

from twofold import FactorModel, plot
from twofold.datasets import make_playlists
from twofold.solvers import ALS

TASTES = ("rock", "pop", "jazz", "folk", "soul", "metal", "disco", "blues")
data = make_playlists(2_000, 1_000, n_groups=len(TASTES), rng=0)
model = FactorModel(solver=ALS(rng=0)).fit(data.pairings)

tracks = data.pairings.col_ids.tolist()
names = {track: f"{TASTES[g]} {track}" for track, g in zip(tracks, data.track_groups, strict=True)}
tastes = " and ".join(sorted({TASTES[group] for group in data.playlist_groups[1]}))

ax = plot.recommendations(model.recommend([2], n=10), 2, names)
ax.set_title(f"Recommended for playlist 2, which has {tastes}")
ax.figure.savefig("recommendations.png", dpi=100)
