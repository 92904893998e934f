"""The row solve, tested like the solvers of LAPACK: kinds of systems, sizes, ratios, errors.

The systems are those of LAPACK Working Note 41 (dchkpo), constructed from columns: row u of
`fold_in` solves A p = b with

    A = a0 sum over U of q q' + lam I + sum_k w_k q_k q_k',     b = sum_k w_k r_k q_k.

The exact solution is computed in extended precision. Three ratios of 2-norms are bounded, with eps
the spacing of the dtype at 1:

    |b - A p| / ((|A| |p| + c) eps f)                        <= 30
    |p - x| / |x|, over eps (kappa + |A^-1| c / |x|)         <= 30
    |p - x| / |x|                                            <= 1e-5  in float32 (`ALS`)

The threshold 30 is that of LAPACK. kappa = |A| / lam >= cond(A) bounds the condition number of the
d x d system of a short row. In float32, c = 0, because sums are accumulated in float64. In float64,
c = |sum_k |w_k r_k q_k||, which bounds the rounding errors of b. f = 1 for long rows, and
sqrt(kappa) for short ones: p = Q'(QQ' + lam I)^-1 r has a small error, but not a small residual
(Higham 2002, section 21.1, the normal equations of the second kind).
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from subprocesses import run_python

from twofold import L2, LogisticLoss, Objective, fold_in
from twofold.exceptions import InvalidInputError, SingularRowError, TwofoldError
from twofold.objective import Problem
from twofold.objective.point import padded_factors
from twofold.solvers import ColumnSystem, Route, column_system

THRESHOLD, CLAIM = 30.0, 1e-5
SIZES = [1, 2, 3, 5, 7, 10, 11, 13, 17, 50, 61, 67, 127, 131]
LENGTHS = [0, *SIZES]
KINDS = [
    "first factor zero", "middle factor zero", "last factor zero", "condition 0.1 / sqrt(eps)",
    "condition 0.1 / eps", "near underflow", "near overflow", "rank-deficient with a ridge",
    "right-hand side cancels",
]  # fmt: skip
MODES = [(0.0, "all", 1.0), (0.3, "all", 1.0), (0.3, "missing", 1.0), (0.3, "missing", 0.1)]
N_SPARE = 40  # number of columns without entries

needs_extended = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="longdouble is no wider than double here"
)


def make_system(kind, k, d, dtype, seed):
    """Return columns Q (the first d are stored), targets and ridge of one kind."""
    rng = np.random.default_rng([seed, k, d])
    info = np.finfo(dtype)
    n = d + N_SPARE
    Q, r, ridge = rng.normal(size=(n, k)) / np.sqrt(k), rng.normal(size=d), 0.1
    if kind.endswith("factor zero"):
        Q[:, {"first": 0, "middle": k // 2, "last": -1}[kind.split()[0]]] = 0.0
    elif kind.startswith("condition"):
        condition = 0.1 / (np.sqrt(info.eps) if "sqrt" in kind else info.eps)
        left, _ = np.linalg.qr(rng.normal(size=(n, min(n, k))))
        right, _ = np.linalg.qr(rng.normal(size=(k, min(n, k))))
        Q = (left * np.geomspace(1.0, condition**-0.5, min(n, k))) @ right.T
        ridge = np.linalg.norm(Q[:d], 2) ** 2 / condition if d else 1.0
    elif kind.startswith("near"):
        small = 0.25 * float(info.tiny) / float(info.eps)  # as in dlatb4
        size = small if "underflow" in kind else 1.0 / small
        Q, ridge = Q * np.sqrt(size), 0.1 * size
    elif kind.startswith("rank"):
        rank = max(1, k // 3)
        Q, ridge = Q[:, np.arange(k) % rank], 1e-2
    elif d > 1:  # pairs of equal columns with nearly opposite targets
        Q[1:d:2] = Q[0 : d - 1 : 2]
        r[1:d:2] = -r[0 : d - 1 : 2] * (1.0 + 1e-6)
        if d % 2:
            r[-1] = 1e-6
    return Q.astype(dtype), r, ridge


def exact_solution(A, b):
    """Solve A x = b by a Cholesky factorisation A = L L' in the precision of A."""
    L, x = A.copy(), b.copy()
    for j in range(len(x)):
        L[j:, j] /= np.sqrt(L[j, j])
        below = L[j + 1 :, j]
        L[j + 1 :, j + 1 :] -= below[:, None] * below
        x[j] /= L[j, j]
        x[j + 1 :] -= below * x[j]
    for j in reversed(range(len(x))):
        x[j] = (x[j] - L[j + 1 :, j] @ x[j + 1 :]) / L[j, j]
    return x


