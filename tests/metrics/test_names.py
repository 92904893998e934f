import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_tables import random_table

import twofold.metrics
from twofold import metrics
from twofold.exceptions import InvalidInputError

FACTS = {
    "col_counts": np.arange(30) % 7,
    "n_train_rows": 8,
    "artists": np.arange(30) % 5,
}
ERRORS = ["rmse", "mae"]  # of predicted values
TEXTS = [name.replace("@k", "@7") for name in metrics.available() if name not in ERRORS]


def table(seed=0):
    return metrics.judge(*random_table(seed))


def part(judged, rows):
    return metrics.judge(judged.recommended[rows], judged.relevant[rows])


def test_names_are_the_functions_with_their_options():
    judged, found = table(), {}
    for text in TEXTS:
        metric = metrics.get(text)
        assert metric.name == text
        assert metric.k == (7 if "@" in text else None)
        tally = metric.given(**FACTS).start()
        tally.add(judged)
        found[text] = tally.value()
    counts = metrics.recommendation_counts(judged, 30, 7)
    expected = {
        "precision@7": metrics.precision_at_k(judged, None, 7),
        "recall@7": metrics.recall_at_k(judged, None, 7),
        "recall-min@7": metrics.recall_at_k(judged, None, 7, truncated=True),
        "ndcg@7": metrics.ndcg_at_k(judged, None, 7),
        "ndcg-k@7": metrics.ndcg_at_k(judged, None, 7, ideal="k"),
        "map@7": metrics.average_precision_at_k(judged, None, 7),
        "map-min@7": metrics.average_precision_at_k(judged, None, 7, divisor="min"),
        "map-hits@7": metrics.average_precision_at_k(judged, None, 7, divisor="hits"),
        "mrr@7": metrics.reciprocal_rank_at_k(judged, None, 7),
        "hit-rate@7": metrics.hit_rate_at_k(judged, None, 7),
        "r-precision": metrics.r_precision(judged, None),
        "mpd-r-precision": metrics.mpd_r_precision(judged, None, artists=FACTS["artists"]),
        "mpd-ndcg@7": metrics.mpd_ndcg_at_k(judged, None, 7),
        "clicks@7": metrics.clicks_at_k(judged, None, 7),
        "coverage@7": metrics.coverage(counts),
        "novelty@7": metrics.novelty(counts, FACTS["col_counts"], 8),
        "gini@7": metrics.gini(counts),
    }
    assert found == expected
    assert len(set(found.values())) == len(found)  # no name has the formula of another


@given(seed=st.integers(0, 50), cuts=st.sets(st.integers(1, 7)))
@settings(max_examples=20)
def test_batches_of_rows_give_the_same_bits(seed, cuts):
    judged = table(seed)
    batches = [part(judged, rows) for rows in np.split(np.arange(8), sorted(cuts))]
    for text in TEXTS:
        metric = metrics.get(text).given(**FACTS)
        whole, tally = metric.start(), metric.start()
        whole.add(judged)
        for batch in batches:
            tally.add(batch)
        assert tally.value() == whole.value(), text
        if isinstance(metric, metrics.RowMetric):
            np.testing.assert_array_equal(tally.per_row(), metric.per_row(judged))


def test_the_table_of_the_package_has_every_name():
    rows = [line.split("  ") for line in twofold.metrics.__doc__.splitlines()]
    names = [row[0] for row in rows if len(row) > 1 and row[0] not in ("Name", "")]
    assert [name for name in names if not name.startswith("=")] == metrics.available()


def test_case_and_spaces_do_not_matter():
    assert metrics.get(" NDCG@20 ").name == "ndcg@20"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recal@20", r"did you mean \"recall\"\? There are precision@k, .*gini@k"),
        ("rprecision", 'did you mean "r-precision"'),
        ("xyz", "there is no metric 'xyz': there are"),
        ("recall", 'write "recall@20"'),
        ("recall@", 'write "recall@20"'),
        ("recall@0", "whole number >= 1"),
        ("recall@2.5", "whole number >= 1"),
        ("recall@-3", "whole number >= 1"),
        ("r-precision@20", '"r-precision" has no length of the list: write it without "@20"'),
        (20, "the metric's name is 20"),
    ],
)
def test_errors_list_the_names(text, message):
    with pytest.raises(InvalidInputError, match=message):
        metrics.get(text)


def test_missing_data_is_reported_before_rows_are_added():
    assert metrics.get("novelty@5").needs == ("col_counts", "n_train_rows")
    with pytest.raises(InvalidInputError, match="needs col_counts and n_train_rows"):
        metrics.get("novelty@5").start()
    with pytest.raises(InvalidInputError, match="needs n_train_rows: call given"):
        metrics.get("novelty@5").given(col_counts=[1, 2]).start()
    with pytest.raises(InvalidInputError, match='"mpd-r-precision" needs artists'):
        metrics.get("mpd-r-precision").per_row(table())


def test_data_may_be_given_in_two_calls():
    metric = metrics.get("novelty@5").given(n_train_rows=8).given(col_counts=[8, 4])
    assert metric.value([1, 1]) == 0.5


def test_the_lists_that_a_metric_needs():
    assert metrics.get("recall@5").list_length([1, 9]) == 5
    assert metrics.get("r-precision").list_length([1, 9]) == 9
    assert metrics.get("r-precision").list_length([0]) == 1


def test_a_tally_without_rows_has_no_value():
    assert metrics.get("recall@5").start().per_row().size == 0
    with pytest.raises(InvalidInputError, match="no mean exists"):
        metrics.get("recall@5").start().value()
    with pytest.raises(InvalidInputError, match='"gini@5" has no rows'):
        metrics.get("gini@5").start().value()


def test_errors_are_the_functions_and_have_values_of_rows():
    predicted, values = np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.0, 3.0])
    for name in ERRORS:
        metric = metrics.get(f" {name.upper()} ")
        assert (metric.name, metric.k) == (name, None)
        assert metric.value(predicted, values) == getattr(metrics, name)(predicted, values)
        message = f'"{name}" is an error of predicted values'
        for request in (metric.start, lambda metric=metric: metric.part(None)):
            with pytest.raises(InvalidInputError, match=message):
                request()
    squared, absolute = (
        metrics.get(name).per_row(predicted, values, [0, 2, 2, 3]) for name in ERRORS
    )
    np.testing.assert_array_equal(squared, [0.5, np.nan, 4.0])
    np.testing.assert_array_equal(absolute, [0.5, np.nan, 2.0])


def test_lower_values_are_better_for_clicks_and_gini_only():
    lower = {
        name
        for name in metrics.available()
        if not metrics.get(name.replace("@k", "@9")).higher_is_better
    }
    assert lower == {"clicks@k", "gini@k", *ERRORS}
