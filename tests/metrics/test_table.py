import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_tables import random_table, rankings

from twofold.exceptions import InvalidInputError
from twofold.metrics import coverage, gini, judge, novelty, recommendation_counts

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any)


@given(ranking=rankings())
def test_counts_are_those_of_the_first_k(ranking):
    lists, _, n_cols, k = ranking
    expected = [sum(col in row[:k] for row in lists) for col in range(n_cols)]
    assert recommendation_counts(lists, n_cols, k).tolist() == expected


@given(counts=COUNTS)
def test_gini_is_half_the_relative_mean_absolute_difference(counts):
    x = np.array(counts, dtype=float)
    expected = np.abs(x[:, None] - x).sum() / (2 * x.size**2 * x.mean())
    assert gini(counts) == pytest.approx(expected, abs=1e-12)
    assert 0 <= gini(counts) <= 1 - 1 / x.size + 1e-12


@given(counts=COUNTS, factor=st.integers(1, 5))
def test_coverage_and_gini_do_not_depend_on_the_number_of_rows(counts, factor):
    more = [factor * count for count in counts]
    assert coverage(more) == coverage(counts)
    assert gini(more) == pytest.approx(gini(counts), abs=1e-12)


def test_values_worked_out_by_hand():
    counts = recommendation_counts([[0, 1], [0, 2], [0, -1]], n_cols=5, k=2)
    assert counts.tolist() == [3, 1, 1, 0, 0]
    assert coverage(counts) == 3 / 5
    # Ordered: 0, 0, 1, 1, 3 with weights -4, -2, 0, 2, 4.
    assert gini(counts) == pytest.approx((2 + 12) / (5 * 5))
    # Shares 8/16, 4/16 and, of a column that training does not have, 1/16: 1, 2 and 4 bits.
    assert novelty(counts, [8, 4, 0, 2, 1], 16) == pytest.approx((3 * 1 + 2 + 4) / 5)


def test_novelty_is_the_mean_over_full_lists():
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(30)[:20] for _ in range(4)])
    popularity = rng.integers(1, 50, 30)
    information = -np.log2(popularity[lists] / 50)
    counts = recommendation_counts(lists, 30, 20)
    assert novelty(counts, popularity, 50) == pytest.approx(information.mean())


def test_a_judged_table_has_the_same_counts():
    lists, relevant = random_table(3)
    judged = judge(lists, relevant)
    expected = recommendation_counts(lists, 30, 5)
    np.testing.assert_array_equal(recommendation_counts(judged, 30, 5), expected)
    with pytest.raises(InvalidInputError, match="n_cols is 31, but the judged table has 30"):
        recommendation_counts(judged, 31, 5)


@pytest.mark.parametrize(
    ("lists", "k", "message"),
    [
        ([[0, 4]], 1, r"recommended\[0, 1\] is 4, but there are 4 columns"),
        ([[1, 1]], 1, "more than once"),
        ([[0, 1]], 3, "k is 3, but recommended holds only 2"),
        ([[0, 1]], 0, "k is 0"),
    ],
)
def test_bad_lists_are_refused(lists, k, message):
    with pytest.raises(InvalidInputError, match=message):
        recommendation_counts(lists, 4, k)


@pytest.mark.parametrize("counts", [[], [[1]], [1.0], [-1], 3])
def test_bad_counts_are_refused(counts):
    for metric in (coverage, gini):
        with pytest.raises(InvalidInputError, match="whole number >= 0 for each column"):
            metric(counts)


def test_nothing_recommended_has_no_gini_and_no_novelty():
    assert coverage([0, 0]) == 0.0
    with pytest.raises(InvalidInputError, match="nothing is recommended"):
        gini([0, 0])
    with pytest.raises(InvalidInputError, match="nothing is recommended"):
        novelty([0, 0], [1, 1], 2)


def test_column_counts_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInputError, match="col_counts has 3 columns but counts has 2"):
        novelty([1, 1], [1, 1, 1], 2)
    with pytest.raises(InvalidInputError, match=r"col_counts\[1\] is 3, more than the 2"):
        novelty([1, 1], [1, 3], 2)
