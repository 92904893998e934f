"""Row solves by every route on small systems, compared with the reference."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls

from twofold import L2, Objective
from twofold._kernels import cg, rows
from twofold._kernels.threads import run
from twofold.objective import Problem
from twofold.objective.point import padded_factors
from twofold.solvers import ColumnSystem, Route
from twofold.testing import reference

pytestmark = [
    pytest.mark.plain,
    # Compiled code overflows without a warning.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

LENGTHS = [0, 1, 2, 3, 7, 8, 9, 13, 70]  # with less and more than a tile and a panel
N_COLS = 90
TOLERANCE = {"float32": 2e-5, "float64": 1e-9}
UNOBSERVED = [(0.0, "all"), (0.3, "all"), (0.3, "missing")]


def rows_of(lengths, values=None, n_cols=N_COLS, seed=0):
    """Return rows with so many entries in random columns, by default with normal numbers."""
    rng = np.random.default_rng(seed)
    cols = np.concatenate([rng.choice(n_cols, d, replace=False) for d in lengths]).astype(int)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    values = rng.normal(size=cols.size) if values is None else np.resize(values, cols.size)
    return sparse.csr_array((values, cols, ends), shape=(len(lengths), n_cols))


def factors(k, dtype="float64", n_cols=N_COLS, seed=1):
    return np.random.default_rng(seed).normal(size=(n_cols, k)).astype(dtype)


def solved(objective, matrix, Q, **options):
    """Return the report of the rows, their factors and the set of the routes."""
    report = ColumnSystem.prepare(objective, Q).solve(Problem.of(objective, matrix).rows, **options)
    assert not report.row_factors[:, Q.shape[1] :].any()
    return (
        report,
        report.row_factors[:, : Q.shape[1]],
        {Route(route).name for route in report.route},
    )


def assert_close(found, expected, tolerance):
    """Compare rows with a tolerance relative to their lengths."""
    lengths = np.linalg.norm(expected, axis=1)
    assert (np.linalg.norm(found - expected, axis=1) <= tolerance * lengths).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("a0", "which"), UNOBSERVED)
@pytest.mark.parametrize("k", [3, 10])
def test_direct_routes(k, a0, which, dtype):
    objective = Objective(
        regularizer=L2(0.5, exponent=0.5), data="targets", unobserved_weight=a0, unobserved=which
    )
    matrix, Q = rows_of(LENGTHS), factors(k, dtype)
    report, found, _ = solved(objective, matrix, Q, way="direct")
    routes = ["EMPTY" if d == 0 else "DUAL" if d < k else "PRIMAL" for d in LENGTHS]
    assert [Route(route).name for route in report.route] == routes
    assert not report.status.any()
    assert report.error.max() < TOLERANCE[dtype]
    assert_close(found, reference.fold_in(objective, matrix, Q), TOLERANCE[dtype])


@pytest.mark.parametrize("a0", [0.0, 1e-3])
@pytest.mark.parametrize("k", [3, 10])
def test_refined_rows(k, a0):
    """In float32, the factorisations of large weights alone are not accurate enough."""
    objective = Objective(regularizer=L2(1.0), data="weights", unobserved_weight=a0)
    matrix, Q = rows_of(LENGTHS, [3e3, 1.0, 700.0, 9e3, 20.0]), factors(k, "float32")
    report, found, routes = solved(objective, matrix, Q, way="direct")
    assert routes == {"EMPTY", "DUAL", "PRIMAL"}
    assert 0.0 < report.error.max() <= 2 * rows.ROW_TOLERANCE
    assert_close(found, reference.fold_in(objective, matrix, Q), 5e-6)


@pytest.mark.parametrize("ridge", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("a0", [0.0, 0.1])
@pytest.mark.parametrize("k", [8, 40])
def test_error_estimates_of_rows_that_are_not_refined(k, a0, ridge):
    """Columns that have a common direction make the eigenvalues of the systems unequal."""
    rng, n_cols = np.random.default_rng(k), 900
    Q = (0.1 * (rng.normal(size=(n_cols, k)) + 3 * rng.normal(size=k))).astype(np.float32)
    objective = Objective(regularizer=L2(ridge), data="targets", unobserved_weight=a0)
    matrix = rows_of(np.geomspace(k, n_cols, 12).astype(int), n_cols=n_cols)
    report, found, routes = solved(objective, matrix, Q, way="direct")
    assert routes == {"PRIMAL"}
    expected = reference.fold_in(objective, matrix, Q)
    errors = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    is_refined = report.error < rows.ROW_TOLERANCE / 100
    assert (errors <= 1e-6 + np.where(is_refined, 0.0, 2.5 * report.error)).all()


def test_cancelling_terms_of_the_right_hand_side():
    Q = factors(3, "float32")
    Q[1::2] = Q[::2]
    columns, targets = np.arange(80), np.resize([1.0, -1.0 - 1e-6], 80)
    matrix = sparse.csr_array((targets, columns, [0, 80]), shape=(1, N_COLS))
    objective = Objective(regularizer=L2(0.1), data="targets")
    _, found, routes = solved(objective, matrix, Q, way="direct")
    assert routes == {"PRIMAL"}
    assert_close(found, reference.fold_in(objective, matrix, Q), 1e-5)


@pytest.mark.parametrize("size", [1e20, 1e-24])
def test_rows_beyond_the_range_of_float32_are_solved_in_float64(size):
    objective = Objective(regularizer=L2(0.1 * size * size), data="targets")
    matrix, Q = rows_of(LENGTHS), (size * factors(10)).astype(np.float32)
    report, found, _ = solved(objective, matrix, Q)
    assert not report.status.any()
    assert_close(found, reference.fold_in(objective, matrix, Q), 1e-5)


def test_products_beyond_the_range_of_float32():
    """The factorisations in float32 fail, and the ridge is too small for those in float64."""
    Q = (1e20 * factors(10)).astype(np.float32)
    objective, matrix = Objective(regularizer=L2(0.1), data="targets"), rows_of([5, 13, 70])
    report, found, routes = solved(objective, matrix, Q)
    assert routes == {"ORTHOGONAL"}
    assert not report.status.any()
    assert_close(found[1:], reference.fold_in(objective, matrix[1:], Q), 1e-5)
    np.testing.assert_allclose(Q[matrix.indices[:5]] @ found[0], matrix.data[:5], rtol=1e-5)


@pytest.mark.parametrize("way", ["direct", "cg"])
def test_targets_near_the_limit_of_float32(way):
    matrix, Q = rows_of([1, 2, 20], [2e37]), factors(3, "float32")
    objective = Objective(regularizer=L2(0.1), data="targets")
    report, found, _ = solved(objective, matrix, Q, way=way, cg_steps=30)
    assert not report.status.any()
    assert_close(found.astype(float), reference.fold_in(objective, matrix, Q), 1e-5)


@pytest.mark.parametrize(
    ("ridge", "lengths", "expected"),
    [(0.1, [1, 2, 20], {"DUAL", "PRIMAL"}), (0.0, [3, 4, 20], {"ORTHOGONAL"})],
)
@pytest.mark.parametrize("size", [1e41, 1e-320])
def test_targets_beyond_the_range_of_float32(size, ridge, lengths, expected):
    """The factors of small ones are rounded to 0, and those of large ones are an error."""
    matrix, Q = rows_of(lengths, [size]), factors(3, "float32")
    report, found, routes = solved(Objective(regularizer=L2(ridge), data="targets"), matrix, Q)
    assert routes == expected
    if size < 1.0:
        assert not report.status.any()
        assert not found.any()
    else:
        assert (report.status == rows.OVERFLOW).all()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weight", [0.3, 0.1])
def test_weights_up_to_a0(weight, dtype):
    """With w = a0, an entry has no curvature; with w < a0, it is negative."""
    objective = Objective(
        regularizer=L2(20.0), data="weights", unobserved_weight=0.3, unobserved="missing"
    )
    matrix, Q = rows_of(LENGTHS[:7], [weight, 2.0, 0.5]), factors(5, dtype)
    expected = reference.fold_in(objective, matrix, Q)
    for way in ("direct", "cg"):
        report, found, routes = solved(objective, matrix, Q, way=way, cg_steps=30)
        assert not report.status.any()
        assert ("NORMAL" in routes) == (weight < 0.3)
        assert (report.error[report.route == Route.NORMAL] < 1e-10).all()
        assert_close(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("a0", [0.0, 0.3])
def test_rows_without_a_ridge(a0):
    """They are solved by orthogonal factorisations, or singular with dependent factors."""
    objective = Objective(regularizer=L2(0.0), data="targets", unobserved_weight=a0)
    matrix, Q = rows_of([5, 9, 13]), factors(5)
    Q[:, 4] = Q[:, 3] + 1e-6 * Q[:, 4]
    report, found, routes = solved(objective, matrix, Q)
    assert routes == {"ORTHOGONAL"}
    assert not report.status.any()
    assert (report.error < 1e-7).all()
    assert_close(found, reference.fold_in(objective, matrix, Q), 1e-6)
    Q[:, 4] = Q[:, 3]
    report, *_ = solved(objective, matrix, Q)
    assert (report.status == rows.SINGULAR).all()


def test_indefinite_normal_equations_are_singular():
    objective = Objective(
        regularizer=L2(0.0), data="weights", unobserved_weight=1.0, unobserved="missing"
    )
    Q = np.zeros((N_COLS, 2))
    Q[:3] = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    matrix = sparse.csr_array(([0.5, 0.5, 0.5, 1.0], [0, 1, 2, 0], [0, 3, 4]), shape=(2, N_COLS))
    report, found, routes = solved(objective, matrix, Q)
    assert routes == {"NORMAL", "PRIMAL"}
    assert_close(found, reference.fold_in(objective, matrix, Q), 1e-12)
    matrix.data[:3] = 1e-300  # A row of all columns with a weight has no curvature at all.
    report, *_ = solved(objective, matrix, Q)
    assert report.status.tolist() == [rows.SINGULAR, rows.SOLVED]


# -- conjugate gradients --------------------------------------------------------------------------


def test_squared_lengths_of_whitened_columns():
    Y, spectrum = factors(8, n_cols=cg.CHUNK + 3), np.arange(8.0)
    found = np.full(len(Y), np.nan)
    run(cg.squared_lengths, 2, 1, Y, spectrum, 0.5, found)
    np.testing.assert_allclose(found, (Y**2 / (spectrum + 0.5)).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("a0", "which"), UNOBSERVED)
def test_conjugate_gradients_converge_to_the_solution(a0, which, dtype):
    objective = Objective(
        regularizer=L2(0.5, exponent=0.5), data="targets", unobserved_weight=a0, unobserved=which
    )
    matrix, Q = rows_of(LENGTHS), factors(5, dtype)
    expected = reference.fold_in(objective, matrix, Q)
    start = padded_factors(np.random.default_rng(2).normal(size=expected.shape).astype(dtype))
    for initial in (None, start):
        report, found, routes = solved(objective, matrix, Q, start=initial, way="cg", cg_steps=30)
        assert routes == {"EMPTY", "CG"}
        assert_close(found, expected, TOLERANCE[dtype])
        assert report.error.max() < TOLERANCE[dtype]


def preconditioned_steps(A, M, b, p, n_steps):
    """Return p after steps of conjugate gradients for A p = b, with the preconditioner M."""
    r = b - A @ p
    z = np.linalg.solve(M, r)
    direction = z
    for _ in range(n_steps):
        alpha = (r @ z) / (direction @ A @ direction)
        p, new = p + alpha * direction, r - alpha * A @ direction
        new_z = np.linalg.solve(M, new)
        direction = new_z + (new @ new_z) / (r @ z) * direction
        r, z = new, new_z
    return p


@pytest.mark.parametrize("n_steps", [1, 2, 3, 5])
@pytest.mark.parametrize(("a0", "which"), UNOBSERVED)
def test_a_number_of_steps(a0, which, n_steps):
    """The rows are those of the textbook method, and their errors are within the bound."""
    objective = Objective(
        regularizer=L2(0.5), data="targets", unobserved_weight=a0, unobserved=which
    )
    matrix, Q = rows_of([1, 8, 13, 70]), factors(10)
    start = np.random.default_rng(2).normal(size=(4, 10))
    options = {"start": padded_factors(start), "way": "cg", "cg_steps": n_steps}
    report, found, _ = solved(objective, matrix, Q, **options)
    M = a0 * Q.T @ Q + 0.5 * np.identity(10)
    for u, expected in enumerate(reference.fold_in(objective, matrix, Q)):
        entries = slice(*matrix.indptr[u : u + 2])
        rows_of_Q = Q[matrix.indices[entries]]
        A = M + (1.0 - (a0 if which == "missing" else 0.0)) * rows_of_Q.T @ rows_of_Q
        steps = preconditioned_steps(A, M, rows_of_Q.T @ matrix.data[entries], start[u], n_steps)
        np.testing.assert_allclose(found[u], steps, rtol=1e-9, atol=1e-9)
        error = np.linalg.norm(found[u] - expected) / np.linalg.norm(found[u])
        assert error <= report.error[u] + 1e-9


def test_large_weights_of_short_columns_have_no_large_rounding_errors():
    objective = Objective(regularizer=L2(0.5), data="weights")
    matrix, Q = rows_of([9, 70], [1e6]), (1e-3 * factors(5)).astype(np.float32)
    _, found, routes = solved(objective, matrix, Q, way="cg", cg_steps=30)
    assert routes == {"CG"}
    assert_close(found, reference.fold_in(objective, matrix, Q), 2e-5)


def test_rows_of_zeros_are_zero_from_any_start():
    objective = Objective(regularizer=L2(0.5), data="targets")
    matrix, start = rows_of([3, 9], [0.0]), padded_factors(np.ones((2, 5)))
    report, found, _ = solved(objective, matrix, factors(5), start=start, way="cg")
    assert not found.any()
    assert not report.error.any()


def test_rows_exceed_their_minimum_by_the_excess_at_most():
    objective = Objective(regularizer=L2(5.0), data="targets", unobserved_weight=0.1)
    matrix, Q = rows_of([40, 60, 70]), factors(40)
    expected = reference.fold_in(objective, matrix, Q)
    report, found, routes = solved(objective, matrix, Q, excess=1e-20)
    assert routes == {"PRIMAL"}  # Few steps do not suffice.
    assert_close(found, expected, 1e-10)
    report, found, routes = solved(objective, matrix, Q, excess=0.1)
    assert routes == {"CG"}
    assert not report.status.any()
    gram = 0.1 * Q.T @ Q + 5.0 * np.identity(40)
    for u, error in enumerate(found - expected):
        Z = Q[matrix.indices[slice(*matrix.indptr[u : u + 2])]]
        assert 1e-12 < error @ (gram + Z.T @ Z) @ error <= 0.1


def test_long_rows_of_many_factors():
    """Conjugate gradients up to a tolerance, and a direct route where they do not reach it."""
    k, n_cols = 120, 160
    # The weights of the second row are too large for few steps, and those of the third one for
    # float32.
    matrix = rows_of([130] * 3, np.repeat([0.1, 1.0, 1e4], 130), n_cols)
    Q = factors(k, n_cols=n_cols) * np.geomspace(0.3, 3e-3, k)
    Q, objective = Q.astype(np.float32), Objective(regularizer=L2(1.0), data="weights")
    report, found, _ = solved(objective, matrix, Q)
    assert [Route(route).name for route in report.route] == ["CG", "PRIMAL", "PRIMAL"]
    assert_close(found, reference.fold_in(objective, matrix, Q), 1e-5)


# -- nonnegative rows -----------------------------------------------------------------------------


@pytest.mark.parametrize("a0", [0.0, 0.3])
@pytest.mark.parametrize("k", [5, 16])
def test_nonnegative_rows(k, a0):
    objective = Objective(
        regularizer=L2(1e-3), data="targets", unobserved_weight=a0, nonnegative=True
    )
    matrix, Q = rows_of(LENGTHS), np.abs(factors(k)) + 0.5  # nearly parallel columns
    matrix.data += 0.5
    start = padded_factors(np.random.default_rng(2).normal(size=(len(LENGTHS), k)))
    for initial in (None, start):
        report, found, routes = solved(objective, matrix, Q, start=initial)
        assert routes == {"EMPTY", "NONNEGATIVE"}
        assert not report.status.any()
        for u in range(1, len(LENGTHS)):
            stored = slice(*matrix.indptr[u : u + 2])
            system = np.vstack(
                [Q[matrix.indices[stored]], np.sqrt(a0) * Q, np.sqrt(1e-3) * np.identity(k)]
            )
            rhs = np.zeros(len(system))
            rhs[: LENGTHS[u]] = matrix.data[stored]
            assert_close(found[[u]], nnls(system, rhs)[0][np.newaxis], 1e-8)


def test_nonnegative_rows_without_a_solution():
    """The minima of a row with few entries are not unique; a large one has infinite squares."""
    objective = Objective(regularizer=L2(0.0), data="targets", nonnegative=True)
    matrix, Q = rows_of([4, 20], [1.0]), np.abs(factors(8))
    Q[:, 7] = 0.0
    matrix.data[4:] = 1e200
    report, found, _ = solved(objective, matrix, Q)
    assert report.status.tolist() == [rows.NOT_CONVERGED, rows.OVERFLOW]
    assert not found[:, 7].any()
    np.testing.assert_allclose(Q[matrix.indices[:4]] @ found[0], 1.0, rtol=0.01)


@pytest.mark.parametrize("way", ["direct", "cg", "auto"])
def test_rows_beyond_the_range_of_float32_are_reported(way):
    objective = Objective(regularizer=L2(1.0), data="targets", unobserved_weight=0.1)
    matrix, Q = rows_of([2, 30], [1.0, 1.0] + 30 * [1e45]), factors(3, "float32")
    report, _, _ = solved(objective, matrix, Q, way=way)
    assert report.status.tolist() == [rows.SOLVED, rows.OVERFLOW]
