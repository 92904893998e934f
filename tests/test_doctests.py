"""The examples of docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import twofold

MODULES = [
    info.name
    for info in pkgutil.walk_packages(twofold.__path__, "twofold.")
    if not any(part.startswith("_") for part in info.name.split(".")) and ".cli" not in info.name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed


def test_there_are_examples():
    tests = [
        test
        for name in MODULES
        for test in doctest.DocTestFinder().find(importlib.import_module(name))
        if test.examples
    ]
    assert len(tests) > 15
