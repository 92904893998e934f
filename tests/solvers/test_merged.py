"""Equal rows and columns are solved once, with the results of the original problem."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import L2, Objective
from twofold._kernels import rows
from twofold.exceptions import SingularRowError
from twofold.objective import Point, Problem
from twofold.solvers import ALS, start
from twofold.solvers.column_system import ColumnSystem
from twofold.solvers.merged import Groups, MergedProblem
from twofold.solvers.operations import Operations
from twofold.solvers.report import RowReport

OBJECTIVES = [
    Objective(
        regularizer=L2(0.2, exponent=exponent), data=data, unobserved_weight=a0, unobserved=which,
        nonnegative=nonnegative,
    )
    for data, exponent, a0, which, nonnegative in (
        ("ones", 0.0, 0.0, "all", False), ("ones", 1.0, 0.3, "all", False),
        ("ones", 0.5, 0.3, "missing", False), ("targets", 1.0, 0.2, "missing", False),
        ("weights", 0.5, 0.2, "missing", False), ("weights", 1.0, 0.1, "all", True),
    )
]  # fmt: skip


def spectral_factors(problem, n_factors, seed, n_threads=None):
    """Return the initial factors without the padding, or None."""
    operations = Operations(problem, n_factors, n_threads)
    found = start.spectral_factors(operations, n_factors, seed)
    return found and tuple(factors[:, :n_factors] for factors in found)


def matrix_with_equal_lines(seed=0, n_rows=40, n_cols=60):
    """Return a matrix whose rows and columns are often equal, with repeated and empty ones."""
    rng = np.random.default_rng(seed)
    dense = rng.choice([0.0, 1.0, 2.0], (n_rows // 3, n_cols // 4), p=[0.9, 0.05, 0.05])
    rows = np.sort(rng.integers(0, len(dense), n_rows))
    dense = dense[rng.permutation(rows)][:, rng.integers(0, dense.shape[1], n_cols)]
    dense[:, :4] = rng.choice([0.0, 1.0], (n_rows, 4))  # long columns, which differ
    row, col = np.nonzero(dense)
    again = rng.random(row.size) < 0.1
    again &= ~np.isin(row, row[col < 4])  # stored twice
    order = np.argsort(np.concatenate([row, row[again]]), kind="stable")
    parts = [np.concatenate([part, part[again]])[order] for part in (row, col, dense[row, col])]
    indptr = np.searchsorted(parts[0], np.arange(n_rows + 1))
    return sparse.csr_array((parts[2], parts[1], indptr), shape=dense.shape)


def merged(objective, matrix):
    problem = MergedProblem.reduced(Problem.of(objective, matrix))
    assert isinstance(problem, MergedProblem)
    return problem


def random_point(problem, k=3, seed=0):
    rng = np.random.default_rng(seed)
    return Point.of(*(rng.normal(size=(n, k)) for n in problem.shape))


@given(st.integers(0, 200))
def test_groups_are_the_rows_with_the_same_entries(seed):
    side = Problem.of(Objective(data="weights"), matrix_with_equal_lines(seed)).rows
    groups, entries = Groups.of(side), side.entries
    lines = [
        (tuple(entries.indices[low:high]), tuple(entries.weights[low:high]))
        for low, high in zip(entries.indptr[:-1], entries.indptr[1:], strict=True)
    ]
    assert groups.first[groups.group].tolist() == [
        lines.index(line) if 1 <= len(line[0]) <= 8 else row for row, line in enumerate(lines)
    ]


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(seed=st.integers(0, 100))
@settings(max_examples=10)
def test_the_value_is_that_of_the_original_factors(objective, seed):
    problem = MergedProblem.reduced(Problem.of(objective, matrix_with_equal_lines(seed)))
    assume(isinstance(problem, MergedProblem))
    point = random_point(problem, seed=seed)
    factors = problem.original_factors(point)
    assert factors[0].shape[0] == 40
    assert factors[1].shape[0] == 60
    original = Problem.of(objective, matrix_with_equal_lines(seed))
    ours, expected = problem.value(*problem.restricted(*factors)), original.value(*factors)
    for part in ("loss", "unobserved", "penalty"):
        assert getattr(ours, part) == pytest.approx(getattr(expected, part), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("acceleration", ["nesterov", None])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_als_has_the_iterates_of_the_original_problem(objective, acceleration):
    matrix = matrix_with_equal_lines()
    als = ALS(
        n_factors=3, max_epochs=8, dtype="float64", row_solver="direct", rng=0,
        acceleration=acceleration,
    )  # fmt: skip
    starts = []
    solution = als.solve(objective, matrix, callback=lambda _, state: starts.append(state))
    start = (starts[0].row_factors, starts[0].col_factors)
    assert solution.memory["is_merged"]
    whole = als.solve(objective, matrix, init=start)
    assert not whole.memory["is_merged"]
    assert [one.total for one in solution.history] == pytest.approx(
        [one.total for one in whole.history], rel=1e-9
    )
    product, expected = (one.row_factors @ one.col_factors.T for one in (solution, whole))
    np.testing.assert_allclose(product, expected, atol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES[:5])
def test_the_spectral_start_is_that_of_the_original_problem(objective):
    rng = np.random.default_rng(1)
    blocks = np.kron(np.diag(rng.choice([1.0, 2.0], 3)), np.ones((7, 8)))
    matrix = sparse.csr_array(blocks[:, :22])
    problem = merged(objective, matrix)
    P, Q = problem.original_factors(Point.of(*spectral_factors(problem, 3, 0)))
    whole = spectral_factors(Problem.of(objective, matrix), 3, 0)
    np.testing.assert_allclose(P @ Q.T, whole[0] @ whole[1].T, atol=1e-4)


@pytest.mark.parametrize("excess", [0.0, 1e-3])
@pytest.mark.parametrize("weight", [0.2, 1e-12])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_rows_are_those_of_the_original_problem_in_every_way(objective, weight, excess):
    """A column that is nearly 0 makes the equations ill-conditioned with the small weight."""
    objective = replace(objective, regularizer=L2(weight, exponent=0.5))
    matrix = matrix_with_equal_lines()
    problem, original = merged(objective, matrix), Problem.of(objective, matrix)
    Q = np.abs(np.random.default_rng(0).normal(size=(problem.shape[1], 3)))
    Q[:, 0] *= 1e-4
    _, whole = problem.original_factors(Point.of(np.zeros((problem.shape[0], 3)), Q))
    factors = []
    for one, columns, margin in (
        (problem, Q, problem.col_margin), (original, whole, original.col_margin)
    ):  # fmt: skip
        system = ColumnSystem.prepare(
            objective, columns.astype(np.float32), multiplicity=margin.multiplicity
        )
        report = system.solve(one.rows, excess=excess, way="auto" if excess else "direct")
        report.check(one.rows)
        factors.append(report.row_factors[:, :3].astype(np.float64))
    ours = factors[0][problem.groups[0].group]
    predicted, expected = ours @ whole.T, factors[1] @ whole.T
    np.testing.assert_allclose(predicted, expected, atol=0.05 if excess else 1e-3)


def test_a_run_continues_with_the_same_bits_at_any_number_of_threads():
    matrix, objective = matrix_with_equal_lines(), OBJECTIVES[1]
    als = ALS(n_factors=3, max_epochs=6, rng=0, n_threads=1)
    whole = als.solve(objective, matrix)
    half = replace(als, max_epochs=3, n_threads=2).solve(objective, matrix)
    solution = replace(als, n_threads=2).solve(objective, matrix, init=half)
    assert whole.memory["is_merged"]
    for name in ("row_factors", "col_factors"):
        np.testing.assert_array_equal(getattr(solution, name), getattr(whole, name))
    assert [one.total for one in solution.history] == [one.total for one in whole.history]


def test_given_and_random_factors_are_not_merged():
    matrix, objective = matrix_with_equal_lines(), OBJECTIVES[1]
    rng = np.random.default_rng(0)
    given_factors = tuple(rng.normal(size=(n, 3)) for n in matrix.shape)
    for solution in (
        ALS(n_factors=3, max_epochs=1, rng=0).solve(objective, matrix, init=given_factors),
        ALS(n_factors=3, max_epochs=1, rng=0, init="random").solve(objective, matrix),
    ):
        assert not solution.memory["is_merged"]


def test_problems_with_few_equal_rows_are_not_merged():
    problem = Problem.of(OBJECTIVES[0], sparse.csr_array(np.tri(30)))
    assert MergedProblem.reduced(problem) is problem


def test_an_error_names_the_row_of_the_data():
    dense = np.zeros((9, 4))
    dense[:8, :3] = [3.0, 4.0, 5.0]  # equal rows
    dense[8, 3] = 1.0
    side = merged(OBJECTIVES[3], sparse.csr_array(dense)).rows
    codes = np.array([rows.SOLVED, rows.SINGULAR], np.uint8)
    report = RowReport(np.zeros((2, 8)), codes, codes, np.zeros(2))
    with pytest.raises(SingularRowError, match="row 8 has no unique solution"):
        report.check(side)
