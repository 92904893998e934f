"""Popularity: the distribution of the pairs of a data set over its tracks."""

from twofold import plot
from twofold.datasets import make_playlists

pairings = make_playlists(20_000, 10_000, mean_length=60, rng=0).pairings

ax = plot.popularity(pairings)
ax.figure.savefig("popularity.png", dpi=100)