def ratios(p, Q, w, r, ridge, a0, missing):
    """Return the three ratios of a row that stores the first columns of Q."""
    d, k, eps = len(r), Q.shape[1], float(np.finfo(Q.dtype).eps)
    scale = np.abs(Q).max(initial=0.0).astype(np.longdouble) or np.longdouble(1.0)
    Q, p = Q.astype(np.longdouble) / scale, p.astype(np.longdouble) * scale
    stored, ridge = Q[:d], np.longdouble(ridge) / scale**2
    curvature = np.full(len(Q), np.longdouble(a0))
    curvature[:d] = (0.0 if missing else a0) + w
    A = (Q.T * curvature) @ Q + ridge * np.identity(Q.shape[1], dtype=np.longdouble)
    terms = (w * r.astype(np.longdouble))[:, None] * stored
    b, rounding = terms.sum(axis=0), np.linalg.norm(np.abs(terms).sum(axis=0).astype(float))
    c = 0.0 if eps > 1e-10 else float(rounding)
    x = exact_solution(A, b)

    if not b.any():
        return (0.0 if not p.any() else np.inf,) * 3
    root = (np.sqrt(curvature)[:, None] * Q).astype(float)
    system = np.vstack([root, np.sqrt(float(ridge)) * np.identity(k)])
    singular = np.linalg.svd(system, compute_uv=False)
    largest, smallest, kappa = singular[0] ** 2, singular[-1] ** 2, singular[0] ** 2 / ridge
    norm_p, norm_x = (float(np.linalg.norm(v)) for v in (p, x))
    short = np.sqrt(kappa) if d <= 2 * max(k, 8) else 1.0
    residual = float(np.linalg.norm(b - A @ p)) / ((largest * norm_p + c) * eps * short)
    error = float(np.linalg.norm(p - x)) / norm_x
    return residual, error / (eps * (kappa + c / (smallest * norm_x))), error / CLAIM


@needs_extended
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", SIZES)
def test_error_ratios_are_bounded(k, kind, dtype):
    failures = []
    for number, d in enumerate(LENGTHS if k < 20 else [0, 1, 13, k, 131]):
        # Weightings alternate: two for each small system, one for each large one.
        modes = [MODES[(number + k + turn) % len(MODES)] for turn in range(2 if k < 20 else 1)]
        for a0, unobserved, w in modes:
            Q, r, ridge = make_system(kind, k, d, dtype, seed=0)
            objective = Objective(
                regularizer=L2(ridge), data="targets", unobserved_weight=a0 / w,
                unobserved=unobserved,
            )  # fmt: skip
            # With targets the weight is 1, so a0 is divided by w, which preserves the ratio.
            R = sparse.csr_array((r, np.arange(d), [0, d]), shape=(1, len(Q)))
            p = fold_in(objective, R, Q)[0]
            assert p.dtype == dtype
            if d == 0:
                assert not p.any()
                continue
            found = ratios(p, Q, np.ones(d), r, ridge, a0 / w, unobserved == "missing")
            bounds = THRESHOLD, THRESHOLD, (1.0 if dtype == "float32" else np.inf)
            if not all(ratio <= bound for ratio, bound in zip(found, bounds, strict=True)):
                text = ", ".join(f"{ratio:.3g}" for ratio in found)
                failures.append(f"d = {d}, a0 = {a0 / w:g} ({unobserved}): {text}")
    assert not failures, "residual, error, error / claim: " + "; ".join(failures)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [2, 5, 17, 67])
