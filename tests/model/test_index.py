"""Indexes of the columns: their recall against the exact result, their keys, their settings."""

import sys

import numpy as np
import pytest

from twofold import FactorModel, Objective, Pairings
from twofold.datasets import make_playlists
from twofold.exceptions import InvalidInputError
from twofold.model import export_index
from twofold.solvers import ALS

KINDS = {"faiss": "faiss", "usearch": "usearch.index"}


@pytest.fixture(params=KINDS)
def kind(request):
    pytest.importorskip(KINDS[request.param], reason='needs pip install "twofold[index]"')
    return request.param


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "biases"])
def model(request):
    """A model of 3,000 columns whose ids are not their positions."""
    data = make_playlists(1500, 3000, n_groups=20, mean_length=30, rng=0).pairings
    objective = Objective(
        unobserved_weight=0.1, biases=request.param, mean=0.1 if request.param else None
    )
    pairings = Pairings(data.matrix, data.row_ids, 10 * data.col_ids + 7)
    return FactorModel(objective, ALS(n_factors=16, max_epochs=4, rng=0)).fit(pairings)


def found_by(kind, index, queries, n=10):
    return index.search(queries, n)[1] if kind == "faiss" else index.search(queries, n).keys


def recall(kind, index, model):
    """Return the recall@10 of 200 trained rows."""
    ids = model.row_ids[:200]
    exact = model.recommend(ids, 10, exclude_known=False).col_ids
    found = found_by(kind, index, model.row_factors[:200])
    return np.mean([len({*a} & {*b}) / 10 for a, b in zip(exact.tolist(), found, strict=True)])


def test_recall_with_the_default_settings_is_95_percent(kind, model):
    assert recall(kind, export_index(model, kind), model) >= 0.95


def test_the_settings_reach_the_library(kind, model):
    worse = export_index(model, kind, connectivity=2, expansion_add=1, expansion_search=1)
    assert recall(kind, worse, model) < recall(kind, export_index(model, kind), model) - 0.1
    index = export_index(model, kind, connectivity=5, expansion_add=40, expansion_search=50)
    if kind == "faiss":
        graph = sys.modules["faiss"].downcast_index(index.index).hnsw
        assert (graph.nb_neighbors(1), graph.efConstruction, graph.efSearch) == (5, 40, 50)
    else:
        assert (index.connectivity, index.expansion_add, index.expansion_search) == (5, 40, 50)


def test_scores_are_the_predictions(kind, model):
    query = model.row_factors[:1]
    best = model.recommend(model.row_ids[:1], 1, exclude_known=False)
    result = export_index(model, kind).search(query, 1)
    score = result[0][0, 0] if kind == "faiss" else 1.0 - float(result.distances.ravel()[0])
    assert score == pytest.approx(best.scores[0, 0], rel=1e-4)


def test_text_ids_are_found_by_their_positions(kind):
    pairings = Pairings.from_arrays([0, 0, 1, 1, 2], ["x", "y", "y", "z", "x"])
    model = FactorModel(solver=ALS(n_factors=2, rng=0, dtype="float64")).fit(pairings)
    found = found_by(kind, export_index(model, kind), model.row_factors.astype(np.float32), 3)
    exact = model.recommend(model.row_ids, 3, exclude_known=False).positions
    np.testing.assert_array_equal(found, exact)


def test_negative_ids():
    model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(Pairings.from_arrays([0, 0], [-5, 3]))
    pytest.importorskip("faiss")
    found = found_by("faiss", export_index(model), model.row_factors, 2)
    assert sorted(found[0].tolist()) == [-5, 3]
    pytest.importorskip("usearch")
    with pytest.raises(InvalidInputError, match=r"id -5 is negative, .*: use kind=.faiss"):
        export_index(model, "usearch")


def test_wrong_arguments(model):
    with pytest.raises(InvalidInputError, match="kind is 'annoy': it must be one of"):
        export_index(model, "annoy")
    with pytest.raises(InvalidInputError, match="connectivity is 1"):
        export_index(model, connectivity=1)
    with pytest.raises(InvalidInputError, match="not fitted"):
        export_index(FactorModel())
    with pytest.raises(InvalidInputError, match="model is a ALS: give a fitted FactorModel"):
        export_index(ALS())


@pytest.mark.parametrize("missing", KINDS)
def test_a_missing_library_says_what_to_install(missing, model, monkeypatch):
    monkeypatch.setitem(sys.modules, KINDS[missing], None)
    with pytest.raises(InvalidInputError, match=r'pip install "twofold\[index\]"'):
        export_index(model, missing)
