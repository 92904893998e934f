"""`FactorModel` with biases: predictions of pairs, and what uses the factors."""

import numpy as np
import pytest

from twofold import L2, FactorModel, HuberLoss, Objective, Pairings, fold_in
from twofold.exceptions import InvalidInputError
from twofold.metrics import rmse
from twofold.solvers import ALS, GD


def ratings(seed=0, n_rows=40, n_cols=25):
    """Return a third of the cells of a matrix of rank 1 with biases, with text ids of columns."""
    rng = np.random.default_rng(seed)
    X = 3.0 + rng.normal(size=(n_rows, 1)) + rng.normal(size=n_cols)
    X += rng.normal(size=(n_rows, 1)) @ rng.normal(size=(1, n_cols))
    rows, cols = np.nonzero(rng.random(X.shape) < 0.35)
    names = np.array([f"film {i}" for i in range(n_cols)], dtype=object)
    return Pairings.from_arrays(100 + rows, names[cols], X[rows, cols])


def fitted(pairings, a0=0.0, biases=True, **options):
    objective = Objective(
        regularizer=L2(0.1), data="targets", unobserved_weight=a0, biases=biases, **options
    )
    return FactorModel(objective, ALS(n_factors=2, rng=0, dtype="float64")).fit(pairings)


@pytest.mark.parametrize("biases", [False, True])
def test_predictions_of_trained_pairs(biases):
    pairings = ratings()
    model = fitted(pairings, biases=biases)
    parts = model.objective.parts(model.row_factors, model.col_factors)
    X = parts.row_factors @ parts.col_factors.T
    X += parts.row_biases[:, None] + parts.col_biases
    row, col = pairings.matrix.nonzero()
    np.testing.assert_allclose(model.predict(pairings), X[row, col], rtol=1e-12)
    assert rmse(model.predict(pairings), pairings.matrix.data) < 1.0


def test_predictions_are_in_the_order_of_the_entries(monkeypatch):
    monkeypatch.setattr("twofold.model.predict._BLOCK", 7)
    pairings = ratings()
    model = fitted(pairings)
    some = pairings.take_rows([5, 0, 9])
    expected = [
        model.predict(Pairings.from_arrays([row], [col]))[0]
        for row, cols in zip(some.row_ids.tolist(), np.split(
            some.col_ids[some.matrix.indices], some.matrix.indptr[1:-1]
        ), strict=True)
        for col in cols.tolist()
    ]  # fmt: skip
    np.testing.assert_allclose(model.predict(some), expected, rtol=1e-12)


@pytest.mark.parametrize("a0", [0.0, 0.1])
def test_unknown_rows_and_columns_are_those_without_pairs(a0):
    pairings = ratings()
    model = fitted(pairings, a0)
    of_row = fold_in(model.objective, pairings.matrix[:1] * 0, model.col_factors)[0]
    no_pairs = Pairings(pairings.matrix[:0], pairings.row_ids[:0], pairings.col_ids)
    assert model.fold_in(no_pairs).row_factors.shape == (0, 4)
    unknown = Pairings.from_arrays([100, 7, 7], ["new", "film 0", "new"])
    both, known_row, known_col = (
        model.predict(Pairings.from_arrays([row], [col]))[0]
        for row, col in ((7, "new"), (100, "new"), (7, "film 0"))
    )
    assert sorted(model.predict(unknown)) == pytest.approx(sorted([known_row, known_col, both]))
    if a0 == 0.0:
        b_u = model.row_factors[pairings.row_index([100])[0], -2]
        b_i = model.col_factors[pairings.col_index(["film 0"])[0], -1]
        assert (both, known_row, known_col) == pytest.approx(
            (model.objective.mean, b_u + model.objective.mean, b_i)
        )
    assert of_row[-1] == 1.0


def test_unknown_columns_without_biases_are_predicted_as_zero():
    model = fitted(ratings(), biases=False)
    assert model.predict(Pairings.from_arrays([100], ["new"])).tolist() == [0.0]


