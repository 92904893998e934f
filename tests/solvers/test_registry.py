"""Solvers by name: built in, by path, and from other packages' entry points."""

from importlib.metadata import EntryPoint

import pytest

from twofold import L1, Objective
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS, GD, SGD, available_solvers, get_solver, registry, solvers_for


@pytest.fixture
def plugged(monkeypatch):
    """Install three plug-ins: one good, one that is no solver, one that cannot be imported."""
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
def test_built_in_names_in_any_case(name):
    assert get_solver(name) is ALS


def test_available_names_all_lead_to_solvers():
    names = available_solvers()
    assert names[:3] == ["als", "sgd", "gd"]
    assert [get_solver(name) for name in names[:3]] == [ALS, SGD, GD]


def test_a_path_leads_to_a_class():
    assert get_solver("twofold.solvers.gd:GD") is GD


def test_plug_ins_are_found_and_cannot_hide_ours(plugged):
    assert available_solvers() == ["als", "sgd", "gd", "downhill", "gone", "number"]
    assert get_solver("downhill") is get_solver("DOWNHILL") is GD
    assert get_solver("als") is ALS


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("adam", r"there is no solver 'adam': there are als, sgd, gd.*\"module:Class\""),
        ("twofold.solvers:Nothing", "no solver 'twofold.solvers:Nothing': .*Nothing"),
        ("no_such_module:Solver", "no solver 'no_such_module:Solver': No module"),
        (":", "there is no solver ':'"),
        ("twofold:Objective", "it is not a subclass of twofold Solver"),
        ("twofold.solvers:Solver", "it is not a subclass of twofold Solver"),
        ("twofold.solvers:fold_in", "it is not a subclass of twofold Solver"),
        ("number", "'number' is 3.14.*: it is not a subclass"),
        ("gone", "the solver 'gone' of 'no_such_module:Solver' cannot be imported: No module"),
        (7, "the solver's name is 7: give a str"),
    ],
)
def test_what_is_no_solver_is_named(plugged, name, sentence):
    with pytest.raises(InvalidInputError, match=sentence):
        get_solver(name)


def test_which_solvers_would_do():
    assert solvers_for(Objective()) == ["ALS", "SGD", "GD"]
    assert solvers_for(Objective(unobserved_weight=0.1)) == ["ALS", "GD"]
    assert solvers_for(Objective(regularizer=L1())) == ["SGD", "GD"]
    assert solvers_for(Objective(regularizer=L1(), unobserved_weight=0.1)) == ["GD"]
