import math

import numpy as np
import pytest
from hypothesis import given, settings
from judged_tables import rankings, relevant_of
from scipy import sparse

from twofold.exceptions import InvalidInputError
from twofold.metrics import (
    average_precision_at_k,
    clicks_at_k,
    hit_rate_at_k,
    judge,
    mpd_ndcg_at_k,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
    reciprocal_rank_at_k,
)


# The formulas for one row, written out: `row` its recommendations, `wanted` the set of relevant
# columns.
def naive_precision(row, wanted, k):
    return len(set(row[:k]) & wanted) / k


def naive_recall(row, wanted, k):
    return len(set(row[:k]) & wanted) / len(wanted)


def naive_truncated_recall(row, wanted, k):
    return len(set(row[:k]) & wanted) / min(k, len(wanted))


def naive_dcg(row, wanted, k):
    return sum(1 / math.log2(j + 1) for j, col in enumerate(row[:k], start=1) if col in wanted)


def naive_ndcg(row, wanted, k):
    ideal = sum(1 / math.log2(j + 1) for j in range(1, min(k, len(wanted)) + 1))
    return naive_dcg(row, wanted, k) / ideal


def naive_ndcg_of_k(row, wanted, k):
    return naive_dcg(row, wanted, k) / sum(1 / math.log2(j + 1) for j in range(1, k + 1))


def naive_precision_sum(row, wanted, k):
    return sum(naive_precision(row, wanted, j) for j in range(1, k + 1) if row[j - 1] in wanted)


def naive_ap(row, wanted, k):
    return naive_precision_sum(row, wanted, k) / len(wanted)


def naive_truncated_ap(row, wanted, k):
    return naive_precision_sum(row, wanted, k) / min(k, len(wanted))


def naive_ap_of_hits(row, wanted, k):
    return naive_precision_sum(row, wanted, k) / max(len(set(row[:k]) & wanted), 1)


def first_rank(row, wanted, k):
    return next((j for j in range(1, k + 1) if row[j - 1] in wanted), None)


def naive_rr(row, wanted, k):
    rank = first_rank(row, wanted, k)
    return 1 / rank if rank else 0.0


def naive_hit_rate(row, wanted, k):
    return float(first_rank(row, wanted, k) is not None)


def naive_clicks(row, wanted, k):
    rank = first_rank(row, wanted, k)
    return math.floor((rank - 1) / 10) if rank else k / 10 + 1


def naive_mpd_ndcg(row, wanted, k):
    hits = [j for j in range(1, k + 1) if row[j - 1] in wanted]
    if not hits:
        return 0.0
    gain = sum(1.0 if j == 1 else 1 / math.log2(j) for j in hits)
    return gain / (1 + sum(1 / math.log2(j) for j in range(2, len(hits) + 1)))


def naive_r_precision(row, wanted, k):
    return len(set(row[: len(wanted)]) & wanted) / len(wanted)


def with_options(metric, **options):
    def changed(*args, **kwargs):
        return metric(*args, **options, **kwargs)

    return changed


def r_precision_without_k(recommended, relevant, k, **kwargs):
    return r_precision(recommended, relevant, **kwargs)


NAIVE = {
    "precision": (precision_at_k, naive_precision),
    "recall": (recall_at_k, naive_recall),
    "recall-min": (with_options(recall_at_k, truncated=True), naive_truncated_recall),
    "ndcg": (ndcg_at_k, naive_ndcg),
    "ndcg-k": (with_options(ndcg_at_k, ideal="k"), naive_ndcg_of_k),
    "map": (average_precision_at_k, naive_ap),
    "map-min": (with_options(average_precision_at_k, divisor="min"), naive_truncated_ap),
    "map-hits": (with_options(average_precision_at_k, divisor="hits"), naive_ap_of_hits),
    "mrr": (reciprocal_rank_at_k, naive_rr),
    "hit-rate": (hit_rate_at_k, naive_hit_rate),
    "mpd-ndcg": (mpd_ndcg_at_k, naive_mpd_ndcg),
    "clicks": (clicks_at_k, naive_clicks),
    "r-precision": (r_precision_without_k, naive_r_precision),
}
METRICS = [pytest.param(metric, id=name) for name, (metric, _) in NAIVE.items()]
AT_K = METRICS[:-1]
BEST_IS_1 = [each for each in METRICS if each.id != "clicks"]


