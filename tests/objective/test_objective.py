"""The objective compared with the reference, and its documented properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from twofold import L1, L2, HuberLoss, LogisticLoss, Objective, SquaredLoss
from twofold.exceptions import InvalidInputError
from twofold.testing import reference

few_examples = settings(max_examples=30, deadline=None)


@st.composite
def matrices(draw):
    """Return a COO array with repeated pairs, stored zeros and empty rows and columns."""
    n_rows, n_cols, n_entries = (draw(st.integers(low, 9)) for low in (1, 1, 0))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    at = (rng.integers(n_rows, size=2 * n_entries), rng.integers(n_cols, size=2 * n_entries))
    values = rng.integers(0, 4, size=2 * n_entries)
    if draw(st.booleans()):
        values = values * 0.75
    return sparse.coo_array((values, at), shape=(n_rows, n_cols))


WEIGHTS = [(0.0, 0.0), (0.3, 0.0), (0.3, 0.4), (0.3, 1.0)]
objectives = st.builds(
    Objective,
    st.sampled_from([SquaredLoss(), HuberLoss(0.6)]),
    st.sampled_from([kind(lam, nu) for kind in (L2, L1) for lam, nu in WEIGHTS]),
    data=st.sampled_from(["ones", "targets", "weights"]),
    unobserved_weight=st.sampled_from([0.0, 0.3]),
    unobserved=st.sampled_from(["all", "missing"]),
)
ranks = st.integers(1, 4)


def factors_of(matrix, k, dtype="float64"):
    rng = np.random.default_rng(k)
    return tuple(rng.normal(size=(n, k)).astype(dtype) for n in matrix.shape)


def assert_same_value(actual, expected):
    size = 1.0 + abs(expected["loss"]) + abs(expected["unobserved"])
    for part, expected_part in expected.items():
        assert abs(getattr(actual, part) - expected_part) < 1e-11 * size, part


@few_examples
@given(objectives, matrices(), ranks, st.sampled_from(["float32", "float64"]))
def test_value_equals_the_reference(objective, matrix, k, dtype):
    P, Q = factors_of(matrix, k, dtype)
    actual = objective.value(matrix, P, Q)
    assert_same_value(actual, reference.value(objective, matrix, P, Q))
    assert actual.total == actual.loss + actual.unobserved + actual.penalty


@few_examples
@given(objectives, matrices(), ranks, st.sampled_from(["float32", "float64"]))
def test_gradient_equals_the_reference(objective, matrix, k, dtype):
    P, Q = factors_of(matrix, k, dtype)
    actual = objective.gradient(matrix, P, Q)
    for one, expected_part in zip(actual, reference.gradient(objective, matrix, P, Q), strict=True):
        assert one.dtype == np.float64
        np.testing.assert_allclose(one, expected_part, rtol=1e-10, atol=1e-10)


@few_examples
@given(matrices(), ranks)
def test_logistic_targets(matrix, k):
    matrix.data = np.where(matrix.data > 0, 1, -1)
    objective = Objective(LogisticLoss(), data="targets", unobserved_weight=0.1)
    P, Q = factors_of(matrix, k)
    assert_same_value(objective.value(matrix, P, Q), reference.value(objective, matrix, P, Q))
    for one, expected_part in zip(
        objective.gradient(matrix, P, Q), reference.gradient(objective, matrix, P, Q), strict=True
    ):
        np.testing.assert_allclose(one, expected_part, rtol=1e-10, atol=1e-10)


@few_examples
@given(objectives, matrices(), ranks)
def test_gradient_equals_finite_differences(objective, matrix, k):
    P, Q = factors_of(matrix, k)
    rng = np.random.default_rng(3)
    U, V = rng.normal(size=P.shape), rng.normal(size=Q.shape)
    step = 1e-6
    after = objective.value(matrix, P + step * U, Q + step * V).total
    before = objective.value(matrix, P - step * U, Q - step * V).total
    dP, dQ = objective.gradient(matrix, P, Q)
    slope = float(np.sum(dP * U) + np.sum(dQ * V))
    assert abs((after - before) / (2 * step) - slope) < 1e-4 * (1.0 + abs(slope) + abs(after))


@few_examples
@given(objectives, matrices(), ranks)
def test_weights_equal_repeated_pairs(objective, matrix, k):
    given_once = matrix.tocsr()
    given_once.sum_duplicates()
    given_once = given_once.tocoo()
    times = 1 + np.arange(given_once.nnz) % 3
    at = (given_once.row.repeat(times), given_once.col.repeat(times))
    repeated = sparse.coo_array((np.ones(at[0].size), at), shape=matrix.shape)
    weighted = sparse.coo_array((times, (given_once.row, given_once.col)), shape=matrix.shape)
    P, Q = factors_of(matrix, k)
    results = []
    for data, stored in (("ones", repeated), ("weights", weighted), ("weights", repeated)):
        same = Objective(
            objective.loss, objective.regularizer, data=data,
            unobserved_weight=objective.unobserved_weight, unobserved=objective.unobserved,
        )  # fmt: skip
        value = same.value(stored, P, Q)
        gradient = same.gradient(stored, P, Q)
        results.append([value.loss, value.unobserved, value.penalty, *gradient])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)


def test_weight_of_a_single_entry():
    # An array of length 1 must not be interpreted as a constant for all entries.
    matrix = sparse.csr_array(([2.5], ([1], [0])), shape=(3, 2))
    P, Q = factors_of(matrix, 2)
    objective = Objective(regularizer=L2(0.1, exponent=1.0), data="weights")
    assert_same_value(objective.value(matrix, P, Q), reference.value(objective, matrix, P, Q))


@few_examples
@given(objectives, matrices(), ranks)
def test_matrix_formats(objective, matrix, k):
    P, Q = factors_of(matrix, k)
    expected = reference.value(objective, matrix, P, Q)
    for format_name in ("csr", "csc", "coo"):
        converted = sparse.coo_matrix(matrix) if format_name == "coo" else matrix.copy()
        if format_name != "coo":  # tocsr() would sum repeated entries.
            order = np.lexsort((converted.col, converted.row))
            if format_name == "csc":
                order = np.lexsort((converted.row, converted.col))
            major, minor = (converted.row, converted.col)[:: 1 if format_name == "csr" else -1]
            n = converted.shape[0 if format_name == "csr" else 1]
            indptr = np.concatenate([[0], np.cumsum(np.bincount(major, minlength=n))])
            kind = sparse.csr_array if format_name == "csr" else sparse.csc_array
            converted = kind((converted.data[order], minor[order], indptr), shape=matrix.shape)
        assert_same_value(objective.value(converted, P, Q), expected)


@pytest.fixture(scope="module")
def large():
    """Return a matrix of 300,000 entries, which are several chunks."""
    rng = np.random.default_rng(0)
    at = (rng.integers(5000, size=300_000), rng.integers(3000, size=300_000))
    return sparse.coo_array((rng.uniform(0.5, 2.0, 300_000), at), shape=(5000, 3000)).tocsr()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("unobserved", ["all", "missing"])
def test_result_is_bitwise_independent_of_threads(large, dtype, unobserved):
    objective = Objective(
        HuberLoss(), L1(0.1, exponent=0.5), data="weights",
        unobserved_weight=0.2, unobserved=unobserved,
    )  # fmt: skip
    P, Q = factors_of(large, 10, dtype)
    assert objective.value(large, P, Q, n_threads=1) == objective.value(large, P, Q, n_threads=2)
    one = objective.gradient(large, P, Q, n_threads=1)
    two = objective.gradient(large, P, Q, n_threads=2)
    assert [a.tobytes() for a in one] == [b.tobytes() for b in two]


def test_value_of_a_large_matrix(large):
    P, Q = factors_of(large, 10)
    rows, cols = large.nonzero()
    x = np.einsum("ef,ef->e", P[rows], Q[cols])
    actual = Objective(regularizer=L2(0.0), data="targets").value(large, P, Q)
    assert actual.loss == pytest.approx(float(np.sum((large.data - x) ** 2)), rel=1e-12)


def test_arguments_are_not_changed(small):
    P, Q = factors_of(small, 3)
    arrays = (small.data, small.indices, small.indptr, P, Q)
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    objective = Objective(data="targets", unobserved_weight=0.1, unobserved="missing")
    objective.value(small, P, Q)
    objective.gradient(small, P, Q)
    assert all(map(np.array_equal, arrays, before))


def test_factors_may_be_lists_of_integers():
    matrix = sparse.csr_array(np.array([[1, 0], [1, 1]]))
    value = Objective(regularizer=L2(0.1)).value(matrix, [[1], [1]], [[2], [0]])
    assert (value.loss, value.penalty) == (3.0, pytest.approx(0.6))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Objective(data="counts"), 'data is \'counts\'.*"ones", "targets", "weights"'),
        (lambda: Objective(unobserved="none"), '"all", "missing"'),
        (lambda: Objective(unobserved_weight=-1), "unobserved_weight is -1: .* >= 0"),
        (lambda: Objective(unobserved_weight=np.nan), "unobserved_weight is nan"),
        (lambda: Objective(loss=HuberLoss), r"give an instance of a Loss dataclass, HuberLoss\(\)"),
        (lambda: Objective(loss="squared"), "loss is 'squared'"),
        (lambda: Objective(regularizer=0.1), "regularizer is 0.1: give an instance"),
        (lambda: Objective(L2()), "give an instance of a Loss"),
    ],
)
def test_invalid_parameters(make, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("data", "value", "sentence"),
    [
        ("targets", np.nan, "row 2, column 1 is nan: .* a finite number"),
        ("targets", np.inf, "row 2, column 1 is inf"),
        ("weights", -0.5, "row 2, column 1 is -0.5: .* >= 0, as it is a weight"),
        ("weights", np.nan, "row 2, column 1 is nan"),
    ],
)
def test_invalid_values(data, value, sentence):
    matrix = sparse.csr_array(np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [1.0, value, 3.0]]))
    P, Q = np.ones((3, 2)), np.ones((3, 2))
    with pytest.raises(InvalidInputError, match=sentence):
        Objective(data=data).value(matrix, P, Q)
    assert np.isfinite(Objective(data="ones").value(matrix, P, Q).total)


def test_targets_of_the_logistic_loss():
    matrix = sparse.csr_array(np.array([[1.0, 0.0], [-1.0, 0.5]]))
    with pytest.raises(InvalidInputError, match=r"row 1, column 1 is 0.5: .* be -1 or \+1"):
        Objective(LogisticLoss(), data="targets").value(matrix, np.ones((2, 1)), np.ones((2, 1)))


@pytest.mark.parametrize(
    ("P", "Q", "sentence"),
    [
        ((20, 3), (30, 3), "row_factors has 20 rows.* 30 rows: are rows and columns swapped"),
        ((30, 3), (30, 3), "col_factors has 30 rows.* 20 cols: are rows and columns swapped"),
        ((30, 3), (21, 3), "col_factors has 21 rows, but the matrix has 20 cols$"),
        ((30, 3), (20, 2), "row_factors has 3 factors, but col_factors has 2"),
        ((30,), (20, 2), "row_factors must be a 2-d array"),
    ],
)
def test_invalid_shapes(small, P, Q, sentence):
    for call in (Objective().value, Objective().gradient):
        with pytest.raises(InvalidInputError, match=sentence):
            call(small, np.ones(P), np.ones(Q))


def test_factors_must_be_finite_numbers(small):
    P, Q = factors_of(small, 3)
    P[7, 2] = np.nan
    with pytest.raises(InvalidInputError, match=r"row_factors\[7, 2\] is nan"):
        Objective().value(small, P, Q)
    with pytest.raises(InvalidInputError, match="2-d array of numbers"):
        Objective().value(small, P.astype(str), Q)
