"""The metrics that trec_eval has, against it."""

import numpy as np
import pytest
from judged_tables import random_table

from twofold import metrics

ir_measures = pytest.importorskip("ir_measures", reason="ir-measures compares with trec_eval")
pytest.importorskip("pytrec_eval", reason="ir-measures runs trec_eval by pytrec-eval-terrier")

SAME = {
    "precision@5": "P@5", "precision@20": "P@20", "recall@5": "R@5", "recall@20": "R@20",
    "ndcg@5": "nDCG@5", "ndcg@20": "nDCG@20", "map@5": "AP@5", "map@20": "AP@20", "mrr@30": "RR",
    "hit-rate@5": "Success@5", "r-precision": "Rprec",
}  # fmt: skip


def measured(lists, relevant, measures):
    """Return the values of trec_eval by row and measure."""
    judgements = [
        ir_measures.Qrel(str(row), f"c{col}", 1)
        for row, col in zip(*relevant.nonzero(), strict=True)
    ]
    # Ranks as scores, because trec_eval orders equal scores by the name of the document. Padding is
    # a document that is never relevant.
    run = [
        ir_measures.ScoredDoc(str(row), f"c{col}" if col >= 0 else f"none{place}", float(-place))
        for row, cols in enumerate(lists)
        for place, col in enumerate(cols)
    ]
    return {
        (int(found.query_id), str(found.measure)): found.value
        for found in ir_measures.pytrec_eval.iter_calc(measures, judgements, run)
    }


@pytest.mark.parametrize("seed", range(200))
def test_values_are_those_of_trec_eval(seed):
    lists, relevant = random_table(seed)
    judged = metrics.judge(lists, relevant)
    found = measured(lists, relevant, [ir_measures.parse_measure(name) for name in SAME.values()])
    for ours, theirs in SAME.items():
        metric = metrics.get(ours)
        expected = [found[row, theirs] if judged.n_relevant[row] else np.nan for row in range(8)]
        np.testing.assert_allclose(metric.per_row(judged), expected, rtol=0, atol=1e-12)
