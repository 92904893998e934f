"""The blocks of README.md and of the pages of docs/ run in their order, as a reader runs them."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import twofold

ROOT = Path(__file__).parents[1]
# Their blocks are files of a reader, or need a cluster; other tests run them.
OTHERS = {
    "docs/benchmarks.md", "docs/distributed.md", "docs/gallery.md", "docs/project/data-sets.md"
}  # fmt: skip
NEEDS = {"docs/howto/serve.md": "faiss", "docs/howto/hyper-parameters.md": "sklearn"}
BLOCKS = re.compile(r"^```python\n(.*?)^```\n(?:\n```\n(.*?)^```\n)?", re.S | re.M)
END = "-- end of block --"
pytest.importorskip("pyarrow", reason='write_factors needs pip install "twofold[frames]"')


def pages() -> list[Path]:
    sources = (path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
    return [*ROOT.glob("*.md"), *sorted(sources)]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the blocks of Python of a page, each with the output that the page shows."""
    return BLOCKS.findall(page.read_text("utf-8"))


PAGES = [
    name
    for page in pages()
    if blocks(page) and (name := page.relative_to(ROOT).as_posix()) not in OTHERS
]


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


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run_in_their_order(page, folder):
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    found = blocks(ROOT / page)
    script = folder / "blocks.py"
    script.write_text("".join(f"{code}\nprint({END!r})\n" for code, _ in found), encoding="utf-8")
    printed = run([sys.executable, str(script)], folder).split(f"{END}\n")
    for (code, shown), output in zip(found, printed, strict=False):
        is_compared = shown or page == "README.md"
        assert not is_compared or output == shown, code


def test_most_blocks_show_their_output():
    shown = [output for page in PAGES for _, output in blocks(ROOT / page)]
    assert sum(map(bool, shown)) > 15


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
    numbers = sorted(100 * float(row.split("|")[11]) for row in rows)
    return [f"{number:.0f}" for number in numbers]


def test_recalls_in_the_readme_are_those_of_the_benchmarks():
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    shown = re.search(r"find (\d+)% of .*? and (\d+) to (\d+)% without it", text).groups()
    (with_weight,) = set(recalls("all"))
    without = recalls("observed")
    assert shown == (with_weight, without[0], without[-1])


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_links_lead_to_files():
    for page in pages():
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_external_links_are_encrypted_and_name_a_host():
    found = [
        (page.name, link)
        for page in pages()
        for link in re.findall(r"https?://[^\s)>\"`]+", page.read_text("utf-8"))
        if "host:" not in link
    ]
    assert len(found) > 5
    wrong = [
        (page, link)
        for page, link in found
        if not re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w./#%~=?&+-]*)?", link)
    ]
    assert not wrong, wrong


def test_files_that_the_architecture_names_exist():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    for name in re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text):
        place = ROOT / name if name.startswith("benchmarks") else ROOT / "twofold" / name
        assert place.exists(), name
