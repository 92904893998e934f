"""The scripts of the gallery run, and its page and pictures are theirs."""

import importlib.util
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "examples" / "gallery"
SCRIPTS = sorted(path for path in GALLERY.glob("*.py") if path.name != "__main__.py")
MAX_LINES, MAX_BYTES = 30, 60_000


@pytest.fixture(scope="module")
def gallery():
    spec = importlib.util.spec_from_file_location("gallery", GALLERY / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_makes_its_picture(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ax = runpy.run_path(str(script))["ax"]
    (picture,) = tmp_path.iterdir()
    assert picture.name == f"{script.stem}.png"
    assert picture.stat().st_size <= MAX_BYTES
    assert ax.get_title()
    assert ax.get_xlabel()
    assert len(script.read_text("utf-8").splitlines()) <= MAX_LINES


def test_the_page_shows_all_scripts_as_they_are_and_their_pictures(gallery):
    assert sorted(gallery.ORDER) == [path.stem for path in SCRIPTS]
    assert gallery.PAGE.read_text("utf-8") == gallery.page(), "run python -m examples.gallery"
    for script in SCRIPTS:
        picture = gallery.PICTURES / f"{script.stem}.png"
        assert 5_000 < picture.stat().st_size <= MAX_BYTES
