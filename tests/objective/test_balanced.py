"""`Balanced`, which derives an objective from the sizes of the data, and named objectives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold import L2, Balanced, Objective
from twofold.exceptions import InvalidInputError


def ones(n_rows, n_cols, n_pairs):
    rng = np.random.default_rng(0)
    cells = rng.choice(n_rows * n_cols, n_pairs, replace=False)
    entries = (np.ones(n_pairs), np.divmod(cells, n_cols))
    return sparse.csr_array(entries, shape=(n_rows, n_cols))


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.1, 100), st.floats(0, 1), st.data())
def test_all_cells_weigh_ratio_times_the_pairs(n_rows, n_cols, ratio, shrinkage, data):
    n_pairs = data.draw(st.integers(1, n_rows * n_cols))
    objective = Balanced(ratio, shrinkage).for_data(ones(n_rows, n_cols, n_pairs))
    assert objective.unobserved_weight * n_rows * n_cols == pytest.approx(ratio * n_pairs)
    assert objective.regularizer == L2(shrinkage / (1 + ratio), exponent=1.0)


def test_weights_count_as_pairs():
    R = ones(5, 8, 12)
    counted = sparse.csr_array((3 * R.data, R.indices, R.indptr), shape=R.shape)
    want = 15 * 36 / 40
    assert Balanced(data="weights").for_data(counted).unobserved_weight == pytest.approx(want)
    for weights in (counted, counted.data):
        assert Balanced().for_data(R, weights).unobserved_weight == pytest.approx(want)
    disliked = sparse.csr_array((-3 * R.data, R.indices, R.indptr), shape=R.shape)
    assert Balanced(data="signed").for_data(disliked).unobserved_weight == pytest.approx(want)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "dia"])
def test_every_sparse_format_gives_the_same_objective(form):
    matrix = sparse.csr_array([[2.0, 3.0, 0.0], [0.0, 4.0, 5.0]])
    for data in ("ones", "weights"):
        rule = Balanced(data=data)
        assert rule.for_data(matrix.asformat(form)) == rule.for_data(matrix)


def test_weak_components_vanish():
    """Two blocks, one of them 20 times as sparse, of equal sizes: only the other one is kept."""
    rng = np.random.default_rng(0)
    R = np.zeros((200, 200))
    R[:100, :100] = 1.0
    R[100:, 100:] = rng.random((100, 100)) < 0.02
    from twofold.solvers import ALS

    objective = Balanced(ratio=15, shrinkage=0.2).for_data(sparse.csr_array(R))
    solution = ALS(n_factors=4, max_epochs=60, rng=0, dtype="float64").solve(
        objective, sparse.csr_array(R)
    )
    predictions = solution.row_factors @ solution.col_factors.T
    assert predictions[:100, :100].min() > 0.1
    assert np.abs(predictions[100:, 100:]).max() < 1e-3


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"ratio": 0}, "ratio"), ({"shrinkage": -1}, "shrinkage"), ({"data": "x"}, "data")],
)
def test_wrong_parameters(parameters, name):
    with pytest.raises(InvalidInputError, match=name):
        Balanced(**parameters)


def test_data_without_weight():
    with pytest.raises(InvalidInputError, match="add up to 0"):
        Balanced().for_data(sparse.csr_array((3, 4)))


def test_named_objectives():
    assert Objective.notebook() == Objective()
    assert Objective.notebook(0.1, 1.0) == Objective(regularizer=L2(0.1, 1.0))
    msd = Objective.rendle2021("msd")
    assert (msd.unobserved_weight, msd.regularizer) == (0.02, L2(0.002, 1.0))
    with pytest.raises(InvalidInputError, match="ml-20m"):
        Objective.rendle2021("ml-25m")


def test_an_objective_does_not_depend_on_data():
    objective = Objective(unobserved_weight=0.3)
    assert objective.for_data(ones(3, 3, 2)) is objective
