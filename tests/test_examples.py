"""The notebooks of examples/ run from top to bottom, on generated data and on a database."""

import json
from pathlib import Path

import numpy as np
import pytest

from twofold.datasets import make_playlists
from twofold.io import import_mpd

nbclient = pytest.importorskip("nbclient", reason='needs pip install "twofold[test]"')
nbformat = pytest.importorskip("nbformat", reason='needs pip install "twofold[test]"')
pytest.importorskip("ipykernel", reason='needs pip install "twofold[test]"')
pytest.importorskip("matplotlib", reason='needs pip install "twofold[plot]"')

NOTEBOOK = Path(__file__).parents[1] / "examples" / "million_playlist.ipynb"
SETTING = "DATABASE = None"
SCORES = "import json; print(json.dumps(evaluation.scores))"


def executed(folder, database=None):
    """Run the notebook in a folder; return the text of each cell and the number of images."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (setting,) = (cell for cell in notebook.cells if cell.source.startswith(SETTING))
    setting.source = setting.source.replace(SETTING, f"DATABASE = {database!r}")
    notebook.cells.append(nbformat.v4.new_code_cell(SCORES))
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    cells = [cell.get("outputs", []) for cell in notebook.cells]
    texts = ["".join(output.get("text", "") for output in outputs) for outputs in cells]
    images = ["image/png" in output.get("data", {}) for outputs in cells for output in outputs]
    return texts, sum(images)


@pytest.mark.filterwarnings("default")  # of Jupyter and its messages
def test_on_generated_playlists(tmp_path):
    texts, n_images = executed(tmp_path)
    assert n_images == 3
    scores = {model: each["recall@20"] for model, each in json.loads(texts[-1]).items()}
    assert scores["Balanced"] > 2 * scores["most popular"] > 2 * scores["ALS"]
    assert "\nBest: " in "".join(texts)
    assert "IProgress" not in "".join(texts)
    assert not [*tmp_path.iterdir()]


@pytest.mark.filterwarnings("default")
def test_on_an_imported_database(tmp_path):
    url = f"sqlite:///{tmp_path / 'mpd.db'}"
    pairings = make_playlists(400, 200, rng=1).pairings
    rows = np.split(pairings.matrix.indices, pairings.matrix.indptr[1:-1])
    playlists = [
        {"pid": pid, "name": "", "tracks": [track(number) for number in numbers.tolist()]}
        for pid, numbers in enumerate(rows)
    ]
    path = tmp_path / "mpd.slice.0-399.json"
    path.write_text(json.dumps({"playlists": playlists}))
    import_mpd(path, url)
    texts, n_images = executed(tmp_path, url)
    assert n_images == 3
    recommended = next(text for text in texts if "recommended Song" in text)
    assert "(Artist" in recommended


def track(number):
    return {
        "track_uri": f"spotify:track:{number:022d}",
        "track_name": f"Song {number}",
        "artist_name": f"Artist {number % 30}",
        "album_name": "Album",
        "duration_ms": 1000,
    }


@pytest.mark.parametrize("path", [*NOTEBOOK.parent.glob("*.ipynb")], ids=lambda path: path.name)
def test_notebooks_are_committed_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert max(map(len, cell.source.splitlines())) <= 110
