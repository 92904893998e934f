"""The site is built without a warning; its links lead somewhere, and its search finds words."""

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import twofold

for needed in ("sphinx", "pydata_sphinx_theme", "myst_parser", "sphinx-mathjax-offline"):
    pytest.importorskip(needed, reason='needs pip install "twofold[docs]"')

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(DOCS / "_extensions"))
api_pages = importlib.import_module("api_pages")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a new build, TWOFOLD_SITE if that is set; a warning is an error."""
    temporary = tmp_path_factory.mktemp("site")
    folder = Path(os.environ.get("TWOFOLD_SITE") or temporary / "html").absolute()
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-d", str(temporary / "doctrees"), str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """The links and the anchors of a page, and what it loads."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.loaded = [], set(), []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.add(values.get("id"))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        self.loaded += [values["src"]] if "src" in values else []
        self.loaded += (
            [values["href"]] if tag == "link" and "stylesheet" in values.get("rel", "") else []
        )


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}


def test_internal_links_lead_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            is_there = target.exists()
            if is_there and parts.fragment and target in pages:
                is_there = unquote(parts.fragment) in pages[target].anchors
            if not is_there:
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken, broken


def test_pages_load_nothing_from_the_network(pages):
    loaded = {source for page in pages.values() for source in page.loaded}
    assert loaded
    assert not [source for source in loaded if re.match(r"(https?:)?//", source)]


def test_every_public_name_has_a_page(site):
    for module_name in api_pages.module_names():
        module = importlib.import_module(module_name)
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                page = api_pages.public_names(module_name)[name]
                assert (site / f"api/modules/generated/{page}.html").exists(), page


def test_every_module_with_public_names_is_documented():
    from test_public_names import MODULES

    documented = api_pages.module_names()
    names = {api_pages.public_names(module)[name] for module in documented
             for name in api_pages.public_names(module)}  # fmt: skip
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            assert inspect.ismodule(thing) or any(full.endswith(f".{name}") for full in names), name
    assert {f"twofold.{name}" for name in twofold.__all__} <= names


@pytest.mark.parametrize("word", ["lambda", "alpha", "regularization", "confidence"])
def test_search_finds_the_words_of_the_field(site, word):
    from sphinx.search.en import SearchEnglish

    text = (site / "searchindex.js").read_text("utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    numbers = index["terms"][SearchEnglish({}).stem(word)]
    names = [index["docnames"][n] for n in (numbers if isinstance(numbers, list) else [numbers])]
    assert "project/glossary" in names
