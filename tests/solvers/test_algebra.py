"""Exact identities of solutions: permutations, rotations, scaling, repeated entries."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from plain_als import plain_als
from scipy import sparse

from twofold import L1, L2, HuberLoss, LogisticLoss, Objective, fold_in
from twofold.solvers import ALS, GD, SGD
from twofold.testing import reference

QUADRATIC = [
    Objective(regularizer=L2(0.1)),
    Objective(regularizer=L2(0.05, exponent=1.0), data="targets"),
    Objective(regularizer=L2(0.2, exponent=0.5), data="weights", unobserved_weight=0.3),
    Objective(
        regularizer=L2(0.1), data="weights", unobserved_weight=0.2, unobserved="missing"
    ),
]  # fmt: skip
GENERAL = [
    Objective(HuberLoss(0.4), L2(0.1), data="targets"),
    Objective(LogisticLoss(), L2(0.1, exponent=1.0)),
    Objective(regularizer=L1(0.3), data="weights", unobserved_weight=0.1),
]
ROW_SOLVERS = ["auto", "direct", "cg"]
SEEDS = st.integers(0, 2**32 - 1)
N_ROWS, N_COLS, K = 24, 17, 4

few_examples = settings(
    deadline=None, max_examples=6, derandomize=True, phases=[Phase.explicit, Phase.generate]
)


def matrix_of(seed):
    """Return a sorted CSR array of positive values with a row and a column without entries."""
    rng = np.random.default_rng(seed)
    stored = rng.random((N_ROWS, N_COLS)) < 0.35
    stored[2], stored[:, 5] = False, False
    return sparse.csr_array(np.where(stored, rng.uniform(0.5, 3.0, stored.shape), 0.0))


def factors_of(seed, k=K, dtype="float64"):
    rng = np.random.default_rng([seed, 1])
    return tuple(rng.normal(scale=0.7, size=(n, k)).astype(dtype) for n in (N_ROWS, N_COLS))


def solvers(epochs=3):
    yield from (
        ALS(n_factors=K, max_epochs=epochs, row_solver=kind, dtype="float64")
        for kind in ROW_SOLVERS
    )
    yield GD(n_factors=K, max_epochs=epochs, learning_rate=1e-3, dtype="float64")
    yield GD(n_factors=K, max_epochs=epochs, dtype="float64")


def assert_close(found, expected, tolerance=1e-9):
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    assert np.abs(found - expected).max(initial=0.0) <= tolerance * scale


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("objective", QUADRATIC)
def test_permuted_rows_and_columns_permute_the_factors(objective, seed):
    matrix, (P, Q) = matrix_of(seed), factors_of(seed)
    rng = np.random.default_rng(seed)
    by_row, by_col = rng.permutation(N_ROWS), rng.permutation(N_COLS)
    permuted = matrix[by_row][:, by_col]
    folded = fold_in(objective, matrix, Q)
    assert_close(fold_in(objective, permuted, Q[by_col]), folded[by_row])
    for solver in solvers():
        plain = solver.solve(objective, matrix, (P, Q))
        found = solver.solve(objective, permuted, (P[by_row], Q[by_col]))
        assert_close(found.row_factors, plain.row_factors[by_row], 1e-7)
        assert_close(found.col_factors, plain.col_factors[by_col], 1e-7)


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("objective", QUADRATIC + GENERAL)
def test_transposed_problem_has_equal_value_and_swapped_gradients(objective, seed):
    matrix, (P, Q) = matrix_of(seed), factors_of(seed)
    if objective in GENERAL[:1]:
        matrix.data = np.sign(matrix.data - 1.5)
    value, transposed = objective.value(matrix, P, Q), objective.value(matrix.T, Q, P)
    assert transposed.total == pytest.approx(value.total, rel=1e-12)
    (dP, dQ), (dQ_across, dP_across) = (
        objective.gradient(matrix, P, Q), objective.gradient(matrix.T, Q, P),
    )  # fmt: skip
    assert_close(dP_across, dP, 1e-12)
    assert_close(dQ_across, dQ, 1e-12)


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("objective", QUADRATIC)
def test_transposed_problem_has_swapped_factors(objective, seed):
    matrix, (P, Q) = matrix_of(seed), factors_of(seed)
    for solver in list(solvers())[-2:]:  # one simultaneous step of both sides
        plain = solver.solve(objective, matrix, (P, Q))
        transposed = solver.solve(objective, matrix.T, (Q, P))
        assert_close(transposed.col_factors, plain.row_factors, 1e-9)
        assert_close(transposed.row_factors, plain.col_factors, 1e-9)
    # ALS solves for the rows first; each half-step equals a fold-in.
    solver = plain_als(n_factors=K, max_epochs=1, dtype="float64")
    epoch = solver.solve(objective, matrix, (P, Q))
    assert_close(epoch.row_factors, fold_in(objective, matrix, Q))
    assert_close(epoch.col_factors, fold_in(objective, matrix.T, epoch.row_factors))


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("objective", QUADRATIC + GENERAL[:2])
def test_rotated_factors_have_equal_value_and_rotated_solution(objective, seed):
    matrix, (P, Q) = matrix_of(seed), factors_of(seed)
    O, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(K, K)))  # noqa: E741
    if objective in GENERAL[:1]:
        matrix.data = np.sign(matrix.data - 1.5)
    value = objective.value(matrix, P, Q).total
    assert objective.value(matrix, P @ O, Q @ O).total == pytest.approx(value, rel=1e-12)
    tolerance = 1e-9 if objective in QUADRATIC else 1e-6
    assert_close(fold_in(objective, matrix, Q @ O), fold_in(objective, matrix, Q) @ O, tolerance)


@few_examples
@given(SEEDS, st.sampled_from(["float32", "float64"]))
@pytest.mark.parametrize("objective", QUADRATIC + GENERAL)
def test_equal_rows_have_bitwise_equal_factors(objective, seed, dtype):
    matrix = matrix_of(seed)
    if objective.data == "targets":
        matrix.data = np.sign(matrix.data - 1.5)
    _, Q = factors_of(seed, dtype=dtype)
    order = np.random.default_rng(seed).integers(N_ROWS, size=60)
    folded = fold_in(objective, matrix[order], Q)
    first = {row: place for place, row in reversed(list(enumerate(order.tolist())))}
    assert folded.tobytes() == folded[[first[row] for row in order.tolist()]].tobytes()


@few_examples
@given(SEEDS, st.sampled_from(["float32", "float64"]))
@pytest.mark.parametrize("objective", QUADRATIC + GENERAL)
def test_fold_in_of_a_subset_of_rows(objective, seed, dtype):
    matrix = matrix_of(seed)
    if objective.data == "targets":
        matrix.data = np.sign(matrix.data - 1.5)
    _, Q = factors_of(seed, dtype=dtype)
    whole = fold_in(objective, matrix, Q)
    chosen = np.random.default_rng(seed).choice(N_ROWS, size=7, replace=False)
    assert fold_in(objective, matrix[chosen], Q).tobytes() == whole[chosen].tobytes()
    for row in chosen[:3].tolist():
        assert fold_in(objective, matrix[[row]], Q).tobytes() == whole[[row]].tobytes()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("unobserved_weight", [0.0, 0.1])
@pytest.mark.parametrize("n_factors", [16, 128])
def test_fold_in_is_independent_of_the_lengths_of_other_rows(
    n_factors, unobserved_weight, exponent
):
    """Long rows in float32 with short rows and rows without entries."""
    rng = np.random.default_rng(0)
    lengths = np.array([200, 0, 1, 200, 15, 60, 0, 400, 200, 3])
    cols = np.concatenate([rng.choice(1000, d, replace=False) for d in lengths])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    matrix = sparse.csr_array((np.ones(cols.size), cols, ends), shape=(lengths.size, 1000))
    Q = (rng.normal(size=(1000, n_factors)) / np.sqrt(n_factors)).astype(np.float32)
    objective = Objective(
        regularizer=L2(2.0, exponent=exponent), unobserved_weight=unobserved_weight
    )
    whole = fold_in(objective, matrix, Q)
    for rows in ([0], [0, 3, 8], [7, 1], [5, 4, 2, 9], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]):
        assert fold_in(objective, matrix[rows], Q).tobytes() == whole[rows].tobytes(), rows


@few_examples
@given(SEEDS, st.floats(-1000.0, 1000.0).filter(lambda t: abs(t) > 1e-3))
@pytest.mark.parametrize("a0", [0.0, 0.2])
def test_scaled_targets_scale_the_factors(a0, seed, t):
    objective = Objective(regularizer=L2(0.1, exponent=0.5), data="targets", unobserved_weight=a0)
    matrix, (_, Q) = matrix_of(seed), factors_of(seed)
    folded = fold_in(objective, matrix, Q)
    assert_close(fold_in(objective, t * matrix, Q) / t, folded)
    assert fold_in(objective, -matrix, Q).tobytes() == (0.0 - folded).tobytes()


@few_examples
@given(SEEDS, st.floats(1e-3, 1e3))
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("unobserved", ["all", "missing"])
def test_scaled_weights_and_penalty_do_not_change_the_fold_in(unobserved, exponent, seed, c):
    """s_u is multiplied by c^exponent, so lam must be multiplied by c^(1 - exponent)."""
    plain, scaled = (
        Objective(
            regularizer=L2(0.1 * factor ** (1.0 - exponent), exponent=exponent), data="weights",
            unobserved_weight=0.3 * factor, unobserved=unobserved,
        )
        for factor in (1.0, c)
    )  # fmt: skip
    matrix, (P, Q) = matrix_of(seed), factors_of(seed)
    assert_close(fold_in(scaled, c * matrix, Q), fold_in(plain, matrix, Q))
    value = plain.value(matrix, P, Q).total
    assert scaled.value(c * matrix, P, Q).total == pytest.approx(c * value, rel=1e-10)


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("objective", QUADRATIC)
def test_weights_equal_repeated_pairs(objective, seed):
    once, (P, Q) = matrix_of(seed), factors_of(seed)
    counts = np.random.default_rng(seed).integers(1, 4, once.nnz)
    weighted = once.copy()
    weighted.data = counts.astype(float)
    ends = np.concatenate([[0], np.cumsum(counts)])
    repeated = sparse.csr_array(
        (np.ones(counts.sum()), once.indices.repeat(counts), ends[once.indptr]), shape=once.shape
    )
    ones, weights = (replace(objective, data=data) for data in ("ones", "weights"))
    assert_close(fold_in(ones, repeated, Q), fold_in(weights, weighted, Q))
    value = weights.value(weighted, P, Q).total
    assert ones.value(repeated, P, Q).total == pytest.approx(value, rel=1e-12)
    for solver in solvers():
        found = solver.solve(ones, repeated, (P, Q)), solver.solve(weights, weighted, (P, Q))
        assert_close(found[0].row_factors, found[1].row_factors, 1e-7)
        assert_close(found[0].col_factors, found[1].col_factors, 1e-7)


def with_stored_zeros(matrix, seed):
    """Return the matrix with zeros stored in a fifth of the cells."""
    dense = matrix.toarray()
    zeros = (dense == 0.0) & (np.random.default_rng(seed).random(dense.shape) < 0.2)
    rows, cols = np.nonzero((dense != 0.0) | zeros)
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=N_ROWS))])
    return sparse.csr_array((dense[rows, cols], cols, ends), shape=dense.shape)


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize(
    ("a0", "unobserved"), [(0.0, "all"), (0.3, "all"), (0.3, "missing"), (5.0, "missing")]
)
def test_weight_of_zero_equals_a_missing_pair(a0, unobserved, exponent, seed):
    objective = Objective(
        regularizer=L2(0.1, exponent=exponent), data="weights",
        unobserved_weight=a0, unobserved=unobserved,
    )  # fmt: skip
    without, (P, Q) = matrix_of(seed), factors_of(seed)
    without.data += a0  # larger than the unobserved weight, so that every row has a minimum
    zeros = with_stored_zeros(without, seed)
    right = reference.value(objective, without, P, Q)["total"]
    assert objective.value(zeros, P, Q).total == pytest.approx(right, rel=1e-10)
    for found, expected in zip(
        objective.gradient(zeros, P, Q), reference.gradient(objective, without, P, Q), strict=True
    ):
        assert_close(found, expected)
    assert fold_in(objective, zeros, Q).tobytes() == fold_in(objective, without, Q).tobytes()
    for solver in (*solvers(), *([] if a0 else [SGD(n_factors=K, max_epochs=3, rng=0)])):
        found, expected = (solver.solve(objective, m, (P, Q)) for m in (zeros, without))
        assert found.row_factors.tobytes() == expected.row_factors.tobytes()
        assert found.col_factors.tobytes() == expected.col_factors.tobytes()


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("objective", QUADRATIC + GENERAL)
def test_result_is_bitwise_independent_of_the_matrix_layout(objective, seed):
    """Order of entries, index types, formats and read-only arrays, with repeated entries."""
    once, (P, Q) = matrix_of(seed), factors_of(seed)
    if objective.data == "targets":
        once.data = np.sign(once.data - 1.5)
    times = np.random.default_rng(seed).integers(1, 3, once.nnz)
    rows = np.repeat(np.arange(N_ROWS), np.diff(once.indptr)).repeat(times)
    cols, values = once.indices.repeat(times), once.data.repeat(times)
    ends = np.searchsorted(rows, np.arange(N_ROWS + 1))
    matrix = sparse.csr_array((values, cols, ends), shape=once.shape)
    folded, value = fold_in(objective, matrix, Q), objective.value(matrix, P, Q)
    slopes = objective.gradient(matrix, P, Q)
    order = np.random.default_rng(seed).permutation(rows.size)
    by_row = order[np.argsort(rows[order], kind="stable")]
    shuffled = sparse.csr_array((values[by_row], cols[by_row], ends.copy()), shape=once.shape)
    shuffled.indices, shuffled.indptr = (
        a.astype(np.int64) for a in (shuffled.indices, shuffled.indptr)
    )
    frozen = matrix.copy()
    for array in (frozen.data, frozen.indices, frozen.indptr):
        array.flags.writeable = False
    coo = sparse.coo_array((values[order], (rows[order], cols[order])), shape=once.shape)
    for same in (frozen, matrix.tocsc(), sparse.csr_matrix(matrix), coo, shuffled):
        assert fold_in(objective, same, Q).tobytes() == folded.tobytes()
        assert objective.value(same, P, Q) == value
        for found, expected in zip(objective.gradient(same, P, Q), slopes, strict=True):
            assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("objective", QUADRATIC)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_half_step_equals_fold_in_of_the_training_rows(dtype, objective):
    """Bitwise equal, without acceleration and iterative row solvers."""
    matrix, (P, Q) = matrix_of(1), factors_of(1, dtype=dtype)
    solution = plain_als(n_factors=K, max_epochs=1, dtype=dtype).solve(objective, matrix, (P, Q))
    folded = fold_in(objective, matrix, Q)
    assert solution.row_factors.dtype == folded.dtype == dtype
    assert solution.row_factors.tobytes() == folded.tobytes()
    transposed = fold_in(objective, matrix.T, folded)
    assert solution.col_factors.tobytes() == transposed.tobytes()


@pytest.mark.parametrize("a0", [0.0, 0.1])
def test_half_step_of_long_rows_equals_fold_in_to_the_stated_accuracy(a0):
    rng = np.random.default_rng(0)
    cols = np.concatenate([rng.choice(900, 270, replace=False) for _ in range(6)])
    matrix = sparse.csr_array((np.ones(cols.size), cols, np.arange(7) * 270), shape=(6, 900))
    P, Q = (rng.normal(size=(n, 128)).astype("f4") / np.float32(11) for n in (6, 900))
    objective = Objective(regularizer=L2(2.0), unobserved_weight=a0)
    rows = plain_als(n_factors=128, max_epochs=1).solve(objective, matrix, (P, Q)).row_factors
    folded = fold_in(objective, matrix, Q)
    distance = np.linalg.norm(rows - folded, axis=1) / np.linalg.norm(folded, axis=1)
    assert distance.max() <= 2e-5


@few_examples
@given(SEEDS)
@pytest.mark.parametrize("a0", [0.0, 0.3])
def test_signed_values(a0, seed):
    """A value >= 0 has target 1 and weight value; a value < 0 has target 0 and weight -value."""
    objective = Objective(
        regularizer=L2(0.1, exponent=0.5), data="signed",
        unobserved_weight=a0, unobserved="missing",
    )  # fmt: skip
    matrix, (P, Q) = matrix_of(seed), factors_of(seed)
    matrix.data *= np.random.default_rng(seed).choice([-1.0, 1.0], matrix.nnz)
    right = reference.value(objective, matrix, P, Q)
    found = objective.value(matrix, P, Q)
    assert found.total == pytest.approx(right["total"], rel=1e-10)
    assert_close(fold_in(objective, matrix, Q), reference.fold_in(objective, matrix, Q), 1e-8)
    likes = matrix_of(seed)
    expected = fold_in(replace(objective, data="weights"), likes, Q)
    assert fold_in(objective, likes, Q).tobytes() == expected.tobytes()
