import logging
import math
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from twofold import Balanced, FactorModel, split_rows
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS
from twofold.tuning import Grid, Halving, Optuna, Proposal, Random, Score, Strategy, search
from twofold.tuning.space import dimensions

LISTS = {"a": [1, 2, 3], "b": ["x", "y"]}


def kind(strategy):
    """Return the name of a strategy's class."""
    return type(strategy).__name__


def needs_optuna(strategy):
    """Skip the test of a strategy whose package is not installed."""
    if isinstance(strategy, Optuna):
        pytest.importorskip("optuna")


@dataclass
class Finished:
    number: int
    score: float


def run(strategy, score, defaults=None, max_epochs=15):
    """Run a strategy on a function of the parameters and the epochs; return all proposals."""
    defaults = defaults or {}
    proposals = strategy.proposals(defaults, max_epochs, lambda trial: trial.score)
    made, proposal = [], next(proposals)
    while True:
        made.append(proposal)
        value = score(proposal.parameters or defaults, (proposal.epochs or (max_epochs,))[-1])
        try:
            proposal = proposals.send(Finished(proposal.number, value))
        except StopIteration:
            return made


@pytest.mark.parametrize(
    "strategy", [Grid(LISTS), Random(LISTS, 3), Halving(LISTS), Optuna(LISTS, 3)], ids=kind
)
def test_every_strategy_begins_with_the_defaults(strategy):
    needs_optuna(strategy)
    first, second, *_ = run(strategy, lambda *_: 1.0)
    assert (first.number, first.parameters) == (0, {})
    assert second.number == 1


def test_random_draws_from_lists_are_different_combinations():
    drawn = [tuple(each.values()) for each in Random(LISTS, n_trials=6).draws()]
    assert len(set(drawn)) == 6
    assert len([*Random(LISTS, n_trials=100).draws()]) == 6


@pytest.mark.parametrize("space", [LISTS, {"a": (0.0, 1.0), "b": (1, 9)}])
def test_more_random_trials_begin_with_those_of_fewer(space):
    few, many = ([*Random(space, n, rng=5).draws()] for n in (3, 6))
    assert many[:3] == few
    assert [*Random(space, 3, rng=6).draws()] != few


@given(
    low=st.integers(-50, 50), span=st.integers(1, 60),
    quantile=st.floats(0, 1), log=st.booleans(), whole=st.booleans(),
)  # fmt: skip
def test_values_of_a_range_are_inside_it_and_of_its_type(low, span, quantile, log, whole):
    low = abs(low) + 1 if log else low
    limits = (low, low + span) if whole else (float(low), float(low + span))
    value = dimensions({"x": (*limits, "log") if log else limits})["x"].at(quantile)
    assert limits[0] <= value <= limits[1]
    assert type(value) is (int if whole else float)


def test_whole_ranges_have_both_ends_with_equal_probability():
    dimension = dimensions({"x": (3, 6)})["x"]
    counts = Counter(dimension.at(quantile) for quantile in np.linspace(0, 1, 4001))
    assert sorted(counts) == [3, 4, 5, 6]
    assert max(counts.values()) - min(counts.values()) <= 1


def test_log_ranges_and_distributions_of_scipy_agree():
    own, scipy = dimensions({"a": (1e-3, 10.0, "log"), "b": stats.loguniform(1e-3, 10.0)}).values()
    for quantile in (0.0, 0.25, 0.5, 0.9):
        assert own.at(quantile) == pytest.approx(scipy.at(quantile))
    assert type(dimensions({"n": stats.randint(4, 9)})["n"].at(0.5)) is int
    assert math.isfinite(dimensions({"x": stats.norm()})["x"].at(0.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3, 1), "low < high"),
        ((1, 2, "lin"), "low < high"),
        ((1,), "low < high"),
        (("a", "b"), "low < high"),
        ((0.0, 1.0, "log"), "low > 0"),
        ("abc", "give a list"),
        ([], "empty"),
    ],
)
def test_a_space_that_cannot_be_used(given, message):
    with pytest.raises(InvalidInputError, match=message):
        Random({"x": given}).describe()


