import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold import L1, L2, HuberLoss, Objective
from twofold.objective import Problem
from twofold.solvers import ColumnSystem
from twofold.solvers.one_row import has_plain_rows, solve_plain_row

N_COLS = 150


@given(
    k=st.sampled_from([1, 5, 8, 64, 70]),
    n=st.integers(0, 90),
    dtype=st.sampled_from(["float32", "float64"]),
    a0=st.sampled_from([0.0, 0.1]),
    unobserved=st.sampled_from(["all", "missing"]),
    data=st.sampled_from(["ones", "weights", "targets", "signed"]),
    weight=st.sampled_from([1.0, 1e-12]),
    seed=st.integers(0, 100),
)
def test_a_plain_row_has_the_bits_of_the_general_solve(
    k, n, dtype, a0, unobserved, data, weight, seed
):
    rng = np.random.default_rng(seed)
    Q = rng.standard_normal((N_COLS, k)).astype(dtype)
    indices = np.sort(rng.permutation(N_COLS)[:n]).astype(np.int32)
    objective = Objective(
        regularizer=L2(weight, exponent=0.5), unobserved_weight=a0, unobserved=unobserved,
        data=data,
    )  # fmt: skip
    system = ColumnSystem.prepare(objective, Q)
    found = solve_plain_row(system, indices)
    assert has_plain_rows(objective)
    if found is None:
        assert not 0 < n <= min(k, 64) or weight < 1.0
        return
    matrix = sparse.csr_array((np.ones(n), indices, np.array([0, n])), shape=(1, N_COLS))
    general = system.solve(Problem.of(objective, matrix).rows)
    np.testing.assert_array_equal(found, general.row_factors[:, :k])


@pytest.mark.parametrize(
    "objective",
    [
        Objective(HuberLoss()),
        Objective(regularizer=L1(0.1)),
        Objective(nonnegative=True),
        Objective(biases=True),
        Objective(regularizer=L2(0.1, row_center=np.ones((3, 2)))),
    ],
)
def test_rows_of_other_objectives_are_not_plain(objective):
    assert not has_plain_rows(objective)