@given(ranking=rankings())
def test_metrics_are_their_formulas(ranking):
    lists, wanted, n_cols, k = ranking
    judged = judge(lists, relevant_of(wanted, n_cols))
    for name, (metric, naive) in NAIVE.items():
        expected = np.array(
            [
                naive(row, cols, k) if cols else np.nan
                for row, cols in zip(lists, wanted, strict=True)
            ]
        )
        found = metric(judged, None, k, per_row=True)
        np.testing.assert_allclose(found, expected, rtol=1e-14, err_msg=name)
        mean = metric(judged, None, k)
        assert type(mean) is float
        assert mean == pytest.approx(expected[~np.isnan(expected)].mean(), rel=1e-14), name


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
    ideal_of_k = ideal + 1 / math.log2(5)
    assert ndcg_at_k(recommended, relevant, 4, ideal="k") == pytest.approx(gain / ideal_of_k)
    # Hits at ranks 2 and 4: precisions 1/2 and 2/4.
    assert average_precision_at_k(recommended, relevant, 4) == pytest.approx(1 / 3)
    assert average_precision_at_k(recommended, relevant, 2, divisor="min") == 0.5 / 2
    assert average_precision_at_k(recommended, relevant, 4, divisor="hits") == 0.5
    assert reciprocal_rank_at_k(recommended, relevant, 4) == 1 / 2
    assert hit_rate_at_k(recommended, relevant, 4) == 1.0
    assert hit_rate_at_k(recommended, relevant, 1) == 0.0


@pytest.mark.parametrize("metric", BEST_IS_1)
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


@given(ranking=rankings())
@settings(max_examples=20)
def test_a_judged_table_gives_the_same_values(ranking):
    lists, wanted, n_cols, k = ranking
    relevant = relevant_of(wanted, n_cols)
    judged = judge(lists, relevant)
    for metric, _ in NAIVE.values():
        np.testing.assert_array_equal(
            metric(judged, None, k, per_row=True), metric(lists, relevant, k, per_row=True)
        )


@given(ranking=rankings())
def test_values_go_from_0_to_1(ranking):
    lists, wanted, n_cols, k = ranking
    judged = judge(lists, relevant_of(wanted, n_cols))
    for name in set(NAIVE) - {"clicks"}:
        values = NAIVE[name][0](judged, None, k, per_row=True)
        values = values[~np.isnan(values)]
        assert (values >= 0).all(), name
        assert (values <= 1 + 1e-12).all(), name


@given(ranking=rankings())
def test_a_further_hit_never_makes_a_list_worse(ranking):
    lists, wanted, n_cols, k = ranking
    relevant = relevant_of(wanted, n_cols)
    better = np.array(lists)
    for row, cols in enumerate(wanted):
        unlisted = sorted(cols - set(lists[row]))
        misses = [place for place in range(n_cols) if lists[row][place] not in cols]
        if unlisted and misses:
            better[row, misses[0]] = unlisted[0]
    before, after = judge(lists, relevant), judge(better, relevant)
    for name in set(NAIVE) - {"map-hits", "mpd-ndcg"}:  # they divide by the number of hits
        metric = NAIVE[name][0]
        change = metric(after, None, k, per_row=True) - metric(before, None, k, per_row=True)
        change = -change if name == "clicks" else change
        assert (change[~np.isnan(change)] >= -1e-12).all(), name


@pytest.mark.parametrize("metric", METRICS)
def test_relevant_columns_that_the_model_does_not_have_are_misses(metric):
    lists = [[1, 3, 0, 2, 5, 4]]
    known = judge(lists, relevant_of([{0, 1}], 6), n_relevant=[3])
    missed = relevant_of([{0, 1, 6}], 7)
    assert metric(known, None, 4) == metric(lists, missed, 4)


@pytest.mark.parametrize("metric", METRICS)
def test_a_judged_table_has_its_relevant_columns(metric):
    relevant = relevant_of([{0}], 2)
    with pytest.raises(InvalidInputError, match="give None for relevant"):
        metric(judge([[0]], relevant), relevant, 1)


@pytest.mark.parametrize(
    ("metric", "option"), [(ndcg_at_k, "ideal"), (average_precision_at_k, "divisor")]
)
def test_unknown_denominators_are_refused(metric, option):
    with pytest.raises(InvalidInputError, match=f"{option} is 'other'"):
        metric([[0]], relevant_of([{0}], 2), 1, **{option: "other"})
