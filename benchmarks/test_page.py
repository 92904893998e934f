"""The page in a browser: no errors or network requests, plot, filters and tooltips."""

import re
import shutil
from pathlib import Path

import pytest

from benchmarks.compare.entries import all_entries
from benchmarks.compare.page import write_page
from benchmarks.compare.store import Run
from benchmarks.compare.summary import markdown


def _run(solver: str, problem: str, totals: list[float], **more: object) -> Run:
    points = [(epoch, 0.1 * epoch, total, 0.1 * epoch) for epoch, total in enumerate(totals)]
    given = {
        "solver": solver, "data": "some <data>", "problem": problem, "n_factors": 8, "n_threads": 2,
        "max_epochs": 3, "budget": 9.0, "seed": 0, "repeat": 0, "status": "finished", "message": "",
        "n_pairs": 1000, "metric_name": "Recall@20", "optimum": None, "wall": 1.0, "start_up": 0.3,
        "peak_mb": 5.0, "machine": "a machine", "points": points,
    }  # fmt: skip
    return Run(**(given | more))


RUNS = [
    _run("irspack CG", "all", [100.0, 40.0, 30.0, 28.0]),
    _run("liar", "all", [100.0, 1.0], status="wrong", message="it claims 1</script>"),
    _run("twofold ALS", "all", [100.0, 40.0, 21.0, 20.0]),
    _run("lenskit ImplicitMF", "missing", [], status="not installed", message="lenskit"),
    _run("twofold ALS", "missing", [50.0, 20.0, 10.0, 9.0]),
]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync"],
        )  # fmt: skip
        yield opened
        opened.close()


@pytest.fixture
def page(browser, tmp_path: Path):
    path = tmp_path / "page.html"
    write_page(RUNS, all_entries(), path)
    shown = browser.new_page()
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: said.append(request.url))
    shown.goto(path.as_uri())
    yield shown
    # The only requests are those for the page and its empty icon, without console messages.
    assert [text for text in said if not text.startswith(("file://", "data:"))] == []


def curves(page) -> list[str]:
    return page.eval_on_selector_all("#plot path", "found => found.map(p => p.dataset.solver)")


def test_curves_tables_and_explanations_are_there(page):
    assert sorted(curves(page)) == ["irspack CG", "liar", "twofold ALS"]
    shapes = page.eval_on_selector_all("#plot path", "found => found.map(p => p.getAttribute('d'))")
    assert all(re.fullmatch(r"(?:[ML][\d.]+,[\d.]+)+", shape) for shape in shapes)
    glance = page.inner_text("#glance")
    assert "some <data>" in glance
    assert "not installed" in glance
    assert "disqualified" in page.inner_text("#arrivals")
    assert "it claims 1</script>" in page.inner_text("#arrivals")
    fastest = page.eval_on_selector_all("#arrivals td.best", "found => found.map(c => c.innerText)")
    assert fastest == ["0.3", "0.3", "0.3"]
    assert "alpha0 = a0" in page.inner_text("dl")
    assert "a machine" in page.content()


def test_filters_and_choices_change_the_plot(page):
    page.uncheck("input[name='irspack CG']")
    assert sorted(curves(page)) == ["liar", "twofold ALS"]
    page.check("input[name='irspack CG']")
    assert len(curves(page)) == 3
    page.select_option("#problem", "1")
    assert curves(page) == ["twofold ALS"]
    before = page.eval_on_selector("#plot path", "path => path.getAttribute('d')")
    page.select_option("#height", "metric")
    after = page.eval_on_selector("#plot path", "path => path.getAttribute('d')")
    assert before != after
    page.uncheck("#log")
    assert page.eval_on_selector("#plot path", "path => path.getAttribute('d')") != after
    page.uncheck("input[name='twofold ALS']")
    assert "no solver is chosen" in page.text_content("#plot")


def test_a_point_explains_itself(page):
    page.hover("#plot circle >> nth=-1")
    tip = page.inner_text("#tip")
    assert "epoch" in tip
    assert "objective" in tip
    assert "Recall@20" in tip


def test_no_results_is_a_sentence(browser, tmp_path):
    write_page([], {}, tmp_path / "empty.html")
    shown = browser.new_page()
    shown.goto((tmp_path / "empty.html").as_uri())
    assert "There are no results yet" in shown.inner_text("body")
    assert markdown([]) == ""
