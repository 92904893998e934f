import lenskit  # noqa: F401 - benchopt takes the import for the installation
from benchmark_utils.entry_solver import EntrySolver


class Solver(EntrySolver):
    name = "lenskit"
    requirements = ["pip::lenskit"]
    parameters = {"variant": ["ImplicitMF"]}
    test_config = {"objective": {"problem": "missing"}}
