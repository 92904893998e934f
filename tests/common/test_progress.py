"""Progress bars without a console and in a notebook."""

import sys

import pytest

from twofold._common.progress import progress_bar


def test_without_a_console_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    for shown in (False, True):
        assert list(progress_bar(range(2), shown=shown)) == [0, 1]


@pytest.mark.filterwarnings("default")  # of Jupyter
def test_in_a_notebook_there_is_a_bar_with_and_without_ipywidgets():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    source = """
from twofold._common.progress import progress_bar
for shown in (False, True):
    for _ in progress_bar(range(3), shown=shown, desc=f"bar {shown}"):
        pass
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=60).execute()
    outputs = str(notebook.cells[0].outputs)
    assert "bar True" in outputs
    assert "bar False" not in outputs
