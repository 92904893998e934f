from dataclasses import dataclass, replace

import numpy as np
import pytest

from twofold import L1, L2, FactorModel, HuberLoss, Loss, Objective, Pairings, fold_in
from twofold.data.files import read_file, write_file
from twofold.exceptions import (
    DivergenceWarning,
    FileFormatError,
    InvalidInputError,
    UnknownIdError,
    UnsupportedObjectiveError,
)
from twofold.model import Popularity
from twofold.solvers import ALS, GD, SGD, Status


@dataclass(frozen=True)
class Cosh(Loss):
    scale: float = 1.0

    def value(self, target, prediction):
        return self.scale * (np.cosh(prediction - target) - 1.0)

    def derivative(self, target, prediction):
        return self.scale * np.sinh(prediction - target)


@pytest.fixture(scope="module")
def model(playlists):
    objective = Objective(regularizer=L2(0.5, exponent=0.5), unobserved_weight=0.1)
    return FactorModel(objective, ALS(n_factors=6, rng=0, max_epochs=5)).fit(playlists.pairings)


def test_fold_in_of_training_rows_are_the_rows_of_the_next_half_step(model, playlists):
    folded = model.fold_in(playlists.pairings)
    expected = fold_in(model.objective, playlists.pairings.matrix, model.col_factors)
    np.testing.assert_array_equal(folded.row_factors, expected)
    assert (folded.n_dropped_pairs, folded.n_empty_rows) == (0, 0)


def test_unknown_tracks_are_counted_and_a_playlist_of_them_folds_in_to_zeros(model):
    new = Pairings.from_arrays([1, 1, 2, 2], [3, 9999, 9998, 9999])
    folded = model.fold_in(new)
    assert (folded.n_dropped_pairs, folded.n_dropped_cols, folded.n_empty_rows) == (3, 2, 1)
    assert folded.row_factors[0].any()
    assert not folded.row_factors[1].any()
    assert model.recommend(new, 3).mask.tolist() == [[True] * 3, [False] * 3]


def test_recommend_is_the_sorted_product_without_what_is_known(model):
    ids = model.row_ids[[7, 3]]
    ranking = model.recommend(ids, n=20)
    np.testing.assert_array_equal(ranking.row_ids, ids)
    for place, row in enumerate((7, 3)):
        scores = model.row_factors[row] @ model.col_factors.T
        known = model.pairings.matrix[[row]].indices
        scores[known] = -np.inf
        best = np.argsort(-scores, kind="stable")[:20]
        np.testing.assert_array_equal(ranking.positions[place], best)
        np.testing.assert_array_equal(ranking.col_ids[place], model.col_ids[best])
        np.testing.assert_allclose(ranking.scores[place], scores[best], rtol=1e-5)
    assert model.recommend(ids, 5, exclude_known=False).positions.shape == (2, 5)


def test_recommend_gives_exactly_n_padded_and_masked(model):
    n_cols = model.col_ids.size
    ranking = model.recommend(model.row_ids[:1], n=n_cols + 7)
    left = n_cols - int(np.diff(model.pairings.matrix.indptr)[0])
    assert ranking.mask.shape == (1, n_cols + 7)
    assert ranking.mask[0].sum() == left
    assert not ranking.mask[0, left:].any()
    assert (ranking.col_ids[0, left:] == -1).all()
    assert np.isnan(ranking.scores[0, left:]).all()
    ((row, found),) = list(ranking)
    assert (row, len(found)) == (model.row_ids[0], left)


def test_rows_with_zero_factors_get_the_most_popular_columns_on_request(model):
    counts = np.bincount(model.pairings.matrix.indices, minlength=model.col_ids.size)
    order = np.argsort(-counts, kind="stable")
    new = Pairings.from_arrays([1, 1, 2, 3], [3, 9999, 9998, 4])
    plain, filled = model.recommend(new, 5), model.recommend(new, 5, fallback="popular")
    assert not plain.fallback.any()
    assert filled.fallback.tolist() == [False, True, False]
    np.testing.assert_array_equal(filled.positions[[0, 2]], plain.positions[[0, 2]])
    np.testing.assert_array_equal(filled.scores[[0, 2]], plain.scores[[0, 2]])
    np.testing.assert_array_equal(filled.positions[1], order[:5])
    np.testing.assert_array_equal(filled.scores[1], counts[order[:5]])
    assert not model.recommend(new, 5, fallback=None).mask[1].any()
    everything = model.recommend(new, model.col_ids.size + 2, fallback="popular")
    assert everything.mask[1].sum() == model.col_ids.size
    assert np.isnan(everything.scores[~everything.mask]).all()


