"""The pictures of models: fold-in, a map, recommendations."""

import numpy as np
import pytest
from matplotlib import pyplot

from twofold import L2, FactorModel, Objective, Pairings, evaluate, plot, split_pairs, split_rows
from twofold.exceptions import InvalidInputError, NotFittedError, UnknownIdError
from twofold.solvers import ALS


@pytest.fixture(scope="module")
def parts(playlists):
    return split_rows(playlists.pairings, validation=0.0, test=0.3, rng=0)


@pytest.fixture(scope="module")
def model(parts):
    return FactorModel(solver=ALS(n_factors=6, rng=0)).fit(parts.train)


@pytest.fixture(scope="module")
def evaluations(model, parts):
    split = split_pairs(parts.test, rng=0)
    metrics = ["recall@20", "coverage@20"]
    return {n: evaluate(model, split.limit_seen(n), metrics) for n in (3, 1, 30)}


def test_fold_in_draws_each_model_over_the_number_of_known_columns(evaluations):
    ax = plot.fold_in(evaluations)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("known columns of a row", "recall@20")
    assert [line.get_label() for line in ax.get_lines()] == ["model", "most popular"]
    for line, band in zip(ax.get_lines(), ax.collections, strict=True):
        name = line.get_label()
        expected = [[n, evaluations[n][name, "recall@20"]] for n in (1, 3, 30)]
        np.testing.assert_array_equal(line.get_xydata(), expected)
        ends = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
        for n, evaluation in evaluations.items():
            _, low, high = evaluation.interval("recall@20", name)
            assert {(n, low), (n, high)} <= ends
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "3", "30"]


def test_a_metric_of_the_whole_table_has_no_band(evaluations):
    ax = plot.fold_in(evaluations, "coverage@20")
    assert ax.get_ylabel() == "coverage@20"
    drawn = ax.get_lines()[0].get_ydata()
    assert drawn.tolist() == [evaluations[n]["coverage@20"] for n in (1, 3, 30)]
    assert all(
        np.isnan(path.vertices).all() for band in ax.collections for path in band.get_paths()
    )


