"""Models and solutions in notebooks."""

from xml.etree import ElementTree

import numpy as np
import pytest

from twofold import FactorModel, Objective, Pairings
from twofold.exceptions import DivergenceWarning
from twofold.solvers import ALS, GD


def text_of(html):
    return " ".join("".join(ElementTree.fromstring(html).itertext()).split())


def test_a_model_shows_its_shape_its_curve_and_recommendations(playlists):
    model = FactorModel(solver=ALS(n_factors=3, max_epochs=2, rng=0)).fit(playlists.pairings)
    html = model._repr_html_()
    shown = text_of(html)
    assert f"300 rows x 150 columns, {playlists.pairings.n_pairs:,} pairs" in shown
    assert repr(model.objective) in shown
    assert "All 2 epochs were run." in shown
    assert f"{model.solution.n_threads} threads, {model.solution.vector_bits}-bit" in shown
    assert html.count("<polyline") == 1
    ranking = model.recommend(model.row_ids[:3], 5)
    cells = [
        [cell.text for cell in line]
        for line in ElementTree.fromstring(html).findall("table")[-1].iter("tr")
    ]
    assert [line[0] for line in cells[1:]] == [str(one) for one in ranking.row_ids]
    assert [cell.split()[0] for cell in cells[1][1:]] == [str(one) for one in ranking.col_ids[0]]


def test_a_model_that_is_not_fitted_shows_what_it_will_do():
    shown = text_of(FactorModel(solver=ALS(n_factors=3))._repr_html_())
    assert "FactorModel, not fitted" in shown
    assert "ALS(n_factors=3" in shown


def test_a_model_for_serving_shows_its_columns(playlists, tmp_path):
    model = FactorModel(solver=ALS(n_factors=3, max_epochs=2, rng=0)).fit(playlists.pairings)
    model.save(tmp_path / "m", serving=True)
    shown = text_of(FactorModel.load(tmp_path / "m")._repr_html_())
    assert "FactorModel for new rows: 150 columns" in shown
    assert repr(model.objective) in shown


@pytest.mark.parametrize("n_rows", [1, 2])
def test_ids_are_escaped_and_short_rankings_are_filled(n_rows):
    pairings = Pairings.from_arrays(["<b>&", "<b>&", "r"], ["<script>", "x", "x"])
    model = FactorModel(solver=ALS(n_factors=1, max_epochs=1, rng=0))
    html = model.fit(pairings.take_rows(range(n_rows)))._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<b>&" in text_of(html)


def test_a_diverged_solution_shows_its_finite_values(small):
    solver = GD(n_factors=2, rng=0, learning_rate=1e6)
    with pytest.warns(DivergenceWarning):
        solution = solver.solve(Objective(), small)
    html = f"<div>{solution._repr_html_()}</div>"
    assert "decrease learning_rate" in text_of(html)
    assert "nan" not in ElementTree.fromstring(html).find("svg/polyline").get("points")
    assert np.isfinite(solution.objective_value)
