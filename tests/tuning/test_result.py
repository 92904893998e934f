import numpy as np
import pytest

from twofold import L2, Balanced, FactorModel, Objective, Pairings, split_rows
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS
from twofold.tuning import Grid, Halving, Score, SearchResult, grid_search, search

SOLVER = ALS(n_factors=2, max_epochs=3, rng=0)
GRID = {"n_factors": [6], "ratio": [15.0, 14.0]}


@pytest.fixture(scope="module")
def parts(playlists):
    return split_rows(playlists.pairings, rng=0)


@pytest.fixture(scope="module")
def result(parts) -> SearchResult:
    return grid_search(SOLVER, Balanced(), parts.train, parts.validation, GRID)


def test_the_best_solver_and_objective_transfer_to_other_data(result, parts):
    assert result.best.number
    assert result.best_solver == ALS(n_factors=6, max_epochs=3, rng=0)
    assert result.best_objective == Balanced(result.best.parameters["ratio"])


def test_an_objective_with_a_replaced_field_is_resolved(parts):
    grid = {"regularizer.weight": [0.01], "n_factors": [6]}
    result = grid_search(SOLVER, Balanced(), parts.train, parts.validation, grid)
    assert result.best.number == 1
    assert isinstance(result.best_objective, Objective)
    assert result.best_objective.regularizer == L2(0.01, exponent=1.0)
    refitted = result.refit(parts.test.drop_empty_cols())
    assert refitted.objective.regularizer == L2(0.01, exponent=1.0)
    expected = Balanced().for_data(refitted.pairings.matrix).unobserved_weight
    assert refitted.objective.unobserved_weight == expected


def pairs_of(pairings):
    """Return the ids of each pair."""
    rows, cols = pairings.matrix.nonzero()
    return zip(pairings.row_ids[rows], pairings.col_ids[cols], strict=True)


def test_refit_trains_on_the_training_and_the_validation_rows(result, parts):
    model = result.refit()
    row_ids = np.concatenate([parts.train.row_ids, parts.validation.row_ids])
    assert model.row_ids.tolist() == row_ids.tolist()
    assert model.pairings.n_pairs == parts.train.n_pairs + parts.validation.n_pairs
    both = {*pairs_of(parts.train), *pairs_of(parts.validation)}
    found = model.pairings
    assert set(pairs_of(found)) == both
    expected = FactorModel(result.best_objective, result.best_solver).fit(found)
    assert model.solution.objective_value == expected.solution.objective_value


def test_refit_keeps_values_weights_and_tracks_of_validation_only():
    train = Pairings.from_arrays([1, 1, 2], ["a", "b", "b"], [1.0, 2.0, 3.0], weights=[1, 2, 3])
    validation = Pairings.from_arrays(
        [7] * 4, ["z", "b", "a", "y"], [4.0, 5.0, 6.0, 7.0], weights=[4, 5, 6, 7]
    )
    objective = Objective(data="targets")
    result = grid_search(SOLVER, objective, train, validation, {}, score="total")
    pairings = result.refit().pairings
    assert pairings.col_ids.tolist() == ["a", "b", "y", "z"]
    assert pairings.matrix.toarray().tolist() == [[1, 2, 0, 0], [0, 3, 0, 0], [6, 5, 7, 4]]
    assert pairings.weights.tolist() == [1, 2, 3, 6, 5, 7, 4]


def test_refit_of_weights_in_one_part_only_needs_pairings():
    train = Pairings.from_arrays([1, 1, 2], ["a", "b", "b"], weights=[1, 2, 3])
    validation = Pairings.from_arrays([7, 7], ["a", "b"])
    result = grid_search(SOLVER, Objective(), train, validation, {}, score="total")
    with pytest.raises(InvalidInputError, match="only one of train and validation has weights"):
        result.refit()


def test_refit_of_matrices_has_the_rows_of_both(parts):
    train, validation = parts.train.matrix, parts.validation.align(parts.train).matrix
    result = grid_search(SOLVER, Balanced(), train, validation, {})
    assert result.refit().row_ids.size == train.shape[0] + validation.shape[0]


def test_refit_of_rows_in_common_needs_pairings(parts):
    result = grid_search(SOLVER, Balanced(), parts.train, parts.train, {})
    with pytest.raises(InvalidInputError, match="rows in common"):
        result.refit()
    assert result.refit(parts.train).row_ids.size == parts.train.row_ids.size


