"""The Million Playlist Dataset: read into pairings, and written to databases."""
