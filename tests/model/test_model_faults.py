"""Faults that models once had: each a kind of input, with what is right for it."""

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, FactorModel, Objective, Pairings, fold_in
from twofold.exceptions import InvalidInputError, SingularRowError, TwofoldError, UnknownIdError
from twofold.solvers import ALS, GD, SGD


def pairings_of(n_rows, n_cols, density, seed=0):
    rng = np.random.default_rng(seed)
    M = rng.random((n_rows, n_cols)) < density
    M[np.arange(n_rows), np.arange(n_rows) % n_cols] = True
    return Pairings(sparse.csr_array(M.astype(float)), np.arange(n_rows), np.arange(n_cols))


def model_of(P, Q, stored=None):
    """Return a model with these factors."""
    n_rows, n_cols = len(P), len(Q)
    if stored is None:
        stored = sparse.csr_array(
            (np.ones(n_rows), np.arange(n_rows) % n_cols, np.arange(n_rows + 1)),
            shape=(n_rows, n_cols),
        )
    pairings = Pairings(stored, np.arange(n_rows), np.arange(n_cols))
    solver = ALS(n_factors=P.shape[1], max_epochs=0, dtype=str(P.dtype))
    return FactorModel(Objective(), solver).fit(pairings, init=(P, Q))


# Order of recommendations


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 2, 16, 33, 64])
def test_ties_are_ordered_by_position_and_rows_rank_alone_as_in_a_batch(k, dtype):
    """Columns with equal factors have equal scores, whatever stands beside them."""
    rng = np.random.default_rng(k)
    for _ in range(15):
        n, m = int(rng.integers(2, 60)), int(rng.integers(5, 300))
        kind = rng.integers(0, max(1, m // 3), m)
        base = rng.standard_normal((max(1, m // 3), k)).astype(dtype)
        model = model_of(rng.standard_normal((n, k)).astype(dtype), base[kind])
        ranking = model.recommend(np.arange(n), n=m, exclude_known=False)
        for found, scores in zip(ranking.positions, ranking.scores, strict=True):
            assert sorted(found.tolist()) == list(range(m))
            assert (np.diff(scores) <= 0.0).all()
            tied = np.diff(scores) == 0.0
            assert (np.diff(found)[tied] > 0).all()
            for number in np.unique(kind):
                assert (np.diff(found[kind[found] == number]) > 0).all()
        for row in (0, n - 1):
            alone = model.recommend([row], n=m, exclude_known=False)
            assert alone.positions.tobytes() == ranking.positions[[row]].tobytes()
            assert alone.scores.tobytes() == ranking.scores[[row]].tobytes()


@pytest.mark.parametrize("exclude_known", [True, False])
@pytest.mark.parametrize("levels", [0, 3])
def test_the_top_n_are_the_first_of_the_top_m(levels, exclude_known):
    """In the bits of positions and scores; also where most scores are tied."""
    rng = np.random.default_rng(0)
    P, Q = rng.standard_normal((30, 5)), rng.standard_normal((200, 5))
    if levels:
        P, Q = (np.round(x * levels / 2).astype("f4") for x in (P, Q))
    stored = sparse.csr_array((rng.random((30, 200)) < 0.1).astype(float))
    model = model_of(P, Q, stored)
    whole = model.recommend(np.arange(30), n=220, exclude_known=exclude_known)
    for n in (1, 2, 7, 50, 199, 200):
        some = model.recommend(np.arange(30), n=n, exclude_known=exclude_known)
        assert some.positions.tobytes() == whole.positions[:, :n].tobytes()
        assert some.scores.tobytes() == whole.scores[:, :n].tobytes()
        assert some.mask.tobytes() == whole.mask[:, :n].tobytes()


def test_similar_columns_rank_alone_as_in_a_batch_with_ties_by_position():
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 20, 90)
    model = model_of(rng.standard_normal((90, 33)), rng.standard_normal((20, 33))[kind])
    ranking = model.similar_cols(np.arange(90), n=89)
    for col in (0, 41, 89):
        alone = model.similar_cols([col], n=89)
        assert alone.positions.tobytes() == ranking.positions[[col]].tobytes()
        twins = np.flatnonzero((kind == kind[col]) & (np.arange(90) != col))
        assert alone.positions[0, : twins.size].tolist() == twins.tolist()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_new_rows_rank_alone_as_in_a_batch(exponent):
    objective = Objective(regularizer=L2(0.3, exponent=exponent), unobserved_weight=0.1)
    solver = ALS(n_factors=16, max_epochs=3, rng=0)
    pairings = pairings_of(80, 60, 0.15)
    model = FactorModel(objective, solver).fit(pairings)
    ranking = model.recommend(pairings, n=20)
    for row in (0, 11, 79):
        alone = model.recommend(pairings.take_rows(np.array([row])), n=20)
        assert alone.positions.tobytes() == ranking.positions[[row]].tobytes()
        assert alone.scores.tobytes() == ranking.scores[[row]].tobytes()


# Rows without pairs, constraints, singular rows


@pytest.mark.parametrize("solver", [ALS, SGD, GD])
@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_rows_without_pairs_get_no_recommendations(exponent, solver):
    M = np.random.default_rng(0).random((200, 60)) < 0.1
    M[:20], M[:, 50:] = False, False
    pairings = Pairings(sparse.csr_array(M.astype(float)), np.arange(200), np.arange(60))
    objective = Objective(regularizer=L2(0.05, exponent=exponent))
    model = FactorModel(objective, solver(n_factors=8, max_epochs=5, rng=0)).fit(pairings)
    assert not model.recommend(np.arange(20), n=3).mask.any()
    assert model.recommend(np.arange(20, 40), n=3).mask.any()
    assert not model.col_factors[50:].any()


@pytest.mark.parametrize("a0", [0.0, 0.3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nonnegative_models_fold_in_to_nonnegative_rows(dtype, a0, tmp_path):
    """Fold-in and recommendations obey the constraint that training obeys; so does a file."""
    free = Objective(regularizer=L2(0.1), data="targets", unobserved_weight=a0)
    objective = replace(free, nonnegative=True)
    matrix = pairings_of(80, 40, 0.2, seed=1).matrix
    matrix.data[::4] = -1.0
    pairings = Pairings(matrix, np.arange(80), np.arange(40))
    solver = ALS(n_factors=5, max_epochs=20, rng=0, dtype=dtype)
    model = FactorModel(objective, solver).fit(pairings)
    assert min(model.row_factors.min(), model.col_factors.min()) == 0.0
    folded = model.fold_in(pairings).row_factors
    assert folded.min() == 0.0
    assert folded.any()
    unconstrained = fold_in(free, matrix, model.col_factors)
    assert unconstrained.min() < 0.0  # the constraint is active
    scores = model.recommend(pairings, n=5).scores
    assert (scores[~np.isnan(scores)] >= 0.0).all()
    model.save(tmp_path / "model")
    again = FactorModel.load(tmp_path / "model")
    assert again.objective == objective
    assert again.fold_in(pairings).row_factors.tobytes() == folded.tobytes()


def test_errors_of_a_fit_have_ids():
    dense = np.array([[1.0, 2, 1, 3], [0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    pairings = Pairings(sparse.csr_array(dense), ["w", "x", "y", "z"], [11, 12, 13, 14])
    objective = Objective(regularizer=L2(0.0))
    solver = ALS(n_factors=3, init="random", rng=0)
    with pytest.raises(SingularRowError, match=r"^row 'x' \(1 entries\) has no .* 1 others"):
        FactorModel(objective, solver).fit(pairings)
    dense[2, 1] = -1.0
    pairings = Pairings(sparse.csr_array(dense), ["w", "x", "y", "z"], [11, 12, 13, 14])
    with pytest.raises(InvalidInputError, match=r"^the value in row 'y', column 12 is -1\.0: "):
        FactorModel(Objective(data="weights"), solver).fit(pairings)


@pytest.mark.parametrize("seed", range(3))
def test_explain_refuses_the_rows_that_fold_in_refuses(seed):
    """Too few pairs and no ridge: a SingularRowError, not LinAlgError or meaningless numbers."""
    rng = np.random.default_rng(seed)
    M = np.array([[1.0, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    pairings = Pairings(sparse.csr_array(M), [1, 2, 3, 4], ["a", "b", "c", "d"])
    solver = GD(n_factors=3, max_epochs=3, rng=seed)
    init = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    model = FactorModel(Objective(regularizer=L2(0.0)), solver).fit(pairings, init=init)
    for row in (1, 2, 3):
        with pytest.raises(SingularRowError):
            fold_in(model.objective, pairings.matrix[[row - 1]], model.col_factors)
        with pytest.raises(TwofoldError):
            model.explain(row, "b")
    folded = fold_in(model.objective, pairings.matrix[[3]], model.col_factors)[0]
    total = sum(part for _, part in model.explain(4, "b"))
    assert total == pytest.approx(float(folded @ model.col_factors[1]), rel=1e-3)


# Threads


def test_recommendations_during_a_fit_belong_to_one_of_the_fits():
    """Factors and ids change together: never new factors with the ids of the fit before."""
    a = pairings_of(300, 200, 0.05)
    b = a.take_rows(np.arange(299, -1, -1))  # the same rows in another order
    objective = Objective(regularizer=L2(0.1), unobserved_weight=0.1)
    solver = ALS(n_factors=8, max_epochs=1, rng=0)
    models = [FactorModel(objective, solver).fit(p) for p in (a, b)]
    valid = [model.recommend([5], n=5).col_ids for model in models]
    mixed = models[0].recommend([294], n=5).col_ids  # at the position that 5 has in the other
    assert not any(np.array_equal(mixed, right) for right in valid)
    model = FactorModel(objective, solver).fit(a)
    done, errors = threading.Event(), []

    def refit():
        try:
            for number in range(150):
                model.fit(b if number % 2 == 0 else a)
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=refit)
    try:
        thread.start()
        while not done.is_set():
            found = model.recommend([5], n=5).col_ids
            assert any(np.array_equal(found, right) for right in valid)
    finally:
        thread.join()
        sys.setswitchinterval(interval)
    assert not errors


def test_integers_against_text_is_an_error_not_an_empty_answer():
    """One id of the training data ends in X, and those of the new rows are all digits."""
    trained = Pairings.from_arrays(["1", "1", "2", "2"], ["12", "13", "13", "14X"])
    model = FactorModel(Objective(), ALS(n_factors=2, rng=0)).fit(trained)
    new = Pairings.from_arrays([7, 7], [12, 13])
    message = (
        r"column ids are integers such as 12, but the known ones are strings such as '12': .*"
        r'id_type="text"'
    )
    for call in (model.recommend, model.fold_in, lambda rows: rows.align(trained)):
        with pytest.raises(InvalidInputError, match=message):
            call(new)
    with pytest.raises(InvalidInputError, match="id_type"):
        trained.align(new)
    for call in (model.recommend, model.similar_cols, trained.row_index, trained.col_index):
        with pytest.raises(UnknownIdError, match=r"12 is unknown: .* which are strings"):
            call([12])
    text = Pairings.from_arrays(["7", "7"], ["12", "13"])
    assert model.recommend(text, 1).col_ids.tolist() == [["14X"]]


def test_the_index_of_text_ids_is_built_once():
    ids = [f"row {number}" for number in range(50)]
    trained = Pairings.from_arrays(ids, [number % 7 for number in range(50)])
    model = FactorModel(Objective(), ALS(n_factors=2, rng=0)).fit(trained)
    model.recommend(ids[:1])
    index = vars(model.pairings._rows)["_places"]
    model.recommend(ids[1:2])
    assert vars(model.pairings._rows)["_places"] is index
