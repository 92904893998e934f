"""Configuration of the documentation site; README.md has the command and the choice of tools."""

import sys
from pathlib import Path

import twofold

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "twofold"
author = "the twofold authors"
version = release = twofold.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "api_pages",
    "interactive_page",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "README.md"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the types are in the sections of numpydoc
numpydoc_show_class_members = False  # autodoc documents them on the page of their class
default_role = "py:obj"
highlight_language = "none"  # blocks without a language are outputs
smartquotes = False

html_theme = "pydata_sphinx_theme"
html_title = "twofold"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
copyright = "the twofold authors, BSD-3-Clause"
html_sidebars = {page: [] for page in ("index", "gallery", "benchmarks")}  # without a section
