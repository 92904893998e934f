"""The commands of docs/command-line.md have the options that the page gives them."""

import re
import shlex
from pathlib import Path

import pytest

from twofold.cli.parser import Command

PAGE = Path(__file__).parents[2] / "docs/command-line.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
LINES = "".join(BLOCKS).replace("\\\n", "").splitlines()
COMMANDS = [line for line in LINES if line.startswith("twofold ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_page_are_understood(line, twofold, monkeypatch):
    monkeypatch.setattr(Command, "run", lambda self: self._parser.parse_words(self._words))
    result = twofold(*shlex.split(line, comments=True)[1:])
    assert result.code == 0, result.err
