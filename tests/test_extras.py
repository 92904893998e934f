"""The extras of pyproject.toml are what the code imports if it is there, and nothing else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

import twofold

ROOT = Path(__file__).parents[1]
PACKAGE = Path(twofold.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Of users. The others have the tools of developers, which are commands rather than imports.
EXTRAS = [
    "sql-fast", "frames", "mpd-fast", "postgres", "mysql", "plot", "optuna", "index",
    "distributed", "peers", "bench",
]  # fmt: skip
MODULES = {"faiss-cpu": "faiss", "lazy-loader": "lazy_loader"}
# Imported by a library that is there already: scikit-learn asks its tags of a model.
WITHOUT_EXTRA = {"sklearn", "twofold"}


def modules(requirements: Iterable[str]) -> set[str]:
    """Return the modules that requirements such as ``psycopg[binary]>=3`` install."""
    names = [re.match(r"[\w.-]+", requirement).group() for requirement in requirements]
    return {MODULES.get(name, name) for name in names}


def imported(folder: Path) -> set[str]:
    """Return the modules that a folder imports, outside of the standard library."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names


def imported_by_name(folder: Path) -> set[str]:
    """Return the strings of a folder: names of modules, of drivers and of libraries of indexes."""
    return {
        node.value.partition(".")[0]
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


USED = {
    module
    for folder in (PACKAGE, ROOT / "benchmarks", ROOT / "examples")
    for module in imported(folder)
} | imported_by_name(PACKAGE / "io") | imported_by_name(PACKAGE / "model")  # fmt: skip


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_packages_of_an_extra_are_imported(extra):
    assert modules(PROJECT["optional-dependencies"][extra]) <= USED


def test_what_the_package_imports_is_a_dependency_or_in_an_extra():
    extras = [PROJECT["optional-dependencies"][extra] for extra in EXTRAS]
    known = modules(PROJECT["dependencies"]).union(*map(modules, extras))
    assert imported(PACKAGE) - WITHOUT_EXTRA <= known
    assert modules(PROJECT["dependencies"]) <= imported(PACKAGE)


def test_messages_name_extras_that_exist():
    for path in PACKAGE.rglob("*.py"):
        for names in re.findall(r"twofold\[([\w,-]+)\]", path.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= set(EXTRAS), path.name
