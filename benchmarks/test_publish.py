"""`publish` puts the figures of runs into README.md and docs/, and changes nothing else."""

import shutil
from difflib import unified_diff
from pathlib import Path

import pytest

from benchmarks.compare.publish import COLUMNS, publish
from benchmarks.compare.store import Run

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
ROOT = Path(__file__).parents[1]
MAIN, OTHER = "sqlite:///polimi2018.db", "yelp2018.npz"
SECONDS = {
    "twofold ALS": 0.5, "twofold SGD": 0.25, "irspack CG": 2.0, "implicit CG": 3.0,
    "cmfrec CG": None,
}  # fmt: skip


def run(solver, problem, data=MAIN, n_factors=64, metric=0.21):
    """A run of one epoch that reaches the best value, or one that does not."""
    seconds = SECONDS[solver]
    points = [(0, 0.0, 9.0, 0.0), (1, seconds or 1.0, 1.0 if seconds else 2.0, metric)]
    return Run(
        solver, data, problem, n_factors, 2, 15, 15.0, 0, 0, "finished", "", 100, "Recall@20",
        None, None, 0.1, 9.0, "twofold 9.9.9, numba 9", points,
    )  # fmt: skip


RUNS = sorted(
    [
        *(run(solver, problem) for solver in SECONDS for problem in COLUMNS.values()),
        *(run("twofold ALS", problem, OTHER, k) for problem in ("all", "missing") for k in (64, 8)),
    ],
    key=lambda run: (*run.task, run.solver),
)


@pytest.fixture
def clone(tmp_path):
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/benchmarks.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def published(clone, runs=RUNS):
    publish(runs, [*SECONDS], [MAIN, OTHER], 64, clone)
    return [(clone / name).read_text("utf-8") for name in ("README.md", "docs/benchmarks.md")]


def test_figures_are_those_of_the_runs_and_the_text_stays(clone, monkeypatch):
    readme, docs = published(clone)
    assert "| twofold | **0.25** | **0.25** |" in readme
    assert "| implicit | 3 | 3 |" in readme
    assert "| cmfrec | not reached | not reached |" in readme
    assert "| lenskit | | | | | | |" in readme
    assert "find 21% of" in " ".join(readme.split())
    assert docs.count("| irspack CG |") > 1
    assert "| polimi2018 | 64 | all | irspack CG | 2 | 2 | 2 | 2 |" in docs
    assert docs.count("| yelp2018 | 8 | ") == 2
    assert "twofold 9.9.9, numba 9\n" in docs
    assert "twofold SGD" in (clone / "docs/benchmarks.svg").read_text("utf-8")
    texts = (path.joinpath("README.md").read_text("utf-8").splitlines() for path in (ROOT, clone))
    changed = [
        line
        for line in unified_diff(*texts, n=0)
        if line[0] in "-+" and not line[1:].startswith(("|", "++", "--"))
    ]
    assert all("% " in line or line.endswith("%") for line in changed), changed
    monkeypatch.setattr("benchmarks.compare.publish.write_figure", lambda *_: None)  # takes seconds
    assert published(clone) == [readme, docs]


def test_recalls_that_differ_are_a_range(clone, monkeypatch):
    monkeypatch.setattr("benchmarks.compare.publish.write_figure", lambda *_: None)  # takes seconds
    recalls = {"twofold ALS": 0.034, "twofold SGD": 0.101}
    runs = [
        run(one.solver, "observed", metric=recalls[one.solver])
        if one.task == (MAIN, "observed", 64) and one.solver in recalls
        else one
        for one in RUNS
    ]
    readme, _ = published(clone, runs)
    assert "and 3 to 10% without it" in " ".join(readme.split())


def test_runs_of_the_data_are_needed(clone):
    with pytest.raises(ValueError, match=r"there are no runs of none\.npz with n_factors=64"):
        publish(RUNS, [*SECONDS], ["none.npz"], 64, clone)
