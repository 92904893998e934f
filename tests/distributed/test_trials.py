"""Searches whose trials are run by workers: the trials of one machine."""

import os
from dataclasses import replace

import pytest

from twofold import Balanced, Objective, split_rows
from twofold.distributed import search
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS
from twofold.tuning import Grid, Halving, Optuna, Random, Score
from twofold.tuning import search as search_here

SOLVER = ALS(n_factors=3, max_epochs=4, rng=0)
SPACE = {"ratio": [1.0, 5.0, 40.0], "n_factors": [2, 3]}
STRATEGIES = {
    "grid": Grid(SPACE),
    "random": Random({"ratio": (1.0, 100.0, "log")}, n_trials=3),
    "halving": Halving(SPACE, factor=2),
    "optuna": Optuna(SPACE, n_trials=2),
}


@pytest.fixture(scope="module")
def parts(playlists):
    split = split_rows(playlists.pairings, rng=0)
    return split.train, split.validation


def trials_of(result):
    finished = result[0].finished
    assert result.complete
    return [replace(trial, seconds=0.0, finished=finished) for trial in result]


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_trials_are_those_of_one_machine(name, parts, client):
    strategy = STRATEGIES[name]
    if name == "optuna":
        pytest.importorskip("optuna")
    expected = search_here(SOLVER, Balanced(), *parts, strategy)
    found = search(SOLVER, Balanced(), *parts, strategy)
    shared = trials_of(expected)[0].finished
    same = [[replace(t, finished=shared) for t in trials_of(r)] for r in (found, expected)]
    assert same[0] == same[1]
    factors = [result.refit().col_factors.tobytes() for result in (found, expected)]
    assert factors[0] == factors[1]


def test_early_stopping_and_scores_of_the_user(parts, client):
    def inverse(model, rows):
        return -model.value(rows).total

    options = {"score": Score(inverse, higher_is_better=True), "patience": 1}
    solver = replace(SOLVER, max_epochs=9)
    expected = search_here(solver, Balanced(), *parts, STRATEGIES["grid"], **options)
    found = search(solver, Balanced(), *parts, STRATEGIES["grid"], **options)
    rows = [(t.number, t.score, t.epochs, t.status) for t in expected]
    assert [(t.number, t.score, t.epochs, t.status) for t in found] == rows


def test_a_stored_search_continues_on_a_cluster_and_on_one_machine(parts, client, tmp_path):
    options = {"storage": tmp_path / "trials.db", "study": "grid"}
    few, seen = Random(SPACE, n_trials=2), []
    search_here(SOLVER, Balanced(), *parts, few, **options)
    seen = []
    more = replace(few, n_trials=4)
    found = search(SOLVER, Balanced(), *parts, more, callback=seen.append, **options)
    assert {trial.number for trial in seen} == {*range(5)}
    again = search_here(SOLVER, Balanced(), *parts, more, **options)
    assert [(t.number, t.score) for t in again] == [(t.number, t.score) for t in found]
    assert [t.seconds for t in again] == [t.seconds for t in found]  # all of them were stored


class Ending:
    """A score that ends the worker for some models."""

    def __call__(self, model, rows):
        if model.col_factors.shape[1] == 2:
            os._exit(9)
        return 1.0


def test_a_trial_that_ends_its_workers_is_a_failed_one(parts, client):
    score = Score(Ending(), higher_is_better=True)
    found = search(SOLVER, Objective(), *parts, Grid({"n_factors": [4, 2]}), score=score)
    assert [(t.parameters["n_factors"], t.status == "failed") for t in found] == [
        (3, False), (4, False), (2, True)
    ]  # fmt: skip
    assert found[2].message.startswith("ClusterError: all workers that were given one task ended")


def test_what_depends_on_the_order_is_refused(parts, client):
    with pytest.raises(InvalidInputError, match="leave it out on a cluster"):
        search(SOLVER, Balanced(), *parts, Grid(SPACE), warm_start=True)
    with pytest.raises(InvalidInputError, match="is not a field"):
        search(SOLVER, Balanced(), *parts, Grid({"x": [1]}))
