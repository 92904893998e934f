import numpy as np
import pytest

from twofold import (
    L2,
    Balanced,
    FactorModel,
    HuberLoss,
    Objective,
    Pairings,
    SquaredLoss,
    evaluate,
    split_pairs,
    split_rows,
)
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS, GD
from twofold.tuning import Grid, Halving, Random, Score, Trial, grid_search, search
from twofold.tuning.searches import prepare

SOLVER = ALS(n_factors=3, max_epochs=3, rng=0)


def n_factors_of(model, rows):
    return model.col_factors.shape[1]


@pytest.fixture(scope="module")
def parts(playlists):
    return split_rows(playlists.pairings, rng=0)


@pytest.fixture(scope="module")
def with_unknown():
    """Rows to train on and validation rows, some of whose tracks occur in these only."""
    rng = np.random.default_rng(3)
    train = Pairings.from_arrays(np.repeat(np.arange(40), 6), rng.integers(0, 30, 240))
    validation = Pairings.from_arrays(np.repeat(np.arange(100, 110), 8), rng.integers(20, 45, 80))
    assert np.setdiff1d(validation.col_ids, train.col_ids).size > 5
    return train, validation


def test_every_combination_is_trained_and_the_best_comes_first(parts):
    grid = {"n_factors": [2, 4], "regularizer.weight": [0.1, 1.0], "unobserved_weight": [0.0, 0.2]}
    result = grid_search(SOLVER, Objective(), parts.train, parts.validation, grid)
    assert result.complete
    assert sorted(trial.number for trial in result) == list(range(9))
    assert len({tuple(trial.parameters.items()) for trial in result}) == 9
    scores = [trial.score for trial in result]
    assert scores == sorted(scores, reverse=True)
    assert result.best is result[0]


def test_trial_0_is_the_solver_and_the_objective_as_given(parts):
    given = Balanced(ratio=7.0)
    grid = {"ratio": [7.0, 20.0], "regularizer.exponent": [1.0]}
    result = grid_search(SOLVER, given, parts.train, parts.validation, grid)
    assert result.default.parameters == {"ratio": 7.0, "regularizer.exponent": 1.0}
    assert len(result) == 2  # the combination of the defaults is not trained again
    model = FactorModel(given, SOLVER).fit(parts.train)
    split = split_pairs(parts.validation, fraction=0.2, rng=0)
    expected = evaluate(model, split, ["ndcg@20"], baseline=False)["ndcg@20"]
    assert result.default.score == expected
    assert result.default.train_total == model.solution.objective_value


def test_a_field_of_balanced_is_changed_before_it_is_resolved_and_one_of_objective_after(parts):
    grid = {
        "ratio": [2.0],
        "regularizer.weight": [0.4],
        "n_factors": [5],
        "unobserved": ["missing"],
    }
    result = grid_search(SOLVER, Balanced(), parts.train, parts.validation, grid, score="total")
    trial = next(trial for trial in result if trial.number == 1)
    train = parts.train
    expected = Objective(
        regularizer=L2(0.4, exponent=1.0),
        unobserved_weight=2.0 * train.n_pairs / (train.shape[0] * train.shape[1]),
        unobserved="missing",
    )
    model = FactorModel(expected, ALS(n_factors=5, max_epochs=3, rng=0)).fit(train)
    assert trial.score == model.value(parts.validation).total


