"""Pickles and copies of models and solutions: the same answers, and nothing prepared in them."""

import copy
import pickle

import numpy as np
import pytest

from twofold import L1, L2, FactorModel, HuberLoss, Objective
from twofold.model import Popularity
from twofold.solvers import ALS, GD, SGD

WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "old pickle": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}
MODELS = {
    "ALS": FactorModel(solver=ALS(n_factors=3, max_epochs=3, rng=0)),
    "biases": FactorModel(
        Objective(regularizer=L2(0.1), biases=True, data="targets"),
        ALS(n_factors=3, max_epochs=3, rng=0),
    ),
    "GD": FactorModel(
        Objective(HuberLoss(), L1(0.01)), GD(n_factors=3, rng=np.random.default_rng(0))
    ),
    "SGD": FactorModel(Objective(), SGD(n_factors=3, max_epochs=3, rng=0)),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, playlists):
    return MODELS[request.param].fit(playlists.pairings)


def answers(model):
    rows = model.row_ids[:9]
    ranking, folded = model.recommend(rows), model.fold_in(model.pairings.take_rows(range(9)))
    arrays = ranking.positions, ranking.scores, folded.row_factors, model.predict(model.pairings)
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("way", WAYS)
def test_a_copied_model_answers_the_same(model, way):
    expected = answers(model)
    again = WAYS[way](model)
    assert answers(again) == expected
    assert repr(again) == repr(model)
    assert again.solution.history == model.solution.history


@pytest.mark.parametrize("way", WAYS)
def test_a_copied_solution_continues_the_same(model, way, playlists):
    matrix, weights = playlists.pairings.matrix, playlists.pairings.weights
    more = copy.copy(model.solver)
    more.max_epochs = model.solution.n_epochs + 2
    continued = [
        more.solve(model.objective, matrix, init, weights=weights)
        for init in (model.solution, WAYS[way](model.solution))
    ]
    assert continued[0].n_epochs == continued[1].n_epochs == more.max_epochs
    for name in ("row_factors", "col_factors"):
        first, second = (getattr(each, name).tobytes() for each in continued)
        assert first == second


def test_a_pickle_does_not_grow_by_what_requests_prepare(playlists):
    model = FactorModel(solver=ALS(n_factors=3, max_epochs=1, rng=0)).fit(playlists.pairings)
    before = len(pickle.dumps(model))
    answers(model)
    new = playlists.pairings.take_rows([0])
    model.recommend(new, fallback="popular")
    # scipy notes in a matrix whether its indices are sorted.
    assert len(pickle.dumps(model)) < before + 100


def test_a_deep_copy_shares_nothing_that_can_change(model):
    again, expected = copy.deepcopy(model), answers(model)
    again.row_factors[:] = 0.0
    again.pairings.matrix.data[:] = 0.0
    again.solver.n_factors = 99
    assert answers(model) == expected
    assert model.solver.n_factors == 3


def test_a_mapped_model_is_pickled_with_its_numbers(tmp_path, playlists):
    model = FactorModel(solver=ALS(n_factors=3, max_epochs=1, rng=0)).fit(playlists.pairings)
    model.save(tmp_path / "m")
    again = WAYS["pickle"](FactorModel.load(tmp_path / "m", mmap=True))
    (tmp_path / "m").unlink()
    assert answers(again) == answers(model)


def test_models_that_are_not_fitted_and_popularity(playlists):
    for way in WAYS.values():
        assert repr(way(FactorModel())) == repr(FactorModel())
        popular = Popularity().fit(playlists.pairings)
        again = way(popular).recommend(playlists.pairings.row_ids[:5])
        expected = popular.recommend(playlists.pairings.row_ids[:5])
        np.testing.assert_array_equal(again.positions, expected.positions)
