"""`evaluate` on workers: the numbers of one machine."""

import numpy as np
import pytest

import twofold
from twofold import FactorModel, Objective, Pairings, split_pairs, split_rows
from twofold.distributed import evaluate
from twofold.exceptions import InvalidInputError, LeakWarning
from twofold.model import Popularity
from twofold.solvers import ALS

METRICS = ["recall@5", "ndcg@20", "r-precision", "coverage@5", "novelty@5", "gini@5"]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr("twofold.evaluation.recommendations._MIN_ROWS", 7)
    monkeypatch.setattr("twofold.evaluation.recommendations._SCORES", 1)
    monkeypatch.setattr("twofold.evaluation.predictions._PAIRS", 50)


@pytest.fixture(scope="module")
def parts(playlists):
    train, _, new = split_rows(playlists.pairings, validation=0.0, test=0.3, rng=0)
    return FactorModel(solver=ALS(n_factors=4, max_epochs=2, rng=0)).fit(train), new


def check_same(found, expected):
    assert str(found) == str(expected)
    assert (found.scores, found.counts) == (expected.scores, expected.counts)
    for model, values in expected.per_row.items():
        assert found.per_row[model].keys() == values.keys()
        for name, array in values.items():
            assert found.per_row[model][name].tobytes() == array.tobytes(), (model, name)


@pytest.mark.parametrize("unknown", ["miss", "leave-out"])
def test_new_rows_are_judged_as_on_one_machine(unknown, parts, client):
    model, new = parts
    split = split_pairs(new, rng=0)
    models = {"own": model, "popular": Popularity().fit(model.pairings)}
    expected = twofold.evaluate(models, split, METRICS, unknown=unknown)
    check_same(evaluate(models, split, METRICS, unknown=unknown), expected)


def test_trained_rows_of_a_model_file_are_judged_as_on_one_machine(parts, client, tmp_path):
    model, _ = parts
    split = split_pairs(model.pairings, rng=0)
    own = FactorModel(solver=model.solver).fit(split.seen)
    own.save(tmp_path / "m.twofold")
    expected = twofold.evaluate(own, split, METRICS, rows="trained")
    for given in (tmp_path / "m.twofold", {"model": str(tmp_path / "m.twofold")}):
        check_same(evaluate(given, split, METRICS, rows="trained"), expected)
    solution = twofold.evaluate(own.solution, split, METRICS, rows="trained")
    check_same(evaluate(own.solution, split, METRICS, rows="trained"), solution)


@pytest.mark.parametrize("rows", ["fold-in", "trained"])
def test_errors_of_weighted_ratings_are_those_of_one_machine(rows, client):
    rng = np.random.default_rng(0)
    rows_and_cols = np.divmod(rng.permutation(600)[:400], 20)
    numbers = rng.integers(1, 6, 400), rng.random(400)
    ratings = Pairings.from_arrays(*rows_and_cols, numbers[0], weights=numbers[1])
    split = split_pairs(ratings, rng=0)
    objective = Objective(data="targets", biases=True)
    model = FactorModel(objective, ALS(n_factors=3, max_epochs=2, rng=0)).fit(split.seen)
    expected = twofold.evaluate(model, split, ["rmse", "mae"], rows=rows)
    check_same(evaluate(model, split, ["rmse", "mae"], rows=rows), expected)


def test_errors_and_warnings_are_those_of_one_machine(parts, client):
    model, new = parts
    split = split_pairs(new, rng=0)
    with pytest.raises(InvalidInputError, match="unknown is 'x'"):
        evaluate(model, split, unknown="x")
    with pytest.warns(LeakWarning, match="held-out pairs are also given") as caught:
        evaluate(model, twofold.splits.PairSplit(split.heldout, split.heldout), baseline=False)
    assert caught[0].filename == __file__