@pytest.mark.parametrize("name", ["total", "loss"])
def test_the_validation_error_is_the_formula_without_unseen_tracks(name, with_unknown):
    train, validation = with_unknown
    solver = ALS(n_factors=4, max_epochs=5, rng=1, dtype="float64")
    grid = {"regularizer.weight": [0.3]}
    result = grid_search(solver, Objective.notebook(), train, validation, grid, score=name)
    trial = next(trial for trial in result if trial.number == 1)
    Q = solver.solve(Objective.notebook(0.3), train.matrix).col_factors
    loss = penalty = 0.0
    for tracks in validation_lists(train, validation):
        Y = Q[tracks]
        p = np.linalg.solve(Y.T @ Y + 0.3 * np.eye(4), Y.T @ np.ones(len(tracks)))
        loss += np.sum((1 - Y @ p) ** 2)
        penalty += 0.3 * p @ p
    penalty += 0.3 * np.sum(Q**2)
    assert trial.score == pytest.approx(loss + penalty * (name == "total"))
    assert not result.higher_is_better


def validation_lists(train, validation):
    """Yield the positions of the tracks of each validation row that occur in training."""
    place = {track: i for i, track in enumerate(train.col_ids.tolist())}
    for row in range(validation.shape[0]):
        tracks = validation.col_ids[validation.matrix[[row]].indices].tolist()
        yield [place[track] for track in tracks if track in place]


@pytest.mark.parametrize("score", ["ndcg@20", "total", "rmse"])
def test_columns_of_matrices_without_a_training_entry_are_unknown(score, with_unknown):
    train, validation = with_unknown
    columns = np.arange(45)
    matrices = [part.align(columns).matrix for part in (train, validation)]
    grid = {"n_factors": [2]}
    by_id, by_position = (
        grid_search(SOLVER, Balanced(), *given, grid, score=score)
        for given in ((train, validation), matrices)
    )
    assert [trial.score for trial in by_id] == [trial.score for trial in by_position]


def test_rmse_is_the_error_of_hidden_values(parts):
    train, validation = (
        Pairings(part.matrix * 1.0, part.row_ids, part.col_ids)
        for part in (parts.train, parts.validation.align(parts.train.col_ids))
    )
    for part in (train, validation):
        part.matrix.data[:] = 1.0 + part.matrix.indices % 5
    objective = Objective(regularizer=L2(0.1), data="targets")
    trial = grid_search(SOLVER, objective, train, validation, {}, score="rmse").best
    seen, hidden = split_pairs(validation, fraction=0.2, rng=0)
    model = FactorModel(objective, SOLVER).fit(train)
    R = hidden.matrix.tocoo()
    predicted = (model.fold_in(seen).row_factors @ model.col_factors.T)[R.row, R.col]
    assert trial.score == pytest.approx(np.sqrt(np.mean((predicted - R.data) ** 2)), rel=1e-5)


def test_unknown_hidden_tracks_are_misses(with_unknown):
    train, validation = with_unknown
    trial = grid_search(SOLVER, Balanced(), train, validation, {}, score="recall@45").best
    split = split_pairs(validation, fraction=0.2, rng=0)
    n_known = np.isin(split.heldout.col_ids[split.heldout.matrix.indices], train.col_ids).sum()
    assert n_known < split.heldout.n_pairs
    assert trial.score <= n_known / split.heldout.n_pairs + 1e-12


def test_a_metric_for_which_lower_is_better(parts):
    result = grid_search(
        SOLVER, Balanced(), parts.train, parts.validation, {"n_factors": [1, 6]}, score="clicks@500"
    )
    scores = [trial.score for trial in result]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]


def test_weights_of_pairs_are_used(parts):
    weights = np.linspace(0.1, 2.0, parts.train.n_pairs)
    train = Pairings(parts.train.matrix, parts.train.row_ids, parts.train.col_ids, weights=weights)
    trial = grid_search(SOLVER, Balanced(), train, parts.validation, {}).best
    model = FactorModel(Balanced(), SOLVER).fit(train)
    assert trial.train_total == model.solution.objective_value


def test_fields_of_the_loss_can_vary(parts):
    grid = {"loss.delta": [0.1, 0.5], "max_epochs": [2]}
    objective = Objective(HuberLoss())
    result = grid_search(GD(n_factors=2, rng=0), objective, parts.train, parts.validation, grid)
    assert {trial.parameters["loss.delta"] for trial in result} == {0.1, 0.5, 1.0}
    assert objective.loss == HuberLoss()


