"""Warnings name the line of the caller, however deep in the package they arise."""

import warnings

import pytest
from scipy import sparse

from twofold import FactorModel, Objective, Pairings
from twofold._common.warn import warn
from twofold.exceptions import CheckpointWarning, DivergenceWarning, IgnoredValuesWarning
from twofold.solvers import GD


def test_a_warning_from_outside_of_the_package_is_that_of_its_own_line():
    with pytest.warns(CheckpointWarning, match="a sentence") as caught:
        warn("a sentence", CheckpointWarning)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("of_model", [False, True])
def test_warnings_of_a_fit_have_the_file_of_its_caller(of_model):
    ratings = sparse.csr_array([[5.0, 5.0, 0.0], [0.0, 2.0, 2.0]])
    solver, objective = GD(n_factors=1, rng=0, learning_rate=1e9, max_epochs=5), Objective()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if of_model:
            FactorModel(objective, solver).fit(Pairings(ratings, [0, 1], [0, 1, 2]))
        else:
            solver.solve(objective, ratings)
    found = [(one.category, one.filename) for one in caught]
    assert found == [(IgnoredValuesWarning, __file__), (DivergenceWarning, __file__)]
