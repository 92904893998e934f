import shutil
import sys
from pathlib import Path

import pytest

from twofold.cli.program import program_name


@pytest.mark.parametrize(
    ("called", "on_path", "name"),
    [
        ("/home/me/.venv/bin/twofold", "/home/me/.venv/bin/twofold", "twofold"),
        (".venv/bin/twofold", None, ".venv/bin/twofold"),
        (".venv/bin/twofold", "/usr/bin/twofold", ".venv/bin/twofold"),
        ("/site-packages/twofold/__main__.py", None, f"{Path(sys.executable).name} -m twofold"),
        ("/usr/bin/pytest", None, "twofold"),
    ],
)
def test_name_can_be_typed_again(called, on_path, name, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(Path(called)), "demo"])
    monkeypatch.setattr(shutil, "which", lambda _: on_path)
    assert program_name() == str(Path(name))
