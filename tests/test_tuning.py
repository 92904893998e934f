import numpy as np
import pytest

from twofold import L2, HuberLoss, Objective, fold_in, split_pairs, split_rows
from twofold.exceptions import InvalidInputError
from twofold.metrics import recall_at_k
from twofold.model.ranking import best_columns
from twofold.solvers import ALS, GD
from twofold.tuning import Trial, grid_search


@pytest.fixture(scope="module")
def parts(playlists):
    return split_rows(playlists.pairings, rng=0)


def test_every_combination_is_trained_and_the_best_comes_first(parts):
    grid = {"n_factors": [2, 4], "regularizer.weight": [0.1, 1.0], "unobserved_weight": [0.0, 0.2]}
    result = grid_search(ALS(rng=0, max_epochs=3), Objective(), parts.train, parts.validation, grid)
    assert result.complete
    assert len({tuple(trial.parameters.items()) for trial in result}) == 8
    scores = [trial.score for trial in result]
    assert scores == sorted(scores)
    assert result.best is result[0]


def test_the_score_is_the_objective_of_the_folded_in_validation_rows(parts):
    grid = {"regularizer.weight": [0.3]}
    solver = ALS(n_factors=3, rng=5, max_epochs=4)
    (trial,) = grid_search(solver, Objective(), parts.train, parts.validation, grid)
    objective = Objective(regularizer=L2(0.3))
    Q = solver.solve(objective, parts.train.matrix).col_factors
    R = parts.validation.align(parts.train.col_ids).matrix
    P = fold_in(objective, R, Q)
    assert trial.score == objective.value(R, P, Q).total


def test_fields_of_the_loss_can_vary(parts):
    grid = {"loss.delta": [0.1, 0.5], "max_epochs": [2]}
    objective = Objective(HuberLoss())
    result = grid_search(GD(n_factors=2, rng=0), objective, parts.train, parts.validation, grid)
    assert {trial.parameters["loss.delta"] for trial in result} == {0.1, 0.5}
    assert objective.loss == HuberLoss()


def test_a_diverging_and_a_failing_trial_are_rows_and_the_others_are_kept(parts):
    grid = {"learning_rate": [1e-4, 1e3, -1.0]}
    solver = GD(n_factors=2, rng=0, max_epochs=5)
    result = grid_search(solver, Objective(), parts.train, parts.validation, grid)
    by_rate = {trial.parameters["learning_rate"]: trial for trial in result}
    assert by_rate[1e-4].status == "max_epochs"
    assert by_rate[1e3].status == "diverged"
    assert by_rate[-1.0].status == "failed"
    assert "learning_rate" in by_rate[-1.0].message
    assert result.best is by_rate[1e-4]
    assert "diverged" in str(result)


def test_an_interrupt_returns_what_has_finished(parts):
    seen: list[Trial] = []

    def interrupt(trial: Trial) -> None:
        seen.append(trial)
        if len(seen) == 2:
            raise KeyboardInterrupt

    result = grid_search(
        ALS(n_factors=2, rng=0, max_epochs=1), Objective(), parts.train, parts.validation,
        {"regularizer.weight": [1.0, 2.0, 3.0]}, callback=interrupt,
    )  # fmt: skip
    assert not result.complete
    assert len(result) == 2


def test_no_success_is_an_error_with_the_reason(parts):
    result = grid_search(
        ALS(n_factors=2), Objective(), parts.train, parts.validation, {"tol": [-1.0]}
    )
    with pytest.raises(InvalidInputError, match="tol is -1"):
        _ = result.best


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"learning_rat": [1]}, "'learning_rat' is not a field: there are n_factors"),
        ({"regularizer.lam": [1]}, "regularizer.weight"),
        ({"n_factors": 3}, "give a list"),
        ({"n_factors": []}, "empty"),
    ],
)
def test_a_wrong_grid_costs_no_time(parts, grid, message):
    with pytest.raises(InvalidInputError, match=message):
        grid_search(ALS(), Objective(), parts.train, parts.validation, grid)


def test_matrices_and_a_score_of_ones_own(parts):
    train, validation = parts.train.matrix, parts.validation.align(parts.train).matrix
    result = grid_search(
        ALS(rng=np.random.default_rng(0), max_epochs=1), Objective(), train, validation,
        {"n_factors": [1, 3, 2]}, score=lambda objective, R, P, Q: -P.shape[1],
    )  # fmt: skip
    assert [trial.parameters["n_factors"] for trial in result] == [3, 2, 1]
    with pytest.raises(InvalidInputError, match="same columns"):
        grid_search(ALS(), Objective(), train, validation[:, :5], {"n_factors": [1]})
    with pytest.raises(InvalidInputError, match="both"):
        grid_search(ALS(), Objective(), parts.train, validation, {"n_factors": [1]})
    with pytest.raises(InvalidInputError, match="score"):
        grid_search(ALS(), Objective(), train, validation, {"n_factors": [1]}, score="auc")


def test_a_whole_regularizer_is_put_in_before_its_parts_in_any_order(parts):
    grids = [("regularizer.weight", [0.1, 100.0]), ("regularizer", [L2(0.5), L2(0.5, 1.0)])]
    solver = ALS(n_factors=2, max_epochs=2, rng=0)
    results = [
        grid_search(solver, Objective(), parts.train, parts.validation, dict(order))
        for order in (grids, grids[::-1])
    ]
    assert len({trial.score for trial in results[0]}) == 4
    assert [trial.score for trial in results[0]] == [trial.score for trial in results[1]]


@pytest.mark.parametrize("weights", [[-1.0, 0.1], [0.1, -1.0]])
def test_a_value_that_is_not_allowed_is_a_failed_trial_wherever_it_stands(weights, parts):
    solver = ALS(n_factors=2, max_epochs=2, rng=0)
    grid = {"regularizer.weight": weights}
    result = grid_search(solver, Objective(), parts.train, parts.validation, grid)
    assert [trial.status for trial in result] == ["max_epochs", "failed"]
    assert "-1" in result[1].message


def test_an_error_in_a_score_of_ones_own_is_a_failed_trial(parts):
    def score(objective, matrix, P, Q):
        if P.shape[1] == 2:
            raise ValueError("not two")
        return 1.0

    solver = ALS(max_epochs=1, rng=0)
    grid = {"n_factors": [1, 2, 3]}
    result = grid_search(solver, Objective(), parts.train, parts.validation, grid, score=score)
    assert [trial.status for trial in result] == ["max_epochs", "max_epochs", "failed"]
    assert result[2].message == "ValueError: not two"


def test_recall_ranks_by_the_share_of_hidden_pairs_that_is_missed(parts):
    solver = ALS(n_factors=6, max_epochs=4, rng=0)
    grid = {"unobserved_weight": [0.0, 0.1]}
    objective = Objective(regularizer=L2(1.0))
    result = grid_search(solver, objective, parts.train, parts.validation, grid, score="recall")
    assert result.best.parameters == {"unobserved_weight": 0.1}
    assert all(0.0 <= trial.score <= 1.0 for trial in result)
    seen, hidden = split_pairs(parts.validation.align(parts.train.col_ids), fraction=0.2, rng=0)
    best = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
    Q = solver.solve(best, parts.train.matrix).col_factors
    found, _ = best_columns(fold_in(best, seen.matrix, Q), Q, 20, seen.matrix)
    assert result.best.score == pytest.approx(1.0 - recall_at_k(found, hidden.matrix, 20))
