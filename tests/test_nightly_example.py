"""examples/nightly.py runs as a program."""

import os
import re
import subprocess
import sys
from pathlib import Path

import twofold
from twofold import FactorModel

ROOT = Path(__file__).parents[1]


def test_it_updates_a_model_every_night(tmp_path):
    path = os.pathsep.join(
        [str(Path(twofold.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "nightly.py")], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    nights = re.findall(r"night (\d): Changes\(n_new_rows=(\d+), .*n_new_pairs=(\d+)", done.stdout)
    assert [night for night, *_ in nights] == ["1", "2", "3"]
    assert all(int(number) > 0 for night in nights for number in night)
    recalls = {
        name: float(re.search(rf"{name} .*?(0\.\d+)", done.stdout)[1])
        for name in ("updated", "fitted", "most popular")
    }
    assert recalls["updated"] > 0.97 * recalls["fitted"] > recalls["most popular"]
    assert FactorModel.load(tmp_path / "nightly.twofold").row_ids.size == 2_000
