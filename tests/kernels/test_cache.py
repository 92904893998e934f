"""Kernels are cached on disk: a second process and other inputs compile nothing."""

import json
import subprocess
import sys

import twofold

SOLVE = """
import json
import pkgutil
import importlib
import numpy as np
from numba.core.dispatcher import Dispatcher
from scipy import sparse
import twofold._kernels
from twofold import L1, L2, HuberLoss, LogisticLoss, Objective, fold_in
from twofold.solvers import ALS, GD, SGD

modules = [
    importlib.import_module(f"twofold._kernels.{module.name}")
    for module in pkgutil.iter_modules(twofold._kernels.__path__)
]
kernels = {
    f"{kernel.__module__}.{kernel.__name__}": kernel
    for module in modules
    for kernel in vars(module).values()
    if isinstance(kernel, Dispatcher)
}

def signatures():
    return {f"{name} {found}" for name, kernel in kernels.items() for found in kernel.signatures}

rng = np.random.default_rng(0)
matrix = sparse.csr_array((rng.random((12, 9)) < 0.5).astype(float))
objective = Objective(regularizer=L2(0.1), data="weights", unobserved_weight=0.1)
solution = ALS(n_factors=3, max_epochs=1).solve(objective, matrix)
SGD(n_factors=3, max_epochs=1).solve(Objective(), matrix)
GD(n_factors=3, max_epochs=1).solve(Objective(regularizer=L1()), matrix)
fold_in(objective, matrix, solution.col_factors)
fold_in(Objective(HuberLoss()), matrix, solution.col_factors)
compiled = signatures()

# Other losses, regularisers, formats, integers, int64 and read-only arrays: the same machine code.
for other in (Objective(HuberLoss()), Objective(LogisticLoss(), L1()), Objective(data="targets")):
    SGD(n_factors=5, max_epochs=1).solve(other, matrix)
    GD(n_factors=5, max_epochs=1).solve(other, matrix)
wide = sparse.csr_array(
    (matrix.data.astype(np.int64), matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)),
    shape=matrix.shape,
)
P, Q = solution.row_factors.copy(), solution.col_factors.copy()
for array in (wide.data, wide.indices, wide.indptr, P, Q):
    array.flags.writeable = False
ALS(n_factors=3, max_epochs=1).solve(objective, wide, init=(P, Q))
GD(n_factors=3, max_epochs=1).solve(Objective(), wide.tocsc(), init=(P, Q))
fold_in(objective, wide, Q)
fold_in(Objective(LogisticLoss(), L1()), wide, Q)
objective.value(wide, P, Q)

misses = sorted(name for name, kernel in kernels.items() if kernel.stats.cache_misses)
hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels.values())
print(json.dumps({"misses": misses, "hits": hits, "more": sorted(signatures() - compiled)}))
"""


def solve_in_a_new_process():
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SOLVE], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_nothing_is_compiled_after_warm_up():
    # Uses the default cache folder, which may already contain the kernels.
    folder = twofold.warm_up()
    assert len(list(folder.glob("*.kernel"))) > 10
    result = solve_in_a_new_process()
    assert result["misses"] == []
    assert result["more"] == []
    assert result["hits"] > 10
