"""Builds of Python that the kernels refuse."""

import importlib
import sysconfig

import pytest

import twofold._kernels
from twofold.exceptions import UnsupportedPythonError


def test_a_free_threaded_build_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)
    with pytest.raises(
        UnsupportedPythonError, match=r"free-threaded .* use the build with"
    ) as caught:
        importlib.reload(twofold._kernels)
    assert isinstance(caught.value, ImportError)


def test_a_build_with_the_lock_is_accepted(monkeypatch):
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 0}.get)
    importlib.reload(twofold._kernels)
