"""``twofold warm-up``."""

import os
import subprocess
import sys

import pytest

import twofold
from twofold.cli.warm_up import warm_up
from twofold.exceptions import InvalidInputError
from twofold.model import warm_up as module


def command(*words, **env):
    code = "from twofold.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "warm-up", *words],
        env=os.environ | env, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_help():
    done = command("--help")
    assert done.returncode == 0
    assert "--processes" in done.stdout
    assert "NUMBA_CACHE_DIR" in done.stdout


def test_kernels_are_compiled_in_other_processes(monkeypatch, capsys):
    monkeypatch.setattr(module, "_KINDS", {"sgd": None})  # all of them: test_cache
    warm_up(processes=1)
    out = capsys.readouterr().out
    assert out.startswith("The kernels were compiled in ")
    folder = out.rpartition("They are in ")[2].strip()
    assert any(name.startswith("sgd_") for name in os.listdir(folder))


def test_a_failure_names_the_kernels(monkeypatch):
    monkeypatch.setattr(module, "_KINDS", {"unknown": None})
    with pytest.raises(twofold.exceptions.TwofoldError, match="kernels for unknown in float32"):
        twofold.warm_up(1)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_no_folder_is_an_error():
    done = command(NUMBA_CACHE_DIR="", XDG_CACHE_HOME="/proc/none")
    assert done.returncode == 2
    assert done.stderr.startswith("twofold: error: compiled kernels are not cached")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("n_processes", [0, -1, 1.5, "two"])
def test_bad_numbers_of_processes(n_processes):
    with pytest.raises(InvalidInputError, match="n_processes"):
        twofold.warm_up(n_processes)


@pytest.mark.parametrize("dtypes", ["float32", ["int8"]])
def test_bad_dtypes(dtypes):
    with pytest.raises(InvalidInputError, match="dtypes"):
        twofold.warm_up(1, dtypes=dtypes)