def test_a_whole_regularizer_is_put_in_before_its_parts_in_any_order(parts):
    grids = [("regularizer.weight", [0.1, 100.0]), ("regularizer", [L2(0.5), L2(0.5, 1.0)])]
    results = [
        grid_search(SOLVER, Objective(), parts.train, parts.validation, dict(order), score="total")
        for order in (grids, grids[::-1])
    ]
    assert len({trial.score for trial in results[0]}) == 5
    assert [trial.score for trial in results[0]] == [trial.score for trial in results[1]]


def test_a_diverging_and_a_failing_trial_are_the_last_rows(parts):
    grid = {"learning_rate": [1e-4, 1e3, -1.0]}
    solver = GD(n_factors=2, rng=0, max_epochs=5, learning_rate=1e-5)
    result = grid_search(solver, Objective(), parts.train, parts.validation, grid)
    by_rate = {trial.parameters["learning_rate"]: trial for trial in result}
    assert by_rate[1e3].status == "diverged"
    assert by_rate[-1.0].status == "failed"
    assert "learning_rate" in by_rate[-1.0].message
    assert result.best.parameters["learning_rate"] in (1e-4, 1e-5)
    assert np.isnan([trial.score for trial in result[2:]]).all()
    assert "failed: InvalidInputError" in str(result)


def test_a_field_that_a_loss_does_not_have_fails_its_trial(parts):
    grid = {"loss": [HuberLoss(), SquaredLoss()], "loss.delta": [0.5]}
    solver, objective = GD(n_factors=2, max_epochs=1, rng=0), Objective(HuberLoss())
    result = grid_search(solver, objective, parts.train, parts.validation, grid)
    failed = [trial for trial in result if trial.status == "failed"]
    assert [trial.message for trial in failed] == [
        "InvalidInputError: SquaredLoss has no field 'delta'"
    ]


def test_no_success_is_an_error_with_the_reason(parts):
    solver = ALS(n_factors=2, tol=-1.0)
    result = grid_search(solver, Objective(), parts.train, parts.validation, {"n_factors": [3]})
    with pytest.raises(InvalidInputError, match=r"trial 0 ended with: .*tol is -1"):
        _ = result.best


def test_an_interrupt_returns_what_has_finished(parts):
    seen: list[Trial] = []

    def interrupt(trial: Trial) -> None:
        seen.append(trial)
        if len(seen) == 2:
            raise KeyboardInterrupt

    result = grid_search(
        SOLVER, Objective(), parts.train, parts.validation,
        {"regularizer.weight": [1.0, 2.0, 3.0]}, callback=interrupt,
    )  # fmt: skip
    assert not result.complete
    assert sorted(trial.number for trial in result) == [0, 1]


class Tasks:
    """Workers that compute nothing: Ctrl-C arrives while the first result is taken."""

    is_open = True

    def __init__(self):
        self.cancelled = []

    def submit(self, function, shared, *arguments):
        return Task(self.cancelled)

    def finished(self, tasks):
        return list(tasks)


class Task:
    def __init__(self, cancelled):
        self.cancelled = cancelled

    def result(self):
        raise KeyboardInterrupt

    def cancel(self):
        self.cancelled.append(self)


def test_an_interrupt_cancels_every_trial_whose_result_has_not_been_taken(parts):
    tasks, grid = Tasks(), Grid({"regularizer.weight": [1.0, 2.0]})
    prepared = prepare(SOLVER, Objective(), parts.train, parts.validation, grid)
    result = prepared.run(False, None, tasks)
    assert not result.complete
    assert len(result) == 0
    assert len(set(tasks.cancelled)) == 3


