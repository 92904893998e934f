import irspack  # noqa: F401 - benchopt takes the import for the installation
from benchmark_utils.entry_solver import EntrySolver


class Solver(EntrySolver):
    name = "irspack"
    requirements = ["pip::irspack"]
    parameters = {"variant": ["CG", "Cholesky", "iALS++", "transform_user CG"]}
    test_config = {"objective": {"problem": "all"}}
