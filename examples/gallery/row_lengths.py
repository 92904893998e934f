"""Row lengths: the distribution of the number of tracks in a playlist."""

from twofold import plot
from twofold.datasets import make_playlists

pairings = make_playlists(20_000, 10_000, mean_length=60, rng=0).pairings

ax = plot.row_lengths(pairings)
ax.figure.savefig("row_lengths.png", dpi=100)
