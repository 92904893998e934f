"""Pairings that the workers read give the bits of the same pairings in one process."""

import os
import signal
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest

from twofold import L2, FactorModel, Objective
from twofold.data import Pairings
from twofold.distributed import ClusterPairings, DaskALS
from twofold.exceptions import InvalidInputError, SingularRowError
from twofold.io import read_parquet, read_sql, write_sql
from twofold.objective import side
from twofold.solvers import ALS, Solution

OPTIONS = {"n_factors": 6, "max_epochs": 4, "rng": 0}
PLAIN = Objective(regularizer=L2(1.0), unobserved_weight=0.1)


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    """Many tasks for small data, so that there are several blocks."""
    monkeypatch.setattr(side, "CHUNK", 256)


def frame(n=6000, seed=0):
    rng = np.random.default_rng(seed)
    pairs = pd.DataFrame(
        {"pid": rng.integers(1000, 1300, n), "tid": (200 * rng.random(n) ** 2).astype(np.int64)}
    ).drop_duplicates()
    pairs["times"] = rng.integers(1, 5, len(pairs)).astype(float)
    return pairs


def parts(folder, pairs, n=3, **options):
    readers = []
    for number in range(n):
        path = folder / f"part-{number}.parquet"
        pairs.iloc[number::n].to_parquet(path)
        readers.append(partial(read_parquet, path, row="pid", col="tid", **options))
    return readers


def assert_equal(found, expected):
    assert [one.total for one in found.history] == [one.total for one in expected.history]
    assert found.row_factors.tobytes() == expected.row_factors.tobytes()
    assert found.col_factors.tobytes() == expected.col_factors.tobytes()


@pytest.mark.parametrize("n_blocks", [2, 3])
def test_parquet_in_parts(client, tmp_path, monkeypatch, n_blocks):
    for module in ("pairs", "reading"):
        monkeypatch.setattr(f"twofold.distributed.{module}.number_of_blocks", lambda *_: n_blocks)
    pairs = frame()
    whole = Pairings.from_frame(pairs, row="pid", col="tid")
    cluster_pairings = ClusterPairings(parts(tmp_path, pairs))
    found = DaskALS(**OPTIONS).solve(PLAIN, cluster_pairings)
    assert cluster_pairings.row_ids.tolist() == whole.row_ids.tolist()
    assert cluster_pairings.col_ids.tolist() == whole.col_ids.tolist()
    assert cluster_pairings.shape == whole.shape
    assert_equal(found, ALS(**OPTIONS).solve(PLAIN, whole.matrix))


@pytest.mark.parametrize(
    ("data", "kind"), [("targets", "value"), ("weights", "value"), ("ones", "weight")]
)
def test_values_and_weights(client, tmp_path, data, kind):
    pairs = frame(seed=1)
    objective = Objective(
        regularizer=L2(0.1, 0.5), data=data, unobserved_weight=0.2, unobserved="missing"
    )
    readers = parts(tmp_path, pairs, 4, **{kind: "times"})
    whole = Pairings.from_frame(pairs, row="pid", col="tid", **{kind: "times"})
    expected = ALS(**OPTIONS).solve(objective, whole.matrix, weights=whole.weights)
    assert_equal(DaskALS(**OPTIONS).solve(objective, ClusterPairings(readers)), expected)


@pytest.mark.parametrize(
    "options", [{"data": "targets"}, {"data": "signed", "unobserved": "missing"}, {}]
)
def test_the_mean_of_biases_is_that_of_all_parts(client, tmp_path, options):
    pairs = frame(seed=9)
    objective = Objective(regularizer=L2(0.5), biases=True, unobserved_weight=0.25, **options)
    readers = parts(tmp_path, pairs, 3, value="times")
    whole = Pairings.from_frame(pairs, row="pid", col="tid", value="times")
    expected = FactorModel(objective, ALS(**OPTIONS)).fit(whole)
    assert_equal(DaskALS(**OPTIONS).solve(objective, ClusterPairings(readers)), expected.solution)
    found = FactorModel(objective, DaskALS(**OPTIONS)).fit(ClusterPairings(readers))
    assert found.objective == objective.for_data(whole.matrix)
    some = whole.take_rows(range(5))
    assert [*found.recommend(some, n=3)] == [*expected.recommend(whole.row_ids[:5], n=3)]


