"""Parameters by name, and what scikit-learn does with them."""

import inspect

import numpy as np
import pytest

from twofold import L2, Balanced, FactorModel, Objective, evaluate, split_pairs
from twofold.exceptions import InvalidInputError, NotFittedError
from twofold.model import Popularity
from twofold.solvers import ALS, GD


def small_model():
    return FactorModel(solver=ALS(n_factors=2, max_epochs=2, rng=0))


def test_parameters_are_what_was_given_also_after_the_fit(playlists):
    given = Balanced(ratio=7.0), ALS(n_factors=2, max_epochs=1, rng=0)
    model = FactorModel(*given)
    for fitted in (model, FactorModel(*given).fit(playlists.pairings)):
        shallow = fitted.get_params(deep=False)
        assert shallow == {"objective": given[0], "solver": given[1]}
        assert all(value is one for value, one in zip(shallow.values(), given, strict=True))
        deep = fitted.get_params()
        assert deep["objective__ratio"] == 7.0
        assert deep["solver__n_factors"] == 2
    assert FactorModel().get_params(deep=False) == {"objective": Balanced(), "solver": ALS()}


def test_every_listed_parameter_can_be_set_and_nothing_of_the_caller_changes():
    objective, solver = Objective(regularizer=L2(0.1)), GD(n_factors=2)
    before = repr(objective), repr(solver)
    model = FactorModel(objective, solver)
    for name, value in model.get_params().items():
        assert model.set_params(**{name: value}) is model
    assert model.get_params() == FactorModel(objective, solver).get_params()
    model.set_params(solver__n_factors=5, objective__regularizer__weight=0.3)
    assert (model.solver.n_factors, model.objective.regularizer) == (5, L2(0.3))
    assert (repr(objective), repr(solver)) == before


def test_a_parameter_is_set_before_its_fields():
    model = small_model().set_params(solver__learning_rate=0.5, solver=GD(n_factors=3))
    assert model.solver == GD(n_factors=3, learning_rate=0.5)
    assert small_model().set_params(objective=None).objective == Balanced()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("n_factors", "FactorModel has no parameter 'n_factors': there are objective, solver, obj"),
        ("solver__rank", "no parameter 'solver__rank': ALS has n_factors, max_epochs"),
        ("solver__rng__seed", "no parameter 'solver__rng__seed': int has no fields"),
    ],
)
def test_unknown_parameters(name, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        small_model().set_params(**{name: 1})


def test_setting_a_parameter_changes_the_next_fit_only(playlists):
    model = small_model().fit(playlists.pairings)
    factors, objective = model.row_factors, model.objective
    model.set_params(solver__n_factors=3, objective=Objective.notebook())
    assert model.row_factors is factors
    assert model.objective is objective
    model.fit(playlists.pairings)
    assert model.row_factors.shape[1] == 3
    assert model.objective == Objective.notebook()


def test_what_is_learnt_is_absent_before_the_fit(playlists):
    names = ["solution", "pairings", "row_ids", "col_ids", "row_factors", "col_factors"]
    model = small_model()
    assert not any(hasattr(model, name) for name in names)
    assert not hasattr(Popularity(), "col_ids")
    assert inspect.getmembers(model)  # as completion does
    with pytest.raises(NotFittedError, match="call fit"):
        _ = model.solution
    model.fit(playlists.pairings)
    assert all(hasattr(model, name) for name in names)


@pytest.mark.parametrize(
    "rows",
    [[4, 2], np.array([4, 2]), slice(5, 1, -2), np.arange(300) == 7, 3, (np.array([1]), ...)],
    ids=repr,
)
def test_rows_of_pairings_by_position(playlists, rows):
    pairings = playlists.pairings
    expected = pairings.matrix.toarray()[rows]
    found = pairings[rows]
    np.testing.assert_array_equal(found.matrix.toarray(), np.atleast_2d(expected))
    np.testing.assert_array_equal(found.row_ids, pairings.row_ids[rows])
    np.testing.assert_array_equal(found.col_ids, pairings.col_ids)


def ndcg(model, rows, y=None):
    split = split_pairs(rows, rng=0)
    return evaluate(model, split, ["ndcg@20"], baseline=False)["ndcg@20"]


def test_clone_of_scikit_learn(playlists):
    clone = pytest.importorskip("sklearn.base").clone
    check = pytest.importorskip("sklearn.utils.validation").check_is_fitted
    model = small_model().fit(playlists.pairings)
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert again.solver is not model.solver
    check(model)
    with pytest.raises(pytest.importorskip("sklearn.exceptions").NotFittedError):
        check(again)
    np.testing.assert_array_equal(again.fit(playlists.pairings).row_factors, model.row_factors)


def test_grid_search_of_scikit_learn(playlists):
    selection = pytest.importorskip("sklearn.model_selection")
    grid = {"solver__n_factors": [2, 4], "objective__ratio": [5.0, 15.0]}
    search, parallel = (
        selection.GridSearchCV(
            small_model(), grid, scoring=ndcg, cv=3, n_jobs=n_jobs, error_score="raise"
        ).fit(playlists.pairings)
        for n_jobs in (1, 2)
    )
    found, expected = (one.cv_results_["mean_test_score"] for one in (parallel, search))
    np.testing.assert_array_equal(found, expected)
    folds = [*selection.KFold(3).split(playlists.pairings)]
    for number, parameters in enumerate(search.cv_results_["params"]):
        scores = [
            ndcg(
                small_model().set_params(**parameters).fit(playlists.pairings.take_rows(train)),
                playlists.pairings.take_rows(test),
            )
            for train, test in folds
        ]
        assert search.cv_results_["mean_test_score"][number] == pytest.approx(np.mean(scores))
    assert search.best_params_["solver__n_factors"] == search.best_estimator_.solver.n_factors
    assert search.best_estimator_.row_factors.shape[0] == 300


def test_division_of_scikit_learn(playlists):
    selection = pytest.importorskip("sklearn.model_selection")
    train, test = selection.train_test_split(playlists.pairings, test_size=0.2, random_state=0)
    assert (train.shape, test.shape) == ((240, 150), (60, 150))
    assert train.n_pairs + test.n_pairs == playlists.pairings.n_pairs
