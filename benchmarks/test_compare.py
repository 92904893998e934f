"""The comparison: valid solvers agree, and invalid results are detected."""

import json
import shlex
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import benchmarks.__main__
from benchmarks.__main__ import guard, main
from benchmarks.compare import problems
from benchmarks.compare.entries import all_entries
from benchmarks.compare.figure import write_figure
from benchmarks.compare.page import order, write_page
from benchmarks.compare.regression import compare
from benchmarks.compare.store import NOTHING, Store
from benchmarks.compare.summary import glance, markdown, summaries
from benchmarks.compare.worker import measure

EXTRA = """
import time
import numpy as np
from benchmarks.compare.entries import Entry, ours
from twofold.solvers import ALS

seen = []

def lies(work, report):
    report(*work.init, claimed=1.0)

def lies_of_time(work, report):
    report(*work.init, seconds=1000.0)

def returns_early(work, report):
    report(*work.init)

def crashes(work, report):
    report(*work.init)
    raise MemoryError("no room")

def explodes(work, report):
    report(work.init[0] * np.nan, work.init[1])

def transposed(work, report):
    report(work.init[1], work.init[0])

def misses(work, report):
    import a_package_that_is_not_there

def descends(work, report):
    P, Q = work.init
    report(P, Q)
    for _ in range(work.max_epochs):
        dP, dQ = work.objective.gradient(work.matrix, P, Q)
        P, Q = P - 1e-4 * dP, Q - 1e-4 * dQ
        report(P, Q)

def refitted(work):
    def fit(n):
        if not seen:
            time.sleep(0.1)
        seen.append(n)
        return work.init[0] / n, work.init[1]
    return fit

def bad_fold(objective, matrix, Q, n_threads):
    return np.zeros((matrix.shape[0], Q.shape[1]))

ENTRIES = [
    ours("ALS again", ALS), Entry("liar", lies), Entry("fast liar", lies_of_time),
    Entry("early", returns_early), Entry("crash", crashes), Entry("nan", explodes),
    Entry("transposed", transposed), Entry("missing package", misses), Entry("mine", descends),
    Entry("bad fold", fold=bad_fold), Entry("refitted", refit=refitted),
]
"""


@pytest.fixture
def entries_file(tmp_path):
    path = tmp_path / "extra.py"
    path.write_text(EXTRA)
    return path


@pytest.fixture
def request_for(entries_file):
    def make(solver, problem="all", **more):
        return {
            "solver": solver, "data": "tiny", "problem": problem, "n_factors": 4, "seed": 0,
            "repeat": 0, "max_epochs": 3, "budget": 60.0, "n_threads": 1,
            "entries": str(entries_file),
        } | more  # fmt: skip

    return make


def test_the_same_solver_under_two_names_has_the_same_curve(request_for):
    curves = [measure(request_for(name))["points"] for name in ("twofold ALS", "ALS again")]
    assert [point[2:] for point in curves[0]] == [point[2:] for point in curves[1]]
    assert curves[0][-1][2] < curves[0][0][2]


@pytest.mark.parametrize("name", ["twofold ALS", "twofold SGD", "twofold GD"])
def test_every_solver_of_ours_lowers_each_of_its_problems(name, request_for):
    for problem in problems.PROBLEMS:
        if all_entries()[name].solves(problem):
            answer = measure(request_for(name, problem))
            assert answer["status"] == "finished", answer["message"]
            totals = [point[2] for point in answer["points"]]
            assert totals[-1] < totals[0]


def test_a_refitted_entry_has_a_point_for_each_fit(request_for):
    answer = measure(request_for("refitted", max_epochs=6))
    assert [point[0] for point in answer["points"]] == [1, 2, 4, 6]
    assert answer["wall"] is None
    assert 0.05 < answer["start_up"] < 0.5  # The first call sleeps.


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("liar", "wrong", "claims 1"),
        ("fast liar", "wrong", "1e+03 s"),
        ("early", "stopped early", "0 of 3"),
        ("crash", "failed", "MemoryError: no room"),
        ("nan", "diverged", "not a finite number"),
        ("transposed", "failed", "do not match"),
        ("missing package", "not installed", "a_package_that_is_not_there"),
    ],
)
def test_dishonest_and_failing_solvers_are_shown_as_such(name, status, words, request_for):
    answer = measure(request_for(name))
    assert answer["status"] == status
    assert words in answer["message"]