def test_singular_rows_raise(k, dtype):
    """Without a ridge: too few entries, a zero factor, equal or dependent factors."""
    rng = np.random.default_rng(k)
    whole = rng.integers(-3, 4, size=(4 * k, k)).astype(float)
    zero, equal, summed = whole.copy(), whole.copy(), whole.copy()
    zero[:, k // 2] = 0.0
    equal[:, -1] = equal[:, 0]
    summed[:, -1] = summed[:, :-1].sum(axis=1)
    systems = [(whole, k - 1, 0.0)]
    systems += [(Q, 4 * k, a0) for Q in (zero, equal, summed) for a0 in (0.0, 0.5)]
    for Q, d, a0 in systems:
        R = sparse.csr_array((np.ones(d), np.arange(d), [0, d]), shape=(1, len(Q)))
        objective = Objective(regularizer=L2(0.0), unobserved_weight=a0)
        with pytest.raises(SingularRowError, match=rf"row 0 \({d} entries\)"):
            fold_in(objective, R, Q.astype(dtype))


def test_cell_of_weight_zero_is_missing():
    R = sparse.csr_array(np.full((1, 3), 0.01))
    objective = Objective(
        regularizer=L2(0.0), data="weights", unobserved_weight=1.0, unobserved="missing"
    )
    np.testing.assert_allclose(fold_in(objective, R, np.eye(3)), np.ones((1, 3)), rtol=1e-10)
    R.data[1] = 0.0  # Its cell is in U.
    np.testing.assert_allclose(fold_in(objective, R, np.eye(3)), [[1.0, 0.0, 1.0]], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"value": np.nan}, r"row 1, column 2 is nan"),
        ({"value": np.inf}, r"row 1, column 2 is inf"),
        ({"value": -1.0}, r"row 1, column 2 is -1.0.*>= 0"),
        ({"value": 0.5, "data": "targets", "loss": LogisticLoss()}, r"row 1, column 2 is 0.5"),
        ({"Q": np.where(np.eye(4, 2) > 0, np.inf, 1.0)}, r"col_factors\[0, 0\] is inf"),
        ({"Q": np.ones((2, 3))}, "are rows and columns swapped"),
        ({"Q": np.ones((5, 3))}, "has 4 cols, but col_factors has 5 rows"),
        ({"Q": np.ones(4)}, "must be a 2-d array"),
        ({"Q": np.ones((4, 0))}, "at least one factor"),
        ({"Q": np.ones((4, 2), dtype=complex)}, "must be a 2-d array of numbers"),
        ({"matrix": np.ones((2, 4))}, "give a scipy sparse matrix"),
        ({"matrix": sparse.csr_array(np.ones((2, 4), dtype=complex))}, "real numbers"),
        ({"n_threads": 0}, "n_threads is 0"),
    ],
)
def test_error_messages(change, sentence):
    matrix = sparse.csr_array(np.array([[1.0, 0, 0, 1], [0, 1, 1, 0]]))
    matrix.data[3] = change.get("value", 1.0)
    objective = Objective(
        change.get("loss", Objective().loss), L2(0.1), data=change.get("data", "weights")
    )
    with pytest.raises(InvalidInputError, match=sentence):
        fold_in(
            objective, change.get("matrix", matrix), change.get("Q", np.ones((4, 2))),
            n_threads=change.get("n_threads"),
        )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("a0", [0.0, 0.1])