@pytest.mark.parametrize("exclude_known", [True, False])
def test_the_fallback_leaves_out_known_columns_of_rows_that_a_penalty_made_zero(
    playlists, exclude_known
):
    objective = Objective(regularizer=L1(1e6))
    model = FactorModel(objective, GD(n_factors=2, max_epochs=2, rng=0)).fit(playlists.pairings)
    new = playlists.pairings.take_rows([4, 7])
    assert not model.fold_in(new).row_factors.any()
    ranking = model.recommend(new, 20, exclude_known=exclude_known, fallback="popular")
    expected = Popularity().fit(playlists.pairings).recommend(new, 20, exclude_known=exclude_known)
    assert ranking.fallback.all()
    np.testing.assert_array_equal(ranking.col_ids, expected.col_ids)
    np.testing.assert_array_equal(ranking.scores, expected.scores)


def test_similar_cols_are_cosines_without_the_column_itself(model):
    ids = model.col_ids[[0, 4]]
    ranking = model.similar_cols(ids, n=3)
    unit = model.col_factors / np.linalg.norm(model.col_factors, axis=1, keepdims=True)
    cosines = unit[4] @ unit.T
    cosines[4] = -2.0
    np.testing.assert_array_equal(ranking.positions[1], np.argsort(-cosines)[:3])
    assert not (ranking.col_ids == ids[:, None]).any()


def test_explain_adds_up_to_the_folded_in_prediction(model):
    row, col = model.row_ids[5], model.col_ids[11]
    terms = model.explain(row, col, n=1000)
    folded = fold_in(model.objective, model.pairings.matrix[[5]], model.col_factors)
    assert sum(part for _, part in terms) == pytest.approx(
        float(folded[0] @ model.col_factors[11]), rel=1e-4
    )
    stored = set(model.col_ids[model.pairings.matrix[[5]].indices].tolist())
    assert {col_id for col_id, _ in terms} == stored
    assert model.explain(row, col, n=2) == terms[:2]


@pytest.mark.parametrize(
    ("objective", "solver"),
    [
        (Objective(HuberLoss(0.3), L1(0.01, 1.0), data="targets"), SGD(n_factors=3, rng=1)),
        (Objective(Cosh(0.5), L2(0.1)), GD(n_factors=2, rng=np.random.default_rng(3))),
    ],
)
def test_save_and_load_keep_everything(playlists, tmp_path, objective, solver):
    model = FactorModel(objective, solver).fit(playlists.pairings)
    path = tmp_path / "m.twofold"
    model.save(path)
    again = FactorModel.load(path, classes=[Cosh])
    assert again.objective == objective
    assert (again.solver.n_factors, type(again.solver)) == (solver.n_factors, type(solver))
    np.testing.assert_array_equal(again.row_factors, model.row_factors)
    np.testing.assert_array_equal(again.col_factors, model.col_factors)
    np.testing.assert_array_equal(again.col_ids, model.col_ids)
    assert again.solution.history == model.solution.history
    assert again.solution.seed == model.solution.seed
    ids = model.row_ids[:5]
    np.testing.assert_array_equal(again.recommend(ids).col_ids, model.recommend(ids).col_ids)
    assert [file.name for file in tmp_path.iterdir()] == ["m.twofold"]


def test_text_ids_survive_saving(tmp_path):
    pairings = Pairings.from_arrays(["ä", "b", "b"], ["x'y", "x'y", "日本"])
    model = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairings)
    model.save(tmp_path / "m")
    again = FactorModel.load(tmp_path / "m")
    assert again.recommend(["ä"], 2).col_ids.tolist() == [["日本", None]]


def test_a_class_of_ones_own_must_be_given_to_load(playlists, tmp_path):
    solver = GD(n_factors=2, rng=0, max_epochs=1)
    FactorModel(Objective(Cosh()), solver).fit(playlists.pairings).save(tmp_path / "m")
    with pytest.raises(FileFormatError, match=r"classes=\[Cosh\]"):
        FactorModel.load(tmp_path / "m")


def test_damaged_and_foreign_files(model, tmp_path):
    path = tmp_path / "m.twofold"
    model.save(path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"hello" * 100):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"m\.twofold"):
            FactorModel.load(path)
    model.solution.save(path)
    with pytest.raises(FileFormatError, match="holds a twofold solution, not a model"):
        FactorModel.load(path)
    with pytest.raises(InvalidInputError, match="No such file"):
        FactorModel.load(tmp_path / "none")


def test_a_newer_version_says_upgrade(model, tmp_path):
    write_file(tmp_path / "m", "model", 99, {}, {})
    with pytest.raises(FileFormatError, match="upgrade twofold"):
        FactorModel.load(tmp_path / "m")


