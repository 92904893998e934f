"""Solvers by name: built-in, by module path and from entry points."""

from importlib.metadata import EntryPoint

import pytest

from twofold import L1, Objective
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS, GD, SGD, available_solvers, get_solver, registry, solvers_for


@pytest.fixture
def plugins(monkeypatch):
    """Install plug-ins: a valid one, one that is not a solver, and one that cannot be imported."""
    points = [
        EntryPoint("Downhill", "twofold.solvers:GD", registry.GROUP),
        EntryPoint("number", "math:pi", registry.GROUP),
        EntryPoint("gone", "no_such_module:Solver", registry.GROUP),
        EntryPoint("als", "math:tau", registry.GROUP),
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda *, group: points if group == "twofold.solvers" else []
    )


@pytest.mark.parametrize("name", ["als", "ALS", "Als"])
def test_built_in_names_are_case_insensitive(name):
    assert get_solver(name) is ALS


def test_all_available_names_are_valid():
    names = available_solvers()
    assert names[:3] == ["als", "sgd", "gd"]
    assert [get_solver(name) for name in names[:3]] == [ALS, SGD, GD]


def test_module_path_of_a_class():
    assert get_solver("twofold.solvers.gd:GD") is GD


def test_plugins_cannot_replace_built_in_solvers(plugins):
    assert available_solvers() == ["als", "sgd", "gd", "downhill", "gone", "number"]
    assert get_solver("downhill") is get_solver("DOWNHILL") is GD
    assert get_solver("als") is ALS


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("adam", r"there is no solver 'adam': give one of als, sgd, gd.*\"module:Class\""),
        ("twofold.solvers:Nothing", "no solver 'twofold.solvers:Nothing': .*Nothing"),
        ("no_such_module:Solver", "no solver 'no_such_module:Solver': No module"),
        (":", "there is no solver ':'"),
        ("twofold:Objective", "which is not a subclass of Solver"),
        ("twofold.solvers:Solver", "which is not a subclass of Solver"),
        ("twofold.solvers:fold_in", "which is not a subclass of Solver"),
        ("number", "'number' is 3.14.*, which is not a subclass"),
        ("gone", "the solver 'gone' of 'no_such_module:Solver' cannot be imported: No module"),
        (7, "the solver's name is 7: give a str"),
    ],
)
def test_invalid_names(plugins, name, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        get_solver(name)


def test_solvers_for():
    assert solvers_for(Objective()) == ["ALS", "SGD", "GD"]
    assert solvers_for(Objective(unobserved_weight=0.1)) == ["ALS", "GD"]
    assert solvers_for(Objective(regularizer=L1())) == ["SGD", "GD"]
    assert solvers_for(Objective(regularizer=L1(), unobserved_weight=0.1)) == ["GD"]