@pytest.mark.parametrize(
    ("data", "values"),
    [
        ("weights", [1.0, 0.5, 1e-95]), ("weights", [1e-95, 1e-95, 1e-95]),
        ("weights", [1e-300, 0.0, 2.0]), ("weights", [1e10, 1.0, 1e-10]),
        ("targets", [1e-24, 2e-24, -1e-24]), ("targets", [1e12, -3e12, 2e12]),
        ("targets", [1.0, 2.0, 1e39]), ("targets", [1e-45, 1e-40, 1e-320]),
        ("targets", [0.0, 0.0, 0.0]),
    ],
)  # fmt: skip
def test_extreme_values_have_finite_rows_or_raise(data, values, a0, dtype):
    """Finite and accurate if the dtype can represent the solution, otherwise a TwofoldError."""
    Q = np.random.default_rng(0).standard_normal((50, 8)).astype(dtype)
    R = sparse.csr_array((values, [0, 1, 2], [0, 3]), shape=(1, 50))
    objective = Objective(regularizer=L2(0.1), data=data, unobserved_weight=a0)
    too_large = dtype == "float32" and max(values) > 1e38
    try:
        found = fold_in(objective, R, Q)
    except TwofoldError:
        assert too_large
        return
    assert np.isfinite(found).all()
    if not too_large:
        w, r = (values, np.ones(3)) if data == "weights" else (np.ones(3), values)
        w, r, Y = (np.asarray(a, dtype=np.longdouble) for a in (w, r, Q))
        A = a0 * (Y.T @ Y) + (Y[:3].T * w) @ Y[:3] + np.longdouble(0.1) * np.identity(8)
        exact = exact_solution(A, Y[:3].T @ (w * r))
        slack = 1e-5 if dtype == "float32" else 1e-6
        smallest = 8 * float(np.finfo(dtype).smallest_subnormal)
        assert np.linalg.norm(found - exact) <= slack * np.linalg.norm(exact) + smallest


@pytest.mark.parametrize("power", [-150, -37, -20, 18, 37, 150])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_factors_near_the_limits_of_the_dtype(dtype, power):
    if dtype == "float32" and abs(power) > 38:
        pytest.skip("beyond float32")
    Q = np.random.default_rng(0).standard_normal((50, 8)) * 10.0**power
    R = sparse.csr_array(np.ones((1, 50)))
    for a0 in (0.0, 0.1):
        try:
            found = fold_in(Objective(unobserved_weight=a0), R, Q.astype(dtype))
        except TwofoldError:
            continue
        assert np.isfinite(found).all()


LONG_ROWS = """
    from twofold import L2, Objective, fold_in
    k = int(sys.argv[1])
    rng = np.random.default_rng(1)
    n, m, d = 4, 2000, 270
    cols = np.concatenate([rng.choice(m, d, replace=False) for _ in range(n)])
    Q = (rng.standard_normal((m, k)) / np.sqrt(k)).astype(np.float32)
    objective = Objective(regularizer=L2(2.0), data="targets")
    wrong = []
    for zeros in (0, 1):
        for size in (1.0, 1e-24, 1e-16, 1e12, 1e18):
            print(f"{zeros} rows of zeros, targets of {size}", flush=True)
            v = 1.0 + rng.random(n * d)
            v[: zeros * d] = 0.0
            R = sparse.csr_array((size * v, cols, np.arange(n + 1) * d), shape=(n, m))
            P = fold_in(objective, R, Q, n_threads=1) / size
            for u in range(n):
                Y = Q[cols[u * d : (u + 1) * d]].astype(float)
                x = np.linalg.solve(Y.T @ Y + 2 * np.eye(k), Y.T @ v[u * d : (u + 1) * d])
                if not np.linalg.norm(P[u] - x) <= 1e-5 * np.linalg.norm(x):
                    wrong.append((zeros, size, u))
    assert not wrong, wrong
"""


@pytest.mark.parametrize("k", [8, 96, 128])
def test_long_rows_of_any_scale(k):
    """In float32 with conjugate gradients; a row with targets of 0 only is zero."""
    run_python(LONG_ROWS, k, timeout=30.0 if k > 8 else 120.0)


# Rows whose objective may exceed its minimum


