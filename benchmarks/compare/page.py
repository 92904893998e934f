"""The page: one self-contained HTML file, which needs no network."""

import html
from pathlib import Path

from benchmarks.compare.entries import all_entries
from benchmarks.compare.store import Run, as_json

_TEMPLATE = Path(__file__).with_name("page.html")


def write_page(runs: list[Run], path: Path) -> None:
    """Write the page for the runs."""
    notes = "".join(
        f"<dt>{html.escape(entry.name)}</dt><dd>{html.escape(entry.notes)}</dd>"
        for entry in all_entries().values()
        if entry.notes
    )
    machines = "<br>".join(html.escape(text) for text in sorted({run.machine for run in runs}))
    page = _TEMPLATE.read_text(encoding="utf-8")
    # "</" inside a script would end it.
    page = page.replace("__RUNS__", as_json(runs).replace("</", "<\\/"))
    page = page.replace("__NOTES__", notes).replace("__MACHINES__", machines)
    path.write_text(page, encoding="utf-8")
