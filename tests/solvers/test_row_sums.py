"""The sums of a row solve, from which the value of an epoch is computed, and that value."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import L2, Objective
from twofold.objective import Problem
from twofold.solvers import ALS, ColumnSystem, Route, Solution

KINDS = {
    "ones": {"data": "ones"},
    "targets": {"data": "targets"},
    "weights": {"data": "weights"},
}


def sides(kind, unobserved, a0, seed, lengths, n_cols=90, exponent=0.0):
    rng = np.random.default_rng(seed)
    cols = np.concatenate([rng.choice(n_cols, d, replace=False) for d in lengths]).astype(int)
    values = np.ones(cols.size) if kind == "ones" else rng.uniform(1.0, 4.0, cols.size)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    matrix = sparse.csr_array((values, cols, ends), shape=(len(lengths), n_cols))
    options = {"unobserved_weight": a0, "unobserved": unobserved} if a0 else {}
    objective = Objective(regularizer=L2(0.5, exponent), **KINDS[kind], **options)
    return objective, Problem.of(objective, matrix).rows, rng


def naive_sums(objective, side, Q, P):
    """Return the objective of each row and sum a x^2 over its entries, in float64."""
    Q, P, entries = Q.astype(np.float64), P.astype(np.float64), side.entries
    found = []
    for u, p in enumerate(P):
        stored = slice(*entries.indptr[u : u + 2])
        x = Q[entries.indices[stored]] @ p
        w, r = (
            values[stored] if values.size else np.ones(x.size)
            for values in (entries.weights, entries.targets)
        )
        square = np.sum(entries.missing_weight * x**2)
        others = objective.unobserved_weight * np.sum((Q @ p) ** 2) + side.scale[u] * (p @ p)
        found.append((np.sum(w * (r - x) ** 2) - square + others, square))
    return np.array(found)


@given(
    kind=st.sampled_from(sorted(KINDS)),
    mode=st.sampled_from([("all", 0.0), ("all", 0.2), ("missing", 0.2)]),
    way=st.sampled_from(["auto", "direct", "cg"]),
    excess=st.sampled_from([0.0, 1e-3]),
    dtype=st.sampled_from([np.float32, np.float64]),
    k=st.sampled_from([1, 8, 13, 40]),
    has_start=st.booleans(),
    exponent=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
def test_sums_are_those_of_the_solution(
    kind, mode, way, excess, dtype, k, has_start, exponent, seed
):
    lengths = [0, 1, 2, 8, 9, 30, 64, 90]
    objective, side, rng = sides(kind, *mode, seed, lengths, exponent=exponent)
    Q, start = (rng.normal(size=(n, k), scale=k**-0.25).astype(dtype) for n in (90, len(lengths)))
    # In the coordinates of rows that may be inexact, where they have one ridge.
    ridge = objective.common_ridge if way == "cg" or excess else None
    system = ColumnSystem.prepare(objective, Q, ridge=ridge)
    initial = np.zeros_like(start, shape=(len(lengths), system.col_factors.shape[1]))
    initial[:, :k] = start if has_start else 0.0
    report = system.solve(side, initial, way=way, excess=excess, needs_sums=True)
    assert not report.status.any()
    expected = naive_sums(objective, side, Q, report.row_factors[:, :k])
    # In single precision the sums and the solution have rounding errors in each prediction.
    size = np.abs(expected).max() + 1.0
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(
        report.sums[:, 0], expected[:, 0], rtol=40 * eps, atol=8 * eps * size
    )
    # Refined solutions have the predictions of the last but one step.
    np.testing.assert_allclose(report.sums[:, 1], expected[:, 1], rtol=2e-5, atol=40 * eps * size)


def test_sums_are_those_of_refined_solutions():
    """The last correction of a refinement changes the objective, but not the predictions."""
    objective, side, rng = sides("weights", "all", 0.2, 3, [90] * 4)
    Q = (30.0 * rng.normal(size=(90, 40))).astype(np.float32)
    system = ColumnSystem.prepare(objective, Q)
    report = system.solve(side, way="direct", needs_sums=True)
    assert (report.route == Route.PRIMAL).all()
    expected = naive_sums(objective, side, Q, report.row_factors[:, :40])
    np.testing.assert_allclose(report.sums[:, 0], expected[:, 0], rtol=1e-6)


def test_reports_have_sums_only_if_asked_for():
    objective, side, rng = sides("ones", "all", 0.2, 0, [3, 4])
    report = ColumnSystem.prepare(objective, rng.normal(size=(90, 8))).solve(side)
    assert report.sums.shape == (0, 2)


def test_sums_of_rows_without_normal_equations_are_nan():
    """Such rows are solved by an orthogonal factorisation, which computes no sums."""
    objective = Objective(regularizer=L2(1e-30))
    side = Problem.of(objective, sparse.csr_array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])).rows
    Q = np.array([[1.0, 0.0], [1.0, 1e-9], [1.0, 0.0]])
    report = ColumnSystem.prepare(objective, Q).solve(side, way="direct", needs_sums=True)
    is_orthogonal = report.route == Route.ORTHOGONAL
    assert is_orthogonal.any()
    assert np.isnan(report.sums[is_orthogonal]).all()


def matrix_of(seed=0, shape=(60, 50)):
    rng = np.random.default_rng(seed)
    return sparse.random_array(shape, density=0.2, random_state=rng, format="csr")


VALUES = [
    {"unobserved_weight": 0.2},
    {"unobserved_weight": 0.2, "unobserved": "missing"},
    {"data": "targets"},
    {"data": "weights", "unobserved_weight": 0.2, "unobserved": "missing"},
]


@pytest.mark.parametrize("options", VALUES, ids=str)
@pytest.mark.parametrize("way", ["auto", "direct", "cg"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_of_epochs_are_those_of_the_objective(options, way, dtype):
    matrix = matrix_of()
    if options.get("data", "ones") == "ones":
        matrix.data[:] = 1.0
    objective = Objective(regularizer=L2(0.3), **options)
    found, expected = [], []

    def note(epoch, solution):
        record = solution.history[-1]
        value = objective.value(matrix, solution.row_factors, solution.col_factors)
        found.append((record.total, record.loss, record.unobserved, record.penalty))
        expected.append((value.total, value.loss, value.unobserved, value.penalty))

    solver = ALS(n_factors=12, max_epochs=8, rng=0, row_solver=way, dtype=dtype, tol=0.0)
    solution = solver.solve(objective, matrix, callback=note)
    totals = np.array(expected)[:, :1]
    errors = np.abs(np.array(found) - expected) / totals
    assert errors[:, 0].max() < (3e-8 if dtype == "float32" else 1e-14)
    assert errors.max() < (1e-6 if dtype == "float32" else 1e-9)
    # The last value of a run is that of its factors, without these rounding errors.
    exact = objective.value(matrix, solution.row_factors, solution.col_factors)
    assert solution.history[-1].total == exact.total
    assert solution.history[-1].total == pytest.approx(found[-1][0], rel=3e-8)


@pytest.mark.parametrize("options", [{"biases": True}, {"nonnegative": True}], ids=str)
def test_other_objectives_are_evaluated_at_each_epoch(options):
    matrix = matrix_of()
    objective = Objective(data="targets", regularizer=L2(0.3), **options)
    found = []

    def note(epoch, solution):
        value = objective.value(matrix, solution.row_factors, solution.col_factors)
        found.append((solution.history[-1].total, value.total))

    ALS(n_factors=6, max_epochs=4, rng=0).solve(objective, matrix, callback=note)
    np.testing.assert_allclose(*np.transpose(found), rtol=1e-9)


def test_a_continued_run_has_the_bits_of_one_run(tmp_path):
    """The next epoch compares with the value of the last one, with its rounding errors."""
    matrix = matrix_of(shape=(200, 150))
    matrix.data[:] = 1.0
    objective = Objective(unobserved_weight=0.2, regularizer=L2(0.3))
    whole = ALS(n_factors=16, max_epochs=9, rng=0, tol=0.0).solve(objective, matrix)
    half = ALS(n_factors=16, max_epochs=4, rng=0, tol=0.0).solve(objective, matrix)
    half.save(tmp_path / "half.npz")
    rest = ALS(n_factors=16, max_epochs=9, rng=0, tol=0.0).solve(
        objective, matrix, init=Solution.load(tmp_path / "half.npz")
    )
    np.testing.assert_array_equal(whole.col_factors, rest.col_factors)
    np.testing.assert_array_equal(whole.row_factors, rest.row_factors)
    assert [one.total for one in whole.history[5:]] == [one.total for one in rest.history[5:]]


def test_a_continued_run_of_a_subclass_has_the_values_of_its_factors():
    """Its step changes the factors after that of ALS, so the value of that one is not used."""

    class Clipped(ALS):
        def step(self, problem, state):
            new = super().step(problem, state)
            factors = (np.maximum(one, 0.0) for one in (new.row_factors, new.col_factors))
            return new.moved(*factors)

    matrix = matrix_of()
    matrix.data[:] = 1.0
    objective = Objective(unobserved_weight=0.1, regularizer=L2(0.3))
    half = Clipped(n_factors=6, rng=0, tol=0.0, max_epochs=4).solve(objective, matrix)
    whole = Clipped(n_factors=6, rng=0, tol=0.0, max_epochs=8).solve(objective, matrix, init=half)
    assert whole.history[4] == half.history[4]


def test_a_run_without_the_rounded_value_is_continued():
    """As saved by solvers that evaluate each epoch."""
    matrix = matrix_of()
    matrix.data[:] = 1.0
    objective = Objective(unobserved_weight=0.2, regularizer=L2(0.3))
    half = ALS(n_factors=4, max_epochs=3, rng=0, tol=0.0).solve(objective, matrix)
    memory = {name: array for name, array in half.memory.items() if name != "rounded_value"}
    assert len(memory) == len(half.memory) - 1
    old = replace(half, memory=memory)
    solution = ALS(n_factors=4, max_epochs=6, rng=0, tol=0.0).solve(objective, matrix, init=old)
    assert solution.n_epochs == 6
    assert solution.history[3] == half.history[3]


@pytest.mark.parametrize(("tol", "is_exact"), [(0.0, False), (1e-4, False), (1e-7, True)])
def test_values_are_exact_where_tol_is_near_their_rounding_errors(tol, is_exact):
    matrix = matrix_of()
    matrix.data[:] = 1.0
    objective = Objective(unobserved_weight=0.2, regularizer=L2(0.3))
    equal = []

    def note(epoch, solution):
        value = objective.value(matrix, solution.row_factors, solution.col_factors)
        equal.append(solution.history[-1].total == value.total)

    ALS(n_factors=12, max_epochs=6, rng=0, tol=tol).solve(objective, matrix, callback=note)
    assert all(equal) == is_exact


def test_nonnegative_rows_have_no_sums():
    objective, side, rng = sides("ones", "all", 0.2, 0, [3, 4])
    objective = replace(objective, nonnegative=True)
    report = ColumnSystem.prepare(objective, rng.random((90, 8))).solve(side, needs_sums=True)
    assert np.isnan(report.sums).all()