def test_the_frame_has_a_column_for_each_field_and_the_score_by_its_name(result):
    frame = result.to_frame("pandas")
    assert list(frame.columns) == [
        "number", "n_factors", "ratio", "ndcg@20", "train_total", "epochs", "seconds", "status",
        "message",
    ]  # fmt: skip
    assert frame["ndcg@20"].tolist() == [trial.score for trial in result]
    assert frame["n_factors"].dtype == np.int64
    assert sorted(frame["number"]) == [0, 1, 2]


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_frames_of_values_of_several_types(backend, parts):
    grid = {
        "regularizer": [L2(0.1), L2(0.2)], "regularizer.weight": [1, 0.5],
        "row_solver": ["cg"], "n_threads": [1],
    }  # fmt: skip
    result = grid_search(SOLVER, Objective(), parts.train, parts.validation, grid)
    frame = result.to_frame(backend)
    columns = {
        name: list(np.asarray(frame[name]))
        for name in ("regularizer.weight", "regularizer", "row_solver")
    }
    assert set(columns["regularizer.weight"]) == {0.005, 0.5, 1.0}
    assert "L2(weight=0.2, exponent=0.0)" in columns["regularizer"]
    assert {*columns["row_solver"]} == {"auto", "cg"}


def test_the_table_begins_with_the_best_and_names_the_default(result):
    head, first, *rest = str(result).splitlines()
    assert head.split() == ["trial", "n_factors", "ratio", "ndcg@20", "epochs", "seconds", "status"]
    assert first.split()[0] == str(result.best.number)
    assert rest[-1].split()[:4] == ["default", "2", "15", f"{result.default.score:.6g}"]
    assert repr(result) == f"<SearchResult: 3 trials, best ndcg@20 {result.best.score:.6g}>"


def test_trials_that_were_continued_are_before_those_that_were_not(parts):
    strategy = Halving({"ratio": [1.0, 5.0, 40.0, 60.0], "n_factors": [1, 2]}, min_epochs=1)
    result = search(SOLVER, Balanced(), parts.train, parts.validation, strategy, score="loss")
    rungs = [trial.rung for trial in result]
    assert rungs == sorted(rungs, reverse=True)
    for rung in set(rungs):
        scores = [trial.score for trial in result if trial.rung == rung]
        assert scores == sorted(scores)


def test_a_search_without_trials(parts):
    def interrupt(*_):
        raise KeyboardInterrupt

    result = grid_search(
        SOLVER, Balanced(), parts.train, parts.validation, GRID,
        score=Score(interrupt, higher_is_better=True),
    )  # fmt: skip
    assert (len(result), str(result), result.complete) == (0, "no trials", False)
    for ask in (lambda: result.best, lambda: result.default, result.refit, result.plot):
        with pytest.raises(InvalidInputError, match="no trial was finished"):
            ask()


def test_the_picture_has_a_panel_for_each_field(result, tmp_path):
    pytest.importorskip("matplotlib")
    figure = result.plot()
    assert [ax.get_xlabel() for ax in figure.axes] == ["n_factors", "ratio"]
    assert figure.axes[0].get_ylabel() == "ndcg@20 (higher is better)"
    drawn = figure.axes[1].collections[0].get_offsets()
    expected = [(trial.parameters["ratio"], trial.score) for trial in result]
    assert drawn.tolist() == [list(each) for each in expected]
    best = figure.axes[0].collections[2].get_offsets()
    assert best.tolist() == [[6, result.best.score]]
    result.plot(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_in_axes_of_the_caller(result, parts):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.subplots(1, 2)
    assert result.plot(axes) is figure
    assert axes[1].get_xlabel() == "ratio"
    with pytest.raises(InvalidInputError, match="1 axes for 2 panels, n_factors, ratio"):
        result.plot(axes[0])
    with pytest.raises(InvalidInputError, match="no field varies"):
        search(SOLVER, Balanced(), parts.train, parts.validation, Grid({})).plot()


def test_a_picture_of_texts_and_of_numbers_of_several_decades(parts):
    pytest.importorskip("matplotlib")
    grid = {"row_solver": ["cg", "direct"], "ratio": [1.0, 100.0], "n_factors": [1, 2]}
    figure = grid_search(SOLVER, Balanced(), parts.train, parts.validation, grid).plot()
    assert [ax.get_xscale() for ax in figure.axes] == ["linear", "log", "linear"]
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["auto", "cg", "direct"]
