import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import twofold as package
from twofold.cli import main
from twofold.io import write_sql


@dataclass
class Result:
    code: int
    out: str
    err: str

    def failed(self, *parts: str) -> None:
        """Check that this is an error of one line with these parts."""
        assert self.code == 2, self
        assert self.err.startswith("twofold: error: ")
        assert self.err.count("\n") == 1
        assert not self.out
        for part in parts:
            assert part in self.err


@pytest.fixture
def twofold(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        with pytest.raises(SystemExit) as done:
            main([*map(str, words)])
        captured = capsys.readouterr()
        return Result(int(done.value.code), captured.out, captured.err)

    return call


@pytest.fixture
def start(tmp_path):
    """Start ``python -m twofold``, or a program, in a process of its own and an empty folder."""
    processes = []

    def begin(*words: object, program: str = "", **options: object) -> subprocess.Popen:
        root = str(Path(package.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        command = ["-c", program] if program else ["-m", "twofold"]
        process = subprocess.Popen(
            [sys.executable, *command, *map(str, words)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": ""},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session")
def url(tmp_path_factory, playlists):
    path = tmp_path_factory.mktemp("data") / "lists.db"
    write_sql(playlists.pairings, f"sqlite:///{path}")
    return f"sqlite:///{path}"
