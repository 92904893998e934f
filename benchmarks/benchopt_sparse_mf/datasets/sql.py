import benchmark_utils  # noqa: F401 - makes the package benchmarks importable
from benchopt import BaseDataset

from benchmarks.compare.problems import check_data, load


class Dataset(BaseDataset):
    """The table pairings(pid, tid) of a database: -d "sql[url='sqlite:///my.db']"."""

    name = "sql"
    parameters = {"url": [None]}

    def get_data(self):
        if self.url is None:
            return {"pairings": None}
        check_data(self.url)
        return {"pairings": load(self.url)}
