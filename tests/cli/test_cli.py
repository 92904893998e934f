"""The command line as a user meets it: output, exit codes, files."""

import json
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy

from twofold import L1, FactorModel, HuberLoss, Objective, Pairings
from twofold.io import write_sql
from twofold.solvers import SGD, Solution

QUICK = ("--n-factors", 4, "--max-epochs", 3, "--quiet")


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
    preset = ("--preset", "notebook" if solver == "sgd" else "balanced")
    fitted = twofold("fit", url, "--solver", solver, "-o", "m.twofold", *preset, *QUICK)
    assert fitted.code == 0, fitted
    assert "Objective: Objective(loss=SquaredLoss()" in fitted.out
    assert ("--preset balanced" in fitted.out) == (solver == "sgd")  # as advice
    assert "300 playlists, 150 tracks" in fitted.out
    folded = twofold("fold-in", "m.twofold", url, "--max-rows", 7, "-o", "f.npz", "--quiet")
    assert "7 playlists folded in" in folded.out
    with np.load(tmp_path / "f.npz") as file:
        assert file["row_factors"].shape == (7, 4)
        np.testing.assert_array_equal(file["row_ids"], np.arange(1, 8))
    scored = twofold("evaluate", "m.twofold", url, "--quiet", "--json", "--k", 10)
    values = json.loads(scored.out)
    scores, popular = values["models"]
    assert popular["model"] == "most popular"
    assert 0.0 <= scores["recall@10"] <= 1.0
    assert scores["n_scored_rows"] == values["playlists"] == 300
    value = values["objective"]
    assert value["total"] == pytest.approx(value["loss"] + value["unobserved"] + value["penalty"])


def test_presets_and_options_of_the_objective(twofold, url):
    def terms(*words):
        return json.loads(twofold("fit", url, *words, *QUICK, "--json").out)["terms"]

    default = terms()
    expected = {"class": "L2", "weight": 0.1 / 16, "exponent": 1.0}
    assert default["regularizer"] == expected | {"row_center": None, "col_center": None}
    assert terms("--ratio", 30)["unobserved_weight"] == 2 * default["unobserved_weight"]
    assert terms("--preset", "balanced", "--unobserved", "missing")["unobserved"] == "missing"
    plain = terms("--weight", 0.3)
    assert (plain["unobserved_weight"], plain["regularizer"]["weight"]) == (0.0, 0.3)
    assert terms("--preset", "msd")["unobserved_weight"] == 0.02
    biased = terms("--biases", "--unobserved-weight", 0.1)
    assert biased["biases"]
    assert 0.0 < biased["mean"] < 1.0
    for words, wrong in (
        (("--preset", "msd", "--weight", 1), "--weight"),
        (("--preset", "balanced", "--unobserved-weight", 1), "--unobserved-weight"),
        (("--preset", "notebook", "--ratio", 3), "--ratio"),
        (("--ratio", 3, "--loss", "huber"), "--loss"),
        (("--ratio", 0), "--ratio is 0"),
        (("--biases", "--nonnegative"), "--nonnegative does not go with --biases"),
        (("--mean", 3), "--mean is 3.0: it needs --biases"),
        (("--preset", "x"), "--preset x: it must be balanced"),
        (("--solver", "sgd"), "--preset notebook"),
    ):
        twofold("fit", url, *words, *QUICK).failed(wrong)


def test_evaluate_models_beside_each_other(twofold, url):
    for name in ("one", "two"):
        twofold("fit", url, "-o", f"{name}.twofold", *QUICK)
    shown = twofold(
        "evaluate", "one.twofold", url, "--beside", "two.twofold", "--metrics",
        "map-min@5,coverage@5", "--unknown", "leave-out", "--quiet",
    ).out.splitlines()  # fmt: skip
    assert shown[0].split() == ["map-min@5", "coverage@5"]
    assert [line.split()[0] for line in shown[1:4]] == ["model", "two.twofold", "most"]
    twofold("evaluate", "one.twofold", url, "--metrics", "mapp").failed("map-min@k")
    twofold("evaluate", "one.twofold", url, "--beside", "no.twofold").failed("no.twofold")


