"""The algebraic requirements of the contract tests detect solvers that violate one of them."""

import inspect
from dataclasses import dataclass

import numpy as np
import pytest

from twofold.solvers import Solver
from twofold.testing import check_solver


@dataclass(kw_only=True)
class ValidSolver(Solver):
    """A solver that satisfies all requirements."""

    def step(self, problem, state):
        P, Q = state.row_factors, state.col_factors
        dP, dQ = problem.gradient(P, Q, n_threads=self.n_threads)
        rate = P.dtype.type(1e-3)
        return state.moved(P - rate * dP, Q - rate * dQ)


class DependsOnTheFormat(ValidSolver):
    def solve(self, objective, matrix, init=None, callback=None, **options):
        if getattr(matrix, "format", "") == "coo" and init is None:
            rng = np.random.default_rng(0)
            init = tuple(rng.normal(size=(n, self.n_factors)) for n in matrix.shape)
        return super().solve(objective, matrix, init, callback, **options)


class CountsWeightsOfZero(ValidSolver):
    def solve(self, objective, matrix, init=None, callback=None, **options):
        if objective.data == "weights" and matrix.format == "csr" and not matrix.data.all():
            matrix = matrix.copy()
            matrix.data[matrix.data == 0.0] = 1e-5
        return super().solve(objective, matrix, init, callback, **options)


class ChangesEmptyRows(ValidSolver):
    def step(self, problem, state):
        moved = super().step(problem, state)
        P = moved.row_factors.copy()
        P[:, 0] += 1e-6
        return moved.moved(P, moved.col_factors)


class ChangesTheColumnsOfOnes(ValidSolver):
    def step(self, problem, state):
        moved = super().step(problem, state)
        return moved.moved(0.999 * moved.row_factors, moved.col_factors)


class IgnoresWeights(ValidSolver):
    def solve(self, objective, matrix, init=None, callback=None, *, weights=None, **options):
        return super().solve(objective, matrix, init, callback, **options)


def test_valid_solver_passes():
    check_solver(ValidSolver)


@pytest.mark.parametrize(
    ("solver", "sentence"),
    [
        (DependsOnTheFormat, "COO arrays of sorted entries result in other factors"),
        (CountsWeightsOfZero, "with stored weights of 0 the objective is"),
        (ChangesEmptyRows, "the factors of rows without entries are not zero"),
        (ChangesTheColumnsOfOnes, "`step` changes the columns of ones"),
        (IgnoresWeights, "with weights the initial objective is"),
    ],
)
def test_invalid_solvers_fail(solver, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_solver(solver)


def test_solve_accepts_weights():
    assert "weights" in inspect.signature(Solver.solve).parameters
