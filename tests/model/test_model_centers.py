"""`FactorModel` with centers: new rows, cold columns, and files."""

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, FactorModel, Objective, Pairings, evaluate, split_pairs
from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.solvers import ALS
from twofold.testing import reference

K = 3


def playlists(seed=0, n_rows=40, n_cols=30, cold=(4, 9)):
    """Return pairs of two groups of rows and columns, in which some columns are cold."""
    rng = np.random.default_rng(seed)
    group = np.arange(n_cols) % 2
    chance = np.where(np.arange(n_rows)[:, None] % 2 == group, 0.4, 0.02)
    stored = rng.random(chance.shape) < chance
    stored[np.arange(n_rows), (np.arange(n_rows) % 2) + 2] = True
    stored[:, list(cold)] = False
    names = np.array([f"track {i}" for i in range(n_cols)], dtype=object)
    return Pairings(sparse.csr_array(stored.astype(float)), np.arange(n_rows) + 100, names), group


def fitted(rows=True, biases=False, **options):
    pairings, _ = playlists()
    rng = np.random.default_rng(1)
    C, D = (0.3 * rng.normal(size=(n, K)) for n in pairings.shape)
    regularizer = L2(0.1, row_center=C if rows else None, col_center=D)
    objective = Objective(regularizer=regularizer, unobserved_weight=0.1, biases=biases)
    solver = ALS(n_factors=K, rng=0, dtype="float64", **options)
    return FactorModel(objective, solver).fit(pairings), pairings, C


def test_a_cold_column_is_recommended_by_its_features():
    pairings, group = playlists(cold=(4, 9))
    plain = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
    solver = ALS(n_factors=K, init_scale=0.1, rng=0)
    Q = solver.solve(plain, pairings.matrix).col_factors
    features = np.eye(2)[group]
    warm = pairings.matrix.sum(axis=0) > 0
    B = np.linalg.lstsq(features[warm], Q[warm], rcond=None)[0]
    centered = Objective(regularizer=L2(1.0, col_center=features @ B), unobserved_weight=0.1)
    scores = {}
    for name, objective in {"plain": plain, "centered": centered}.items():
        model = FactorModel(objective, solver).fit(pairings)
        scores[name] = model.row_factors @ model.col_factors[[4, 9]].T
    assert not scores["plain"].any()
    # Column 4 is one of the even rows, column 9 one of the odd rows.
    even, odd = scores["centered"][0::2], scores["centered"][1::2]
    assert even[:, 0].min() > odd[:, 0].max()
    assert odd[:, 1].min() > even[:, 1].max()
    found = (model.recommend(pairings.row_ids, n=12).col_ids == "track 4").any(axis=1)
    assert found[0::2].mean() > 0.6
    assert not found[1::2].any()


@pytest.mark.parametrize("biases", [False, True])
def test_new_rows_with_the_centers_of_trained_rows_have_their_factors(biases):
    model, pairings, C = fitted(biases=biases)
    rows = reference.half_step(
        model.objective, pairings.matrix, model.row_factors, model.col_factors, "row"
    )
    np.testing.assert_allclose(
        model.fold_in(pairings, center=C).row_factors, rows, rtol=0, atol=1e-8
    )
    predicted = model.predict(pairings, pairings, center=C)
    row, col = pairings.matrix.nonzero()
    np.testing.assert_allclose(predicted, (rows @ model.col_factors.T)[row, col], atol=1e-8)
    value = model.value(pairings, center=C).total
    expected = reference.value(model.objective, pairings.matrix, rows, model.col_factors)["total"]
    assert value == pytest.approx(expected)
    assert model.recommend(pairings, n=5, center=C).col_ids.shape == (40, 5)


def test_the_terms_of_explain_add_up():
    model, pairings, C = fitted()
    folded = model.fold_in(pairings, center=C).row_factors[7]
    own = sparse.csr_array((1, 30))
    empty = Pairings(own, [1], pairings.col_ids)
    without = model.fold_in(empty, center=C[[7]]).row_factors[0]
    terms = model.explain(107, "track 3", n=100)
    expected = (folded - without) @ model.col_factors[3]
    assert sum(term for _, term in terms) == pytest.approx(expected, abs=1e-10)


def test_new_rows_need_centers_if_the_trained_ones_have_them():
    model, pairings, C = fitted()
    for call in (model.fold_in, model.recommend, model.value):
        with pytest.raises(InvalidInputError, match="give center=, those of the new rows"):
            call(pairings)
    with pytest.raises(InvalidInputError, match="give center="):
        evaluate(model, split_pairs(pairings, rng=0), ["recall@5"])
    with pytest.raises(InvalidInputError, match="center has shape"):
        model.fold_in(pairings, center=C[1:])
    with pytest.raises(InvalidInputError, match="is for new rows: give Pairings"):
        model.recommend([100], center=C[:1])
    with pytest.raises(InvalidInputError, match="give seen= too"):
        model.predict(pairings, center=C)
    assert model.recommend([100], n=3).col_ids.shape == (1, 3)


def test_new_rows_have_the_center_zero_if_only_columns_have_centers():
    model, pairings, C = fitted(rows=False)
    folded = model.fold_in(pairings).row_factors
    assert np.array_equal(folded, model.fold_in(pairings, center=np.zeros_like(C)).row_factors)
    assert evaluate(model, split_pairs(pairings, rng=0), ["recall@5"])


def test_unknown_rows_and_columns_are_predicted_without_centers():
    model, _, _ = fitted()
    unknown = Pairings.from_arrays([1, 100], ["track 0", "new"])
    assert model.predict(unknown).tolist() == [0.0, 0.0]


def test_a_model_with_centers_is_saved_whole(tmp_path):
    model, pairings, C = fitted(max_epochs=3)
    path = tmp_path / "model.twofold"
    model.save(path)
    for mmap in (False, True):
        loaded = FactorModel.load(path, mmap=mmap)
        assert loaded.objective == model.objective
        assert np.array_equal(
            loaded.fold_in(pairings, center=C).row_factors,
            model.fold_in(pairings, center=C).row_factors,
        )
    loaded.solver.max_epochs = 5
    resumed = FactorModel(loaded.objective, loaded.solver).fit(pairings, init=loaded.solution)
    whole, _, _ = fitted(max_epochs=5)
    assert np.array_equal(resumed.col_factors, whole.col_factors)


def test_a_file_without_its_centers_is_not_loaded(tmp_path, monkeypatch):
    model, _, _ = fitted(max_epochs=1)
    monkeypatch.setattr("twofold.model.file.CENTERS", ("one", "two"))
    model.save(tmp_path / "model.twofold")
    with pytest.raises(FileFormatError, match="row_center must be a 2-d array"):
        FactorModel.load(tmp_path / "model.twofold")
