"""Right uses of twofold: no checker reports anything, and the types are those of `assert_type`."""

from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twofold import (
    L1,
    L2,
    Balanced,
    Evaluation,
    FactorModel,
    HuberLoss,
    Objective,
    ObjectiveValue,
    Pairings,
    evaluate,
    fold_in,
    metrics,
    split_pairs,
    split_rows,
    tuning,
)
from twofold.io import read_sql
from twofold.model import Popularity
from twofold.solvers import ALS, GD, SGD, Record, Solution, Solver, Status, get_solver

Factors = NDArray[np.float32 | np.float64]
Ids = NDArray[np.int64] | NDArray[np.object_]
Numbers = NDArray[np.float64]


def use_pairings() -> Pairings:
    matrix = sparse.coo_array(np.eye(3))
    pairings = Pairings(matrix, ["a", "b", "c"], [1, 2, 3], weights=[1.0, 2.0, 1.0])
    pairings = Pairings.from_arrays([1, 1, 2], ["x", "y", "x"], [1.0, 2.0, 3.0])
    assert_type(read_sql("sqlite:///playlists.db", max_rows=10), Pairings)
    assert_type(pairings.matrix.shape, tuple[int, int])
    assert_type(pairings.row_ids, Ids)
    assert_type(pairings.col_ids, Ids)
    assert_type(pairings.weights, Numbers | None)
    assert_type(pairings.times, NDArray[np.int64] | NDArray[np.datetime64] | None)
    assert_type(pairings.row_index([1, 2]), NDArray[np.int64])
    assert_type(pairings.take_rows(np.flatnonzero(pairings.row_ids > 1)), Pairings)
    assert_type(pairings[:1], Pairings)
    return pairings


def use_solvers(pairings: Pairings, path: Path) -> None:
    objective = Objective(HuberLoss(0.5), L2(0.1, exponent=0.5), data="targets")
    objective = Objective(regularizer=L1(weight=0.1), unobserved_weight=0.1, unobserved="missing")
    solvers: list[Solver] = [ALS(n_factors=8, rng=0), SGD(dtype="float64"), GD(n_threads=2)]
    solution = solvers[0].solve(objective, pairings.matrix, callback=stop_early)
    assert_type(solution, Solution)
    assert_type(solution.row_factors, Factors)
    assert_type(solution.col_factors, Factors)
    assert_type(solution.history, tuple[Record, ...])
    assert_type([record.total for record in solution.history], list[float])
    assert_type(solution.status is Status.CONVERGED, bool)
    assert_type(Solution.load(path, mmap=True).row_factors, Factors)
    assert_type(fold_in(objective, pairings.matrix, solution.col_factors), Factors)
    value = objective.value(pairings.matrix, solution.row_factors, solution.col_factors)
    assert_type(value, ObjectiveValue)
    assert_type(value.total, float)
    dP, dQ = objective.gradient(pairings.matrix, solution.row_factors, solution.col_factors)
    assert_type(dP, Numbers)
    assert_type(dQ, Numbers)
    assert_type(get_solver("als"), type[Solver])
    assert_type(get_solver("als")(n_factors=3), Solver)


def stop_early(epoch: int, so_far: Solution) -> bool:
    return epoch > 3 and so_far.history[-1].total < 1.0


def use_models(pairings: Pairings, path: Path) -> FactorModel:
    train, _, test = split_rows(pairings, rng=0)
    seen, hidden = split_pairs(test, fraction=0.2, rng=0)
    model = FactorModel(Balanced(ratio=10.0), ALS(n_factors=8)).fit(train)
    assert_type(model, FactorModel)
    assert_type(model.row_ids, Ids)
    assert_type(model.col_ids, Ids)
    assert_type(model.row_factors, Factors)
    assert_type(model.col_factors, Factors)
    assert_type(model.fold_in(seen).row_ids, Ids)
    assert_type(model.fold_in(seen).row_factors, Factors)
    ranking = model.recommend(seen, n=5, exclude=[3], fallback="popular")
    assert_type(ranking.row_ids, Ids)
    assert_type(ranking.col_ids, Ids)
    assert_type(ranking.scores, Factors)
    assert_type(ranking.mask, NDArray[np.bool_])
    assert_type(ranking.positions, NDArray[np.int64])
    names: list[str] = []
    for _, tracks in ranking:
        names += [f"{track}: {score:.3f}" for track, score in tracks]
    assert_type(model.recommend_new(["x"], n=5).scores, Factors)
    assert_type(model.recommend_rows(["x"]).col_ids, Ids)
    assert_type(model.similar_cols(["x"]).scores, Factors)
    assert_type(model.score([1], ["x"]), Factors)
    assert_type(model.predict(hidden), Numbers)
    assert_type(model.value(test).total, float)
    assert_type(Popularity().fit(train).col_ids, Ids)
    model.save(path, serving=True)
    assert_type(FactorModel.load(path, mmap=True), FactorModel)
    assert_type(model.partial_fit(seen), FactorModel)
    return model


def use_scores(model: FactorModel, pairings: Pairings) -> None:
    split = split_pairs(pairings, rng=0)
    judged = evaluate(model, split, ["recall@20", "ndcg@20"])
    assert_type(judged, Evaluation)
    assert_type(judged["recall@20"], float)
    assert_type(judged.row_ids, Ids)
    assert_type(judged.per_row["model"]["recall@20"], Numbers)
    assert_type(judged.interval("recall@20").low, float)
    hits = metrics.judge(model.recommend(split.seen).positions, split.heldout.matrix)
    assert_type(metrics.rmse([1.0], [2.0]), float)
    assert_type(hits.hits, NDArray[np.bool_])
    train, validation, _ = split_rows(pairings, rng=0)
    grid = {"n_factors": [8, 16], "regularizer.weight": [0.1, 1.0]}
    found = tuning.grid_search(ALS(rng=0), Objective(), train, validation, grid)
    assert_type(found.best.score, float)
    assert_type(found[0], tuning.Trial)
    assert_type(found.refit(), FactorModel)
