import implicit  # noqa: F401 - benchopt takes the import for the installation
from benchmark_utils.entry_solver import EntrySolver


class Solver(EntrySolver):
    name = "implicit"
    requirements = ["pip::implicit"]
    parameters = {"variant": ["CG", "Cholesky", "recalculate_user"]}
    test_config = {"objective": {"problem": "missing"}}
