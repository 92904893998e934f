"""The pictures of runs: a history, and the convergence of several."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from twofold import L2, Objective, plot
from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS, GD


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


@pytest.fixture(scope="module")
def runs(solution):
    R = sparse.csr_array(np.random.default_rng(0).random((20, 15)) < 0.3)
    objective = Objective(regularizer=L2(0.1), unobserved_weight=0.1)
    return {
        "ALS": solution,
        "GD": GD(n_factors=2, max_epochs=3, tol=0, rng=0).solve(objective, R),
    }


@pytest.mark.parametrize("over", ["epoch", "seconds"])
def test_convergence_shows_relative_gaps_to_the_least_objective(runs, over):
    ax = plot.convergence(runs, over=over)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (over, "gap to the best objective")
    assert ax.get_yscale() == "log"
    least = min(record.total for run in runs.values() for record in run.history)
    assert ax.get_title() == f"Best objective {least:.6g}"
    drawn = lines(ax)
    assert list(drawn) == ["ALS", "GD"]
    for name, run in runs.items():
        x = [getattr(record, over) for record in run.history]
        gaps = np.array([(record.total - least) / least for record in run.history])
        np.testing.assert_allclose(drawn[name], np.column_stack([x, np.where(gaps, gaps, np.nan)]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["ALS", "GD"]


def test_convergence_to_a_given_value_and_without_gaps(solution):
    totals = np.array([record.total for record in solution.history])
    best = totals[-1] / 2
    (gaps,) = lines(plot.convergence(solution, best=best)).values()
    np.testing.assert_allclose(gaps[:, 1], totals / best - 1)
    ax = plot.convergence(solution, gap=False)
    assert (ax.get_ylabel(), ax.get_title()) == ("objective", "")
    np.testing.assert_allclose(lines(ax)["ALS"][:, 1], totals)


def test_gaps_to_a_negative_best_are_positive(solution):
    history = [replace(record, total=-float(record.epoch + 1)) for record in solution.history]
    (gaps,) = lines(plot.convergence(replace(solution, history=tuple(history)))).values()
    np.testing.assert_allclose(gaps[:, 1], [0.8, 0.6, 0.4, 0.2, np.nan])


def test_many_runs_differ_by_colour_or_dashes(solution):
    ax = plot.convergence({str(number): solution for number in range(20)}, gap=False)
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.get_lines()}
    assert len(styles) == 20


def test_convergence_in_the_axes_of_the_caller(solution):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    assert plot.convergence(solution, ax) is ax


def test_convergence_refuses_what_it_cannot_draw(solution):
    for wrong, said in (
        ({}, "solutions is empty"),
        ("ALS", "solutions is a str: give a Solution"),
        ({"a": solution, "b": 1}, r"solutions\['b'\] is a int: give a Solution"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            plot.convergence(wrong)
    one = replace(solution, history=solution.history[:1])
    with pytest.raises(InvalidInputError, match="no value is above 0"):
        plot.convergence(one)
    with pytest.raises(InvalidInputError, match="best is 0"):
        plot.convergence(solution, best=0)
    with pytest.raises(InvalidInputError, match="over is 'time'"):
        plot.convergence(solution, over="time")
    with pytest.raises(InvalidInputError, match="ax is a ndarray"):
        plot.convergence(solution, np.ones(2))


def test_without_matplotlib_an_error_says_how_to_install_it(solution, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InvalidInputError, match=r'pip install "twofold\[plot\]"'):
        plot.convergence(solution)