def test_ranges_of_a_database_and_a_checkpoint(client, tmp_path):
    pairs, url = frame(seed=2), f"sqlite:///{tmp_path / 'pairs.db'}"
    whole = Pairings.from_frame(pairs, row="pid", col="tid")
    write_sql(whole, url)
    queries = [
        f"SELECT pid, tid FROM pairings WHERE pid >= {low} AND pid < {low + 100}"
        for low in range(1000, 1300, 100)
    ]
    readers = [partial(read_sql, url, query=query) for query in queries]
    path = tmp_path / "run.npz"
    DaskALS(**OPTIONS | {"max_epochs": 2}).solve(PLAIN, ClusterPairings(readers), checkpoint=path)
    found = DaskALS(**OPTIONS).solve(PLAIN, ClusterPairings(readers), Solution.load(path))
    assert_equal(found, ALS(**OPTIONS).solve(PLAIN, whole.matrix))
    assert found.n_epochs == 4


@pytest.mark.parametrize("duplicates", ["keep-one", "count"])
def test_a_pair_of_several_parts(client, tmp_path, duplicates):
    pairs = frame(seed=3)
    repeated = pd.concat([pairs, pairs.iloc[::5]])
    objective = Objective(regularizer=L2(0.5), data="weights", unobserved_weight=0.3)
    readers = parts(tmp_path, repeated, 3, duplicates=duplicates)
    whole = Pairings.from_frame(repeated, row="pid", col="tid", duplicates=duplicates)
    found = DaskALS(**OPTIONS).solve(objective, ClusterPairings(readers, duplicates))
    assert_equal(found, ALS(**OPTIONS).solve(objective, whole.matrix))


def test_text_ids(client, tmp_path):
    pairs = frame(seed=4).astype({"tid": str})
    whole = Pairings.from_frame(pairs, row="pid", col="tid")
    cluster_pairings = ClusterPairings(parts(tmp_path, pairs))
    found = DaskALS(**OPTIONS).solve(PLAIN, cluster_pairings)
    assert cluster_pairings.col_ids.tolist() == whole.col_ids.tolist()
    assert_equal(found, ALS(**OPTIONS).solve(PLAIN, whole.matrix))


def not_pairings():
    return 3


def test_wrong_inputs(client, tmp_path):
    with pytest.raises(InvalidInputError, match="readers must be functions"):
        ClusterPairings([])
    with pytest.raises(InvalidInputError, match="a reader returned a int"):
        DaskALS(n_factors=2).solve(PLAIN, ClusterPairings([not_pairings]))
    readers = parts(tmp_path, frame(100))
    centers = L2(1.0, 0.0, np.zeros((300, 2)), None)
    with pytest.raises(InvalidInputError, match="row_center or col_center needs the pairs in one"):
        DaskALS(n_factors=2).solve(Objective(regularizer=centers), ClusterPairings(readers))
    with pytest.raises(InvalidInputError, match="leave out weights="):
        DaskALS(n_factors=2).solve(PLAIN, ClusterPairings(readers), weights=np.ones(3))
    texts = frame(100).astype({"tid": str})
    (tmp_path / "texts").mkdir()
    mixed = readers[:1] + parts(tmp_path / "texts", texts)[1:]
    with pytest.raises(InvalidInputError, match='give id_type="text"'):
        DaskALS(n_factors=2).solve(PLAIN, ClusterPairings(mixed))
    pairings = ClusterPairings(readers)
    DaskALS(n_factors=2, max_epochs=1).solve(PLAIN, pairings)
    before, pairings.readers = pairings.row_ids, mixed
    with pytest.raises(InvalidInputError, match='give id_type="text"'):
        DaskALS(n_factors=2).solve(PLAIN, pairings)
    assert pairings.row_ids is before
    missing = partial(read_parquet, tmp_path / "missing.parquet", row="pid", col="tid")
    with pytest.raises(InvalidInputError, match=r"missing\.parquet"):
        DaskALS(n_factors=2).solve(PLAIN, ClusterPairings([missing]))


