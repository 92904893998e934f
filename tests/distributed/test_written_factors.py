"""The workers write the factors of the rows of pairings in parts."""

import os
import signal
from functools import partial

import numpy as np
import pandas as pd
import pytest

from twofold import L2, FactorModel, Objective
from twofold.data import Pairings
from twofold.distributed import ClusterPairings, DaskALS, factors, write_factors
from twofold.exceptions import InvalidInputError, NotFittedError
from twofold.io import read_parquet
from twofold.model import write_factors as write_here
from twofold.solvers import ALS

OPTIONS = {"n_factors": 6, "max_epochs": 3, "rng": 0}
OBJECTIVE = Objective(regularizer=L2(1.0), data="weights", unobserved_weight=0.1)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Several parts, of which some have rows of two blocks."""
    monkeypatch.setattr(factors, "BLOCK", 70)


def frame():
    rng = np.random.default_rng(0)
    pairs = pd.DataFrame({"pid": rng.integers(1000, 1300, 3000), "tid": rng.integers(0, 90, 3000)})
    pairs = pairs.drop_duplicates().astype({"tid": str})
    return pairs.assign(times=rng.integers(1, 4, len(pairs)).astype(float))


@pytest.fixture
def data(tmp_path):
    """Pairings of one process, and the same in parts with the rows of any of them."""
    pairs, readers = frame(), []
    for number in range(3):
        path = tmp_path / f"pairs-{number}.parquet"
        pairs.iloc[number::3].to_parquet(path)
        readers.append(partial(read_parquet, path, row="pid", col="tid", value="times"))
    whole = Pairings.from_frame(pairs, row="pid", col="tid", value="times")
    return whole, ClusterPairings(readers)


def content(folder):
    return pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])


def test_the_parts_have_what_one_process_writes(client, data, tmp_path):
    whole, pairings = data
    model = FactorModel(OBJECTIVE, DaskALS(**OPTIONS)).fit(pairings)
    write_factors(model, pairings, tmp_path / "rows", id_column="playlist")
    expected = FactorModel(OBJECTIVE, ALS(**OPTIONS)).fit(whole)
    write_here(expected, tmp_path / "rows.parquet", "row", id_column="playlist")
    found, wanted = content(tmp_path / "rows"), pd.read_parquet(tmp_path / "rows.parquet")
    assert found["playlist"].tolist() == wanted["playlist"].tolist()
    assert np.stack(found["factors"]).tobytes() == np.stack(wanted["factors"]).tobytes()
    assert len(list((tmp_path / "rows").iterdir())) == 5


def test_a_run_continues(client, data, tmp_path):
    whole, pairings = data
    model = FactorModel(OBJECTIVE, ALS(**OPTIONS)).fit(whole)
    model.save(tmp_path / "m.twofold", serving=True)
    folder = tmp_path / "rows"
    write_factors(tmp_path / "m.twofold", pairings, folder)
    first = content(folder)
    before = {path: path.stat().st_ino for path in folder.iterdir()}
    (folder / "part-00002.parquet").unlink()
    (folder / ".part-00002.parquet.x.tmp").touch()
    os.link(folder / "part-00000.parquet", folder / "part-00099.parquet")
    with pytest.raises(InvalidInputError, match="has parts of row factors"):
        write_factors(tmp_path / "m.twofold", pairings, folder)
    write_factors(tmp_path / "m.twofold", pairings, folder, if_exists="resume")
    after = {path: path.stat().st_ino for path in folder.iterdir()}
    assert {path.name for path in after} == {f"part-{n:05}.parquet" for n in range(5)}
    assert sum(before[path] == number for path, number in after.items()) >= 4
    pd.testing.assert_frame_equal(content(folder), first)
    other = FactorModel(OBJECTIVE, ALS(**OPTIONS | {"rng": 1})).fit(whole)
    write_factors(other, pairings, folder, if_exists="resume")
    assert not np.array_equal(np.stack(content(folder)["factors"]), np.stack(first["factors"]))
    write_factors(model, pairings, folder, if_exists="replace")
    pd.testing.assert_frame_equal(content(folder), first)


def end_once(path, ended):
    """Read a part, except that the first worker that does it ends."""
    if not ended.exists():
        ended.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return read_parquet(path, row="pid", col="tid", value="times")


def test_a_worker_ends(three_workers, data, tmp_path):
    whole, pairings = data
    model = FactorModel(OBJECTIVE, ALS(**OPTIONS)).fit(whole)
    last = partial(end_once, tmp_path / "pairs-2.parquet", tmp_path / "ended")
    readers = [*pairings.readers[:2], last]
    write_factors(model, ClusterPairings(readers), tmp_path / "rows")
    assert content(tmp_path / "rows")["pid"].tolist() == whole.row_ids.tolist()


def test_wrong_arguments(client, data, tmp_path):
    whole, pairings = data
    model = FactorModel(OBJECTIVE, ALS(**OPTIONS)).fit(whole)
    with pytest.raises(InvalidInputError, match="give ClusterPairings, or use"):
        write_factors(model, whole, tmp_path / "rows")
    with pytest.raises(InvalidInputError, match="model is a int"):
        write_factors(3, pairings, tmp_path / "rows")
    with pytest.raises(NotFittedError):
        write_factors(FactorModel(), pairings, tmp_path / "rows")
    with pytest.raises(InvalidInputError, match="if_exists"):
        write_factors(model, pairings, tmp_path / "rows", if_exists="append")
    with pytest.raises(InvalidInputError, match=r"pairs-0\.parquet' is not a part of row factors"):
        write_factors(model, pairings, tmp_path, if_exists="resume")
    with pytest.raises(InvalidInputError, match="contains it exists"):
        write_factors(model, pairings, tmp_path / "no" / "rows")
    assert not (tmp_path / "rows").exists()