def test_a_mapped_model_is_the_same_and_its_file_does_not_change(model, playlists, tmp_path):
    model.save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()
    mapped = FactorModel.load(tmp_path / "m", mmap=True)
    new = playlists.pairings.take_rows([0, 1])
    for rows in (model.row_ids[:5], new):
        found, expected = mapped.recommend(rows), model.recommend(rows)
        np.testing.assert_array_equal(found.col_ids, expected.col_ids)
        np.testing.assert_array_equal(found.scores, expected.scores)
    mapped.row_factors[:] = 0.0
    assert (tmp_path / "m").read_bytes() == before


def test_errors_name_the_place(model, playlists):
    with pytest.raises(UnknownIdError, match="row id 12345 is unknown"):
        model.recommend([12345])
    with pytest.raises(UnknownIdError, match="column id 'x' is unknown"):
        model.similar_cols(["x"])
    with pytest.raises(InvalidInputError, match="n is 0"):
        model.recommend(model.row_ids, 0)
    with pytest.raises(InvalidInputError, match=r"fallback is 'mean': it must be one of .popular"):
        model.recommend(model.row_ids, fallback="mean")
    with pytest.raises(InvalidInputError, match="not fitted"):
        FactorModel().recommend([1])
    with pytest.raises(InvalidInputError, match="not fitted"):
        FactorModel().save("x")
    with pytest.raises(InvalidInputError, match="give Pairings"):
        FactorModel().fit(playlists.pairings.matrix)
    with pytest.raises(InvalidInputError, match="no pairs"):
        FactorModel().fit(Pairings.from_arrays([], []))
    other = FactorModel(Objective(HuberLoss()), GD(n_factors=2, max_epochs=1, rng=0))
    with pytest.raises(UnsupportedObjectiveError, match="HuberLoss"):
        other.fit(playlists.pairings).explain(1, 1)


def test_a_diverged_fit_warns_and_keeps_the_last_finite_factors(playlists):
    model = FactorModel(solver=GD(n_factors=2, rng=0, learning_rate=1e6))
    with pytest.warns(DivergenceWarning, match="decrease learning_rate"):
        model.fit(playlists.pairings)
    assert model.solution.status is Status.DIVERGED
    assert np.isfinite(model.row_factors).all()


def test_an_interrupted_fit_keeps_the_last_epoch_on_request(playlists):
    def interrupt(epoch, _):
        if epoch == 2:
            raise KeyboardInterrupt

    model = FactorModel(solver=ALS(n_factors=2, max_epochs=4, rng=0))
    with pytest.raises(KeyboardInterrupt):
        model.fit(playlists.pairings, callback=interrupt)
    with pytest.raises(InvalidInputError, match="not fitted"):
        model.recommend(playlists.pairings.row_ids)
    model.fit(playlists.pairings, callback=interrupt, on_interrupt="keep")
    assert (model.solution.status, model.solution.n_epochs) == (Status.INTERRUPTED, 2)
    assert model.recommend(playlists.pairings.row_ids[:2]).mask.all()
    continued = FactorModel(solver=model.solver).fit(playlists.pairings, model.solution)
    whole = FactorModel(solver=model.solver).fit(playlists.pairings)
    np.testing.assert_array_equal(continued.row_factors, whole.row_factors)


def test_a_model_of_a_solution_is_the_fitted_one(playlists):
    solver, objective = ALS(n_factors=3, max_epochs=2, rng=0), Objective(regularizer=L2(1.0))
    pairings = playlists.pairings
    solution = solver.solve(objective, pairings.matrix)
    made = FactorModel.from_solution(solution, pairings, objective, solver)
    fitted = FactorModel(objective, solver).fit(pairings)
    rows = pairings.row_ids[:5]
    np.testing.assert_array_equal(made.recommend(rows).col_ids, fitted.recommend(rows).col_ids)
    assert made.value(pairings) == fitted.value(pairings)
    with pytest.raises(InvalidInputError, match="row_factors has 300 rows, but the matrix has 7"):
        FactorModel.from_solution(solution, pairings.take_rows(range(7)), objective, solver)


@pytest.mark.parametrize(("row_dtype", "col_dtype"), [("f4", "f8"), ("f8", "f4"), ("i8", "i8")])
def test_factors_of_two_dtypes_or_of_integers_are_refused(playlists, row_dtype, col_dtype):
    pairings, solver = playlists.pairings, ALS(n_factors=2, max_epochs=1, rng=0)
    solution = solver.solve(Objective(), pairings.matrix)
    P, Q = solution.row_factors.astype(row_dtype), solution.col_factors.astype(col_dtype)
    other = replace(solution, row_factors=P, col_factors=Q)
    with pytest.raises(
        InvalidInputError, match=f"row_factors are {P.dtype} and col_factors are {Q.dtype}: both"
    ):
        FactorModel.from_solution(other, pairings, Objective(), solver)


