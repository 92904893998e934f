"""The sections of docstrings: parameters, results, errors, and an example that runs."""

import ast
import inspect
import re
import textwrap
from enum import Enum

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate
from test_public_names import PUBLIC

from twofold._common.cached import cached_property

WANTED = {"GL08", "PR02", "RT01", "SS01", "YD01"}  # a summary, no wrong parameters, results
CALLED = re.compile(r"^ *(?:>>>|\.\.\.) .*$", re.M)


def is_property(member) -> bool:
    return isinstance(member, property | cached_property)


def members(thing) -> dict[str, object]:
    """Return the public methods and properties that a class defines, and not a base class."""
    return {
        name: member
        for name, member in vars(thing).items()
        if not name.startswith("_")
        and not any(hasattr(base, name) for base in thing.__mro__[1:])
        and (inspect.isfunction(getattr(member, "__func__", member)) or is_property(member))
    }


def examples(thing) -> str:
    """Return the lines of the examples in a docstring."""
    lines = CALLED.findall(inspect.getdoc(thing) or "")
    return "\n".join(line for line in lines if "+SKIP" not in line)


def documented(doc) -> set[str]:
    """Return the names in the sections of parameters and attributes."""
    return {
        name.strip().lstrip("*")
        for section in ("Parameters", "Attributes")
        for parameter in doc[section]
        for name in parameter.name.split(",")
    }


def documents_all_parameters(thing, doc) -> bool:
    """Whether the fields of a record or the parameters of a function are in its docstring."""
    found = documented(doc)
    if inspect.isclass(thing):
        if getattr(thing, "_is_protocol", False):  # it has no parameters
            return True
        for base in thing.__mro__[1:-1]:
            found |= documented(get_doc_object(base))
    real = [name.lstrip("*") for name in inspect.signature(thing).parameters]
    return {name for name in real if name not in ("self", "cls") and name[0] != "_"} <= found


def raised(function) -> set[str]:
    """Return the names of the exceptions that the body of a function raises itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc]
    calls = [node.exc.func for node in nodes if isinstance(node.exc, ast.Call)]
    return {call.id for call in calls if isinstance(call, ast.Name) and call.id[0].isupper()}


def missing(path: str, thing) -> list[str]:
    """Return the sections that the docstring of a function, class or property does not have."""
    found = [message for code, message in validate(path)["errors"] if code in WANTED]
    doc = get_doc_object(thing)
    has_signature = not is_property(thing) and not issubclass(
        thing if inspect.isclass(thing) else object, str | Exception | Enum
    )
    if has_signature and not documents_all_parameters(thing, doc):
        found.append("not all parameters are documented")
    if inspect.isfunction(thing) and not doc["Raises"] and raised(thing) - {"NotImplementedError"}:
        found.append(f"it raises {raised(thing)} and has no section Raises")
    return found


@pytest.mark.parametrize(("name", "thing"), PUBLIC)
def test_functions_and_classes_have_all_sections(name, thing):
    assert not missing(f"{thing.__module__}.{thing.__qualname__}", thing)
    assert examples(thing), f"{name} has no example"


METHODS = [
    pytest.param(thing, name, getattr(member, "__func__", member), id=f"{thing.__name__}.{name}")
    for thing in dict.fromkeys(case.values[1] for case in PUBLIC)
    if inspect.isclass(thing)
    for name, member in members(thing).items()
]


CALLS = "\n".join(
    examples(each) for case in [*PUBLIC, *METHODS] for each in case.values[1:] if callable(each)
)


@pytest.mark.parametrize(("thing", "name", "member"), METHODS)
def test_methods_have_all_sections_and_are_in_an_example(thing, name, member):
    assert not missing(f"{thing.__module__}.{thing.__qualname__}.{name}", member)
    is_used = re.search(rf"\.{name}\(", CALLS)
    assert is_used or is_property(member), f"no example calls {thing.__name__}.{name}"


PROPERTIES = [case for case in METHODS if is_property(case.values[2])]


@pytest.mark.parametrize(("thing", "name", "member"), PROPERTIES)
def test_properties_that_are_arrays_state_their_shape(thing, name, member):
    function = member.fget if isinstance(member, property) else member.function
    returned = str(inspect.signature(function).return_annotation)
    is_array = re.search(r"ndarray|csr_array|NDArray|Array\b|Ids\b", returned)
    assert not is_array or "shape (" in member.__doc__, f"{thing.__name__}.{name}: {returned}"
