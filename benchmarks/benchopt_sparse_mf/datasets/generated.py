import benchmark_utils  # noqa: F401 - makes the package benchmarks importable
from benchopt import BaseDataset

from benchmarks.compare.problems import load


class Dataset(BaseDataset):
    """Playlists with planted taste groups: tiny, small, medium or mpd."""

    name = "generated"
    parameters = {"size": ["small"]}
    test_parameters = {"size": ["tiny"]}

    def get_data(self):
        return {"pairings": load(self.size)}
