"""Errors as people see them."""

import pytest

from twofold import FactorModel
from twofold.exceptions import InvalidInputError, NotFittedError
from twofold.solvers import ALS


def test_the_sentence_is_before_and_after_the_whole_traceback():
    with pytest.raises(InvalidInputError) as caught:
        ALS(n_factors=0).validate(None)
    lines = caught.value._render_traceback_()
    assert lines[0] == "InvalidInputError: n_factors is 0: it must be a whole number >= 1"
    assert lines[2] == "Traceback (most recent call last):"
    assert any(line.endswith("in check_whole") for line in lines)
    assert lines[-1].endswith(lines[0])


def test_causes_are_shown(tmp_path):
    with pytest.raises(InvalidInputError) as caught:
        FactorModel.load(tmp_path / "none")
    shown = "\n".join(caught.value._render_traceback_())
    assert "FileNotFoundError" in shown
    assert "direct cause" in shown


def test_what_is_missing_before_the_fit_is_an_attribute_error():
    with pytest.raises(AttributeError, match="call fit") as caught:
        _ = FactorModel().row_factors
    assert type(caught.value) is NotFittedError


@pytest.mark.filterwarnings("default")  # of Jupyter
def test_a_notebook_shows_the_sentence_first():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    source = "from twofold import FactorModel\nFactorModel().recommend([1])"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        nbclient.NotebookClient(notebook, timeout=60).execute()
    lines = notebook.cells[0].outputs[-1].traceback
    assert lines[0].startswith("NotFittedError: the model is not fitted: call fit(pairings) first")
    frames = [line for line in lines if line.lstrip().startswith("File ")]
    assert len(frames) == 3  # the cell and two of twofold, none of IPython
    assert "FactorModel().recommend([1])" in "\n".join(lines)
