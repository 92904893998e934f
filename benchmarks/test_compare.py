"""The comparison itself: honest solvers agree, dishonest ones are shown as such."""

import dataclasses
import json
import subprocess
import sys

import pytest

from benchmarks.compare import problems
from benchmarks.compare.page import write_page
from benchmarks.compare.store import Store
from benchmarks.compare.table import markdown
from benchmarks.compare.worker import measure

pytestmark = pytest.mark.smoke

EXTRA = """
from dataclasses import dataclass
from benchmarks.compare.entries import Entry, ours
from twofold.solvers import ALS

def lies(objective, matrix, init, max_epochs, n_threads):
    yield 0.0, *init, 1.0

def returns_early(objective, matrix, init, max_epochs, n_threads):
    yield 0.0, *init, None

def crashes(objective, matrix, init, max_epochs, n_threads):
    raise MemoryError("no room")
    yield

ENTRIES = [
    ours("ALS again", ALS), Entry("liar", lies), Entry("early", returns_early),
    Entry("crash", crashes),
]
"""


@pytest.fixture
def request_for(tmp_path, monkeypatch):
    monkeypatch.setitem(problems.SIZES, "tiny", (200, 120))
    extra = tmp_path / "extra.py"
    extra.write_text(EXTRA)

    def make(solver, objective="all"):
        return {"solver": solver, "data": "tiny", "objective": objective, "n_factors": 4, "seed": 0,
                "max_epochs": 3, "n_threads": 1, "entries": str(extra)}  # fmt: skip

    return make


def test_the_same_solver_under_two_names_has_the_same_curve(request_for):
    curves = [measure(request_for(name))["points"] for name in ("twofold ALS", "ALS again")]
    assert [point[2:] for point in curves[0]] == [point[2:] for point in curves[1]]
    assert curves[0][-1][2] < curves[0][0][2]


def test_dishonest_and_unsuitable_solvers_are_shown_as_such(request_for):
    lie = measure(request_for("liar"))
    assert lie["status"] == "wrong"
    assert "claims 1" in lie["message"]
    assert measure(request_for("early"))["status"] == "stopped early"
    assert measure(request_for("twofold SGD"))["status"] == "unsupported"


def test_store_table_and_page(request_for, tmp_path):
    with Store(tmp_path / "r.db") as store:
        for name in ("twofold ALS", "liar", "twofold SGD"):
            assert not store.has(request_for(name))
            store.add(request_for(name), measure(request_for(name)), "a machine")
            assert store.has(request_for(name))
        failed = {"status": "failed", "message": "</script> | crash", "points": [], "peak_mb": None}
        store.add(request_for("crash"), failed, "a machine")
        assert not store.has(request_for("crash"))
        runs = store.runs()
    assert [len(run.points) for run in runs if run.solver == "twofold ALS"] == [4]
    table = markdown(runs)
    assert "disqualified" in table or "wrong" in table
    assert "crash" in table
    write_page(runs, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("</script>") == 1
    start = page.index("const runs = ") + len("const runs = ")
    shown = json.loads(page[start : page.index(";\n", start)].replace("<\\/", "</"))
    assert shown == json.loads(json.dumps([dataclasses.asdict(run) for run in runs]))
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_a_crash_is_a_row(tmp_path):
    extra = tmp_path / "extra.py"
    extra.write_text(EXTRA)
    words = [sys.executable, "-m", "benchmarks", "run", "--entries", extra, "--solver", "crash",
             "--objective", "all", "--n-factors", "2", "--epochs", "1", "--results",
             tmp_path / "r.db", "--page", tmp_path / "p.html"]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MemoryError: no room" in done.stdout
