import pyspark  # noqa: F401 - benchopt takes the import for the installation
from benchmark_utils.entry_solver import RefitSolver


class Solver(RefitSolver):
    name = "Spark MLlib"
    requirements = ["pip::pyspark"]
    parameters = {"variant": ["ALS", "implicit ALS"]}
    test_config = {"objective": {"problem": "observed"}}
