"""The command line as a user meets it: output, exit codes, files."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import sqlalchemy

from twofold import FactorModel, Pairings
from twofold.cli import main
from twofold.cli.app import run
from twofold.io import write_npz, write_sql
from twofold.solvers import Solution


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def twofold(monkeypatch, capsys, tmp_path):
    """Run the command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["twofold", *map(str, words)])
        code: object = 0
        try:
            run()
        except SystemExit as done:
            code = done.code
        captured = capsys.readouterr()
        return Result(int(code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def url(tmp_path_factory, playlists):
    path = tmp_path_factory.mktemp("data") / "lists.db"
    write_sql(playlists.pairings, f"sqlite:///{path}")
    return f"sqlite:///{path}"


QUICK = ("--n-factors", 4, "--max-epochs", 3, "--quiet")


def failed(result: Result, *parts: str) -> None:
    assert result.code == 2, result
    assert result.err.startswith("twofold: error: ")
    assert result.err.count("\n") == 1
    assert not result.out
    for part in parts:
        assert part in result.err


def test_demo_tells_the_story_and_leaves_its_files(twofold, tmp_path):
    result = twofold("demo", "--playlists", 200, "--tracks", 100, "--quiet")
    assert result.code == 0, result
    assert "objective after each epoch" in result.out
    assert "of the hidden ones" in result.out
    assert (tmp_path / "twofold-demo" / "demo.db").exists()
    model = FactorModel.load(tmp_path / "twofold-demo" / "demo.twofold")
    assert model.col_factors.shape[1] == 16
    again = twofold("demo", "--playlists", 200, "--tracks", 100, "--quiet", "--json")
    values = json.loads(again.out)
    assert values["recall"] > values["recall_of_popular"]
    assert values["history"][-1]["total"] < values["history"][0]["total"]


@pytest.mark.parametrize("solver", ["als", "sgd", "gd"])
def test_fit_fold_in_and_evaluate(twofold, url, solver, tmp_path):
    fitted = twofold("fit", url, "--solver", solver, "-o", "m.twofold", *QUICK)
    assert fitted.code == 0, fitted
    assert "300 playlists, 150 tracks" in fitted.out
    folded = twofold("fold-in", "m.twofold", url, "--max-rows", 7, "-o", "f.npz", "--quiet")
    assert "7 playlists folded in" in folded.out
    with np.load(tmp_path / "f.npz") as file:
        assert file["row_factors"].shape == (7, 4)
        np.testing.assert_array_equal(file["row_ids"], np.arange(1, 8))
    scored = twofold("evaluate", "m.twofold", url, "--quiet", "--json", "--k", 10)
    values = json.loads(scored.out)
    assert 0.0 <= values["recall@10"] <= 1.0
    assert values["total"] == pytest.approx(
        values["loss"] + values["unobserved"] + values["penalty"]
    )


def test_fit_json_is_one_object(twofold, url):
    values = json.loads(twofold("fit", url, "--json", "--tol", "0.5", *QUICK).out)
    assert values["status"] in ("converged", "max_epochs")
    assert values["pairs"] > 1000
    assert values["history"][0]["epoch"] == 0


def test_a_file_of_pairs_and_a_plain_path_are_sources(twofold, url, playlists, tmp_path):
    write_npz(playlists.pairings, tmp_path / "p.npz")
    assert twofold("fit", "p.npz", *QUICK).code == 0
    assert twofold("fit", url.removeprefix("sqlite:///"), *QUICK).code == 0


def test_a_path_with_special_characters_is_a_path(twofold, playlists, tmp_path):
    database = sqlalchemy.URL.create("sqlite", database=str(tmp_path / "we?ird:50%.db"))
    write_sql(playlists.pairings, database)
    assert twofold("fit", "we?ird:50%.db", *QUICK).code == 0
    assert twofold("demo", "--folder", "we?ird#folder", "--quiet", "--json").code == 0
    assert (tmp_path / "we?ird#folder" / "demo.db").exists()


def test_evaluate_with_a_heldout_table(twofold, url, playlists):
    write_sql(playlists.pairings.take_rows([5, 3]), url, "hidden", if_exists="replace")
    twofold("fit", url, *QUICK)
    result = twofold(
        "evaluate", "model.twofold", url, "--heldout-table", "hidden", "--quiet", "--json"
    )
    assert json.loads(result.out)["playlists"] == 2


def test_resume_from_a_checkpoint_gives_the_uninterrupted_model(twofold, url):
    common = (url, "--solver", "sgd", "--n-factors", 4, "--quiet", "--seed", 3)
    twofold("fit", *common, "--max-epochs", 4, "-o", "whole.twofold")
    twofold("fit", *common, "--max-epochs", 2, "-o", "half.twofold", "--checkpoint", "c.twofold")
    result = twofold("fit", *common, "--max-epochs", 4, "--resume", "c.twofold", "-o", "r.twofold")
    assert result.code == 0, result
    whole, resumed = FactorModel.load("whole.twofold"), FactorModel.load("r.twofold")
    np.testing.assert_array_equal(whole.row_factors, resumed.row_factors)
    assert Solution.load("c.twofold").n_epochs == 2


def test_tune_prints_the_best_first_and_keeps_failures(twofold, url):
    grid = ("--grid", "n_factors=2,3", "--grid", "learning_rate=1e-4,1e4")
    result = twofold("tune", url, "--solver", "gd", "--max-epochs", 5, *grid, "--quiet", "--json")
    trials = json.loads(result.out)["trials"]
    assert len(trials) == 4
    assert trials[0]["learning_rate"] == 1e-4
    assert [trial["status"] for trial in trials].count("diverged") == 2
    assert trials[-1]["score"] is None
    shown = twofold("tune", url, "--max-epochs", 2, "--grid", "n_factors=2", "--quiet")
    assert "Best: n_factors=2" in shown.out


def test_import_mpd(twofold, tmp_path):
    tracks = [{"track_uri": f"spotify:track:{i}", "track_name": f"T{i}", "artist_name": "A",
               "album_name": "B", "duration_ms": 1000} for i in range(3)]  # fmt: skip
    lists = [{"pid": p, "name": f"P{p}", "tracks": tracks[: p + 1]} for p in range(3)]
    (tmp_path / "mpd.slice.0-2.json").write_text(json.dumps({"playlists": lists}))
    result = twofold("import-mpd", "mpd.slice.0-2.json", "sqlite:///mpd.db", "--quiet")
    assert result.code == 0, result
    assert "3 playlists, 3 tracks, 6 pairs" in result.out
    assert twofold("fit", "sqlite:///mpd.db", "--n-factors", 2, "--quiet").code == 0
    again = twofold("import-mpd", "mpd.slice.0-2.json", "sqlite:///mpd.db", "--quiet", "--json")
    assert json.loads(again.out) == {
        "playlists": 3, "tracks": 3, "pairs": 6, "slices": 1, "new_slices": 0
    }  # fmt: skip
    assert twofold("import-mpd", "mpd*.json", "mpd.db", "--replace", "--quiet").code == 0
    more = [{**playlist, "pid": 9} for playlist in lists[:1]]
    (tmp_path / "mpd.slice.9-9.json").write_text(json.dumps({"playlists": more}))
    result = twofold("import-mpd", "mpd*.json", "mpd.db", "--quiet")
    assert "4 playlists, 3 tracks, 7 pairs are in mpd.db, from 2 slices (1 new)" in result.out
    write_sql(Pairings.from_arrays([1], [2]), f"sqlite:///{tmp_path / 'other.db'}")
    failed(twofold("import-mpd", "mpd*.json", "other.db", "--quiet"), "'pairings' exists")
    (tmp_path / "cut.json").write_text(json.dumps({"playlists": lists})[:100])
    failed(twofold("import-mpd", "cut.json", "sqlite:///cut.db", "--quiet"), "cut.json", "byte")
    assert not (tmp_path / "cut.db").exists()


def test_errors_are_one_line_and_exit_code_2(twofold, url, tmp_path):
    failed(twofold("fit", "sqlite:///missing.db"), "missing.db")
    assert not (tmp_path / "missing.db").exists()
    failed(twofold("fit", url, "--table", "pair"), "'pair'", "pairings")
    failed(twofold("fit", url, "--col", "track"), "'track'", "tid")
    failed(twofold("fit", "postgresql://user:secret@127.0.0.1:1/x"), "127.0.0.1")
    failed(twofold("fit", url, "--n-factors", 0), "n_factors is 0")
    failed(twofold("fit", url, "--solver", "adam"), "als, sgd, gd")
    failed(twofold("fit", url, "--solver", "sgd", "--unobserved-weight", 1), "GD", "ALS")
    failed(twofold("fit", url, "--loss", "hinge"), "squared, huber, logistic")
    failed(twofold("fit", url, "--set", "speed=3"), "'speed'", "n_factors")
    failed(twofold("fit", url, "--set", "speed"), "NAME=VALUE")
    failed(twofold("fit", url, "-o", "nowhere/m.twofold"), "nowhere")
    failed(twofold("fit", url, "--max-rows", "many"), "--max-rows")
    failed(twofold("fit", url, "--where", "pid < 0", "--quiet"), "no")
    failed(twofold("tune", url, "--grid", "n_factor=3", "--quiet"), "'n_factor'")
    failed(twofold("tune", url, "--grid", "n_factors"), "NAME=V1,V2")
    failed(twofold("evaluate", "none.twofold", url), "none.twofold")
    (tmp_path / "bad.twofold").write_bytes(b"PK\x03\x04 not whole")
    failed(twofold("fold-in", "bad.twofold", url), "bad.twofold")
    failed(twofold("fits"), "fits")


def test_a_password_is_not_shown(twofold):
    result = twofold("fit", "postgresql://user:secret@127.0.0.1:1/x")
    assert "secret" not in result.err + result.out


def test_a_diverged_fit_writes_no_model(twofold, url, tmp_path):
    result = twofold("fit", url, "--solver", "gd", "--learning-rate", "1e6", *QUICK)
    failed(result, "diverged", "learning_rate")
    assert not (tmp_path / "model.twofold").exists()


def test_help_and_version(twofold):
    for words in ((), ("--help",), ("fit", "--help"), ("tune", "--help"), ("import-mpd", "--help")):
        result = twofold(*words)
        assert "Usage" in result.out + result.err
    assert twofold("--version").out.strip() == "0.1.0"


def test_a_solver_of_ones_own_by_module_and_class(twofold, url, tmp_path, monkeypatch):
    (tmp_path / "my_solver.py").write_text(
        "from twofold.solvers import GD\nclass Mine(GD):\n    '''GD.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = twofold("fit", url, "--solver", "my_solver:Mine", *QUICK)
    assert result.code == 0, result
    failed(twofold("evaluate", "model.twofold", url), "Mine")


def test_ctrl_c_stops_after_the_epoch_and_still_writes_the_model(url, tmp_path):
    words = [sys.executable, "-c", "from twofold.cli import main; main()", "fit", url,
             "--max-epochs", "1000000", "--n-factors", "4", "--checkpoint", "c"]  # fmt: skip
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(600):
        if (tmp_path / "c").exists():
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Stopped by Ctrl-C after epoch" in out
    assert FactorModel.load(tmp_path / "model.twofold").solution.n_epochs > 0


def test_pairings_without_a_known_track_are_counted(twofold, url, tmp_path):
    twofold("fit", url, *QUICK)
    write_npz(Pairings.from_arrays([1, 2, 2], [999, 998, 1]), tmp_path / "new.npz")
    values = json.loads(twofold("fold-in", "model.twofold", "new.npz", "--json").out)
    assert (values["dropped_pairs"], values["empty_playlists"]) == (2, 1)


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "some.db"),
        ("tune", "some.db", "--grid", "n_factors=2"),
        ("import-mpd", "slice.json", "new.db"),
        ("demo",),
    ],
)
def test_an_interrupt_while_reading_or_writing_is_told_by_130(words, twofold, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for name in ("read_sql", "import_mpd", "write_sql"):
        monkeypatch.setattr(f"twofold.io.{name}", interrupt)
    result = twofold(*words)
    assert result.code == 130
    assert "interrupted" in result.err


def test_an_interrupt_reaches_a_process_that_reads(url, tmp_path):
    program = (
        "import sys, time, twofold.io\n"
        "def read(*_, **__):\n    print('reading', flush=True)\n    time.sleep(60)\n"
        "twofold.io.read_sql = read\n"
        "from twofold.cli import main\n"
        "sys.argv = ['twofold', 'fit', 'some.db']\nmain()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "twofold: error: interrupted; nothing is left half-written\n"
    assert not list(tmp_path.iterdir())


def test_without_a_command_the_help_is_all(twofold):
    result = twofold()
    assert result.code == 2
    assert "Usage" in result.out + result.err
    assert "error:" not in result.err


def test_sql_options_are_refused_for_a_file(twofold, playlists, tmp_path):
    write_npz(playlists.pairings, tmp_path / "p.npz")
    failed(twofold("fit", "p.npz", "--where", "pid < 5", "--max-rows", 7), "--where, --max-rows")


OWN = """
from dataclasses import dataclass
from twofold.solvers import ALS

@dataclass(kw_only=True)
class Mine(ALS):
    pass
"""


def test_a_solver_of_the_current_folder_trains_and_is_loaded_again(twofold, url, tmp_path):
    (tmp_path / "own_module.py").write_text(OWN)
    assert twofold("fit", url, "--solver", "own_module:Mine", *QUICK).code == 0
    failed(twofold("fold-in", "model.twofold", url), "Mine")
    assert twofold("fold-in", "model.twofold", url, "--class", "own_module:Mine").code == 0
    failed(twofold("fold-in", "model.twofold", url, "--class", "own_module"), "module:Class")


def test_tune_by_recall_and_what_is_said_of_other_scores(twofold, url):
    grid = ("--grid", "unobserved_weight=0,0.1", *QUICK)
    assert "--score recall" in twofold("tune", url, *grid).out
    by_recall = twofold("tune", url, *grid, "--score", "recall")
    assert "Best: unobserved_weight=0.1" in by_recall.out
    assert "--score recall" not in by_recall.out
    failed(twofold("tune", url, *grid, "--grid", "unobserved_weight=1"), "twice")


def test_playlists_that_were_trained_on_are_counted(twofold, url, playlists):
    twofold("fit", url, *QUICK)
    values = json.loads(twofold("evaluate", "model.twofold", url, "--json", "--max-rows", 7).out)
    assert values["trained_on"] == 7


def test_ctrl_c_while_modules_are_loaded(monkeypatch):
    def interrupted(name: str, *args: object, **options: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "twofold.cli.app")
    monkeypatch.setattr("builtins.__import__", interrupted)
    try:
        main()
    except SystemExit as end:
        code = end.code
    monkeypatch.undo()
    assert code == 130
