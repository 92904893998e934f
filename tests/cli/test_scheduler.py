"""``--scheduler``: the work of commands by the workers of a cluster."""

import json
import logging

import pytest
import sqlalchemy as sa

from twofold import FactorModel
from twofold.io import read_sql
from twofold.solvers import ALS

distributed = pytest.importorskip("distributed", reason='needs pip install "twofold[distributed]"')
pytest.importorskip("pyarrow", reason='needs pip install "twofold[frames]"')


@pytest.fixture(scope="module")
def address():
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def path(url, tmp_path):
    FactorModel(solver=ALS(n_factors=4, max_epochs=3, rng=0)).fit(read_sql(url)).save(
        tmp_path / "m.twofold"
    )
    return tmp_path / "m.twofold"


def rows_of(url):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT * FROM recommendations ORDER BY 1, 2")).all()
    engine.dispose()
    return rows


def test_commands_print_and_write_the_same(twofold, url, path, address, tmp_path):
    evaluate = ("evaluate", path, url, "--quiet")
    here, there = twofold(*evaluate), twofold(*evaluate, "--scheduler", address)
    assert (there.code, there.out, there.err) == (0, here.out, "")
    tune = ("tune", url, "--grid", "ratio=2,15", "--n-factors", 4, "--max-epochs", 2, "--quiet")
    found = [
        [(trial["number"], trial["score"]) for trial in json.loads(result.out)["trials"]]
        for result in (twofold(*tune, "--json"), twofold(*tune, "--json", "--scheduler", address))
    ]
    assert found[0] == found[1]
    models = []
    for options in ((), ("--scheduler", address)):
        fit = ("fit", url, "--n-factors", 4, "--max-epochs", 3, "--rng", 0)
        assert twofold(*fit, "--output", "own.twofold", *options).err == ""
        models.append(FactorModel.load(tmp_path / "own.twofold"))
    assert models[0].row_factors.tobytes() == models[1].row_factors.tobytes()
    assert models[0].solver == models[1].solver
    written = []
    for options in ((), ("--scheduler", address)):
        folder, database = f"lists{len(options)}", f"sqlite:///lists{len(options)}.db"
        assert twofold("recommend", path, "--output", folder, *options).err == ""
        assert twofold("recommend", path, "--into", database, *options).err == ""
        parts = {part.name: part.read_bytes() for part in (tmp_path / folder).iterdir()}
        written.append((parts, rows_of(database)))
    assert written[0] == written[1]


def test_workers_read_the_files_of_a_folder(twofold, playlists, address, tmp_path):
    pytest.importorskip("pandas")
    (tmp_path / "lists").mkdir()
    for n in range(3):
        pairs = playlists.pairings[n::3].to_frame("pandas")
        pairs.rename(columns={"row": "pid", "col": "tid"}).to_parquet(
            tmp_path / f"lists/{n}.parquet"
        )
    fit = ("fit", "lists", "--n-factors", 4, "--max-epochs", 3, "--rng", 0)
    found = twofold(*fit, "--output", "own.twofold", "--scheduler", address, "--parts")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("300 playlists, 150 tracks\nObjective: ")
    twofold(*fit, "--output", "local.twofold")
    own, local = (FactorModel.load(tmp_path / f"{name}.twofold") for name in ("own", "local"))
    assert own.objective == local.objective
    assert own.col_factors.tobytes() == local.col_factors.tobytes()
    assert own.col_ids.tolist() == local.col_ids.tolist()
    twofold(*fit, "--parts").failed("--parts needs --scheduler")
    twofold("fit", "lists/0.parquet", "--scheduler", address, "--parts").failed(
        "--parts is for a folder of files as SOURCE"
    )


def test_wrong_schedulers_are_named(twofold, url, path, monkeypatch):
    monkeypatch.setattr("twofold.distributed.engine._CONNECT_SECONDS", 0.2)
    address = ("--scheduler", "tcp://127.0.0.1:1")
    for words in (
        ("evaluate", path, url, "--quiet"),
        ("recommend", path, "--output", "lists"),
        ("tune", url, "--grid", "ratio=2", "--quiet"),
    ):
        twofold(*words, *address).failed("no scheduler of Dask at 'tcp://127.0.0.1:1'")
    twofold("fit", url, "--solver", "gd", *address).failed("--scheduler is for --solver als")
    twofold("recommend", path, "--row", 1, *address).failed("--scheduler is for all playlists")