@pytest.mark.parametrize("higher", [True, False])
def test_a_score_of_ones_own_says_which_way_is_up(higher, parts):
    score = Score(n_factors_of, higher_is_better=higher, name="rank")
    result = grid_search(
        SOLVER, Balanced(), parts.train, parts.validation, {"n_factors": [1, 4]}, score=score
    )
    assert [trial.score for trial in result] == sorted([1, 3, 4], reverse=higher)


def test_an_error_in_a_score_of_ones_own_is_a_failed_trial(parts):
    def score(model, rows):
        if model.col_factors.shape[1] == 2:
            raise ValueError("not two")
        return 1.0

    result = grid_search(
        SOLVER, Balanced(), parts.train, parts.validation, {"n_factors": [1, 2]},
        score=Score(score, higher_is_better=True),
    )  # fmt: skip
    assert [trial.status for trial in result] == ["max_epochs", "max_epochs", "failed"]
    assert result[2].message == "ValueError: not two"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "auc"}, "score is 'auc': there is no metric"),
        ({"score": "recall"}, 'write "recall@20"'),
        ({"score": "mpd-r-precision"}, "needs artists"),
        ({"score": n_factors_of}, "higher_is_better"),
        ({"patience": 0}, "patience is 0"),
        ({"storage": "a.db"}, "both or neither"),
        ({"storage": "a.db", "study": "a", "warm_start": True}, "warm_start=True"),
        ({"storage": "a.db", "study": ""}, "1 to 255"),
    ],
)
def test_options_are_checked_before_anything_is_trained(options, message, parts):
    with pytest.raises(InvalidInputError, match=message):
        grid_search(
            ALS(rng=0), Balanced(), parts.train, parts.validation, {"n_factors": [1]}, **options
        )


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"learning_rat": [1]}, "'learning_rat' is not a field: there are n_factors"),
        ({"regularizer.lam": [1]}, "regularizer.weight"),
        ({"n_factors": 3}, "give a list"),
        ({"n_factors": []}, "empty"),
    ],
)
@pytest.mark.parametrize("objective", [Objective(), Balanced()])
def test_a_wrong_grid_costs_no_time(parts, grid, message, objective):
    with pytest.raises(InvalidInputError, match=message):
        grid_search(ALS(), objective, parts.train, parts.validation, grid)


def test_fields_of_balanced_are_not_fields_of_an_objective(parts):
    with pytest.raises(InvalidInputError, match="'ratio' is not a field"):
        grid_search(ALS(), Objective(), parts.train, parts.validation, {"ratio": [1.0]})


def test_what_cannot_be_combined_is_refused(parts):
    train, validation = parts.train.matrix, parts.validation.align(parts.train).matrix
    space = {"n_factors": [1]}
    with pytest.raises(InvalidInputError, match="same columns"):
        grid_search(ALS(), Objective(), train, validation[:, :5], space)
    with pytest.raises(InvalidInputError, match="both"):
        grid_search(ALS(), Objective(), parts.train, validation, space)
    with pytest.raises(InvalidInputError, match=r"give Grid\(space\)"):
        search(ALS(), Objective(), train, validation, space)
    with pytest.raises(InvalidInputError, match="patience is not for Halving"):
        search(ALS(), Objective(), train, validation, Halving(space), patience=1)
    short = Pairings.from_arrays([1, 1], [1, 2])
    with pytest.raises(InvalidInputError, match="3 pairs"):
        grid_search(ALS(), Objective(), parts.train, short, space)


def test_early_stopping_reports_the_best_epoch_and_its_score(parts):
    by_epoch = {}

    def falling(model, rows):
        """Best at epoch 3 of every trial."""
        return -abs(model.solution.n_epochs - 3)

    result = search(
        ALS(n_factors=2, max_epochs=9, rng=0), Balanced(), parts.train, parts.validation,
        Grid({"ratio": [2.0]}), score=Score(falling, higher_is_better=True), patience=2,
    )  # fmt: skip
    for trial in result:
        by_epoch[trial.number] = (trial.epochs, trial.score, trial.status)
    assert by_epoch == {0: (3, 0, "stopped"), 1: (3, 0, "stopped")}
    assert result.best_solver.max_epochs == 3
    model = FactorModel(Balanced(), result.best_solver).fit(parts.train)
    # The best epoch was not the last one of its run, whose value has no rounding errors.
    total = model.solution.objective_value
    assert result.default.train_total == pytest.approx(total, rel=1e-7)