def test_evaluate_predicted_values(twofold, tmp_path):
    rows, cols = np.divmod(np.arange(240), 8)
    stars = 1.0 + rows % 3 + cols % 2
    Pairings.from_arrays(rows, cols, stars).save(tmp_path / "r.npz")
    words = ("--data", "targets", "--biases", "--weight", 0.1)
    twofold("fit", "r.npz", *words, *QUICK, "-o", "r.twofold")
    shown = twofold("evaluate", "r.twofold", "r.npz", "--metrics", "rmse,mae", "--quiet").out
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == ["rmse", "mae"]
    assert float(lines[1][1]) < float(lines[2][2])
    assert lines[2][:2] == ["mean", "value"]
    mixed = ("--metrics", "rmse,recall@20", "--quiet")
    twofold("evaluate", "r.twofold", "r.npz", *mixed).failed("in two calls")


def test_fit_draws_its_history(twofold, url, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    done = twofold("fit", url, *QUICK, "--plot", "history.png")
    assert done.out.endswith(" The model is in model.twofold. The picture is in history.png.\n")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(twofold("fit", url, *QUICK, "--json").out)["plot"] is None
    monkeypatch.setattr("twofold.model.FactorModel.fit", None)  # errors precede the fit
    twofold("fit", url, *QUICK, "--plot", "history.txt").failed("ends in '.txt'")
    twofold("fit", url, *QUICK, "--plot", "no/history.png").failed("create it")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    twofold("fit", url, *QUICK, "--plot", "history.png").failed('pip install "twofold[plot]"')


def test_warnings_are_one_line_without_a_place_in_the_code(twofold, tmp_path):
    rows, cols = np.divmod(np.arange(240), 8)
    Pairings.from_arrays(rows, cols, 1.0 + rows % 3).save(tmp_path / "r.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = twofold("fit", "r.npz", *QUICK, "--quiet")
    assert result.code == 0
    assert result.err.startswith("twofold: warning: ")
    assert result.err.count("\n") == 1


def test_fit_json_is_one_object(twofold, url):
    values = json.loads(twofold("fit", url, "--json", "--tol", "0.5", *QUICK).out)
    assert values["status"] in ("converged", "max_epochs")
    assert values["pairs"] > 1000
    assert values["history"][0]["epoch"] == 0


def test_a_file_of_pairs_and_a_plain_path_are_sources(twofold, url, playlists, tmp_path):
    playlists.pairings.save(tmp_path / "p.npz")
    assert twofold("fit", "p.npz", *QUICK).code == 0
    assert twofold("fit", url.removeprefix("sqlite:///"), *QUICK).code == 0


def test_a_path_with_special_characters_is_a_path(twofold, playlists, tmp_path):
    database = sqlalchemy.URL.create("sqlite", database=str(tmp_path / "we?ird:50%.db"))
    write_sql(playlists.pairings, database)
    assert twofold("fit", "we?ird:50%.db", *QUICK).code == 0
    assert twofold("demo", "--folder", "we?ird#folder", "--quiet", "--json").code == 0
    assert (tmp_path / "we?ird#folder" / "demo.db").exists()


def test_evaluate_with_a_heldout_table(twofold, url, playlists):
    ids = playlists.pairings.row_ids
    new = [10**6, 10**6 + 1]  # tracks that no playlist has
    hidden = Pairings.from_arrays([ids[5], ids[3], 10**6], [*new, new[0]])
    write_sql(hidden, url, "hidden", if_exists="replace")
    twofold("fit", url, *QUICK)
    words = ("evaluate", "model.twofold", url, "--heldout-table", "hidden", "--quiet")
    assert json.loads(twofold(*words, "--json").out)["playlists"] == 2
    assert "1 playlists of the held-out table are not in SOURCE" in twofold(*words).out
    text = Pairings.from_arrays(["a"], ["b"])
    write_sql(text, url, "hidden", if_exists="replace")
    twofold(*words).failed("integers in one of the two tables and text in the other")
    others = Pairings.from_arrays([10**6], [new[0]])
    write_sql(others, url, "hidden", if_exists="replace")
    twofold(*words).failed("the held-out table has no playlist that is in the other table")


def test_options_of_another_objective_than_balanced_name_what_means_it(twofold, url):
    twofold("fit", url, "--ratio", 3, "--loss", "huber").failed("--preset balanced, which --ratio")
    twofold("fit", url, "--preset", "msd", "--loss", "huber").failed("--preset msd gives")


def test_resume_from_a_checkpoint_gives_the_uninterrupted_model(twofold, url):
    sgd = ("--solver", "sgd", "--preset", "notebook")
    common = (url, *sgd, "--n-factors", 4, "--quiet", "--seed", 3)
    twofold("fit", *common, "--max-epochs", 4, "-o", "whole.twofold")
    twofold("fit", *common, "--max-epochs", 2, "-o", "half.twofold", "--checkpoint", "c.twofold")
    result = twofold("fit", *common, "--max-epochs", 4, "--resume", "c.twofold", "-o", "r.twofold")
    assert result.code == 0, result
    whole, resumed = FactorModel.load("whole.twofold"), FactorModel.load("r.twofold")
    np.testing.assert_array_equal(whole.row_factors, resumed.row_factors)
    assert Solution.load("c.twofold").n_epochs == 2


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
    twofold("import-mpd", "mpd*.json", "other.db", "--quiet").failed("'pairings' exists")
    (tmp_path / "cut.json").write_text(json.dumps({"playlists": lists})[:100])
    twofold("import-mpd", "cut.json", "sqlite:///cut.db", "--quiet").failed("cut.json", "byte")
    assert not (tmp_path / "cut.db").exists()


def test_errors_are_one_line_and_exit_code_2(twofold, url, tmp_path):
    twofold("fit", "sqlite:///missing.db").failed("missing.db")
    assert not (tmp_path / "missing.db").exists()
    twofold("fit", url, "--table", "pair").failed("'pair'", "pairings")
    twofold("fit", url, "--col", "track").failed("'track'", "tid")
    twofold("fit", "postgresql://user:secret@127.0.0.1:1/x").failed("127.0.0.1")
    twofold("fit", url, "--n-factors", 0).failed("--n-factors is 0")
    twofold("fit", url, "--solver", "adam").failed("als, sgd, gd")
    twofold("fit", url, "--solver", "sgd", "--unobserved-weight", 1).failed(
        "--unobserved-weight", "GD", "ALS"
    )
    twofold("fit", url, "--loss", "hinge").failed("squared, huber or logistic")
    twofold("fit", url, "--n-factor", 3).failed("no option --n-factor", "--n-factors?")
    twofold("fit", url, "--set", "speed=3").failed("no option --set")
    twofold("fit", url, "--n-factors").failed("--n-factors", "expected one argument")
    twofold("fit").failed("SOURCE")
    twofold("fit", url, "more").failed("'more'")
    twofold("fit", url, "-o", "nowhere/m.twofold").failed("nowhere")
    twofold("fit", url, "-o", ".").failed("'.' is a folder: give the name of a file")
    (tmp_path / "taken").touch()
    twofold("demo", "--folder", "taken").failed("cannot create the folder 'taken'")
    twofold("fit", url, "--max-rows", "many").failed("--max-rows")
    twofold("fit", url, "--where", "pid < 0", "--quiet").failed("no")
    twofold("evaluate", "none.twofold", url).failed("none.twofold")
    (tmp_path / "bad.twofold").write_bytes(b"PK\x03\x04 not whole")
    twofold("fold-in", "bad.twofold", url).failed("bad.twofold")
    twofold("fits").failed("fits")


def test_a_password_is_not_shown(twofold):
    result = twofold("fit", "postgresql://user:secret@127.0.0.1:1/x")
    assert "secret" not in result.err + result.out


def test_a_diverged_fit_writes_no_model(twofold, url, tmp_path):
    result = twofold("fit", url, "--solver", "gd", "--learning-rate", "1e6", *QUICK)
    result.failed("diverged", "--learning-rate")
    assert not (tmp_path / "model.twofold").exists()


def test_help_and_version(twofold):
    for words in ((), ("--help",), ("fit", "--help"), ("tune", "--help"), ("import-mpd", "--help")):
        result = twofold(*words)
        assert "usage: twofold" in result.out
    assert twofold("--version").out.strip() == "0.1.0"


def test_a_solver_of_ones_own_by_module_and_class(twofold, url, tmp_path, monkeypatch):
    (tmp_path / "my_solver.py").write_text(
        "from twofold.solvers import GD\nclass Mine(GD):\n    '''GD.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = twofold("fit", url, "--solver", "my_solver:Mine", *QUICK)
    assert result.code == 0, result
    twofold("evaluate", "model.twofold", url).failed("Mine")


def test_pairings_without_a_known_track_are_counted(twofold, url, tmp_path):
    twofold("fit", url, *QUICK)
    Pairings.from_arrays([1, 2, 2], [999, 998, 1]).save(tmp_path / "new.npz")
    values = json.loads(twofold("fold-in", "model.twofold", "new.npz", "--json").out)
    assert (values["dropped_pairs"], values["empty_playlists"]) == (2, 1)


def test_without_a_command_the_help_is_all(twofold):
    result = twofold()
    assert result.code == 2
    assert "usage: twofold" in result.out
    assert "error:" not in result.err


OWN = """
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from twofold.exceptions import InvalidInputError
from twofold.solvers import ALS

@dataclass(kw_only=True)
class Mine(ALS):
    '''Alternating least squares.

    Parameters
    ----------
    mood : {"calm", "wild"}, default "calm"
        How it feels. It has no effect.
    where : float, default 0.5
        A number, and not the condition of the reader.
    '''

    mood: Literal["calm", "wild"] = "calm"
    where: float = 0.5
    is_shown: bool = False

    def validate(self, objective):
        super().validate(objective)
        if self.is_shown:
            raise InvalidInputError(f"mood={self.mood!r} and where={self.where}")
"""


def test_a_solver_of_the_current_folder_trains_and_is_loaded_again(twofold, url, tmp_path):
    (tmp_path / "own_module.py").write_text(OWN)
    assert twofold("fit", url, "--solver", "own_module:Mine", *QUICK).code == 0
    twofold("fold-in", "model.twofold", url).failed("Mine")
    assert twofold("fold-in", "model.twofold", url, "--class", "own_module:Mine").code == 0
    twofold("fold-in", "model.twofold", url, "--class", "own_module").failed("module:Class")


def test_the_fields_of_a_solver_of_ones_own_are_options(twofold, url, tmp_path):
    (tmp_path / "own_fields.py").write_text(OWN)
    words = ("fit", url, "--solver", "own_fields:Mine")
    shown = " ".join(twofold(*words, "--help").out.split())
    assert "--mood {calm,wild} How it feels. It has no effect. (default: calm)" in shown
    assert "--where FLOAT A number, and not the condition of the reader." in shown
    assert "--reading-where TEXT" in shown
    given = ("--mood", "wild", "--where", "2", "--is-shown", "--reading-where", "pid < 9")
    twofold(*words, *given).failed("--mood wild", "--where 2.0")
    twofold(*words, "--mood", "grim").failed("--mood grim: it must be calm or wild")
    twofold("fit", url, "--mood", "wild").failed("no option --mood")
    twofold(*words, "--learning-rate", 1).failed("--learning-rate is for sgd and gd only", "Mine")


def test_an_option_of_another_solver_loss_or_regularizer_is_refused(twofold, url):
    for words, part in (
        (("--learning-rate", 1), "--learning-rate is for sgd and gd only, and the solver is als"),
        (("--solver", "gd", "--decay=1"), "--decay is for sgd only, and the solver is gd"),
        (("--delta", 2), "--delta is for huber only, and the loss is squared"),
        (("--data", "often"), "--data often: it must be ones, targets, weights or signed"),
        (("--weight", -1), "--weight is -1.0"),
        (("--solver", "gd", "--n-batches", 3), "--n-batches is 3: give a --learning-rate"),
    ):
        twofold("fit", url, *words).failed(part)


def test_objective_and_solver_are_what_was_typed(twofold, url):
    words = ("--loss", "huber", "--delta", 0.5, "--regularizer", "l1", "--exponent", 0.5,
             "--weight", 0.1, "--solver", "SGD", "--schedule", "constant", "--seed", 7)  # fmt: skip
    assert twofold("fit", url, *words, *QUICK).code == 0
    model = FactorModel.load("model.twofold")
    assert model.objective == Objective(HuberLoss(0.5), L1(0.1, exponent=0.5))
    chosen = SGD(n_factors=4, max_epochs=3, schedule="constant", rng=7)
    assert replace(model.solver, progress=False) == chosen
    words = ("--solver", "gd", "--no-momentum", "--nonnegative", "--rng", "none")
    assert twofold("fit", url, *words, *QUICK).code == 0
    model = FactorModel.load("model.twofold")
    assert model.objective.nonnegative
    assert (model.solver.momentum, model.solver.rng) == (False, None)


def test_playlists_that_were_trained_on_are_counted(twofold, url, playlists):
    twofold("fit", url, *QUICK)
    values = json.loads(twofold("evaluate", "model.twofold", url, "--json", "--max-rows", 7).out)
    assert values["trained_on"] == 7
