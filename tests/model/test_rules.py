"""Candidates and exclusions by ids, the other rankings of a model, and scores of pairs."""

import numpy as np
import pytest

from twofold import L2, FactorModel, Objective, Pairings
from twofold.exceptions import InvalidInputError, UnknownIdError
from twofold.solvers import ALS
from twofold.testing import reference


@pytest.fixture(scope="module", params=[False, True], ids=["no biases", "biases"])
def model(request, playlists):
    objective = Objective(
        regularizer=L2(0.5, exponent=0.5), unobserved_weight=0.1, biases=request.param
    )
    solver = ALS(n_factors=6, rng=0, max_epochs=3, dtype="float64")
    return FactorModel(objective, solver).fit(playlists.pairings)


def expected(model, rows, n, can):
    """Return the positions of the reference for rows and a table of candidates."""
    return reference.top_columns(model.row_factors[rows], model.col_factors, n, can)[0]


def test_candidates_and_exclusions_for_all_rows(model):
    rows = np.array([4, 0, 17])
    known = model.pairings.matrix[rows].toarray() != 0
    ids = model.col_ids[::3]
    can = np.zeros(known.shape, bool)
    can[:, ::3] = True
    given = np.concatenate([ids[::-1], [10**9], ids[:2]])  # unordered, unknown, repeated
    found = model.recommend(model.row_ids[rows], 30, candidates=given)
    np.testing.assert_array_equal(found.positions, expected(model, rows, 30, can & ~known))
    found = model.recommend(model.row_ids[rows], 30, exclude=given)
    np.testing.assert_array_equal(found.positions, expected(model, rows, 30, ~can & ~known))
    found = model.recommend(model.row_ids[rows], 5, candidates=ids, exclude=ids[1:])
    assert set(found.positions.ravel().tolist()) <= {-1, 0}
    assert not model.recommend(model.row_ids[rows], 2, candidates=[]).mask.any()


def test_candidates_and_exclusions_for_each_row(model):
    rows = np.array([4, 0, 17])
    known = model.pairings.matrix[rows].toarray() != 0
    a, b, c = (model.row_ids[row] for row in rows)
    lists = Pairings.from_arrays(
        [b, a, b, a, a], [*model.col_ids[[9, 2, 3, 5]].tolist(), 10**9]
    )  # none for c, and a column that is unknown
    can = np.zeros(known.shape, bool)
    can[0, [2, 5]] = can[1, [9, 3]] = True
    found = model.recommend([a, b, c], 4, candidates=lists, exclude_known=False)
    np.testing.assert_array_equal(found.positions, expected(model, rows, 4, can))
    found = model.recommend([a, b, c], 30, exclude=lists)
    np.testing.assert_array_equal(found.positions, expected(model, rows, 30, ~can & ~known))


def test_rules_hold_for_new_rows_and_the_fallback(model):
    new = Pairings.from_arrays([1, 2], [3, 10**9])
    counts = np.diff(model.pairings.matrix.tocsc().indptr)
    ids = model.col_ids[[1, 5, 6, 8]]
    found = model.recommend(new, 3, candidates=ids, exclude=ids[:1], fallback="popular")
    assert found.fallback[1] == (not model.fold_in(new).row_factors[1].any())
    if found.fallback[1]:
        order = np.argsort(-counts[[5, 6, 8]], kind="stable")
        assert found.positions[1].tolist() == np.array([5, 6, 8])[order].tolist()
    assert set(found.positions.ravel().tolist()) == {5, 6, 8}


def test_ids_of_another_kind_are_rejected(model):
    with pytest.raises(InvalidInputError, match="column ids are strings such as 'x'"):
        model.recommend(model.row_ids[:1], candidates=["x"])
    with pytest.raises(InvalidInputError, match="row ids are integers such as"):
        model.recommend(model.row_ids[:1], exclude=Pairings.from_arrays(["x"], [1]))


def test_recommend_rows_is_the_ranking_of_the_transpose(model):
    cols = np.array([5, 0])
    known = model.pairings.matrix[:, cols].toarray().T != 0
    P, Q = model.row_factors, model.col_factors[cols]
    found = model.recommend_rows(model.col_ids[cols], 12)
    np.testing.assert_array_equal(found.positions, reference.top_columns(Q, P, 12, ~known)[0])
    np.testing.assert_array_equal(found.row_ids, model.col_ids[cols])
    np.testing.assert_array_equal(found.col_ids, model.row_ids[found.positions])
    found = model.recommend_rows(model.col_ids[cols], 12, exclude_known=False)
    np.testing.assert_array_equal(found.positions, reference.top_columns(Q, P, 12)[0])


def test_similar_rows_are_cosines_without_the_row_itself(model):
    P = model.row_factors[:, :6]
    unit = P / np.linalg.norm(P, axis=1, keepdims=True)
    cosines = unit[[8, 3]] @ unit.T
    cosines[[0, 1], [8, 3]] = -np.inf
    found = model.similar_rows(model.row_ids[[8, 3]], 5)
    np.testing.assert_array_equal(found.positions, np.argsort(-cosines, axis=1)[:, :5])
    np.testing.assert_allclose(found.scores, -np.sort(-cosines, axis=1)[:, :5], rtol=1e-12)


def test_score_has_the_bits_of_recommend(model):
    found = model.recommend(model.row_ids[:9], 4)
    scores = model.score(np.repeat(model.row_ids[:9], 4), found.col_ids.ravel())
    np.testing.assert_array_equal(scores, found.scores.ravel())
    assert model.score([], []).shape == (0,)


def test_score_names_what_is_wrong(model):
    row, col = model.row_ids[0], model.col_ids[0]
    with pytest.raises(UnknownIdError, match="row id -7 is unknown"):
        model.score([row, -7], [col, col])
    with pytest.raises(UnknownIdError, match="column id -7 is unknown"):
        model.score([row], [-7])
    with pytest.raises(InvalidInputError, match="2 row ids and 1 column ids"):
        model.score([row, row], [col])
