import libmf  # noqa: F401 - benchopt takes the import for the installation
from benchmark_utils.entry_solver import RefitSolver


class Solver(RefitSolver):
    name = "LIBMF"
    requirements = ["pip::libmf"]
    test_config = {"objective": {"problem": "ratings"}}
