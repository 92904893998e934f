"""``twofold tune``: strategies, scores, storage and the model it writes."""

import json
import sqlite3
from contextlib import closing

import pytest

from twofold import Balanced, FactorModel, Objective, split_rows
from twofold.io import read_sql
from twofold.solvers import ALS
from twofold.tuning import grid_search

QUICK = ("--n-factors", 4, "--max-epochs", 3, "--quiet")


@pytest.fixture
def tune(twofold, url):
    """Run ``twofold tune`` on the playlists of the tests."""
    return lambda *words: twofold("tune", url, *words, *QUICK)


def test_the_table_is_that_of_grid_search_with_the_best_first(tune, url):
    words = ("--grid", "n-factors=4,8", "--grid", "ratio=2,15")
    values = json.loads(tune(*words, "--json").out)
    parts = split_rows(read_sql(url), rng=0)
    expected = grid_search(
        ALS(n_factors=4, max_epochs=3, rng=0), Balanced(), parts.train, parts.validation,
        {"n_factors": [4, 8], "ratio": [2.0, 15.0]},
    )  # fmt: skip
    found = [(trial["number"], trial["n_factors"], trial["score"]) for trial in values["trials"]]
    assert found == [
        (trial.number, trial.parameters["n_factors"], trial.score) for trial in expected
    ]
    assert (values["score"], values["higher_is_better"]) == ("ndcg@20", True)
    assert (values["best"], values["model"]) == (expected.best.number, None)
    shown = tune(*words).out.splitlines()
    assert shown[0].split()[:4] == ["trial", "n_factors", "ratio", "ndcg@20"]
    best_first = sorted(expected, key=lambda trial: -trial.score)
    labels = [str(trial.number or "default") for trial in best_first]
    assert [line.split()[0] for line in shown[1:-1]] == labels
    best = expected.best.parameters
    assert shown[-1].startswith(f"Best: n_factors={best['n_factors']}, ratio={best['ratio']}")


def test_diverged_and_failed_trials_are_kept(tune):
    words = ("--solver", "gd", "--grid", "learning_rate=1e-4,1e4,-1")
    trials = json.loads(tune(*words, "--preset", "notebook", "--json").out)["trials"]
    assert len(trials) == 4
    assert [trial["status"] for trial in trials[2:]] == ["diverged", "failed"]
    assert trials[2]["score"] is trials[3]["score"] is None


def test_no_success_is_an_error(tune):
    result = tune("--solver", "gd", "--learning-rate", 1e5, "--grid", "learning-rate=1e6")
    assert result.code == 2
    assert "no trial succeeded" in result.err


def test_names_and_values_of_a_grid_are_those_of_options(tune):
    grid = ("--grid", "n-factors=2", "--grid", "weight=0.5,1", "--grid", "nonnegative=true")
    trials = [trial for trial in json.loads(tune(*grid, "--json").out)["trials"] if trial["number"]]
    assert {trial["regularizer.weight"] for trial in trials} == {0.5, 1.0}
    assert {(trial["n_factors"], trial["nonnegative"]) for trial in trials} == {(2, True)}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), ["--grid"]),
        (("--grid", "n_factor=3"), ["'n_factor'", "n-factors"]),
        (("--grid", "n_factors"), ["NAME=V1,V2"]),
        (("--grid", "n-factors=2,many"), ["--n-factors many", "whole number"]),
        (("--grid", "row-solver=fast"), ["--row-solver fast", "auto"]),
        (("--grid", "tol=0", "--grid", "tol=1"), ["--grid tol is given twice"]),
        (("--grid", "ratio=1:9"), ["--grid ratio=1:9", "--strategy random"]),
        (("--grid", "ratio=9:1", "--strategy", "random"), ["--grid ratio=9:1", "LOW"]),
        (("--grid", "ratio=0:1:log", "--strategy", "random"), ["--grid ratio=0:1:log", "above 0"]),
        (("--grid", "ratio=1:9:lin", "--strategy", "random"), ["--grid ratio=1:9:lin", ":log"]),
        (("--grid", "ratio=1", "--unobserved-weight", "1"), ["no 'ratio'"]),
        (("--grid", "ratio=1", "--score", "best"), ["--score is 'best'", "recall@k"]),
        (("--grid", "ratio=1", "--n-trials", "3"), ["--n-trials is for --strategy"]),
        (("--grid", "ratio=1", "--strategy", "random", "--n-trials", "0"), ["--n-trials is 0"]),
        (("--grid", "ratio=1:2", "--strategy", "halving"), ["'ratio'", "give --n-trials"]),
        (("--grid", "max-epochs=1", "--strategy", "halving"), ["--max-epochs cannot vary"]),
        (("--grid", "ratio=1", "--early-stopping", "0"), ["--early-stopping is 0"]),
        (
            ("--grid", "ratio=1", "--strategy", "halving", "--early-stopping", "2"),
            ["--early-stopping is not for --strategy halving"],
        ),
        (
            ("--grid", "ratio=1", "--strategy", "halving", "--warm-start"),
            ["--warm-start is not for --strategy halving"],
        ),
        (("--grid", "ratio=1", "--storage", "a.db", "--rng", "none"), ["--rng is None", "--rng 0"]),
        (("--grid", "ratio=1", "--storage", "a.db", "--warm-start"), ["--warm-start needs"]),
        (("--grid", "ratio=1", "-o", "none/a.twofold"), ["'none'"]),
    ],
)
def test_errors_name_options_as_typed(words, parts, tune, tmp_path):
    tune(*words).failed(*parts)
    assert not list(tmp_path.iterdir())


