from benchmark_utils.entry_solver import EntrySolver


class Solver(EntrySolver):
    name = "twofold"
    requirements = []
    parameters = {"variant": ["ALS", "ALS cg", "ALS plain", "SGD", "GD", "fold_in"]}
