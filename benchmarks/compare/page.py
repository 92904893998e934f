"""The page: one self-contained HTML file without network requests."""

import html
import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.compare.entries import Entry
from benchmarks.compare.store import Run
from benchmarks.compare.summary import TARGETS, short, summaries
from twofold.plot.figures import COLOURS

_TEMPLATE = Path(__file__).with_name("page.html")


def write_page(runs: list[Run], entries: dict[str, Entry], path: Path) -> None:
    """Write the page of the runs."""
    seen = order(runs, entries)
    notes = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(entries[name].notes)}</dd>"
        for name in seen
        if name in entries and entries[name].notes
    )
    machines = "<br>".join(html.escape(text) for text in sorted({run.machine for run in runs}))
    content = {
        "targets": TARGETS,
        "colours": COLOURS,
        "names": seen,
        "summaries": [
            asdict(summary) | {"name": summary.name, "short": short(summary.data)}
            for summary in summaries(runs)
        ],
        "runs": [asdict(run) for run in runs if run.points],
    }
    page = _TEMPLATE.read_text(encoding="utf-8")
    # "</" would end the script element, and nan is not valid JSON.
    page = page.replace("__CONTENT__", json.dumps(_clean(content)).replace("</", "<\\/"))
    page = page.replace("__NOTES__", notes).replace("__MACHINES__", machines)
    path.write_text(page, encoding="utf-8")


def order(runs: list[Run], entries: dict[str, Entry]) -> list[str]:
    """Return the solvers of the runs: twofold first, then the others in their order."""
    names = {run.solver for run in runs}
    known = [name for name in entries if name in names]
    return [*known, *sorted(names.difference(known))]


def _clean(value: object) -> object:
    """Replace numbers that are not finite by None."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