def test_fold_in_refuses_what_it_cannot_draw(evaluations):
    for wrong, said in (
        ({}, "no mapping with a value"),
        ([1], "no mapping with a value"),
        ({-1: evaluations[1]}, "a number of known columns is -1"),
        ({1: 0.5}, r"evaluations\[1\] is a float: give the Evaluation"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            plot.fold_in(wrong)
    with pytest.raises(InvalidInputError, match="has no score 'ndcg@5' of 'model'"):
        plot.fold_in(evaluations, "ndcg@5")
    assert not pyplot.get_fignums()


def offsets(ax):
    return np.vstack([points.get_offsets() for points in ax.collections])


def test_the_map_is_that_of_the_directions_of_the_predictions(model):
    ax = plot.col_map(model)
    predicted = model.row_factors.astype(float) @ model.col_factors.T.astype(float)
    predicted = predicted[:, predicted.any(axis=0)]
    directions = (predicted / np.linalg.norm(predicted, axis=0)).T
    directions -= directions.mean(axis=0)
    left, sizes, _ = np.linalg.svd(directions, full_matrices=False)
    expected = left[:, :2] * sizes[:2]
    np.testing.assert_allclose(np.abs(offsets(ax)), np.abs(expected), atol=1e-5)
    share = sizes[:2] ** 2 / (sizes**2).sum()
    assert ax.get_xlabel() == f"first component ({share[0]:.0%} of the variance)"
    assert ax.get_ylabel() == f"second component ({share[1]:.0%})"
    assert ax.get_title() == f"{len(expected)} columns by their predictions"


def test_labels_are_those_of_the_most_popular_columns_and_do_not_overlap(model):
    names = {col: f"track {col}" for col in model.col_ids.tolist()}
    ax = plot.col_map(model, names, n_labels=8)
    assert len(ax.texts) == 8
    counts = np.bincount(model.pairings.matrix.indices)
    most = model.col_ids[np.argmax(counts)]
    assert ax.texts[0].get_text() == f"track {most}"
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for one in boxes for other in boxes if one is not other)
    assert not plot.col_map(model, n_labels=0).texts


def test_groups_have_colours_and_a_legend(model, playlists):
    ids = playlists.pairings.col_ids.tolist()
    groups = {col: f"taste {group}" for col, group in zip(ids, playlists.track_groups, strict=True)}
    del groups[model.col_ids.tolist()[0]]
    ax = plot.col_map(model, groups=groups)
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == ["taste 0", "taste 1", "taste 2", "taste 3"]
    sizes = [len(points.get_offsets()) for points in ax.collections]
    assert sizes[0] == 1  # without a group
    of_groups = [groups.get(col) for col in model.col_ids.tolist()]
    assert sizes[1:] == [of_groups.count(name) for name in shown]
    assert len({tuple(points.get_facecolor()[0]) for points in ax.collections}) == 5


def test_biases_are_not_on_the_map():
    objective = Objective(regularizer=L2(0.1), data="targets", biases=True)
    solver = ALS(n_factors=2, max_epochs=2, rng=0)
    rng = np.random.default_rng(0)
    ratings = Pairings.from_arrays(
        rng.integers(50, size=900), rng.integers(30, size=900), rng.random(900), duplicates="count"
    )
    model = FactorModel(objective, solver).fit(ratings)
    n_biases = model.objective.n_bias_columns
    assert n_biases == model.col_factors.shape[1] - 2
    ax = plot.col_map(model)
    shares = [int(text) for text in (ax.get_xlabel() + ax.get_ylabel()).replace("%", " ").replace(
        "(", " ").split() if text.isdecimal()]  # fmt: skip
    assert sum(shares) in (99, 100, 101)  # two factors have two components


def test_what_has_no_map_is_refused(playlists):
    with pytest.raises(InvalidInputError, match="model is a str: give a FactorModel"):
        plot.col_map("model")
    with pytest.raises(NotFittedError):
        plot.col_map(FactorModel())
    narrow = FactorModel(solver=ALS(n_factors=1, rng=0)).fit(playlists.pairings)
    with pytest.raises(InvalidInputError, match="the model has 1 factors"):
        plot.col_map(narrow)
    with pytest.raises(InvalidInputError, match="names is a list"):
        plot.col_map(narrow, ["a"])
    pairs = Pairings.from_arrays([0, 0, 1, 1], [0, 1, 0, 1])  # equal columns
    same = FactorModel(solver=ALS(n_factors=2, rng=0)).fit(pairs)
    with pytest.raises(InvalidInputError, match="all 2 columns are proportional"):
        plot.col_map(same)


def test_recommendations_are_bars_with_names_best_first(model):
    rows = model.row_ids[:3].tolist()
    ranking = model.recommend(rows, n=5)
    _, found = [*ranking][1]
    names = {found[0][0]: "x" * 60}
    ax = plot.recommendations(ranking, rows[1], names)
    assert ax.get_xlabel() == "prediction p · q"
    assert ax.get_title() == f"Recommended for row {rows[1]}"
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], [s for _, s in found])
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["x" * 39 + "…", *(str(col) for col, _ in found[1:])]
    assert ax.yaxis_inverted()
    assert [text.get_text() for text in ax.texts] == [f"{score:.3g}" for _, score in found]


def test_a_fallback_says_that_its_scores_are_counts(model):
    new = Pairings.from_arrays([900], [100_000])
    ax = plot.recommendations(model.recommend(new, n=3, fallback="popular"))
    assert ax.get_xlabel() == "training pairs of the column"
    assert ax.get_title() == "Most popular columns for row 900"
    assert ax.patches[0].get_width() == np.bincount(model.pairings.matrix.indices).max()


def test_a_new_row_without_an_id_has_none_in_the_title(model):
    ax = plot.recommendations(model.recommend_new(model.col_ids[:3], n=3))
    assert ax.get_title() == "Recommended"


def test_recommendations_that_do_not_exist_are_refused(model):
    ranking = model.recommend(model.row_ids[:2], n=3)
    with pytest.raises(UnknownIdError, match="row 12345 is not in the ranking"):
        plot.recommendations(ranking, 12345)
    with pytest.raises(InvalidInputError, match="row is a list"):
        plot.recommendations(ranking, [1])
    padded = model.recommend(Pairings.from_arrays([900], [100_000]), n=3)
    with pytest.raises(InvalidInputError, match="no recommendation for row 900"):
        plot.recommendations(padded)
    with pytest.raises(InvalidInputError, match="ranking is a dict: give the Ranking"):
        plot.recommendations({})
    with pytest.raises(InvalidInputError, match="names is a list"):
        plot.recommendations(ranking, names=["a"])
    with pytest.raises(InvalidInputError, match="the ranking has no row"):
        plot.recommendations(model.recommend(model.row_ids[:0], n=3))
