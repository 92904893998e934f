"""Recommendations for all rows as a folder of Parquet files, continued after an interrupt."""

from pathlib import Path

import numpy as np
import pytest

from twofold import FactorModel, Pairings
from twofold.exceptions import InvalidInputError
from twofold.io import TrackName, read_parquet
from twofold.model import write_factors, write_recommendations
from twofold.solvers import ALS

parquet = pytest.importorskip("pyarrow.parquet", reason='needs pip install "twofold[frames]"')
from pyarrow import dataset  # noqa: E402

N_ROWS, BLOCK = 11, 4


def fitted(seed=0, row_names=None):
    rng = np.random.default_rng(seed)
    rows = np.repeat(np.arange(N_ROWS), 3)
    if row_names is not None:
        rows = np.array([f"{row_names} {row}" for row in rows])
    cols = np.array([f"t{col}" for col in rng.integers(0, 9, rows.size)])
    return FactorModel(solver=ALS(n_factors=2, max_epochs=2, rng=0)).fit(
        Pairings.from_arrays(rows, cols)
    )


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("twofold.model.export.BLOCK", BLOCK)


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture
def blocks(monkeypatch):
    """The first row of each block that is ranked; None in it interrupts the next one."""
    asked, recommend = [], FactorModel.recommend

    def watched(model, rows, n):
        if asked and asked[-1] is None:
            asked[-1] = "interrupted"
            raise KeyboardInterrupt
        asked.append(rows[0])
        return recommend(model, rows, n)

    monkeypatch.setattr(FactorModel, "recommend", watched)
    return asked


def lines_of(model, n=3):
    return [
        (row, place, col, score)
        for row, found in model.recommend(model.row_ids, n)
        for place, (col, score) in enumerate(found, 1)
    ]


def lines_in(folder):
    table = dataset.dataset(folder).to_table()
    assert table.column_names[:4] == ["pid", "place", "tid", "score"]
    return sorted(zip(*table.to_pydict().values(), strict=True), key=lambda line: line[:2])


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("name", ["lists/", "lists"])
def test_a_folder_has_a_part_for_each_block(tmp_path, monkeypatch, model, name):
    monkeypatch.chdir(tmp_path)
    write_recommendations(model, Path(name) if name == "lists" else name, n=3)
    parts = sorted(path.name for path in Path("lists").iterdir())
    assert parts == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert lines_in("lists") == lines_of(model)
    assert read_parquet("lists", value="score").n_pairs == len(lines_of(model))
    first = parquet.read_table(Path("lists/part-00001.parquet"))["pid"].to_pylist()
    assert {*first} == {*model.row_ids[BLOCK : 2 * BLOCK].tolist()}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_other_libraries_read_the_folder_as_one(tmp_path, model, library):
    frames = pytest.importorskip(library)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/.part-00001.parquet.0123.tmp").write_bytes(b"PAR1 of a killed process")
    write_recommendations(model, f"{tmp_path}/lists/", n=3)
    frame = frames.read_parquet(tmp_path / "lists")
    columns = [frame[name].to_list() for name in ("pid", "place", "tid", "score")]
    assert sorted(zip(*columns, strict=True), key=lambda line: line[:2]) == lines_of(model)


def test_a_run_goes_on_where_it_was_interrupted(tmp_path, model, blocks):
    folder = tmp_path / "lists"
    ids = model.row_ids
    with pytest.raises(KeyboardInterrupt):
        write_recommendations(Interrupting(model, blocks), folder, n=3, if_exists="resume")
    before = contents(folder)
    assert sorted(before) == ["part-00000.parquet"]
    del blocks[:]
    write_recommendations(model, folder, n=3, if_exists="resume")
    assert blocks == [ids[BLOCK], ids[2 * BLOCK]]
    assert contents(folder).items() >= before.items()
    whole = contents(folder)
    write_recommendations(model, folder, n=3, if_exists="resume")  # is complete
    (folder / "part-00001.parquet").unlink()
    write_recommendations(model, folder, n=3, if_exists="resume")
    assert blocks[2:] == [ids[BLOCK]]
    assert contents(folder) == whole
    write_recommendations(model, folder, n=3, if_exists="replace")
    assert contents(folder) == whole
    assert len(blocks) == 6