def test_wrong_numbers_of_a_strategy():
    for make, message in (
        (lambda: Random({}, 0), "n_trials is 0"),
        (lambda: Optuna({}, 0), "n_trials is 0"),
        (lambda: Halving({}, factor=1), "factor is 1"),
        (lambda: Halving({"max_epochs": [1]}), "max_epochs cannot vary"),
        (lambda: Halving({"a": (1, 2)}).candidates(), "give n_trials"),
        (lambda: Halving({}, min_epochs=9).budgets(5), "min_epochs is 9"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            make()


def test_halving_continues_the_best_third_and_the_defaults():
    halving = Halving({"a": list(range(1, 10))}, min_epochs=1)
    made = run(halving, lambda parameters, epochs: parameters["a"], {"a": 99}, max_epochs=9)
    steps = [[each.parameters.get("a") for each in made if each.rung == step] for step in range(3)]
    assert steps == [[None, *range(1, 10)], [None, 1, 2, 3], [None, 1]]
    assert {each.epochs for each in made} == {(1,), (1, 3), (1, 3, 9)}
    assert len(made) == halving.n_runs(9)


def test_halving_does_not_continue_what_failed():
    made = run(
        Halving({"a": [1, 2, 3, 4]}, factor=2),
        lambda parameters, epochs: math.inf if parameters["a"] > 1 else 1.0,
        {"a": 9}, max_epochs=2,
    )  # fmt: skip
    assert [each.parameters for each in made if each.rung] == [{"a": 1}]


@settings(max_examples=30)
@given(n=st.integers(1, 30), factor=st.integers(2, 4), most=st.integers(1, 40))
def test_halving_keeps_the_factors_that_it_continues(n, factor, most):
    halving = Halving({"a": list(range(n))}, factor=factor)
    rng = np.random.default_rng(n)
    made = run(halving, lambda *_: rng.random(), {"a": -1}, max_epochs=most)
    available = set()
    for proposal in made:
        available &= proposal.kept
        assert proposal.rung == 0 or proposal.number in available
        assert proposal.number in proposal.kept
        available.add(proposal.number)
    assert len(made) == halving.n_runs(most)
    assert made[-1].epochs[-1] == most


def test_halving_ends_with_what_uninterrupted_training_gives(playlists):
    parts = split_rows(playlists.pairings, rng=0)
    solver = ALS(n_factors=3, max_epochs=7, rng=0)
    strategy = Halving({"ratio": [1.0, 5.0, 40.0]}, min_epochs=2)
    result = search(solver, Balanced(), parts.train, parts.validation, strategy)
    assert {trial.epochs for trial in result} == {2, 7}
    assert result.best.epochs == 7
    model = FactorModel(result.best_objective, result.best_solver).fit(parts.train)
    assert result.best.train_total == model.solution.objective_value


def test_optuna_learns_from_the_scores_and_says_nothing(caplog, capsys):
    pytest.importorskip("optuna")
    strategy = Optuna({"x": (0.0, 1.0), "kind": ["bad", "good"]}, n_trials=40, rng=0)

    def cost(parameters, epochs):
        return (parameters["x"] - 0.3) ** 2 + (parameters["kind"] == "bad")

    with caplog.at_level(logging.INFO):
        made = run(strategy, cost, {"x": 1.0, "kind": "bad"})
    costs = [cost(each.parameters, 1) for each in made[1:]]
    assert np.mean(costs[-15:]) < 0.5 * np.mean(costs[:10])  # the first 10 are random
    assert not caplog.records
    assert capsys.readouterr() == ("", "")


def test_optuna_continues_after_failed_trials_and_takes_another_sampler():
    optuna = pytest.importorskip("optuna")
    sampler = optuna.samplers.RandomSampler(seed=3)
    made = run(Optuna(LISTS, 4, sampler=sampler), lambda *_: math.inf, {"a": 9, "b": "z"})
    assert len(made) == 5
    assert all(each.parameters["a"] in LISTS["a"] for each in made[1:])


def test_optuna_that_is_not_installed_is_named_before_anything_is_trained(monkeypatch, playlists):
    monkeypatch.setitem(sys.modules, "optuna", None)
    trained = []
    score = Score(lambda *_: trained.append(1) or 1.0, higher_is_better=True)
    pairings = playlists.pairings
    with pytest.raises(InvalidInputError, match=r"twofold\[optuna\]"):
        search(ALS(rng=0), Balanced(), pairings, pairings, Optuna({"n_factors": [2]}), score=score)
    assert not trained


@dataclass(frozen=True)
class Doubling(Strategy):
    """Double a field as long as the score gets better."""

    space: dict
    offset: int = 0

    def proposals(self, defaults, max_epochs, cost):
        last = cost((yield Proposal(0, {})))
        for number in range(1, self.n_runs(max_epochs)):
            (name,) = self.space
            found = cost((yield Proposal(number, {name: 2**number + self.offset})))
            if found >= last:
                return
            last = found

    def n_runs(self, max_epochs):
        return 6

    def describe(self):
        return self._described()


def test_a_strategy_of_ones_own(playlists, tmp_path):
    parts = split_rows(playlists.pairings, rng=0)
    score = Score(lambda model, _: -abs(model.col_factors.shape[1] - 6.0), higher_is_better=True)
    solver = ALS(n_factors=1, max_epochs=1, rng=0)
    stored = {"score": score, "storage": tmp_path / "a.db", "study": "a"}
    arguments = (solver, Balanced(), parts.train, parts.validation)
    result = search(*arguments, Doubling({"n_factors": [1]}), **stored)
    assert [trial.parameters["n_factors"] for trial in result] == [4, 8, 2, 1]
    with pytest.raises(InvalidInputError, match="trial 1 of study='a' has the parameters"):
        search(*arguments, Doubling({"n_factors": [1]}, offset=1), **stored)
