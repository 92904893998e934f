import json
import os
import signal
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from scipy import stats

from twofold import L2, Balanced, Objective, Pairings, split_rows
from twofold.exceptions import DatabaseReadError, InvalidInputError
from twofold.solvers import ALS
from twofold.tuning import Grid, Halving, Optuna, Random, Score, grid_search, search

SOLVER = ALS(n_factors=2, max_epochs=3, rng=0)
GRID = Grid({"ratio": [1.0, 5.0, 40.0], "n_factors": [2, 3]})
RANGES = {"ratio": (1.0, 100.0, "log"), "n_factors": [2, 3, 4]}
TABLE = (
    "SELECT study, number, rung, parameters, metric, score, train_total, epochs, status, message"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture(scope="module")
def parts(playlists):
    return split_rows(playlists.pairings, rng=0)


def table(path):
    """Return the stored trials without their times."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"{TABLE} FROM tuning_trials ORDER BY study, rung, number")
        return rows.fetchall()


def run(parts, path, strategy=GRID, solver=SOLVER, **options):
    given = {"storage": path, "study": "a"} | options
    return search(solver, Balanced(), parts.train, parts.validation, strategy, **given)


def in_a_fork(function):
    """Call a function in a forked process, and return the signal that ended it."""
    child = os.fork()
    if not child:
        try:
            function()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def score_of(model, rows):
    return float(model.value(rows).loss)


def score_that_kills_at(n):
    """Return a score that ends the process in the n-th trial that this process runs."""
    calls = []

    def score(model, rows):
        calls.append(None)
        if len(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return score_of(model, rows)

    return Score(score, higher_is_better=False, name="loss of the rows")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    "strategy",
    [GRID, Random(RANGES, 6), Halving(RANGES, 6, min_epochs=1), Optuna(RANGES, 13)],
    ids=lambda strategy: type(strategy).__name__,
)
def test_a_search_that_was_killed_ends_with_the_table_of_one_left_alone(strategy, parts, tmp_path):
    if isinstance(strategy, Optuna):
        pytest.importorskip("optuna")
    killed, alone = tmp_path / "killed.db", tmp_path / "alone.db"
    expected = run(parts, alone, strategy, score=score_that_kills_at(0))
    stored = []
    for n in (1, 3, 2):
        ended_by = in_a_fork(lambda n=n: run(parts, killed, strategy, score=score_that_kills_at(n)))
        assert ended_by == signal.SIGKILL
        stored.append(len(table(killed)))
    assert stored == [0, 2, 3]
    result = run(parts, killed, strategy, score=score_that_kills_at(0))
    assert table(killed) == table(alone)
    assert [
        replace(a, seconds=0, finished=b.finished) for a, b in zip(result, expected, strict=True)
    ] == [replace(b, seconds=0) for b in expected]


def test_every_trial_is_a_row_also_one_that_failed(parts, tmp_path):
    path = tmp_path / "a.db"
    result = run(parts, path, Grid({"tol": [-1.0, 0.5]}), score="recall@10")
    rows = {row[1]: row for row in table(path)}
    assert len(rows) == 3
    for trial in result:
        study, _, rung, parameters, metric, score, total, epochs, status, message = rows[
            trial.number
        ]
        assert (study, rung, metric) == ("a", 0, "recall@10")
        assert json.loads(parameters) == trial.parameters
        assert (epochs, status, message) == (trial.epochs, trial.status, trial.message)
        if trial.status == "failed":
            assert score is total is None
            assert "tol" in message
        else:
            assert (score, total) == (trial.score, trial.train_total)


def test_stored_trials_are_not_run_again_and_keep_their_times(parts, tmp_path):
    first = run(parts, tmp_path / "a.db")
    second = run(parts, tmp_path / "a.db")
    assert second.trials == first.trials


def test_an_interrupted_search_is_continued(parts, tmp_path):
    def interrupt(trial):
        if trial.number == 1:
            raise KeyboardInterrupt

    path = tmp_path / "a.db"
    assert not run(parts, path, callback=interrupt).complete
    assert len(table(path)) == 2
    assert run(parts, path).complete
    assert len(table(path)) == 7


@pytest.mark.parametrize("kind", [Random, Optuna])
def test_a_stored_search_is_continued_with_more_trials(kind, parts, tmp_path):
    if kind is Optuna:
        pytest.importorskip("optuna")
    few = run(parts, tmp_path / "a.db", kind(RANGES, 3))
    more = run(parts, tmp_path / "a.db", kind(RANGES, 5))
    assert {trial.number: trial for trial in few}.items() <= {t.number: t for t in more}.items()
    run(parts, tmp_path / "b.db", kind(RANGES, 5))
    assert table(tmp_path / "a.db") == table(tmp_path / "b.db")


def test_another_search_of_the_same_name_is_refused(parts, tmp_path):
    path = tmp_path / "a.db"
    run(parts, path)
    other = parts._replace(train=parts.train.take_rows(np.arange(1, 100)))
    shuffled = Pairings(parts.train.matrix, parts.train.row_ids[::-1].copy(), parts.train.col_ids)
    for words, changed in (
        ("data", lambda: run(other, path)),
        ("data", lambda: run(parts._replace(train=shuffled), path)),
        ("solver", lambda: run(parts, path, solver=replace(SOLVER, max_epochs=4))),
        ("solver", lambda: run(parts, path, solver=replace(SOLVER, rng=1))),
        ("strategy", lambda: run(parts, path, Grid({"ratio": [1.0]}))),
        ("strategy", lambda: run(parts, path, Random(GRID.space))),
        ("score, patience", lambda: run(parts, path, score="loss", patience=1)),
        ("objective", lambda: grid_search(
            SOLVER, Balanced(2.0), parts.train, parts.validation, GRID.space, storage=path,
            study="a",
        )),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=f"'a' was made with other values of {words}:"):
            changed()
    assert run(parts, path, solver=replace(SOLVER, n_threads=1, progress=True)).complete
    assert run(parts, path, Grid({"ratio": [1.0]}), study="b").complete
    assert {row[0] for row in table(path)} == {"a", "b"}


def test_whole_regularizers_are_stored_by_their_fields(parts, tmp_path):
    path = tmp_path / "a.db"
    options = {"storage": path, "study": "a"}
    grid = {"regularizer": [L2(0.5), L2(0.5, 1.0)]}
    for _ in range(2):
        grid_search(SOLVER, Objective(), parts.train, parts.validation, grid, **options)
    assert json.loads(table(path)[1][3]) == {
        "regularizer": {
            "class": "L2",
            "weight": 0.5,
            "exponent": 0.0,
            "row_center": None,
            "col_center": None,
        }
    }


def test_a_random_search_of_a_distribution_is_continued(parts, tmp_path):
    for n_trials in (1, 2):
        space = {"ratio": stats.loguniform(0.1, 10.0)}
        run(parts, tmp_path / "a.db", Random(space, n_trials=n_trials))
    assert len(table(tmp_path / "a.db")) == 3
    with pytest.raises(InvalidInputError, match="was made with other values of"):
        run(parts, tmp_path / "a.db", Random({"ratio": stats.loguniform(0.1, 9.0)}, n_trials=2))


def test_pairs_with_ids_of_text_are_known_again(parts, tmp_path):
    def with_texts(part):
        return Pairings(part.matrix, part.row_ids.astype(str), part.col_ids.astype(str))

    train, validation = with_texts(parts.train), with_texts(parts.validation)
    stored = {"storage": tmp_path / "a.db", "study": "a"}
    for _ in range(2):
        grid_search(SOLVER, Balanced(), train, validation, {"ratio": [1.0]}, **stored)
    assert len(table(tmp_path / "a.db")) == 2
    with pytest.raises(InvalidInputError, match="was made with other values of data"):
        grid_search(SOLVER, Balanced(), parts.train, parts.validation, {"ratio": [1.0]}, **stored)


@pytest.mark.parametrize("kind", [str, lambda path: path, lambda path: f"sqlite:///{path}"])
def test_a_path_and_a_url_are_the_same_storage(kind, parts, tmp_path):
    run(parts, kind(tmp_path / "a.db"), Grid({}))
    assert len(table(tmp_path / "a.db")) == 1


def test_an_engine_is_a_storage_and_memory_is_none(parts, tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    run(parts, engine, Grid({}))
    engine.dispose()
    assert len(table(tmp_path / "a.db")) == 1
    with pytest.raises(InvalidInputError, match="in memory"):
        run(parts, "sqlite://", Grid({}))
    with pytest.raises(DatabaseReadError, match="no folder"):
        run(parts, tmp_path / "none" / "a.db", Grid({}))


def test_a_stored_search_needs_a_seed(parts, tmp_path):
    with pytest.raises(InvalidInputError, match="rng is None"):
        run(parts, tmp_path / "a.db", solver=replace(SOLVER, rng=None))
    assert not list(tmp_path.iterdir())


def test_a_postgresql_database_stores_trials(parts, postgres):
    first, second = (run(parts, postgres, Grid({"tol": [-1.0, 0.5]})) for _ in range(2))
    assert str(first.trials) == str(second.trials)  # as nan is not equal to itself
