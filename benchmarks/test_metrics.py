"""All metrics of one judged table: 100 recommended and 20 relevant columns of each row."""

import numpy as np
import pytest
from scipy import sparse

from twofold import metrics
from twofold.metrics.statistics import bootstrap_interval, paired_test

N_COLS, N_LISTED, N_RELEVANT = 20_000, 100, 20
ROWS = {"tiny": 1_000, "small": 10_000, "medium": 100_000, "large": 100_000, "mpd": 1_000_000}


@pytest.fixture(scope="module")
def table(size):
    """Return lists and relevant columns, which share 10 columns in each row."""
    rng, n_rows = np.random.default_rng(0), ROWS[size]
    orders = np.array([rng.permutation(N_COLS)[: N_LISTED + N_RELEVANT] for _ in range(1_000)])
    orders = np.tile(orders, (n_rows // 1_000, 1))
    relevant = np.sort(orders[:, N_LISTED - 10 : N_LISTED + N_RELEVANT - 10], axis=1)
    starts = np.arange(n_rows + 1) * N_RELEVANT
    pairs = sparse.csr_array((np.ones(relevant.size), relevant.ravel(), starts), (n_rows, N_COLS))
    return orders[:, :N_LISTED], pairs


def judge_and_score(lists, relevant):
    """Return the score of every metric of lists, at their length."""
    facts = {"col_counts": np.arange(N_COLS), "n_train_rows": N_COLS, "artists": np.arange(N_COLS)}
    judged, scores = metrics.judge(lists, relevant), {}
    for name in metrics.available():
        metric = metrics.get(name.replace("@k", f"@{N_LISTED}"))
        if isinstance(metric, metrics.ErrorMetric):
            continue
        tally = metric.given(**facts).start()
        tally.add(judged)
        scores[name] = tally.value()
    return scores


@pytest.mark.benchmark(group="metrics")
def test_all_metrics(measure, table):
    n_rows = table[1].shape[0]
    scores = measure(judge_and_score, *table, rounds=5, work={"rows": n_rows})
    assert scores["recall@k"] == pytest.approx(0.5)


@pytest.mark.benchmark(group="metrics")
def test_judge(measure, table):
    judged = measure(metrics.judge, *table, rounds=5, work={"rows": table[1].shape[0]})
    assert judged.hits.sum() == 10 * table[1].shape[0]


@pytest.mark.benchmark(group="statistics of rows")
@pytest.mark.parametrize("what", ["bca", "percentile", "randomization", "t", "wilcoxon"])
def test_statistics(measure, size, what):
    first, second = np.random.default_rng(0).random((2, ROWS[size]))
    if what in ("bca", "percentile"):
        found = measure(lambda: bootstrap_interval(first, method=what), rounds=3)
        assert found.low < found.mean < found.high
    else:
        found = measure(lambda: paired_test(first, second, test=what), rounds=3)
        assert 0 < found.p_value <= 1
