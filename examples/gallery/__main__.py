"""Run the scripts of the gallery, and write its page: ``python -m examples.gallery``."""

import ast
import os
import runpy
from contextlib import chdir
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "gallery.md"
PICTURES = PAGE.with_name("gallery")
ORDER = (
    "row_lengths", "popularity", "convergence", "grid", "fold_in", "col_map", "recommendations",
)  # fmt: skip
INTRODUCTION = """\
# Gallery

These pictures are made by the functions of `twofold.plot` (`pip install -e ".[plot]"`). Each one is
shown with its complete script, which uses generated data. Every function takes a result or a data
set and, optionally, the axes to draw into, and returns the axes. `python -m examples.gallery` runs
all scripts and writes this page.
"""


def section(name: str) -> str:
    """Return the part of the page for a script: its first sentence, its picture, its code."""
    script = (HERE / f"{name}.py").read_text("utf-8")
    said = ast.get_docstring(ast.parse(script)) or ""
    title, _, rest = said.partition(": ")
    code = script.partition('"""\n\n')[2].rstrip()
    text = f"{rest[:1].upper()}{rest[1:]}"
    return f"## {title}\n\n{text}\n\n![{title}](gallery/{name}.png)\n\n```python\n{code}\n```\n"


def page() -> str:
    """Return the text of the page."""
    return "\n".join([INTRODUCTION, *map(section, ORDER)])


def main() -> None:
    """Run the scripts and write the page."""
    os.environ.setdefault("MPLBACKEND", "agg")
    PICTURES.mkdir(exist_ok=True)
    with chdir(PICTURES):
        for name in ORDER:
            runpy.run_path(str(HERE / f"{name}.py"))
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
