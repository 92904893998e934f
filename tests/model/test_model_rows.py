"""Trained rows are those that fold-in finds; single ids, and new rows given by their columns."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import L2, FactorModel, HuberLoss, Objective, Pairings
from twofold.exceptions import DivergenceWarning, InvalidInputError, UnknownIdError
from twofold.model.rows import solved_rows
from twofold.objective import Balanced
from twofold.solvers import ALS, GD, SGD

WEIGHTED = Objective(regularizer=L2(0.5, exponent=0.5), unobserved_weight=0.1)
FITS = {
    "default": (Balanced(), ALS(n_factors=6, max_epochs=3, rng=0)),
    "missing cells": (
        Balanced(unobserved="missing"),
        ALS(n_factors=6, max_epochs=3, rng=0, row_solver="direct", acceleration=None),
    ),
    "biases": (
        Objective(regularizer=L2(1.0), unobserved_weight=0.1, biases=True),
        ALS(n_factors=6, max_epochs=3, rng=0),
    ),
    "nonnegative": (replace(WEIGHTED, nonnegative=True), ALS(n_factors=6, max_epochs=3, rng=0)),
    "SGD": (Objective(regularizer=L2(1.0)), SGD(n_factors=6, max_epochs=3, rng=0)),
}


@pytest.fixture(scope="module")
def model(playlists):
    return FactorModel(WEIGHTED, ALS(n_factors=6, rng=0, max_epochs=5)).fit(playlists.pairings)


@pytest.mark.parametrize("name", FITS)
def test_a_trained_row_and_the_same_row_folded_in_agree(playlists, name):
    objective, solver = FITS[name]
    pairings = playlists.pairings
    model = FactorModel(objective, solver).fit(pairings)
    folded, solution = model.fold_in(pairings).row_factors, model.solution
    np.testing.assert_allclose(model.row_factors, folded, rtol=1e-4, atol=1e-6)
    assert not np.allclose(solution.row_factors, folded, rtol=1e-2, atol=1e-3)
    by_id, by_pairs = model.recommend(pairings.row_ids), model.recommend(pairings)
    np.testing.assert_array_equal(by_id.col_ids, by_pairs.col_ids)
    np.testing.assert_allclose(by_id.scores, by_pairs.scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        model.predict(pairings), model.predict(pairings, seen=pairings), rtol=1e-4, atol=1e-5
    )
    before, after = (
        model.objective.value(pairings.matrix, P, model.col_factors).total
        for P in (solution.row_factors, model.row_factors)
    )
    assert after < before


def test_weights_and_centers_of_trained_rows_are_those_of_the_fit(playlists):
    pairings = playlists.pairings
    rng = np.random.default_rng(0)
    weighted = Pairings(
        pairings.matrix, pairings.row_ids, pairings.col_ids, weights=rng.random(pairings.n_pairs)
    )
    C = rng.normal(size=(pairings.shape[0], 3))
    objective = Objective(regularizer=L2(0.5, row_center=C), unobserved_weight=0.1)
    model = FactorModel(objective, ALS(n_factors=3, max_epochs=2, rng=0)).fit(weighted)
    folded = model.fold_in(weighted, center=C).row_factors
    np.testing.assert_array_equal(
        model._get_fitted().rows_at(np.array([7, 3])).factors, folded[[7, 3]]
    )
    np.testing.assert_array_equal(model.row_factors, folded)


def test_a_few_rows_are_solved_without_the_others(playlists, monkeypatch):
    solved = []

    def noted(*arguments):
        solved.append(arguments[4])
        return solved_rows(*arguments)

    monkeypatch.setattr("twofold.model.fitted.solved_rows", noted)
    pairings = playlists.pairings
    model = FactorModel(WEIGHTED, ALS(n_factors=6, rng=0, max_epochs=2)).fit(pairings)
    ids = pairings.row_ids[[5, 250, 5]]
    alone = model.recommend(ids)
    assert [positions.tolist() for positions in solved] == [[5, 250, 5]]
    model.recommend(pairings.row_ids)
    together = model.recommend(ids)
    assert len(solved) == 2
    assert solved[1] is None
    np.testing.assert_array_equal(alone.col_ids, together.col_ids)
    np.testing.assert_array_equal(alone.scores, together.scores)


def test_rows_that_cannot_be_solved_are_those_of_the_solver(playlists):
    pairings = playlists.pairings
    huber = FactorModel(Objective(HuberLoss(1.0)), GD(n_factors=2, max_epochs=2, rng=0))
    assert huber.fit(pairings).row_factors is huber.solution.row_factors
    diverged = FactorModel(solver=GD(n_factors=2, rng=0, learning_rate=1e6))
    with pytest.warns(DivergenceWarning):
        diverged.fit(pairings)
    assert diverged.row_factors is diverged.solution.row_factors
    singular = FactorModel(Objective(regularizer=L2(0.0)), GD(n_factors=20, max_epochs=2, rng=0))
    short = np.diff(singular.fit(pairings).pairings.matrix.indptr) < 20
    same = (singular.row_factors == singular.solution.row_factors).all(axis=1)
    assert same[short].all()
    assert not same[~short].any()


def test_a_loaded_model_has_the_same_rows(model, tmp_path):
    model.save(tmp_path / "m")
    loaded = FactorModel.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.row_factors, model.row_factors)
    np.testing.assert_array_equal(loaded.solution.row_factors, model.solution.row_factors)


def test_a_single_id_is_a_list_of_one(model):
    row, col = model.row_ids[7], model.col_ids[3]
    for single in (row, int(row)):
        np.testing.assert_array_equal(
            model.recommend(single).col_ids, model.recommend([row]).col_ids
        )
    assert model.similar_cols(int(col), 3).col_ids.shape == (1, 3)
    text = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(
        Pairings.from_arrays(["mon", "mon", "tue"], ["ab", "c", "c"])
    )
    assert text.recommend("tue", n=1).col_ids.tolist() == [["ab"]]
    with pytest.raises(UnknownIdError, match="row id 'tuesday' is unknown"):
        text.recommend("tuesday")
    with pytest.raises(InvalidInputError, match="row ids are a "):
        model.recommend(None)


@given(data=st.data())
def test_columns_of_a_new_row_are_ranked_as_pairings_of_one_row(model, data):
    ids = [*model.col_ids[:40].tolist(), 10**6, 10**6 + 1]
    cols = data.draw(st.lists(st.sampled_from(ids), max_size=30))
    options = {
        "exclude_known": data.draw(st.booleans()),
        "fallback": data.draw(st.sampled_from([None, "popular"])),
    }
    found = model.recommend_new(cols, 12, **options)
    pairings = Pairings.from_arrays([5] * len(cols), cols, row_ids=[5])
    expected = model.recommend(pairings, 12, **options)
    for part in ("col_ids", "scores", "mask", "positions", "fallback"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))
    assert found.row_ids.tolist() == [-1]


def test_a_new_row_with_text_ids_or_a_center():
    pairings = Pairings.from_arrays(["mon", "mon", "tue"], ["ab", "c", "c"])
    text = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    assert text.recommend_new("ab", n=1).row_ids.tolist() == [None]
    assert text.recommend_new(["ab"], n=1).col_ids.tolist() == [["c"]]
    objective = Objective(regularizer=L2(0.5, row_center=np.eye(2)), unobserved_weight=0.1)
    centered = FactorModel(objective, ALS(n_factors=2, rng=0)).fit(pairings)
    with pytest.raises(InvalidInputError, match=r"give center=, those of the new rows"):
        centered.recommend_new(["ab"])
    found = centered.recommend_new(["ab"], center=[[0.0, 1.0]])
    new = Pairings.from_arrays(["wed"], ["ab"])
    expected = centered.recommend(new, center=[[0.0, 1.0]])
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_what_recommend_new_refuses(model):
    with pytest.raises(UnknownIdError, match="column id 99999 is unknown"):
        model.recommend_new([model.col_ids[0], 99999], unknown="error")
    with pytest.raises(InvalidInputError, match=r"unknown is 'skip': it must be one of"):
        model.recommend_new([1], unknown="skip")
    with pytest.raises(InvalidInputError, match="column ids are strings such as 'x'"):
        model.recommend_new(["x"])
    with pytest.raises(InvalidInputError, match="fallback is 'mean'"):
        model.recommend_new([1], fallback="mean")
    with pytest.raises(InvalidInputError, match="n is 0"):
        model.recommend_new([1], 0)
    with pytest.raises(InvalidInputError, match="not fitted"):
        FactorModel().recommend_new([1])


def test_threads_that_share_a_new_model_get_the_answers_of_one(model):
    asked = [model.col_ids[first : first + 9] for first in range(0, 120, 3)]
    expected = [model.recommend_new(cols).scores for cols in asked]
    shared = FactorModel.from_solution(
        model.solution, model.pairings, model.objective, model.solver
    )  # fmt: skip
    with ThreadPoolExecutor(8) as pool:
        found = [ranking.scores for ranking in pool.map(shared.recommend_new, asked)]
    np.testing.assert_array_equal(found, expected)
