"""The blocks of the page of the data sets make the files that the benchmarks read."""

import gzip
import json

import pytest
from test_documentation import ROOT, blocks

from twofold.io import read_npz, read_sql


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with small files in the formats of the sources, in which the blocks ran."""
    folder = tmp_path_factory.mktemp("sources")
    lines = [f"{playlist},{playlist + track}" for playlist in range(4) for track in range(5)]
    (folder / "train.csv").write_text("\n".join(["playlist_id,track_id", *lines]))
    (folder / "train.txt").write_text("0 10 11\n1 10\n")
    (folder / "test.txt").write_text("0 12\n1 11 13\n")
    (folder / "u.data").write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    mixes = [
        {"mix_id": 7, "playlist": [[["bach", "air"], "SO1"], [["nina", "air"], None]]},
        {"mix_id": 9, "playlist": [[["bach", "air"], "SO1"]]},
    ]
    with gzip.open(folder / "aotm2011_playlists.json.gz", "wt") as file:
        json.dump(mixes, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for code, _ in blocks(ROOT / "docs/project/data-sets.md"):
            exec(code, {})
    return folder


def test_a_fifth_of_the_pairs_of_polimi2018_is_taken_out(made):
    assert read_sql(f"sqlite:///{made / 'polimi2018.db'}").n_pairs == 16


@pytest.mark.parametrize(
    ("name", "shape", "n_pairs"),
    [("yelp2018", (2, 4), 6), ("ml100k", (2, 2), 2), ("aotm2011", (2, 2), 3)],
)
def test_files_have_the_pairs_of_their_sources(made, name, shape, n_pairs):
    pairings = read_npz(made / f"{name}.npz")
    assert pairings.shape == shape
    assert pairings.n_pairs == n_pairs
    assert set(pairings.matrix.data) == {1.0}