def test_a_budget_ends_a_run_and_is_no_fault(request_for):
    answer = measure(request_for("mine", budget=0.0, max_epochs=1000))
    assert answer["status"] == "finished"
    assert "budget" in answer["message"]
    assert len(answer["points"]) < 1000


def test_a_solver_of_ones_own_is_scored_by_the_objective(request_for):
    answer = measure(request_for("mine"))
    chosen = problems.task("tiny", "all", 4)
    P, Q = problems.start(chosen.matrix.shape, 4, 0)
    assert answer["points"][0][2] == pytest.approx(
        chosen.objective.value(chosen.matrix, P, Q).total
    )
    assert [point[0] for point in answer["points"]] == [0, 1, 2, 3]
    seconds = [point[1] for point in answer["points"]]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("problem", ["fold-all", "fold-missing"])
def test_fold_in_reaches_the_optimum_and_nothing_goes_below(problem, request_for):
    best = measure(request_for("twofold fold_in", problem))
    assert best["points"][0][2] == pytest.approx(best["optimum"], rel=1e-9)
    chosen = problems.task("tiny", problem, 4)
    rng = np.random.default_rng(0)
    P = problems.exact_rows(chosen.objective, chosen.matrix, chosen.col_factors.astype(float))
    for _ in range(5):
        moved = P + 1e-3 * rng.standard_normal(P.shape)
        assert chosen.value(moved, chosen.col_factors) > best["optimum"]
    bad = measure(request_for("bad fold", problem))
    assert bad["points"][0][2] > 1.05 * bad["optimum"]


