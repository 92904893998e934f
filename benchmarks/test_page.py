"""The page in a browser: no errors or requests, plot, filters, files, dark mode, narrow windows."""

import csv
import json
import re
import shutil
from contextlib import contextmanager
from itertools import combinations
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


@contextmanager
def opened(browser, folder: Path, **options):
    """Open the page in a window; check afterwards that there were no messages and requests."""
    path = folder / "page.html"
    write_page(RUNS, all_entries(), path)
    shown = browser.new_page(**options)
    shown.set_default_timeout(120_000)  # ms; the machines that run this are shared
    said: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: said.append(request.url))
    shown.goto(path.as_uri())
    yield shown
    shown.close()
    # The only requests are those for the page, its empty icon and what it has made itself.
    local = ("file://", "data:", "blob:file://")
    assert [text for text in said if not text.startswith(local)] == []


@pytest.fixture
def page(browser, tmp_path: Path):
    with opened(browser, tmp_path) as shown:
        yield shown


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


def saved(page, table: str, kind: str, folder: Path) -> Path:
    """Download a table; return the file."""
    with page.expect_download() as started:
        page.click(f".save[data-table={table}] >> text={kind}")
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_tables_can_be_downloaded_with_unrounded_numbers(page, tmp_path):
    path = saved(page, "arrivals", "CSV", tmp_path)
    assert path.name == "arrivals-some_data_-all-8.csv"
    with path.open(newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    assert head == page.eval_on_selector_all("#arrivals th", "all => all.map(c => c.textContent)")
    assert head[1].startswith("s to 1.01")
    named = {line[0]: dict(zip(head, line, strict=True)) for line in lines}
    assert sorted(named) == ["irspack CG", "liar", "twofold ALS"]
    assert float(named["twofold ALS"][head[1]]) == 0.1 * 3
    assert float(named["irspack CG"]["gap at the end"]) == 28.0 / 20.0 - 1.0
    assert named["irspack CG"][head[1]] == "not reached"
    assert named["liar"]["note"] == "wrong: it claims 1</script>"


def test_tables_can_be_downloaded_as_json(page, tmp_path):
    glance = json.loads(saved(page, "glance", "JSON", tmp_path).read_text("utf-8"))
    assert glance[0]["solver"] == "twofold ALS"
    assert glance[0]["some <data> all"] == 0.1 * 3
    by_solver = {line["solver"]: line for line in glance}
    assert by_solver["irspack CG"]["some <data> missing"] is None
    assert by_solver["lenskit ImplicitMF"]["some <data> missing"] == "not installed"
    page.select_option("#problem", "1")
    shown = json.loads(saved(page, "efficiency", "JSON", tmp_path).read_text("utf-8"))
    assert [(line["solver"], line["threads"]) for line in shown] == [("twofold ALS", 2)]
    assert shown[0]["noise"] is None


# Of each element that has a text of its own: the text, its colour and what is behind it.
COLOURS_OF_TEXTS = """() => [...document.querySelectorAll("body *")].filter(e =>
  !["SCRIPT", "OPTION"].includes(e.tagName) && e.getClientRects().length &&
  [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
).map(e => {
  let behind = e;
  const ground = node => getComputedStyle(node).backgroundColor;
  const isClear = node => ground(node) === "rgba(0, 0, 0, 0)";
  while (behind.parentElement && isClear(behind)) behind = behind.parentElement;
  const style = getComputedStyle(e);
  return [e.textContent.trim(), e instanceof SVGElement ? style.fill : style.color, ground(behind),
          parseFloat(style.fontSize) * (e.getScreenCTM ? e.getScreenCTM().a : 1)];
})"""


def luminance(colour: str) -> float:
    """Return the relative luminance by WCAG 2."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_curves_stand_out_in_both_schemes(browser, tmp_path, scheme):
    with opened(browser, tmp_path, color_scheme=scheme) as page:
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (luminance(ground) < 0.05) == (scheme == "dark")
        texts = page.evaluate(COLOURS_OF_TEXTS)
        assert len(texts) > 50
        faint = [(text, one, other) for text, one, other, _ in texts if contrast(one, other) < 4.5]
        assert faint == []
        mixed = page.eval_on_selector_all(
            "#plot path, .swatch",
            """all => all.map(each => {
              const canvas = document.createElement("canvas").getContext("2d");
              const style = getComputedStyle(each);
              canvas.fillStyle = each.matches("path") ? style.stroke : style.borderTopColor;
              canvas.fillRect(0, 0, 1, 1);
              return canvas.getImageData(0, 0, 1, 1).data.join();
            })""",
        )
        assert len(mixed) == 6
        assert min(contrast(colour, ground) for colour in mixed) > 2.4


def test_a_phone_shows_everything_in_readable_letters(browser, tmp_path):
    with opened(browser, tmp_path, viewport={"width": 390, "height": 844}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert min(size for *_, size in page.evaluate(COLOURS_OF_TEXTS)) >= 12.0
        scrolls = "e => [e.scrollWidth > e.clientWidth, getComputedStyle(e).overflowX]"
        assert page.eval_on_selector(".scroll:has(#arrivals)", scrolls) == [True, "auto"]
        check_plot(page)


def test_a_tap_on_a_point_explains_it_within_the_window(browser, tmp_path):
    with opened(browser, tmp_path, viewport={"width": 390, "height": 844}, has_touch=True) as page:
        page.tap("#plot circle >> nth=-1")
        assert "epoch" in page.inner_text("#tip")
        left, top, right, bottom = page.eval_on_selector("#tip", BOX)
        assert 0 <= left < right <= 390
        assert 0 <= top < bottom <= 844


def test_the_plot_follows_the_width_of_the_window(page):
    page.set_viewport_size({"width": 1280, "height": 800})
    check_plot(page)
    wide = page.eval_on_selector("#plot path", "path => path.getBBox().width")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("document.querySelector('#plot path').getBBox().width < 390")
    check_plot(page)
    assert page.eval_on_selector("#plot path", "path => path.getBBox().width") < wide / 2


def check_plot(page) -> None:
    """Check that all of the plot is inside it and that its texts do not overlap."""
    frame = page.eval_on_selector("#plot", f"e => ({BOX})(e)")
    texts = page.eval_on_selector_all("#plot text", f"all => all.map({BOX})")
    assert len(texts) > 5
    for left, top, right, bottom in texts + page.eval_on_selector_all(
        "#plot path", f"all => all.map({BOX})"
    ):
        assert frame[0] <= left
        assert frame[1] <= top
        assert right <= frame[2]
        assert bottom <= frame[3]
    for one, other in combinations(texts, 2):
        assert (
            one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        ), (one, other)


BOX = "e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; }"


def test_no_results_is_a_sentence(browser, tmp_path):
    write_page([], {}, tmp_path / "empty.html")
    shown = browser.new_page()
    shown.goto((tmp_path / "empty.html").as_uri())
    assert "There are no results yet" in shown.inner_text("body")
    assert markdown([]) == ""
