"""A map of tracks: the plane in which predictions of tracks differ most, coloured by taste."""

from twofold import FactorModel, plot
from twofold.datasets import make_playlists
from twofold.solvers import ALS

TASTES = ("rock", "pop", "jazz", "folk")
data = make_playlists(2_000, 240, n_groups=len(TASTES), rng=0)  # playlists of one or two tastes
model = FactorModel(solver=ALS(rng=0)).fit(data.pairings)

tracks = data.pairings.col_ids.tolist()
groups = {track: TASTES[group] for track, group in zip(tracks, data.track_groups, strict=True)}
names = {track: f"{group} {track}" for track, group in groups.items()}

ax = plot.col_map(model, names, groups, n_labels=10)
ax.set_title("240 tracks by their predictions")
ax.figure.savefig("col_map.png", dpi=100)
