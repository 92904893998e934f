"""The blocks of README.md and of the guide run in their order, as a reader runs them."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import twofold

ROOT = Path(__file__).parents[1]
pytest.importorskip("pyarrow", reason='write_factors needs pip install "twofold[frames]"')


def python_blocks(path: Path) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", path.read_text("utf-8"), re.S | re.M))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the demo was run."""
    made = tmp_path_factory.mktemp("reader")
    run([sys.executable, "-m", "twofold", "demo", "--quiet"], made)
    return made


def run(command: list[str], folder: Path) -> str:
    path = os.pathsep.join(
        [str(Path(twofold.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_blocks_run_in_their_order(page, folder):
    script = folder / "blocks.py"
    script.write_text(python_blocks(ROOT / page), encoding="utf-8")
    printed = run([sys.executable, str(script)], folder)
    if page == "README.md":
        shown = re.findall(r"^```\n\n```\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.S | re.M)
        assert printed == "".join(shown)


PROBLEMS = {
    "all cells": "all", "missing cells": "missing", "observed pairs": "observed",
    "ratings": "ratings", "new, all": "fold-all", "new, missing": "fold-missing",
}  # fmt: skip


def table(page: str, first: str) -> dict[str, dict[str, str]]:
    """Return the first table with a line that begins so: the cells by line and by column."""
    lines = (ROOT / page).read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    cells = [
        [cell.strip(" *") for cell in line.strip("|").split("|")]
        for line in itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    ]
    return {name: dict(zip(cells[0][1:], values, strict=True)) for name, *values in cells[2:]}


def test_readme_compares_the_fastest_variants_of_the_benchmarks():
    seconds = table("docs/benchmarks.md", "| s to 1.01 x best |")
    for package, shown in table("README.md", "| | all cells |").items():
        for column, problem in PROBLEMS.items():
            found = [
                row[f"polimi2018: {problem}"]
                for name, row in seconds.items()
                if name.startswith(package)
            ]
            numbers = [text for text in found if text[:1].isdigit()]
            others = max(found) if set(found) <= {"", "not reached", "diverged"} else ""
            assert shown[column] == min(numbers, key=float, default=others), (package, column)


def recalls(problem: str) -> list[str]:
    """Return Recall@20 of the solvers of twofold, in whole percent."""
    text = (ROOT / "docs/benchmarks.md").read_text("utf-8")
    first = text.partition(f"**polimi2018, {problem}, n_factors=64**")[2]
    rows = [line for line in first.partition("\n\n**")[0].splitlines() if "| twofold" in line]
    return sorted(f"{100 * float(row.split('|')[11]):.0f}" for row in rows)


def test_recalls_in_the_readme_are_those_of_the_benchmarks():
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    shown = re.search(r"find (\d+)% of .*? and (\d+) to (\d+)% without it", text).groups()
    (with_weight,) = set(recalls("all"))
    without = recalls("observed")
    assert shown == (with_weight, without[0], without[-1])


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_links_lead_to_files():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_files_that_the_architecture_names_exist():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    for name in re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text):
        place = ROOT / name if name.startswith("benchmarks") else ROOT / "twofold" / name
        assert place.exists(), name