@pytest.mark.parametrize("centered", [False, True])
def test_explain_of_a_new_row_adds_up_to_its_prediction(playlists, centered):
    pairings, rng = playlists.pairings, np.random.default_rng(0)
    centers = rng.normal(size=(pairings.shape[0], 4)) if centered else None
    objective = Objective(regularizer=L2(0.5, row_center=centers), unobserved_weight=0.1)
    model = FactorModel(objective, ALS(n_factors=4, rng=0, max_epochs=3)).fit(pairings)
    new = Pairings.from_arrays([7] * 4, [9999, 3, 5, 11])
    none = Pairings.from_arrays([7], [9999])
    center = rng.normal(size=(1, 4)) if centered else None
    terms = model.explain(new, 20, center=center)
    assert {col for col, _ in terms} == {3, 5, 11}
    scores = [(model.fold_in(row, center=center).row_factors @ model.col_factors.T)[0]
              for row in (new, none)]  # fmt: skip
    at = int(model.pairings.col_index([20])[0])
    assert sum(term for _, term in terms) == pytest.approx(scores[0][at] - scores[1][at], rel=1e-4)
    with pytest.raises(InvalidInputError, match="row has 300 rows: give Pairings with the pairs"):
        model.explain(pairings, 20)
    if centered:
        with pytest.raises(InvalidInputError, match="give center="):
            model.explain(new, 20)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (FactorModel(ALS()), "objective is a ALS"),
        (FactorModel(solver=5), "solver is a int"),
    ],
)
def test_other_parts_of_a_model_are_refused(model, message):
    with pytest.raises(InvalidInputError, match=message):
        model.fit(Pairings.from_arrays([0, 1], [0, 1]))


def test_fields_of_numpy_are_saved_as_plain_numbers(tmp_path):
    solver = ALS(n_factors=np.int64(2), max_epochs=1, rng=0)
    model = FactorModel(Objective(unobserved_weight=np.float64(0.1)), solver)
    model.fit(Pairings.from_arrays([0, 1], [0, 1])).save(tmp_path / "m")
    again = FactorModel.load(tmp_path / "m")
    assert type(again.solver.n_factors) is int
    assert again.objective == model.objective


@dataclass(frozen=True)
class Noted(Loss):
    notes: tuple = (1.0,)

    def value(self, target, prediction):
        return (prediction - target) ** 2

    def derivative(self, target, prediction):
        return 2.0 * (prediction - target)


def test_fields_that_a_file_cannot_hold_are_named(tmp_path):
    model = FactorModel(Objective(Noted()), GD(n_factors=2, max_epochs=1, rng=0))
    model.fit(Pairings.from_arrays([0, 1], [0, 1]))
    with pytest.raises(InvalidInputError, match=r"Noted.notes is \(1.0,\): a model file can only"):
        model.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_a_solver_of_a_file_is_a_solver(model, tmp_path):
    model.save(tmp_path / "m")
    arrays, meta = read_file(tmp_path / "m", "model", 1)
    meta["solver"] = {"class": "L2", "weight": 0.1}
    write_file(tmp_path / "m", "model", 1, arrays, meta)
    with pytest.raises(FileFormatError, match="the model's solver is 'L2', which is not one"):
        FactorModel.load(tmp_path / "m")


def test_what_requests_print(model):
    ranking = model.recommend(model.row_ids[:3], 5)
    assert repr(ranking) == "<Ranking: 5 columns for each of 3 rows, 0 of padding>"
    folded = model.fold_in(Pairings.from_arrays([1, 2], [model.col_ids[0], -5]))
    assert repr(folded) == (
        f"<FoldedRows: 2 rows x {model.col_factors.shape[1]} factors, 1 rows without a known "
        "column, 1 pairs dropped>"
    )


@pytest.mark.parametrize("name", ["candidates", "exclude"])
def test_a_new_row_has_its_rules_by_ids(model, name):
    with pytest.raises(InvalidInputError, match=f"{name} is Pairings: give the ids of columns"):
        model.recommend_new(model.col_ids[:2], **{name: Pairings.from_arrays([1], [1])})


@pytest.mark.parametrize("ids", [{1, 2}, None, 5.0])
def test_ids_that_are_no_sequence_are_refused_by_their_type(model, ids):
    with pytest.raises(InvalidInputError, match=f"column ids are a {type(ids).__name__}"):
        model.recommend_new(ids)