def test_store_table_page_and_plot(request_for, tmp_path):
    with Store(tmp_path / "r.db") as store:
        for name in ("twofold ALS", "liar", "mine"):
            assert not store.has(request_for(name))
            store.add(request_for(name), measure(request_for(name)), "a machine")
            assert store.has(request_for(name))
            assert not store.has(request_for(name, n_threads=2))
        failed = {**NOTHING, "status": "failed", "message": "</script> | crash"}
        store.add(request_for("crash"), failed, "a machine")
        assert not store.has(request_for("crash"))
        runs = store.runs()
    assert [len(run.points) for run in runs if run.solver == "twofold ALS"] == [4]
    (summary,) = summaries(runs)
    assert summary.rows[0].solver == "twofold ALS"
    assert summary.rows[0].gap == 0.0
    assert "claims 1" in markdown(runs)
    names = order(runs, all_entries())
    assert "| twofold ALS | **" in glance(runs, names)
    assert names == ["twofold ALS", "crash", "liar", "mine"]
    write_page(runs, all_entries(), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("</script>") == 1
    start = page.index("const content = ") + len("const content = ")
    shown = json.loads(page[start : page.index(";\n", start)].replace("<\\/", "</"))
    assert {run["solver"] for run in shown["runs"]} == {"twofold ALS", "liar", "mine"}
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    write_figure(runs, names, tmp_path / "plot.svg", tmp_path / "plot.png")
    assert "twofold ALS" in (tmp_path / "plot.svg").read_text()
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_a_gap_is_that_to_the_runs_own_optimum(request_for, tmp_path):
    """Each run trains its own columns, which differ slightly between versions."""
    with Store(tmp_path / "r.db") as store:
        for name, optimum in (("bad fold", 50.0), ("mine", 40.0)):
            answer = {**NOTHING, "status": "finished", "message": "", "optimum": optimum,
                      "points": [(1, 0.5, 1.001 * optimum, 0.1)]}  # fmt: skip
            store.add(request_for(name, "fold-all"), answer, "a machine")
        (summary,) = summaries(store.runs())
    assert [row.gap for row in summary.rows] == pytest.approx([0.001, 0.001])
    assert all(row.arrivals[0] == 0.5 for row in summary.rows)


def test_foreign_files_of_results_are_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database, but a text that is long enough to look at" * 9)
    with pytest.raises(SystemExit, match="not a results file"):
        Store(tmp_path / "text.db")


def _repeated(run, factors, total=1.0):
    """Return repetitions of a run with scaled times and objective."""
    return [
        replace(
            run, repeat=repeat,
            points=[(e, s * factor, value * total, m) for e, s, value, m in run.points],
        )
        for repeat, factor in enumerate(factors)
    ]  # fmt: skip


def test_the_guard_names_what_got_slower_or_worse_beyond_the_noise(request_for, tmp_path):
    with Store(tmp_path / "r.db") as store:
        store.add(request_for("mine"), measure(request_for("mine")), "a machine")
        (run,) = store.runs()
    old = _repeated(run, [1.0, 1.02, 1.04])
    assert compare(old, _repeated(run, [1.05, 1.06, 1.03])) == []
    (slower,) = compare(old, _repeated(run, [1.5, 1.52, 1.49]))
    assert slower.what == "slower"
    assert "mine, tiny, all" in slower.text
    assert "+47" in slower.text
    assert compare(old, _repeated(run, [1.5, 1.52, 0.7])) == []  # noise of 60%
    (worse,) = compare(old, _repeated(run, [1.0, 1.02, 1.01], total=1.01))
    assert worse.what == "worse"
    (broken,) = compare(old, [replace(run, status="failed", message="no room", points=[])])
    assert broken.what == "broken"
    (unknown,) = compare(old[:1], _repeated(run, [2.0]))
    assert unknown.what == "unknown"


def test_the_guard_compares_two_files(request_for, tmp_path, capsys):
    for name in ("old.db", "new.db"):
        with Store(tmp_path / name) as store:
            for repeat in range(2):
                request = request_for("mine", repeat=repeat)
                answer = measure(request)
                if name == "new.db":
                    answer["points"] = [(e, s, 2.0 * v, m) for e, s, v, m in answer["points"]]
                store.add(request, answer, "a machine")
    assert guard(tmp_path / "old.db", tmp_path / "new.db")
    assert "worse: mine" in capsys.readouterr().out


def test_one_command_does_it_all_and_goes_on_where_it_was(entries_file, tmp_path):
    words = [sys.executable, "-m", "benchmarks", "run", "--entries", entries_file, "--data",
             "tiny", "--solver", "crash", "mine", "--problem", "all", "--n-factors", "2",
             "--epochs", "1", "--results", tmp_path / "r.db",
             "--output", tmp_path / "out"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 runs to do" in done.stdout
    assert "MemoryError: no room" in done.stdout
    assert (tmp_path / "out.html").exists()
    assert "| mine |" in (tmp_path / "out.md").read_text()
    again = subprocess.run(
        [*words, "--solver", "mine"], capture_output=True, text=True, check=False
    )
    assert "0 runs to do, 1 are stored" in again.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--solver 'twofold ASL'", "there is no 'twofold ASL'"),
        ("--problem al", "invalid choice: 'al'"),
        (
            "--data smal",
            "'smal' is invalid: give tiny, small, medium, large, mpd, a .npz file or a database",
        ),
        ("--data none.npz", "none.npz: there is no such file"),
        ("--data other.npz", "'other.npz' has an array 'stars' beside rows and cols"),
        ("--data sqlite:///none.db", "sqlite:///none.db: there is no such file"),
        ("--data sqlite:///empty.db", "no such table: pairings"),
        ("--data nosuch://host/x", "nosuch"),
        ("--solver LIBMF --problem all", "none of these solvers (--solver) supports any"),
        ("--entries none.py", "there is no such Python file"),
        ("--compare none.db", "there is no such file"),
    ],
)
def test_a_typo_is_refused_before_anything_runs(words, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sqlite3.connect("empty.db").close()
    np.savez("other.npz", rows=[1], cols=[2], stars=[3.0])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "run", *shlex.split(words)])
    monkeypatch.setattr(benchmarks.__main__, "run", pytest.fail)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
    assert not (tmp_path / "benchmarks.db").exists()


def test_the_problem_ratings_has_the_values_of_the_data(tmp_path):
    numbers, path = np.arange(40), str(tmp_path / "ratings.npz")
    np.savez(path, rows=numbers % 5, cols=numbers // 5, ratings=numbers % 3)
    problems.check_data(path)
    task = problems.task(path, "ratings", 2)
    values = np.concatenate([task.matrix.data, task.heldout.data])
    assert np.bincount(values.astype(int)).tolist() == [14, 13, 13]
    np.savez(path := str(tmp_path / "pairs.npz"), rows=numbers % 5, cols=numbers // 5)
    planted = problems.task(path, "ratings", 2).matrix.data
    assert np.unique(planted).size == planted.size
