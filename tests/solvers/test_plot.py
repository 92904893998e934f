"""The picture of a history."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, Objective
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS

pytest.importorskip("matplotlib", reason='needs pip install "twofold[plot]"')


@pytest.fixture(scope="module")
def solution():
    R = sparse.csr_array(np.random.default_rng(0).random((20, 15)) < 0.3)
    objective = Objective(regularizer=L2(0.1), unobserved_weight=0.1)
    return ALS(n_factors=2, max_epochs=4, rng=0).solve(objective, R)


def lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.get_lines()}


def test_panels_show_the_history_over_epochs_and_seconds(solution, tmp_path):
    figure = solution.plot(tmp_path / "history.svg")
    assert "<svg" in (tmp_path / "history.svg").read_text("utf-8")
    assert [ax.get_xlabel() for ax in figure.axes] == ["epoch", "seconds"]
    for ax, panel in zip(figure.axes, ("epoch", "seconds"), strict=True):
        drawn = lines(ax)
        assert list(drawn) == ["total", "loss", "unobserved", "penalty"]
        for name, points in drawn.items():
            expected = [
                (getattr(record, panel), getattr(record, name)) for record in solution.history
            ]
            np.testing.assert_allclose(points, expected)


def test_terms_without_a_positive_value_are_left_out(solution):
    history = [replace(record, unobserved=0.0, penalty=-1.0) for record in solution.history]
    history[-1] = replace(history[-1], total=np.inf, loss=np.nan)
    drawn = lines(replace(solution, history=tuple(history)).plot().axes[0])
    assert list(drawn) == ["total", "loss"]
    assert np.isnan(drawn["total"][-1, 1])


def test_axes_of_the_caller(solution):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots(1, 2)
    assert solution.plot(axes) is figure
    assert len(lines(axes[1])) == 4
    with pytest.raises(InvalidInputError, match="1 axes for 2 panels, epoch, seconds"):
        solution.plot(axes[0])


def test_files_that_cannot_be_written(solution, tmp_path):
    with pytest.raises(InvalidInputError, match=r"ends in '': give a picture that ends in \.png"):
        solution.plot(tmp_path / "history")
    with pytest.raises(InvalidInputError, match=r"cannot write .*check that the folder exists"):
        solution.plot(tmp_path / "none" / "history.png")


def test_an_interrupted_picture_leaves_the_old_one(solution, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def interrupted(self, file, **_):
        file.write(b"part")
        raise KeyboardInterrupt

    path = tmp_path / "history.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solution.plot(path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["history.png"]