class Interrupting:
    """A model that is interrupted before its second block."""

    def __init__(self, model, blocks):
        self.model, self.blocks = model, blocks

    def __getattr__(self, name):
        return getattr(self.model, name)

    def recommend(self, rows, n):
        ranking = self.model.recommend(rows, n)
        self.blocks.append(None)
        return ranking


@pytest.mark.parametrize("other", ["model", "n", "names", "columns", "block", "rows"])
def test_parts_of_another_run_are_replaced(tmp_path, monkeypatch, model, blocks, other):
    folder, options, runs = tmp_path / "lists", {"n": 3}, [model, model]
    if other in ("model", "rows"):
        runs[0] = fitted(1) if other == "model" else fitted(0, "list")
    elif other == "block":
        monkeypatch.setattr("twofold.model.export.BLOCK", 3)
    else:
        options |= {"n": {"n": 2}, "names": {"names": {}}, "columns": {"row": "user"}}[other]
    write_recommendations(runs[0], folder, if_exists="resume", **options)
    monkeypatch.setattr("twofold.model.export.BLOCK", BLOCK)
    del blocks[:]
    write_recommendations(runs[1], folder, n=3, if_exists="resume")
    assert len(blocks) == 3
    assert len(contents(folder)) == 3
    assert lines_in(folder) == lines_of(model)


def test_names_are_columns_of_texts_in_every_part(tmp_path, model):
    names = {"t1": TrackName("one", "A")}
    write_recommendations(model, tmp_path / "lists", n=3, names=names)
    table = dataset.dataset(tmp_path / "lists").to_table()
    assert [str(table.schema.field(name).type) for name in ("name", "artist")] == ["string"] * 2
    pairs = dict(zip(table["tid"].to_pylist(), table["name"].to_pylist(), strict=True))
    assert {col for col, name in pairs.items() if name is not None} == {"t1"}
    assert pairs["t1"] == "one"


def test_a_block_without_recommendations_has_an_empty_part(tmp_path, blocks):
    pairings = Pairings.from_arrays(np.repeat(np.arange(9), 2), np.tile([1, 2], 9))
    model = FactorModel(solver=ALS(n_factors=1, max_epochs=1, rng=0)).fit(pairings)
    for _ in range(2):
        write_recommendations(model, tmp_path / "lists", n=3, if_exists="resume")
    assert lines_in(tmp_path / "lists") == []
    assert len(blocks) == 3


def test_only_own_parts_are_replaced(tmp_path, model):
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    write_recommendations(model, folder, n=3)
    with pytest.raises(InvalidInputError, match=r"lists' has parts of recommendations: use if_exi"):
        write_recommendations(model, folder, n=3)
    with pytest.raises(InvalidInputError, match=r'lists\' is a folder: use if_exists="resume"'):
        write_recommendations(model, folder, n=3, if_exists="append")
    whole = contents(folder)
    foreign, cut = folder / "b.parquet", folder / "part-00001.parquet"
    write_factors(model, foreign, "row")
    for if_exists in ("resume", "replace"):
        with pytest.raises(InvalidInputError, match=r"b\.parquet' is not a part"):
            write_recommendations(fitted(1), folder, if_exists=if_exists)
    foreign.unlink()
    cut.write_bytes(cut.read_bytes()[:-9])
    with pytest.raises(InvalidInputError, match=r"part-00001\.parquet' is not a part.*delete it"):
        write_recommendations(model, folder, n=3, if_exists="resume")
    cut.unlink()
    write_recommendations(model, folder, n=3, if_exists="resume")
    assert contents(folder) == whole


def test_what_is_refused(tmp_path, model):
    ranking = model.recommend(model.row_ids, 2)
    for if_exists in ("error", "resume"):
        with pytest.raises(InvalidInputError, match=r"the folder .*lists' is for a model"):
            write_recommendations(ranking, tmp_path / "lists", if_exists=if_exists)
    with pytest.raises(InvalidInputError, match=r"cannot write to the folder .*contains it exi"):
        write_recommendations(model, tmp_path / "none" / "lists")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="neither a file"):
        write_recommendations(model, tmp_path / "file")
    odd = fitted(row_names="\udcff")
    with pytest.raises(InvalidInputError, match="cannot be encoded as UTF-8"):
        write_recommendations(odd, tmp_path / "lists")
    assert contents(tmp_path / "lists") == {}
    with pytest.raises(InvalidInputError, match=r"neither a file \*\.parquet"):
        write_factors(model, tmp_path / "lists", "row")
