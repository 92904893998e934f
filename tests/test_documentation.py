"""The blocks of README.md and of the guide run in their order, as a reader runs them."""

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


def test_links_lead_to_files():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_files_that_the_architecture_names_exist():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    for name in re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text):
        place = ROOT / name if name.startswith("benchmarks") else ROOT / "twofold" / name
        assert place.exists(), name
