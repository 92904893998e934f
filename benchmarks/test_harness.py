"""The start-up command, the comparison with a stored baseline, and the benchopt benchmark."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import beyond_memory, start_up
from benchmarks.compare.entries import all_entries
from benchmarks.conftest import BeyondNoise

BENCHOPT = Path(__file__).parent / "benchopt_sparse_mf"


def test_start_up_prints_medians_of_new_processes(capsys, monkeypatch):
    figures = {"imported": 0.5, "first": 0.3, "again": 0.1, "cpu_solve": 2.0, "cpu_process": 3.0}
    child = f"import json, twofold; print(json.dumps({figures} | {{'file': twofold.__file__}}))"
    monkeypatch.setattr(start_up, "_CHILD", child)
    monkeypatch.setattr(sys, "argv", ["start_up", "warm", "--repeats", "1"])
    start_up.main()
    row = f"| {Path(start_up.__file__).parents[1]} | 0.700 | 0.500 | 0.300 | 0.100 |"
    assert row in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system has no /proc")
def test_beyond_memory_prints_traffic_beside_the_formula(capsys, monkeypatch, tmp_path):
    path = str(tmp_path / "pairs.npz")
    for arguments in (
        ["make", path, "--playlists", "200", "--tracks", "100"],
        ["fit", path, "--n-factors", "8", "--array-folder", str(tmp_path)],
    ):
        monkeypatch.setattr(sys, "argv", ["beyond_memory", *arguments])
        beyond_memory.main()
    out = capsys.readouterr().out
    assert "| epoch | s | CPU s | GB read, at most | GB written, formula |" in out
    assert "| 2 | " in out
    assert "peak of anonymous memory" in out


def times(q1, median, q3, rounds=5):
    return {"q1": q1, "median": median, "q3": q3, "rounds": rounds}


def test_a_stored_baseline_fails_what_got_slower_beyond_its_noise():
    fails, old = BeyondNoise().fails, times(0.9, 1.0, 1.2)
    assert fails(times(1.3, 1.5, 1.7), old) == "the median is 1.50 times the old one"
    assert fails(times(1.1, 1.5, 1.7), old) is None
    assert fails(times(1.25, 1.3, 1.4, rounds=1), old) is None
    assert fails(times(1.05, 1.06, 1.07), times(1.0, 1.0, 1.0)) is None
    assert fails(times(0.5, 0.6, 0.7), old) is None


def test_benchopt_has_every_entry():
    benchmark = pytest.importorskip("benchopt.benchmark", reason="benchopt is not installed")
    solvers = benchmark.Benchmark(BENCHOPT).get_solvers()
    names = [f"{solver.name} {variant}".strip() for solver in solvers
             for variant in solver.parameters.get("variant", [""])]  # fmt: skip
    assert sorted(names) == sorted(all_entries())


def test_benchopt_run_writes_the_page_and_the_results(tmp_path):
    pytest.importorskip("benchopt", reason="benchopt is not installed")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    ignored = shutil.ignore_patterns("__cache__", "__pycache__", "outputs")
    copy = shutil.copytree(BENCHOPT, tmp_path / "copy", ignore=ignored)
    words = [sys.executable, "-m", "benchopt", "run", copy, "--no-display", "-s", "twofold", "-s",
             "numpy", "-d", "generated[size=tiny]", "-n", "2", "--output", "results", "-o",
             "*[n_factors=4,n_threads=1,problem=[all,fold-all]]"]  # fmt: skip
    clone = BENCHOPT.parents[1]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((copy / "outputs").glob("*_results.html"))
    found = pandas.read_parquet(copy / "outputs" / "results.parquet")
    assert set(found["solver_name"]) == {
        "numpy[variant=loop]", *(f"twofold[variant={variant}]"
                                 for variant in ("ALS", "ALS cg", "ALS plain", "GD", "fold_in")),
    }  # fmt: skip
    first, last = (found[found.stop_val == n].objective_value for n in (0, 1))
    assert (last.to_numpy() < first.to_numpy()).all()
    assert (found.objective_gradient_norm > 0).all()
    assert found.objective_recall_at_20.between(0, 1).all()
    assert (found.objective_start_up_seconds >= 0).all()