def test_what_is_said_of_values_of_different_objectives(tune):
    grid = ("--grid", "unobserved-weight=0,0.1", "--preset", "notebook", "--score", "total")
    assert "--score ndcg@20" in tune(*grid).out
    by_recall = tune(*grid[:-1], "recall@20")
    assert "--score" not in by_recall.out
    assert "Best: unobserved_weight=0.1" in by_recall.out
    own = tune("--grid", "n-factors=2", "--score", "total")
    assert "--score" not in own.out


@pytest.mark.parametrize("strategy", ["random", "halving", "optuna"])
def test_strategies_take_ranges(strategy, tune):
    if strategy == "optuna":
        pytest.importorskip("optuna")
    words = ("--strategy", strategy, "--n-trials", 3, "--grid", "ratio=1:100:log")
    values = json.loads(tune(*words, "--grid", "n-factors=2:6", "--json").out)
    trials = values["trials"]
    assert sorted(trial["number"] for trial in trials) == [0, 1, 2, 3]
    assert all(1 <= trial["ratio"] <= 100 and 2 <= trial["n_factors"] <= 6 for trial in trials)


def test_the_best_model_is_trained_on_training_and_validation_playlists(tune, url, tmp_path):
    words = ("--preset", "notebook", "--grid", "weight=0.001,1", "--score", "total")
    result = tune(*words, "-o", "best.twofold", "--json")
    assert json.loads(result.out)["model"] == "best.twofold"
    model = FactorModel.load(tmp_path / "best.twofold")
    parts = split_rows(read_sql(url), rng=0)
    assert model.row_ids.size == parts.train.shape[0] + parts.validation.shape[0]
    assert model.objective == Objective.notebook(0.001)


def test_picture_of_the_search(tune, tmp_path):
    pytest.importorskip("matplotlib")
    done = tune("--grid", "ratio=5,15", "--plot", tmp_path / "search.svg", "--json")
    assert json.loads(done.out)["plot"] == str(tmp_path / "search.svg")
    assert "ratio" in (tmp_path / "search.svg").read_text()
    assert json.loads(tune("--grid", "ratio=5,15", "--json").out)["plot"] is None
    tune("--grid", "ratio=5,15", "--plot", "search.txt").failed("ends in '.txt'")


def test_early_stopping_gives_the_best_number_of_epochs(tune):
    words = ("--grid", "ratio=5", "--early-stopping", 1, "--json")
    values = json.loads(tune(*words, "--max-epochs", 12).out)
    best = values["trials"][0]
    assert values["solver"]["max_epochs"] == best["epochs"]


def test_the_same_command_continues_a_stored_search(tune, tmp_path):
    words = ("--grid", "ratio=5,6", "--storage", "a.db", "--study", "s")
    first, second = (json.loads(tune(*words, "--json").out) for _ in range(2))
    assert first == second
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        rows = connection.execute("SELECT study, number FROM tuning_trials ORDER BY number")
        assert rows.fetchall() == [("s", 0), ("s", 1), ("s", 2)]
    tune(*words, "--tol", 0.1).failed("--study s was made with other values of solver")


def test_weights_of_pairs_are_used(twofold, tmp_path):
    lines = [f"{row},{(row * 7 + i) % 20},{1 + i}" for row in range(40) for i in range(8)]
    (tmp_path / "a.csv").write_text("pid,tid,w\n" + "\n".join(lines) + "\n")
    words = ("tune", "a.csv", "--grid", "ratio=5", *QUICK, "--json")
    with_weights, without = (
        json.loads(twofold(*words, *more).out)["trials"][-1]["train_total"]
        for more in (("--weight-column", "w"), ())
    )
    assert with_weights > 2 * without
