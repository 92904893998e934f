"""Wrong uses of twofold: a checker has to report each line that ends in ``# wrong``."""

import numpy as np
from numpy.typing import NDArray

import twofold
from twofold import FactorModel, HuberLoss, Objective, Pairings, fold_in
from twofold import FactorModle  # wrong
from twofold.io import read_sgl  # wrong
from twofold.metrics import recal_at_k  # wrong
from twofold.model import Rankings  # wrong
from twofold.solvers import ALS, SGD, Solution
from twofold.splits import split_row  # wrong
from twofold.tuning import grid_serch  # wrong


def count(numbers: NDArray[np.int64]) -> int:
    return int(numbers.sum())


def use(pairings: Pairings, solution: Solution) -> None:
    twofold.ALS(n_factors=3)  # wrong
    twofold.solvers.AIS(n_factors=3)  # wrong
    ALS(3)  # wrong
    ALS(n_factors="3")  # wrong
    ALS(factors=3)  # wrong
    ALS(row_solver="exact")  # wrong
    SGD(dtype="float16")  # wrong
    Objective(data="values")  # wrong
    Objective(loss=HuberLoss)  # wrong
    Objective(unobserved="none")  # wrong
    ALS().solve(pairings.matrix)  # wrong
    ALS().solve("squared", pairings.matrix)  # wrong
    FactorModel(ALS(n_factors=3))  # wrong
    FactorModel().fit(pairings.matrix.shape)  # wrong
    FactorModel().fit(pairings, epochs=3)  # wrong
    FactorModel().fit(pairings, on_interrupt="stop")  # wrong
    FactorModel().recommend(pairings, k=3)  # wrong
    FactorModel().recommend(pairings, fallback="random")  # wrong
    Pairings.from_arrays([1], [2], duplicates="keep")  # wrong
    fold_in(solution, pairings.matrix, solution.col_factors)  # wrong
    print(solution.user_factors)  # wrong
    print(solution.history[0].error)  # wrong
    count(solution.row_factors)  # wrong
    count(pairings.row_ids)  # wrong
    solution.n_epochs = 3  # wrong
