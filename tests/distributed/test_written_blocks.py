"""Recommendations that workers write: the parts and lines of one process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from twofold import FactorModel, Pairings
from twofold.distributed import write_recommendations
from twofold.exceptions import ClusterError, InvalidInputError
from twofold.io import TrackName
from twofold.model import write_recommendations as write_locally
from twofold.solvers import ALS

pytest.importorskip("pyarrow", reason='needs pip install "twofold[frames]"')


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("twofold.model.export.BLOCK", 2)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    cols = np.array([f"t{col}" for col in rng.integers(0, 9, 33)])
    pairings = Pairings.from_arrays(np.repeat(np.arange(11), 3), cols)
    return FactorModel(solver=ALS(n_factors=2, max_epochs=2, rng=0)).fit(pairings)


@pytest.fixture
def path(model, tmp_path):
    model.save(tmp_path / "m.twofold")
    return tmp_path / "m.twofold"


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def rows_of(url, table="recommendations"):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1, 2")).all()
    engine.dispose()
    return rows


@pytest.mark.parametrize("given", ["model", "path"])
def test_the_parts_are_those_of_one_process(given, model, path, client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"t1": TrackName("one", "two")}
    write_locally(model, tmp_path / "local", n=3, names=names)
    thing = model if given == "model" else path
    write_recommendations(thing, "lists/", n=3, names=names)
    assert contents("lists") == contents("local")
    with pytest.raises(InvalidInputError, match="has parts of recommendations"):
        write_recommendations(thing, "lists/", n=3, names=names)


def test_a_folder_continues_on_a_cluster_and_on_one_machine(model, path, client, tmp_path):
    folder = tmp_path / "lists"
    write_locally(model, folder, n=3)
    whole = contents(folder)
    times = {part.name: part.stat().st_mtime_ns for part in folder.iterdir()}
    (folder / "part-00001.parquet").unlink()
    (folder / "part-00004.parquet").unlink()
    write_recommendations(path, folder, n=3, if_exists="resume")
    assert contents(folder) == whole
    changed = {p.name for p in folder.iterdir() if p.stat().st_mtime_ns != times[p.name]}
    assert changed == {"part-00001.parquet", "part-00004.parquet"}
    write_locally(model, folder, n=3, if_exists="resume")
    assert contents(folder) == whole


def check_table(url, model, path):
    """Write a table by workers, wholly, in part and again."""
    write_locally(model, url, "local", n=3)
    expected = rows_of(url, "local")
    write_recommendations(path, url, n=3)
    assert rows_of(url) == expected
    with pytest.raises(InvalidInputError, match="'recommendations' exists"):
        write_recommendations(path, url, n=3)
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for first in (0, 6):
            ids = ", ".join(map(str, model.row_ids[first : first + 2]))
            connection.execute(sa.text(f"DELETE FROM recommendations WHERE pid IN ({ids})"))
            gone = sa.text(f"DELETE FROM recommendations_progress WHERE first_row = {first}")
            connection.execute(gone)
    engine.dispose()
    write_recommendations(path, url, n=3, if_exists="resume")
    assert rows_of(url) == expected
    write_locally(model, url, n=3, if_exists="resume")
    assert rows_of(url) == expected
    write_recommendations(model, url, n=3, if_exists="replace")
    assert rows_of(url) == expected


def test_the_lines_of_sqlite_are_those_of_one_process(model, path, client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_table("sqlite:///lists.db", model, path)


def test_the_lines_of_postgresql_are_those_of_one_process(model, path, client, postgres):
    check_table(postgres, model, path)


def test_a_block_that_is_written_again_changes_nothing(model, client, tmp_path):
    """As after a worker that was lost when it had committed, and as by two at the same time."""
    from twofold.model.export import Writing
    from twofold.model.runs import _write_block

    url = f"sqlite:///{tmp_path}/lists.db"
    write_recommendations(model, url, n=3)
    whole, writing = rows_of(url), Writing.of(model, url, n=3)
    _write_block(writing.run, url, writing._described_table(), writing.run.key, 2, 4)
    assert rows_of(url) == whole


def test_a_file_that_changed_is_an_error(model, path, client, tmp_path):
    from twofold.distributed.models import shared_model

    opened = shared_model(path)
    other = FactorModel(solver=ALS(n_factors=3, max_epochs=1, rng=0)).fit(model.pairings)
    other.save(path)
    with pytest.raises(ClusterError, match="has another file"):
        write_recommendations(opened, tmp_path / "lists")


def test_what_workers_cannot_write(model, client, tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path}/a.db")
    with pytest.raises(InvalidInputError, match="target is a Engine: give a URL"):
        write_recommendations(model, engine)
    with pytest.raises(InvalidInputError, match=r"the file '.*a.csv' is for one process"):
        write_recommendations(model, tmp_path / "a.csv")
    with pytest.raises(InvalidInputError, match="is for one process: give a folder"):
        write_recommendations(model, f"sqlite:///{tmp_path}/a.db", if_exists="append")
    with pytest.raises(InvalidInputError, match="model is a Ranking"):
        write_recommendations(model.recommend([1]), tmp_path / "lists")
    with pytest.raises(InvalidInputError, match="in memory"):
        write_recommendations(model, "sqlite://")


KILLED = """
import os, sys, distributed
import twofold.model.export
from twofold.distributed import Cluster, write_recommendations

submit, begun = Cluster.submit, []

def ending(self, *call):
    if len(begun) == 3:  # the digest of the run, and two blocks
        [task.result() for task in begun]
        os._exit(7)
    begun.append(submit(self, *call))
    return begun[-1]

if __name__ == "__main__":
    twofold.model.export.BLOCK, Cluster.submit = 2, ending
    client = distributed.Client(sys.argv[1])
    write_recommendations(sys.argv[2], sys.argv[3], n=3, if_exists="resume")
"""


def test_another_client_continues_after_a_client_was_killed(model, path, cluster, client, tmp_path):
    folder = tmp_path / "lists"
    command = [sys.executable, "-c", KILLED, cluster.scheduler_address, path, f"{folder}/"]
    paths = os.pathsep.join(each for each in sys.path if each)
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=False)
    assert done.returncode == 7
    assert sorted(contents(folder)) == ["part-00000.parquet", "part-00001.parquet"]
    write_recommendations(path, folder, n=3, if_exists="resume")
    write_locally(model, tmp_path / "local", n=3)
    assert contents(folder) == contents(tmp_path / "local")
