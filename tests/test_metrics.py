import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from twofold.exceptions import InvalidInputError
from twofold.metrics import ndcg_at_k, precision_at_k, r_precision, recall_at_k


# The formulas for one row, written out: `row` its recommendations, `wanted` the set of relevant
# columns.
def naive_precision(row, wanted, k):
    return len(set(row[:k]) & wanted) / k


def naive_recall(row, wanted, k):
    return len(set(row[:k]) & wanted) / len(wanted)


def naive_truncated_recall(row, wanted, k):
    return len(set(row[:k]) & wanted) / min(k, len(wanted))


def naive_ndcg(row, wanted, k):
    gain = sum(1 / math.log2(j + 1) for j, col in enumerate(row[:k], start=1) if col in wanted)
    return gain / sum(1 / math.log2(j + 1) for j in range(1, min(k, len(wanted)) + 1))


def naive_r_precision(row, wanted, k):
    return len(set(row[: len(wanted)]) & wanted) / len(wanted)


def truncated_recall(*args, **kwargs):
    return recall_at_k(*args, **kwargs, truncated=True)


def r_precision_without_k(recommended, relevant, k, **kwargs):
    return r_precision(recommended, relevant, **kwargs)


AT_K = [precision_at_k, recall_at_k, truncated_recall, ndcg_at_k]
METRICS = [*AT_K, r_precision_without_k]
PAIRS = list(
    zip(
        METRICS,
        [naive_precision, naive_recall, naive_truncated_recall, naive_ndcg, naive_r_precision],
        strict=True,
    )
)


@st.composite
def rankings(draw):
    """Lists (padded anywhere, as nothing says padding comes last), relevant columns, and k."""
    n_cols, n_rows = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    lists = []
    for _ in range(n_rows):
        order = draw(st.permutations(range(n_cols)))
        missing = draw(st.sets(st.integers(0, n_cols - 1)))
        lists.append([-1 if place in missing else col for place, col in enumerate(order)])
    wanted = draw(
        st.lists(st.sets(st.integers(0, n_cols - 1)), min_size=n_rows, max_size=n_rows).filter(any)
    )
    return lists, wanted, n_cols, draw(st.integers(1, n_cols))


def relevant_of(wanted, n_cols):
    rows = [row for row, cols in enumerate(wanted) for _ in cols]
    cols = [col for cols in wanted for col in cols]
    return sparse.csr_array((np.ones(len(rows)), (rows, cols)), shape=(len(wanted), n_cols))


@pytest.mark.parametrize(("metric", "naive"), PAIRS)
@given(ranking=rankings())
def test_metric_is_its_formula(metric, naive, ranking):
    lists, wanted, n_cols, k = ranking
    relevant = relevant_of(wanted, n_cols)
    expected = np.array(
        [naive(row, cols, k) if cols else np.nan for row, cols in zip(lists, wanted, strict=True)]
    )
    np.testing.assert_allclose(metric(lists, relevant, k, per_row=True), expected, rtol=1e-14)
    mean = metric(lists, relevant, k)
    assert type(mean) is float
    assert mean == pytest.approx(expected[~np.isnan(expected)].mean(), rel=1e-14)


def test_values_worked_out_by_hand():
    recommended = [[4, 0, 2, 1]]
    relevant = relevant_of([{0, 1, 3}], 5)
    assert precision_at_k(recommended, relevant, 4) == 2 / 4
    assert recall_at_k(recommended, relevant, 4) == 2 / 3
    assert recall_at_k(recommended, relevant, 2) == 1 / 3
    assert recall_at_k(recommended, relevant, 2, truncated=True) == 1 / 2
    assert r_precision(recommended, relevant) == 1 / 3
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at_k(recommended, relevant, 4) == pytest.approx(gain / ideal)


@pytest.mark.parametrize("metric", METRICS)
def test_perfect_and_useless_lists(metric):
    relevant = relevant_of([{0, 1}, {2, 3}], 6)
    assert metric([[1, 0], [2, 3]], relevant, 2) == 1.0
    assert metric([[4, 5], [1, 0]], relevant, 2) == 0.0
    assert metric([[-1, -1], [-1, -1]], relevant, 2) == 0.0


def test_padding_never_hits_the_last_column_of_the_row_before():
    # As one number, column -1 of row 1 is the last column of row 0.
    relevant = relevant_of([{3}, {0}], 4)
    assert precision_at_k([[0], [-1]], relevant, 1) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_only_stored_entries_count_whatever_their_value_and_order(metric):
    plain = relevant_of([{0, 2}], 4)
    values = [0.0, -3.0, 3.0]  # a stored zero, and a duplicate that adds up to zero
    stored = sparse.csr_array((values, [2, 0, 0], [0, 3]), shape=(1, 4))
    lists = [[2, 1, 0, 3]]
    for same in (stored, stored.tocoo(), sparse.csr_matrix(plain), plain.tocsc()):
        assert metric(lists, same, 3) == metric(lists, plain, 3)
    np.testing.assert_array_equal(stored.data, values)
    np.testing.assert_array_equal(stored.indices, [2, 0, 0])


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.int64])
def test_any_integer_dtype(dtype):
    relevant = relevant_of([{0}] * 300, 100)  # a row's first pair is beyond 8 and 16 bits
    lists = np.tile(np.array([1, 0], dtype=dtype), (300, 1))
    assert precision_at_k(lists, relevant, 2) == 0.5


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_relevant_has_no_mean(metric):
    relevant = sparse.csr_array((2, 4))
    with pytest.raises(InvalidInputError, match="no row has a column to find"):
        metric([[0, 1], [2, 3]], relevant, 2)
    assert np.isnan(metric([[0, 1], [2, 3]], relevant, 2, per_row=True)).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("recommended", "message"),
    [
        ([0, 1], "1 dimensions"),
        ([[0.0, 1.0]], "dtype float64"),
        ([[True, False]], "dtype bool"),
        ([[0, 1], [1, 2]], "2 rows but relevant has 1"),
        ([[0, 4]], r"recommended\[0, 1\] is 4, but relevant has 4 columns"),
        ([[-2, 1]], r"recommended\[0, 0\] is -2"),
        ([[2, 2]], "row 0 of recommended holds column 2 more than once"),
    ],
)
def test_bad_lists_are_refused(metric, recommended, message):
    with pytest.raises(InvalidInputError, match=message):
        metric(recommended, relevant_of([{1}], 4), 1)


@pytest.mark.parametrize("metric", AT_K)
@pytest.mark.parametrize("k", [0, -1, 1.5, None, "2", True])
def test_bad_k_is_refused(metric, k):
    with pytest.raises(InvalidInputError, match=r"k is .* whole number >= 1"):
        metric([[0, 1, 2]], relevant_of([{1}], 4), k)


@pytest.mark.parametrize("metric", AT_K)
def test_list_shorter_than_k_is_refused(metric):
    with pytest.raises(InvalidInputError, match="k is 4, but recommended holds only 3"):
        metric([[0, 1, 2]], relevant_of([{1}], 4), 4)


@pytest.mark.parametrize("metric", METRICS)
def test_dense_relevant_is_refused(metric):
    with pytest.raises(InvalidInputError, match="relevant is of type ndarray"):
        metric([[0]], np.ones((1, 2)), 1)


def test_r_precision_needs_a_list_as_long_as_the_relevant_columns():
    with pytest.raises(InvalidInputError, match=r"row 1 has 3 relevant columns.* at least 3"):
        r_precision([[0, 1], [2, 3]], relevant_of([{1}, {0, 1, 2}], 4))