def test_unknown_columns_of_another_loss_minimise_their_part():
    pairings = ratings()
    objective = Objective(
        HuberLoss(1.0), L2(0.1), data="targets", unobserved_weight=0.1, biases=True
    )
    model = FactorModel(objective, GD(n_factors=2, rng=0, max_epochs=20)).fit(pairings)
    _, of_column = model._get_fitted().of_unknown
    P = model.row_factors.astype(np.float64)
    center = np.array([0.0, 0.0, 1.0, model.objective.mean])
    slopes = 2.0 * (0.1 * P.T @ P @ of_column + 0.1 * (of_column - center))
    assert np.abs(np.delete(slopes, 2)).max() < 1e-4


def test_new_rows_are_folded_in_by_their_seen_pairs():
    pairings = ratings()
    model = fitted(pairings)
    new = ratings(seed=1)
    new = Pairings(new.matrix, new.row_ids + 1000, new.col_ids)
    P = model.fold_in(new).row_factors
    Q = model.col_factors[model.pairings.col_index(new.col_ids)]
    row, col = new.matrix.nonzero()
    expected = (P[row] * Q[col]).sum(axis=1)
    np.testing.assert_allclose(model.predict(new, seen=new), expected, rtol=1e-12)
    assert not np.allclose(model.predict(new), expected)


def test_the_value_of_new_rows_has_the_mean_of_the_training_pairs():
    pairings = ratings()
    model = fitted(pairings)
    assert model.objective.mean == pytest.approx(pairings.matrix.data.mean())
    new = pairings.take_rows([0, 1])
    P = model.fold_in(new).row_factors
    expected = model.objective.value(new.matrix, P, model.col_factors)
    assert model.value(new) == expected


def test_explained_terms_add_up_to_the_prediction_minus_that_of_no_pairs():
    pairings = ratings()
    for a0 in (0.0, 0.2):
        model = fitted(pairings, a0)
        row, col = pairings.row_ids[4], "film 3"
        own = pairings.take_rows([4])
        pair = Pairings.from_arrays([row], [col])
        terms = model.explain(row, col, n=1000)
        without = model.predict(Pairings.from_arrays([-1], [col]))
        total = model.predict(pair, seen=own) - without
        assert sum(term for _, term in terms) == pytest.approx(total[0], abs=1e-8)


def test_similar_columns_do_not_depend_on_the_biases():
    model = fitted(ratings())
    parts = model.objective.parts(model.row_factors, model.col_factors)
    ranking = model.similar_cols(["film 1"], n=24)
    q = parts.col_factors / np.linalg.norm(parts.col_factors, axis=1, keepdims=True)
    own = model.pairings.col_index(["film 1"])[0]
    np.testing.assert_allclose(ranking.scores[0], (q @ q[own])[ranking.positions[0]], rtol=1e-9)


def test_rows_without_known_columns_are_ranked_by_the_biases():
    model = fitted(ratings())
    ranking = model.recommend(Pairings.from_arrays([7], ["new"]), n=25)
    biases = model.objective.parts(model.row_factors, model.col_factors).col_biases
    np.testing.assert_allclose(ranking.scores[0], np.sort(biases)[::-1])


def test_a_saved_model_predicts_the_same(tmp_path):
    pairings = ratings()
    model = fitted(pairings, 0.1)
    model.save(tmp_path / "model.twofold")
    again = FactorModel.load(tmp_path / "model.twofold")
    assert again.objective == model.objective
    assert again.objective.mean is not None
    new = Pairings.from_arrays([1, 1], ["film 2", "new"], [4.0, 2.0])
    assert np.array_equal(again.predict(new, seen=new), model.predict(new, seen=new))


def test_predict_needs_pairings_of_a_fitted_model():
    with pytest.raises(InvalidInputError, match="Pairings"):
        fitted(ratings()).predict([1, 2])
    with pytest.raises(InvalidInputError, match="not fitted"):
        FactorModel().predict(ratings())