def test_early_stopping_scores_as_often_as_the_solver_evaluates(parts):
    scored = []

    def score(model, rows):
        scored.append(model.solution.n_epochs)
        return float(len(scored))

    solver = ALS(n_factors=2, max_epochs=7, evaluate_every=3, rng=0)
    result = grid_search(
        solver, Balanced(), parts.train, parts.validation, {}, patience=1,
        score=Score(score, higher_is_better=True),
    )  # fmt: skip
    assert scored == [3, 6, 7]
    assert (result.best.epochs, result.best.status) == (7, "max_epochs")


def test_early_stopping_gives_the_score_of_a_model_of_the_best_epoch(parts):
    solver = ALS(n_factors=8, max_epochs=12, rng=0)
    result = grid_search(solver, Balanced(), parts.train, parts.validation, {}, patience=1)
    again = grid_search(result.best_solver, Balanced(), parts.train, parts.validation, {})
    assert again.best.score == result.best.score


def test_warm_start_begins_at_the_factors_of_the_last_trial_of_the_same_rank(parts):
    grid = {"n_factors": [2, 3], "ratio": [15.0, 14.0]}
    solver = ALS(n_factors=2, max_epochs=1, rng=0)
    cold, warm = (
        grid_search(
            solver, Balanced(), parts.train, parts.validation, grid, warm_start=start,
        )
        for start in (False, True)
    )  # fmt: skip
    totals = [{trial.number: trial.train_total for trial in result} for result in (cold, warm)]
    # 0: rank 2, 1: (2, 14), 2: (3, 15), 3: (3, 14)
    same = [number for number in range(4) if totals[0][number] == totals[1][number]]
    assert same == [0, 2]
    assert totals[1][1] < totals[0][1]
    first = FactorModel(Balanced(), solver).fit(parts.train).solution
    second = FactorModel(Balanced(ratio=14.0), solver).fit(
        parts.train, (first.row_factors, first.col_factors)
    )
    assert totals[1][1] == second.solution.objective_value


def test_a_generator_gives_all_trials_the_same_seed(parts):
    solver = ALS(n_factors=2, max_epochs=1, rng=np.random.default_rng(0))
    result = grid_search(
        solver, Balanced(), parts.train, parts.validation, {"evaluate_every": [2, 3]}
    )
    assert len({trial.train_total for trial in result}) == 1


def test_the_grid_of_the_research_notebook(parts):
    grid = {
        "n_factors": [5, 10, 15],
        "learning_rate": [0.0005, 0.005, 0.05],
        "regularizer.weight": [0.001, 0.01, 0.1],
    }
    solver = GD(n_factors=5, learning_rate=0.0005, momentum=False, max_epochs=10, rng=0)
    result = grid_search(
        solver, Objective.notebook(), parts.train, parts.validation, grid, score="total"
    )
    assert len(result) == 28
    assert result.complete
    model = FactorModel(result.best_objective, result.best_solver).fit(parts.train)
    assert result.best.score == model.value(parts.validation).total


def test_random_search_ends_in_a_model_that_recommends(parts):
    space = {"ratio": (1.0, 100.0, "log"), "n_factors": (2, 6)}
    result = search(
        SOLVER, Balanced(), parts.train, parts.validation, Random(space, n_trials=4, rng=1)
    )
    assert len(result) == 5
    ranking = result.refit().recommend(parts.test, n=3)
    assert ranking.mask.all()
