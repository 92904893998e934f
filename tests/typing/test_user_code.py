"""The types that the installed package gives to the code of a user, by mypy and by pyright."""

import importlib.util
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import twofold

PROJECT = Path(__file__).parent / "project"
PACKAGE = Path(twofold.__file__).parent
Reports = dict[str, dict[int, str]]  # by file and by line


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the interpreter of an environment with the files of the package, as of a wheel.

    The package stands beside its dependencies, so that checkers read it as an installed one.
    """
    folder = tmp_path_factory.mktemp("user")
    venv.create(folder, with_pip=False)
    binary = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    shutil.copytree(PACKAGE, site / "twofold", ignore=shutil.ignore_patterns("__pycache__"))
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "others.pth").write_text("\n".join(others), encoding="utf-8")
    return folder / binary


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr or done.stdout
    return done.stdout


def mypy(python: Path, folder: Path) -> Reports:
    pytest.importorskip("mypy", reason='needs pip install "twofold[dev]"')
    if not importlib.util.find_spec("scipy-stubs"):
        pytest.skip("mypy knows no types of scipy without scipy-stubs")
    command = [sys.executable, "-m", "mypy", "--strict", "--output=json", "--python-executable"]
    reports: Reports = {path.name: {} for path in PROJECT.glob("*.py")}
    for line in run([*command, str(python), "."], folder).splitlines():
        found = json.loads(line)
        assert found["severity"] == "error", found
        reports[Path(found["file"]).name][found["line"]] = found["message"]
    return reports


def pyright(python: Path, folder: Path) -> Reports:
    pytest.importorskip("pyright", reason='needs pip install "twofold[dev]"')
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(python)]
    reports: Reports = {path.name: {} for path in PROJECT.glob("*.py")}
    for found in json.loads(run(command, folder))["generalDiagnostics"]:
        line = found["range"]["start"]["line"] + 1
        reports[Path(found["file"]).name][line] = found["message"]
    return reports


@pytest.fixture(params=[mypy, pyright], ids=["mypy", "pyright"], scope="module")
def reports(request, python, tmp_path_factory):
    """The reports of a checker in its strict mode."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    return request.param(python, folder)


def test_right_uses_have_exact_types(reports):
    assert not reports["right.py"]


def test_every_wrong_line_is_reported_and_no_other(reports):
    lines = (PROJECT / "wrong.py").read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    missed = [lines[number - 1].strip() for number in sorted(wrong - set(reports["wrong.py"]))]
    others = {
        number: text for number, text in reports["wrong.py"].items() if number not in wrong
    }  # fmt: skip
    assert (missed, others) == ([], {})