def excesses(objective, matrix, Q, start, share):
    """Solve the rows with an excess, a share of their median gain.

    Returns the excess, by how much each row exceeds its minimum in float64, and the routes. The
    objective of a row is p'Ap - 2 b.p plus a constant.
    """
    side, k, a0 = Problem.of(objective, matrix).rows, Q.shape[1], objective.unobserved_weight
    Y, entries = Q.astype(np.float64), side.entries
    systems = []
    for u in range(side.n):
        stored = slice(*entries.indptr[u : u + 2])
        Z = Y[entries.indices[stored]]
        w, r = (
            values[stored] if values.size else np.ones(len(Z))
            for values in (entries.weights, entries.targets)
        )  # fmt: skip
        curvature = w - entries.missing_weight
        A = a0 * Y.T @ Y + side.scale[u] * np.identity(k) + (Z.T * curvature) @ Z
        b = Z.T @ (w * r)
        systems.append((A, b, np.linalg.solve(A, b)))
    excess = share * float(np.median([b @ x for _, b, x in systems]))
    report = ColumnSystem.prepare(objective, Q).solve(side, start, excess=excess)
    assert not report.status.any()
    errors = [p - x for p, (_, _, x) in zip(report.row_factors[:, :k], systems, strict=True)]
    found = [float(d @ A @ d) for d, (A, _, _) in zip(errors, systems, strict=True)]
    return excess, np.array(found), np.array([Route(route).name for route in report.route])


