"""Every measuring command runs, with data so small that its numbers mean nothing."""

import importlib
import sys

import pytest

pytestmark = pytest.mark.smoke

COMMANDS = [
    "als efficiency --scale 0.001",
    "als fold-in --scale 0.01",
    "als scaling --scale 0.01",
    "als mpd --scale 0.0005",
    "sgd notebook --scale 0.01",
    "sgd rates --data planted --scale 0.02",
    "sgd mpd --scale 0.0005",
    "start_up fold-in --columns 300 --playlists 200 --calls 5",
    "start_up busy --columns 300 --playlists 200 --calls 5",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command, capsys, monkeypatch):
    name, *words = command.split()
    monkeypatch.setattr(sys, "argv", [name, *words])
    importlib.import_module(f"benchmarks.{name}").main()
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) > 1
    assert "nan" not in printed
