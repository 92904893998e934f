import cmfrec  # noqa: F401 - benchopt takes the import for the installation
from benchmark_utils.entry_solver import RefitSolver


class Solver(RefitSolver):
    name = "cmfrec"
    requirements = ["pip::cmfrec"]
    parameters = {"variant": ["CG", "Cholesky"]}
    test_config = {"objective": {"problem": "observed"}}