def rows_of_lengths(lengths, n_cols, rng, kind):
    cols = np.concatenate([rng.choice(n_cols, d, replace=False) for d in lengths]).astype(int)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    values = 10.0 ** rng.uniform(0.0, 2.0, cols.size)
    if kind == "targets":
        values = rng.normal(size=cols.size)
    return sparse.csr_array((values, cols, ends), shape=(len(lengths), n_cols))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(1, 200),
    st.sampled_from(["float32", "float64"]), st.sampled_from(["targets", "weights"]),
    st.sampled_from([(0.0, "all"), (0.1, "all"), (0.1, "missing")]),
    st.floats(-4.0, 1.0), st.floats(-1.0, 0.0),
)  # fmt: skip
def test_rows_exceed_their_minimum_by_the_excess_at_most(
    seed, k, n_cols, dtype, kind, unobserved, ridge, share
):
    """From any start; in float32 for shares above its rounding errors."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, n_cols + 1, size=6)
    objective = Objective(
        regularizer=L2(10.0**ridge, float(rng.choice([0.0, 0.5, 1.0]))), data=kind,
        unobserved_weight=unobserved[0], unobserved=unobserved[1],
    )  # fmt: skip
    matrix = rows_of_lengths(lengths, n_cols, rng, kind)
    Q = (rng.normal(size=(n_cols, k)) * 10.0 ** rng.uniform(-1.0, 0.0, k)).astype(dtype)
    start = padded_factors(rng.normal(size=(6, k)).astype(dtype))
    share = 10.0 ** (share * (5.0 if dtype == "float32" else 9.0))
    excess, found, _ = excesses(objective, matrix, Q, start, share)
    assert (found <= excess).all(), found / excess


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", [1e-1, 1e-4])
def test_rows_of_every_route_exceed_their_minimum_by_the_excess_at_most(share, dtype):
    rng = np.random.default_rng(0)
    k, n_cols = 40, 300
    routes = set()
    for ridge, a0, which, scale in (
        (200.0, 0.0, "all", 1.0), (200.0, 0.1, "all", 1.0), (200.0, 2.0, "missing", 1.0),
        (1e-10, 0.1, "all", 1e-6),
    ):  # fmt: skip
        objective = Objective(
            regularizer=L2(ridge), data="weights", unobserved_weight=a0, unobserved=which
        )
        matrix = rows_of_lengths([0, 1, 5, 12, 24, 30, 60, 250], n_cols, rng, "weights")
        Q = rng.normal(size=(n_cols, k))
        Q[:, 1] = Q[:, 0] + scale * Q[:, 1]
        start = padded_factors(np.zeros((8, k), dtype))
        excess, found, names = excesses(objective, matrix, Q.astype(dtype), start, share)
        assert (found <= excess).all(), found / excess
        routes |= {*names.tolist()}
        if ridge == 200.0 and which == "all":
            assert (names[6:] == "CG").all()
            assert (found[6:] > 1e-9 * excess).all()  # stopped early
    assert routes >= {"EMPTY", "DUAL", "CG", "NORMAL", "ORTHOGONAL"}


def test_rows_with_one_entry():
    """p = w q / (lam + w |q|^2), by a division or, for large weights, by a factorisation."""
    rng = np.random.default_rng(0)
    Q = rng.normal(size=(200, 24)).astype(np.float32)
    weights = np.geomspace(1e-6, 1e6, len(Q))
    rows = sparse.diags_array(weights, format="csr")
    found = fold_in(Objective(regularizer=L2(0.5), data="weights"), rows, Q)
    squares = np.sum(Q.astype(np.float64) ** 2, axis=1)
    expected = Q * (weights / (0.5 + weights * squares))[:, np.newaxis]
    np.testing.assert_allclose(found, expected, rtol=3e-6)


def test_row_that_many_steps_do_not_suffice_for_is_solved_directly():
    """Large weights of different sizes with a small ridge."""
    rng = np.random.default_rng(0)
    objective = Objective(regularizer=L2(1e-3), data="weights")
    matrix = rows_of_lengths([60, 80, 100], 200, rng, "weights")
    matrix.data = 10.0 ** rng.uniform(-3.0, 3.0, matrix.nnz)
    Q, start = rng.normal(size=(200, 40)), padded_factors(rng.normal(size=(3, 40)))
    excess, found, names = excesses(objective, matrix, Q, start, 1e-6)
    assert not (names == "CG").any()
    assert (found <= 1e-3 * excess).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_excess_is_an_accurate_solution(dtype):
    rng = np.random.default_rng(0)
    objective, matrix = Objective(regularizer=L2(1.0)), rows_of_lengths([30, 90], 200, rng, "ones")
    Q = rng.normal(size=(200, 40)).astype(dtype)
    side = Problem.of(objective, matrix).rows
    exact = ColumnSystem.prepare(objective, Q).solve(side, excess=0.0).row_factors[:, :40]
    assert exact.tobytes() == fold_in(objective, matrix, Q).tobytes()


@pytest.mark.parametrize("a0", [0.0, 1e-9])
def test_few_rows_in_double_precision_are_solved_without_converting_all_columns(a0):
    rng = np.random.default_rng(0)
    n_cols, k = 400, 8
    Q = (rng.standard_normal((n_cols, k)) * np.logspace(0, -4, k)).astype(np.float32)
    matrix = sparse.csr_array(rng.random((60, n_cols)) < 0.05, dtype=np.float32)
    objective = Objective(regularizer=L2(1e-9), unobserved_weight=a0)
    whole, alone = (ColumnSystem.prepare(objective, Q, n_threads=1) for _ in range(2))
    every = whole.solve(Problem.of(objective, matrix).rows)
    one = [alone.solve(Problem.of(objective, matrix[[row]]).rows) for row in range(60)]
    assert "in_double" in vars(whole)
    assert "in_double" not in vars(alone)
    np.testing.assert_array_equal(np.vstack([each.row_factors for each in one]), every.row_factors)
    np.testing.assert_array_equal(np.hstack([each.route for each in one]), every.route)


@pytest.mark.parametrize("n_cols", [3, 16, 50])
@pytest.mark.parametrize("is_merged", [False, True])
def test_the_triangle_of_many_columns_is_computed_in_parts(n_cols, is_merged, monkeypatch):
    monkeypatch.setattr(column_system, "_QR_ROWS", 16)
    rng = np.random.default_rng(0)
    objective = Objective(regularizer=L2(1.0), unobserved_weight=0.3)
    options = {"multiplicity": rng.integers(1, 4, n_cols).astype(float)} if is_merged else {}
    system = ColumnSystem.prepare(objective, rng.normal(size=(n_cols, 5)), **options)
    R = system._triangle
    assert (np.tril(R, -1) == 0.0).all()
    np.testing.assert_allclose(R.T @ R, system.gram, rtol=1e-12, atol=1e-12)