@pytest.mark.parametrize("epoch_of_end", [None, 2])
def test_the_result_without_one_of_the_workers(three_workers, tmp_path, epoch_of_end):
    """It ends while pairs are read, or after an epoch."""
    pairs = frame(seed=5)
    whole = Pairings.from_frame(pairs, row="pid", col="tid")
    expected = ALS(**OPTIONS).solve(PLAIN, whole.matrix)
    victim = list(three_workers.run(os.getpid).values())[2]

    def callback(epoch, so_far):
        if epoch == epoch_of_end:
            os.kill(victim, signal.SIGKILL)

    if epoch_of_end is None:
        threading.Timer(0.3, os.kill, (victim, signal.SIGKILL)).start()
    readers = parts(tmp_path, pairs, 5)
    found = DaskALS(**OPTIONS).solve(PLAIN, ClusterPairings(readers), callback=callback)
    assert_equal(found, expected)


def test_a_model_of_pairings_in_parts_serves_new_rows(client, tmp_path):
    pairs = frame(seed=6)
    whole = Pairings.from_frame(pairs, row="pid", col="tid")
    readers = parts(tmp_path, pairs.sort_values("pid"), 3)
    cluster_pairings = ClusterPairings(readers)
    found = FactorModel(solver=DaskALS(**OPTIONS)).fit(cluster_pairings)
    expected = FactorModel(solver=ALS(**OPTIONS)).fit(whole)
    assert found.objective == expected.objective
    assert_equal(found.solution, expected.solution)
    assert found.col_ids.tolist() == whole.col_ids.tolist()
    assert cluster_pairings.row_ids.tolist() == whole.row_ids.tolist()
    some = whole.take_rows(range(7))
    assert [*found.recommend(some, n=4)] == [*expected.recommend(whole.row_ids[:7], n=4)]
    new = Pairings.from_arrays([1, 2], [int(whole.col_ids[0]), -5])
    options = {"n": 3, "fallback": "popular"}
    assert [*found.recommend(new, **options)] == [*expected.recommend(new, **options)]
    with pytest.raises(InvalidInputError, match="fitted to pairings in parts and has no trained"):
        found.recommend([1000])
    with pytest.raises(InvalidInputError, match="serving=True"):
        found.save(tmp_path / "model.twofold")
    found.save(tmp_path / "model.twofold", serving=True)
    expected.save(tmp_path / "expected.twofold", serving=True)
    restored, other = (
        FactorModel.load(tmp_path / f"{name}.twofold") for name in ("model", "expected")
    )
    assert [*restored.recommend(new, **options)] == [*other.recommend(new, **options)]
    with pytest.raises(InvalidInputError, match="ALS needs Pairings in this process: use DaskALS"):
        FactorModel(solver=ALS()).fit(cluster_pairings)
    with pytest.raises(InvalidInputError, match="give its solution"):
        FactorModel(solver=DaskALS(**OPTIONS)).fit(cluster_pairings, found)
    with pytest.raises(InvalidInputError, match="fit ClusterPairings of all parts"):
        found.partial_fit(new)
    with pytest.raises(InvalidInputError, match="fit ClusterPairings of all parts"):
        FactorModel(solver=ALS(**OPTIONS)).fit(whole, found)


def test_errors_of_pairs_have_their_ids(client, tmp_path):
    pairs = frame(seed=7).astype({"tid": str})
    pairs.iloc[100, 2] = -1.0
    bad = pairs.iloc[100]
    readers = parts(tmp_path, pairs, value="times")
    place = f"the value in row {bad.pid}, column {bad.tid!r} is -1.0"
    objective = Objective(data="weights")
    with pytest.raises(InvalidInputError, match=place):
        DaskALS(**OPTIONS).solve(objective, ClusterPairings(readers))
    (tmp_path / "again").mkdir()
    again = parts(tmp_path / "again", pairs.iloc[[100]], 1)
    repeated = ClusterPairings(parts(tmp_path, pairs) + again, duplicates="error")
    with pytest.raises(InvalidInputError, match=f"row {bad.pid} and column {bad.tid!r} occurs"):
        FactorModel(solver=DaskALS(**OPTIONS)).fit(repeated)


def test_errors_of_rows_have_their_ids(client, tmp_path):
    pairs = frame(400, seed=8).astype({"tid": str})
    whole = Pairings.from_frame(pairs, row="pid", col="tid")
    objective = Objective(regularizer=L2(0.0))
    expected = r"row \d{4} \(\d entries\) has no unique solution, .* \d+ others"
    messages = []
    for solver, data in ((ALS, whole), (DaskALS, ClusterPairings(parts(tmp_path, pairs)))):
        with pytest.raises(SingularRowError, match=expected) as raised:
            FactorModel(objective, solver(**OPTIONS)).fit(data)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
