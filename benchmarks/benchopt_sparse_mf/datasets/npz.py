import benchmark_utils  # noqa: F401 - makes the package benchmarks importable
from benchopt import BaseDataset

from benchmarks.compare.problems import check_data, load


class Dataset(BaseDataset):
    """Pairs in a file: -d "npz[path='pairs.npz']"."""

    name = "npz"
    parameters = {"path": [None]}

    def get_data(self):
        if self.path is None:
            return {"pairings": None}
        check_data(self.path)
        return {"pairings": load(self.path)}
