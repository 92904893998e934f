"""How commands end: interrupts, full disks, closed pipes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twofold import FactorModel
from twofold.cli import main
from twofold.cli.output import stop_on_interrupt
from twofold.solvers import ALS

INTERRUPTED = (
    "twofold: error: interrupted; no file is partially written, and recommendations for all "
    "playlists are continued by the same command\n"
)
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def test_ctrl_c_stops_after_the_epoch_and_still_writes_the_model(url, tmp_path, start):
    process = start("fit", url, "--max-epochs", 1_000_000, "--n-factors", 4, "--checkpoint", "c")
    for _ in range(3000):  # kernels may be compiled on a busy machine
        if (tmp_path / "c").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Stopped by Ctrl-C after epoch" in out
    assert FactorModel.load(tmp_path / "model.twofold").solution.n_epochs > 0


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "sqlite:///some.db"),
        ("tune", "sqlite:///some.db", "--grid", "n_factors=2"),
        ("import-mpd", "slice.json", "new.db"),
        ("demo",),
    ],
)
def test_an_interrupt_while_reading_or_writing_exits_130(words, twofold, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for name in ("io.read_sql", "io.import_mpd", "cli.demo.write_sql"):
        monkeypatch.setattr(f"twofold.{name}", interrupt)
    result = twofold(*words)
    assert result.code == 130
    assert result.err == INTERRUPTED


def test_an_interrupted_search_prints_what_has_finished_and_exits_130(twofold, url, monkeypatch):
    solve = ALS.solve

    def interrupted(self, *arguments, **options):
        if self.n_factors == 3:
            raise KeyboardInterrupt
        return solve(self, *arguments, **options)

    monkeypatch.setattr(ALS, "solve", interrupted)
    words = ("tune", url, "--max-epochs", 1, "--n-factors", 2, "--grid", "n-factors=3,4", "--quiet")
    result = twofold(*words)
    assert (result.code, result.err) == (130, INTERRUPTED)
    assert "Interrupted: only the finished trials are listed." in result.out
    assert len(json.loads(twofold(*words, "--json").out)["trials"]) == 1


def test_an_interrupted_search_recommends_nothing(twofold, url, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ALS, "solve", interrupt)
    words = ("recommend", url, "--into", "sqlite:///out.db", "--grid", "n-factors=3,4")
    result = twofold(*words)
    assert result.code == 130
    assert result.err.endswith(INTERRUPTED)
    assert not (tmp_path / "out.db").exists()


def test_the_second_ctrl_c_stops_at_once():
    with stop_on_interrupt() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_reaches_a_process_that_reads(tmp_path, start):
    program = (
        "import time, twofold.io\n"
        "def read(*_, **__):\n    print('reading', flush=True)\n    time.sleep(60)\n"
        "twofold.io.read_sql = read\n"
        "from twofold.cli import main\n"
        "main(['fit', 'sqlite:///some.db'])"
    )
    process = start(program=program)
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == INTERRUPTED
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_modules_are_loaded(monkeypatch, capsys):
    def interrupted(name: str, *args: object, **options: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "twofold.cli.app", raising=False)
    monkeypatch.setattr("builtins.__import__", interrupted)
    try:
        main(["fit"])
    except SystemExit as end:
        code = end.code
    monkeypatch.undo()
    assert code == 130
    assert capsys.readouterr().err == INTERRUPTED


@needs_full
@pytest.mark.parametrize("words", [("--version",), ("warm-up", "--help")])
def test_a_full_disk_behind_the_output_is_one_line(words, start):
    with open(FULL, "w") as full:
        process = start(*words, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == "twofold: error: cannot write the output: No space left on device\n"


def test_a_full_disk_behind_the_model_is_one_line(twofold, url, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    words = ("fit", url, "--n-factors", 2, "--max-epochs", 1, "--quiet")
    twofold(*words).failed("cannot write 'model.twofold': No space left on device")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("words", [("--help",), ("fit", "--help")])
def test_a_closed_pipe_is_no_error(words, start):
    process = start(*words)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert err == ""


def test_errors_of_the_system_and_of_memory_are_one_line(twofold, monkeypatch):
    for error, words in (
        (MemoryError("8 TiB"), "there is not enough memory: 8 TiB"),
        (PermissionError(13, "Permission denied", "some.db"), "cannot use 'some.db': Permission"),
    ):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr("twofold.io.read_sql", fail)
        twofold("fit", "sqlite:///some.db").failed(words)


def test_the_module_is_the_command_and_its_version_imports_little(start, twofold):
    process = start("-V".replace("-V", "--version"))
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, twofold("--version").out)
    program = (
        "import sys\nfrom twofold.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "assert not {'numpy', 'numba', 'scipy', 'sqlalchemy'} & {*sys.modules}"
    )
    process = start(program=program, stdout=subprocess.DEVNULL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_without_standard_error_the_exit_code_remains(start):
    program = "import sys\nsys.stderr = None\nfrom twofold.cli import main\nmain(['fits'])"
    process = start(program=program)
    process.communicate(timeout=60)
    assert process.returncode == 2
