"""Long use: memory, threads and open files stay as they are."""

from pathlib import Path

import pytest
from subprocesses import run_python

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="this system has no /proc"
)

COMMON = """
    import gc, os
    from pathlib import Path
    from twofold import FactorModel, L2, Objective, Pairings, fold_in
    from twofold.solvers import ALS, GD, SGD

    rng = np.random.default_rng(0)
    R = sparse.csr_array((rng.random((60, 40)) < 0.2).astype(float))
    Q = rng.normal(size=(40, 4)).astype(np.float32)

    def counts():
        gc.collect()
        return tuple(len(os.listdir(f"/proc/self/{name}")) for name in ("task", "fd"))

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def check_steady(run, n, limit=12e6):
        run(n // 5)  # warm-up
        before, memory = counts(), resident()
        run(n)
        after, grown = counts(), resident() - memory
        more = after[0] - before[0]  # threads of the pool, which grows up to the number of cores
        assert more < os.cpu_count(), f"{more} more threads after the calls"
        assert after[1] == before[1], f"files: {before[1]} before, {after[1]} after"
        assert grown < limit, f"the memory grew by {grown / 1e6:.1f} MB"
"""


def test_a_thousand_epochs_of_each_solver():
    run_python(
        COMMON
        + """
    objective = Objective(regularizer=L2(0.5))
    for kind in (ALS, GD, SGD):
        def run(n):
            kind(n_factors=4, max_epochs=n, rng=0, n_threads=2).solve(objective, R)

        check_steady(run, 1000)
    """
    )


def test_two_thousand_fold_ins():
    run_python(
        COMMON
        + """
    objective = Objective(regularizer=L2(0.5), unobserved_weight=0.1)

    def run(n):
        for _ in range(n):
            fold_in(objective, R, Q, n_threads=2)

    check_steady(run, 2000)
    """
    )


def test_dozens_of_new_problems():
    """New matrices, objectives, solvers and models each time: nothing keeps the old ones."""
    run_python(
        COMMON
        + """
    def run(n):
        for seed in range(n):
            draw = np.random.default_rng(seed)
            matrix = sparse.csr_array((draw.random((300, 200)) < 0.1).astype(float))
            objective = Objective(regularizer=L2(0.1 + seed / 1000), unobserved_weight=0.1)
            solver = ALS(n_factors=8, max_epochs=1, rng=seed, n_threads=2)
            pairings = Pairings(matrix, np.arange(300), np.arange(200))
            model = FactorModel(objective, solver).fit(pairings)
            model.recommend([1, 2, 3], n=5)
            model.fold_in(pairings)

    check_steady(run, 60)
    """
    )
