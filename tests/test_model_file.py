"""The reader of docs/model_file.md reads what twofold writes."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from twofold import FactorModel, Objective, Pairings
from twofold.solvers import ALS

PAGE = Path(__file__).parents[1] / "docs/model_file.md"
EVERYTHING = """
import { readModel } from "./read_model.mjs";
const { kind, meta, arrays } = readModel(process.argv[2]);
const plain = (array) => Array.from(array, (item) => typeof item === "bigint" ? `${item}` : item);
const listed = Object.entries(arrays).map(([name, array]) => [name, plain(array)]);
console.log(JSON.stringify([kind, meta.solver.class, Object.fromEntries(listed)]));
"""


@pytest.fixture(scope="module")
def run_script(tmp_path_factory):
    """Run one of the scripts of the page, or the one above."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node: the reader of docs/model_file.md is JavaScript")
    folder = tmp_path_factory.mktemp("scripts")
    blocks = re.findall(r"^```js\n// (\S+)\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    for name, block in [*blocks, ("everything.mjs", EVERYTHING)]:
        (folder / name).write_text(block, encoding="utf-8")

    def run(name, path):
        done = subprocess.run(
            [node, str(folder / name), str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def model_of(cols, biases):
    rng = np.random.default_rng(0)
    rows, at = rng.integers(0, 30, 200), rng.integers(0, len(cols), 200)
    pairings = Pairings.from_arrays(rows, np.array(cols)[at], weights=at + 0.5)
    objective = Objective(unobserved_weight=0.1, biases=biases, mean=0.5 if biases else None)
    return FactorModel(objective, ALS(n_factors=3, max_epochs=3, rng=0)).fit(pairings)


@pytest.mark.parametrize("serving", [False, True])
@pytest.mark.parametrize(
    ("cols", "biases"),
    [([-(2**63), 2**63 - 1, *range(20)], False), (["", "日本", "🎵", *"abcdefgh"], True)],
)
def test_the_reader_of_the_page_reads_every_array(cols, biases, serving, run_script, tmp_path):
    model = model_of(cols, biases)
    model.save(tmp_path / "m", serving=serving)
    kind, solver, arrays = run_script("everything.mjs", tmp_path / "m")
    assert (kind, solver) == ("model", "ALS")
    assert arrays["col_ids"] == [
        name if isinstance(name, str) else str(name) for name in model.col_ids.tolist()
    ]
    assert arrays["col_factors"] == model.col_factors.ravel().tolist()
    if serving:
        own = {"col_counts", "of_unknown"}
        if not biases:
            own |= {f"system.{name}" for name in ("gram", "spectrum", "vectors", "rotated")}
    else:
        matrix = model.pairings.matrix
        own = {"row_ids", "row_factors", "indptr", "indices", "data", "weights"}
        assert arrays["indices"] == matrix.indices.tolist()
        assert arrays["weights"] == model.pairings.weights.tolist()
        assert arrays["row_ids"] == list(map(str, model.row_ids.tolist()))
    whole = {name for name in arrays if not name.endswith((".utf8", ".ends"))}
    assert whole - {name for name in whole if name.startswith("memory.")} == own | {
        "col_ids", "col_factors",
    }  # fmt: skip


def test_the_example_of_the_page_ranks_by_the_factors_of_the_file(run_script, tmp_path):
    model = model_of(list("abcdefghijkl"), True)
    model.save(tmp_path / "m")
    scores = model.col_factors @ model.solution.row_factors[0]
    best = np.argsort(-scores)[:3]
    found = run_script("best.mjs", tmp_path / "m")
    assert [name for name, _ in found] == model.col_ids[best].tolist()
    np.testing.assert_allclose([score for _, score in found], scores[best], rtol=1e-5)


def test_the_page_names_what_a_header_has(tmp_path):
    model = model_of(list("abc"), False)
    text = PAGE.read_text("utf-8")
    for serving in (False, True):
        model.save(tmp_path / "m", serving=serving)
        with np.load(tmp_path / "m", allow_pickle=False) as members:
            names = {re.sub(r"(\.utf8|\.ends)?(\.npy)?$", "", name) for name in members.files}
            names = {name for name in names if not name.startswith(("memory.", "twofold."))}
            header = json.loads(bytes(members["twofold.json"]))
        assert names | set(header) <= set(re.findall(r"`([a-z_.]+)`", text))
