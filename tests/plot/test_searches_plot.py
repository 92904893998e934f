"""The picture of a search over two fields."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from twofold import Balanced, plot, split_rows
from twofold.datasets import make_playlists
from twofold.exceptions import InvalidInputError
from twofold.plot.figures import COLOURS
from twofold.plot.searches import _Cells
from twofold.solvers import ALS
from twofold.tuning import Score, grid_search

SOLVER = ALS(n_factors=4, max_epochs=2, rng=0)
FIELDS = {"n_factors": [2, 4, 6], "ratio": [1.0, 10.0], "row_solver": ["direct", "cg"]}


@pytest.fixture(scope="module")
def parts():
    return split_rows(make_playlists(200, 100, rng=0).pairings, rng=0)


@pytest.fixture(scope="module")
def result(parts):
    return grid_search(SOLVER, Balanced(), parts.train, parts.validation, FIELDS)


def texts(labels):
    return [label.get_text() for label in labels]


def test_a_cell_has_the_best_score_over_the_other_fields(result):
    ax = plot.grid(result)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("n_factors", "ratio")
    assert texts(ax.get_xticklabels()) == ["2", "4", "6"]
    assert texts(ax.get_yticklabels()) == ["1", "10"]
    (image,) = ax.images
    expected = [
        [
            max(
                trial.score
                for trial in result
                if (trial.parameters["n_factors"], trial.parameters["ratio"]) == (n, ratio)
            )
            for n in (2, 4, 6)
        ]
        for ratio in (1.0, 10.0)
    ]
    np.testing.assert_array_equal(image.get_array(), expected)
    assert texts(ax.texts) == [f"{score:.3g}" for score in np.ravel(expected)]
    assert image.get_cmap().name == "viridis"
    assert ax.get_title() == f"Best ndcg@20: {result.best.score:.4g}"
    assert ax.figure.axes[1].get_ylabel() == "ndcg@20 (higher is better)"


def test_the_best_cell_has_a_frame(result):
    (frame,) = plot.grid(result, "ratio", "row_solver").patches
    best = result.best.parameters
    place = [1.0, 10.0].index(best["ratio"]), ["cg", "direct"].index(best["row_solver"])
    assert (frame.get_x() + 0.5, frame.get_y() + 0.5) == place
    from matplotlib.colors import to_rgba

    assert frame.get_edgecolor() == to_rgba(COLOURS[1])


def test_a_field_that_is_given_leaves_the_other_axis_to_the_first_of_the_rest(result):
    ax = plot.grid(result, y="n_factors")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("ratio", "n_factors")


def test_failed_trials_and_lower_scores_that_are_better(parts):
    score = Score(
        lambda model, _: np.nan if model.col_factors.shape[1] == 2 else 1.0,
        higher_is_better=False,
        name="cost",
    )
    fields = {"n_factors": [2, 6], "ratio": [1.0, 10.0]}
    ax = plot.grid(
        grid_search(SOLVER, Balanced(), parts.train, parts.validation, fields, score=score)
    )
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), [[np.nan, 1.0]] * 2)
    assert texts(ax.texts) == ["none", "1", "none", "1"]
    assert image.get_cmap().name == "viridis_r"


def test_the_default_trial_adds_no_row_to_the_grid(result):
    default = replace(result.default, parameters={"n_factors": 3, "ratio": 2.0})
    others = tuple(trial for trial in result if trial.number)
    ax = plot.grid(replace(result, trials=(default, *others)))
    assert texts(ax.get_xticklabels()) == ["2", "4", "6"]
    assert not ax.patches  # the best trial has no cell


def test_what_cannot_be_a_grid_is_refused(result, parts):
    with pytest.raises(InvalidInputError, match="x is 'rank': it must be a field that varies"):
        plot.grid(result, "rank")
    with pytest.raises(InvalidInputError, match="two different fields"):
        plot.grid(result, "ratio", "ratio")
    one = grid_search(SOLVER, Balanced(), parts.train, parts.validation, {"n_factors": [1, 2]})
    with pytest.raises(InvalidInputError, match=r"there are n_factors: result.plot\(\)"):
        plot.grid(one)
    with pytest.raises(InvalidInputError, match="result is a dict: give the SearchResult"):
        plot.grid({})


def test_numbers_that_differ_in_the_seventh_digit_have_cells_of_their_own():
    def trial(number, tol, k):
        parameters = {"tol": tol, "n_factors": k}
        return SimpleNamespace(number=number, parameters=parameters, score=float(number))

    axes = _Cells([trial(2, 1_000_000, 2), trial(1, 1_000_001, 2)], "tol", "n_factors")
    assert axes.xs == ["1e+06", "1000001"]
    assert axes.scores.tolist() == [[2.0, 1.0]]
