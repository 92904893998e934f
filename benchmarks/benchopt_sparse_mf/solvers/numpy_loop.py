from benchmark_utils.entry_solver import EntrySolver


class Solver(EntrySolver):
    name = "numpy"
    requirements = []
    parameters = {"variant": ["loop"]}
    test_config = {"objective": {"problem": "fold-all"}}
