"""`read_mpd` by several processes: the same result, the same errors, and nobody left behind."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.io import mpd_slices, mpd_workers, read_mpd


@pytest.fixture
def folder(make_slice, tmp_path):
    """Five slices that share tracks, two of them compressed, one without playlists."""
    rng = np.random.default_rng(0)
    for number in range(5):
        lists = {
            10 * number + i: [f"t:{track}" for track in rng.integers(0, 40, rng.integers(0, 9))]
            for i in range(0 if number == 2 else 8)
        }
        path = make_slice(lists, f"mpd.slice.{number}-{number}.json")
        if number in (1, 4):
            path.with_suffix(".json.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    return tmp_path


def content(mpd):
    arrays = (mpd.row_ids, mpd.col_ids, mpd.matrix.data, mpd.matrix.indices, mpd.matrix.indptr)
    tables = {name: column.tolist() for name, column in (mpd.tracks | mpd.playlists).items()}
    return [(array.tolist(), array.dtype) for array in arrays], tables


@pytest.mark.parametrize("n_workers", [2, 3, 9])
def test_any_number_of_workers_gives_the_same(folder, n_workers):
    alone = read_mpd(folder, n_workers=1)
    assert alone.shape[0] == 32
    assert content(read_mpd(folder, n_workers=n_workers)) == content(alone)


def test_workers_that_forget_give_the_same(folder, monkeypatch):
    program = "from twofold.io import mpd_slices as m; m._FORGET = 20; m.serve()"
    monkeypatch.setattr(mpd_workers, "_PROGRAM", program)
    assert content(read_mpd(folder, n_workers=2)) == content(read_mpd(folder))


def test_the_standard_library_gives_the_same(folder, monkeypatch):
    pytest.importorskip("orjson")
    quick = content(read_mpd(folder))
    monkeypatch.setattr(mpd_slices, "orjson", None)
    assert content(read_mpd(folder)) == quick


def test_few_bytes_are_read_in_this_process(folder, monkeypatch):
    files = list(folder.iterdir())
    assert mpd_workers.count_workers(None, files) == 1
    assert mpd_workers.count_workers(9, files) == 5
    monkeypatch.setattr(mpd_workers, "_SMALL", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(3), raising=False)
    assert mpd_workers.count_workers(None, files) == 3
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert mpd_workers.count_workers(4, files) == 1


@pytest.mark.parametrize("n_workers", [0, -1, 1.5, True, "2"])
def test_what_is_no_number_of_workers(folder, n_workers):
    with pytest.raises(InvalidInputError, match="n_workers is"):
        read_mpd(folder, n_workers=n_workers)


def test_errors_are_the_same(folder):
    (folder / "mpd.slice.3-3.json").write_text('{"playlists": [{"pid": 5, "tra')
    raised = []
    for n_workers in (1, 2):
        with pytest.raises(
            FileFormatError, match=r"slice\.3-3\.json' is not .* byte 2\d of 30"
        ) as e:
            read_mpd(folder, n_workers=n_workers)
        raised.append((str(e.value), repr(e.value.__cause__)))
    assert raised[0] == raised[1]


@pytest.mark.parametrize("keep", [0.5, -4, 20])
def test_a_truncated_gzip_file(folder, keep):
    path = folder / "mpd.slice.4-4.json.gz"
    blob = path.read_bytes()
    path.write_bytes(blob[: int(len(blob) * keep) if keep == 0.5 else keep])
    with pytest.raises(FileFormatError, match=r"4-4\.json\.gz' is not a whole gzip file"):
        read_mpd(folder)


def test_damage_inside_a_gzip_file_counts_unpacked_bytes(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'{"playlists": ['))
    with pytest.raises(FileFormatError, match="byte 15 of 15 when unpacked"):
        read_mpd(path)


@pytest.mark.parametrize("program", ["false", "echo"])
def test_workers_that_fail_are_done_without(folder, monkeypatch, program):
    alone = content(read_mpd(folder))
    monkeypatch.setattr(sys, "executable", shutil.which(program))
    assert content(read_mpd(folder, n_workers=2)) == alone


def test_a_script_without_a_main_guard_runs_once(folder):
    script = folder / "script.py"
    script.write_text(
        "print('once')\nfrom twofold.io import read_mpd\nprint(read_mpd('.', n_workers=2).n_pairs)"
    )
    (folder / "json.py").write_text("raise ImportError('not this one')")
    ran = subprocess.run(
        [sys.executable, "-P", script.name], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert ran.stderr == ""
    assert ran.stdout.split() == ["once", str(read_mpd(folder).n_pairs)]


STUCK = """
import time
from twofold.io import mpd, mpd_workers, read_mpd

class Announced(mpd_workers._Worker):
    def __init__(self):
        super().__init__()
        print(self.process.pid, flush=True)
mpd_workers._Worker = Announced
def wait(*_):
    print("reading", flush=True)
    time.sleep(60)
mpd._Merged.add = wait
read_mpd(".", n_workers=3)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_leaves_no_process_behind(make_slice, tmp_path, number):
    for k in range(6):  # more than a pipe holds, so that the workers are in the middle
        make_slice(
            {k: [f"t:{k} {track} {'x' * 400}" for track in range(1500)]}, f"mpd.slice.{k}.json"
        )
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert process.stdout.readline() == "reading\n"
        begin = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert time.monotonic() - begin < 5
    assert err.count("Traceback") == err.count("KeyboardInterrupt") == (number == signal.SIGINT)
    while time.monotonic() - begin < 5 and any(map(alive, pids)):
        time.sleep(0.01)
    assert not any(map(alive, pids))


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_an_error_ends_the_workers(folder, monkeypatch):
    started = []

    class Noted(mpd_workers._Worker):
        def __init__(self):
            super().__init__()
            started.append(self.process)

    monkeypatch.setattr(mpd_workers, "_Worker", Noted)
    (folder / "mpd.slice.0-0.json").write_text(json.dumps({"playlists": 1}))
    with pytest.raises(FileFormatError, match="no list"):
        read_mpd(folder, n_workers=3)
    assert [process.poll() is not None for process in started] == [True] * 2
