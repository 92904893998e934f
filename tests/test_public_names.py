"""The public names: documented, with true defaults, in the words of one glossary."""

import dataclasses
import importlib
import inspect
import re
import subprocess
import sys

import pytest
from numpydoc.docscrape import FunctionDoc, get_doc_object

import twofold
from twofold.solvers import available_solvers, get_solver

MODULES = [
    "twofold.exceptions",
    "twofold.objective",
    "twofold.data",
    "twofold.solvers",
    "twofold.io",
    "twofold.model",
    "twofold.metrics",
    "twofold.metrics.statistics",
    "twofold.splits",
    "twofold.evaluation",
    "twofold.tuning",
    "twofold.distributed",
    "twofold.plot",
    "twofold.datasets",
    "twofold.testing",
    "twofold.testing.reference",
    "twofold.model.warm_up",
]

# Words that other libraries use for what has one name here.
OTHER_WORDS = {
    "factors": "n_factors", "rank": "n_factors", "n_components": "n_factors",
    "iterations": "max_epochs", "n_epochs": "max_epochs", "max_iter": "max_epochs",
    "lr": "learning_rate", "alpha": "learning_rate", "eta": "learning_rate",
    "reg": "weight", "lam": "weight", "lambda_": "weight", "regularization": "weight",
    "tolerance": "tol", "seed": "rng", "random_state": "rng", "num_threads": "n_threads",
    "n_jobs": "n_threads", "user_factors": "row_factors", "item_factors": "col_factors",
}  # fmt: skip
# Records of results, and the notebook's own words in the reference that reproduces it.
ALLOWED = {"Solution", "State", "notebook_epochs", "notebook_fold_in"}


def public_objects():
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield pytest.param(name, thing, id=f"{module_name}.{name}")


PUBLIC = list(public_objects())


def documented_parameters(thing) -> dict[str, str]:
    doc = get_doc_object(thing) if inspect.isclass(thing) else FunctionDoc(thing)
    found = {}
    for parameter in doc["Parameters"]:
        for name in parameter.name.split(","):
            found[name.strip().lstrip("*")] = parameter.type
    return found


def own_parameters(thing) -> dict[str, inspect.Parameter]:
    try:
        parameters = inspect.signature(thing).parameters
    except (ValueError, TypeError):
        return {}
    return {name: parameter for name, parameter in parameters.items() if name not in ("self", "_")}


def inherited_names(thing) -> set[str]:
    if not inspect.isclass(thing):
        return set()
    return {name for base in thing.__mro__[1:-1] for name in documented_parameters(base)}


def functions_of(thing):
    if inspect.isfunction(thing):
        return [thing]
    members = [
        getattr(member, "__func__", member)
        for name, member in inspect.getmembers(thing)
        if not name.startswith("_")
    ]
    return [
        member for member in members
        if inspect.isfunction(member) and member.__module__.startswith("twofold.")
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "thing"), PUBLIC)
def test_every_public_name_is_documented(name, thing):
    assert inspect.getdoc(thing), f"{name} has no docstring"


@pytest.mark.parametrize(("name", "thing"), PUBLIC)
def test_documented_parameters_are_the_real_ones_with_their_defaults(name, thing):
    if inspect.isclass(thing) and (issubclass(thing, str | Exception | tuple)):
        return
    documented, real = documented_parameters(thing), own_parameters(thing)
    if not documented:
        assert not inspect.isfunction(thing) or not real, f"{name} documents no parameters"
        return
    unknown = set(documented) - set(real)
    assert not unknown, f"{name} documents {unknown}, which it does not have"
    if inspect.isfunction(thing) or dataclasses.is_dataclass(thing):
        missing = set(real) - set(documented) - inherited_names(thing)
        assert not missing, f"{name} does not document {missing}"
    for parameter, text in documented.items():
        match = re.search(r"default:? ([^,\s]+)", text)
        default = real[parameter].default
        if (
            match
            and default is not inspect.Parameter.empty
            and isinstance(default, int | float | str | bool)
        ):
            written = match.group(1).strip('"')
            assert written.replace("_", "") == str(default).replace("_", ""), (
                f"{name} documents {parameter} as {written}, but it is {default!r}"
            )


@pytest.mark.parametrize(("name", "thing"), PUBLIC)
def test_parameters_use_the_words_of_the_glossary(name, thing):
    if name in ALLOWED:
        return
    for function in (thing, *functions_of(thing)):
        for parameter in own_parameters(function):
            assert parameter not in OTHER_WORDS, (
                f"{name} calls {parameter!r} what is {OTHER_WORDS[parameter]!r} elsewhere"
            )


@pytest.mark.parametrize("solver_name", available_solvers())
def test_hyper_parameters_are_keyword_only_fields(solver_name):
    solver = get_solver(solver_name)
    for field in dataclasses.fields(solver):
        assert field.kw_only
        assert field.name in {n for c in solver.__mro__[:-2] for n in documented_parameters(c)}
    with pytest.raises(TypeError):
        solver(3)


def test_all_names_of_the_package_load_and_unknown_ones_say_so():
    for name in twofold.__all__:
        assert getattr(twofold, name) is not None
    assert set(twofold.__all__) <= set(dir(twofold))
    with pytest.raises(AttributeError, match="No twofold attribute nothing"):
        _ = twofold.nothing


def test_a_star_import_brings_classes_and_functions_only():
    for name in twofold.__all__:
        thing = getattr(twofold, name)
        assert inspect.isclass(thing) or inspect.isfunction(thing), name
    code = (
        "import io; before = io; from twofold import *; print(io is before, Pairings.__name__); "
        "import sys, twofold; print('twofold.io' in sys.modules, 'io' in dir(twofold)); "
        "print(twofold.io.read_npz.__name__, twofold.metrics.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == [
        "True Pairings",
        "False True",
        "read_npz twofold.metrics",
    ]


def test_importing_twofold_is_light():
    code = (
        "import sys, twofold; heavy = {'sqlalchemy', 'typer', 'matplotlib', 'numba', 'scipy'}; "
        "print(sorted(heavy & set(sys.modules))); from twofold import FactorModel; "
        "from twofold.plot import convergence; "
        "print(sorted({'sqlalchemy', 'typer', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert twofold.__version__ == version("twofold")
