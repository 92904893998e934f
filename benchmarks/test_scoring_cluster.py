"""Scoring by the workers of a local cluster, beside the same calls in one process.

The cluster has a process for each thread (``--threads``), with one thread each. The model is that
of `benchmarks.test_requests`, with 20,000 columns; its rows are taken ten times for `fold_in`.
"""

import logging

import pytest
from scipy import sparse

import twofold
from benchmarks.test_requests import synthetic_model
from twofold import distributed as on_cluster
from twofold import split_pairs
from twofold.model import write_recommendations

distributed = pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

METRICS = ["recall@20", "ndcg@20"]


@pytest.fixture(scope="module")
def client(n_threads):
    with (
        distributed.LocalCluster(
            n_workers=n_threads,
            threads_per_worker=1,
            dashboard_address=":0",
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


@pytest.fixture(scope="module")
def model(n_threads, tmp_path_factory):
    made = synthetic_model(20_000, n_threads)
    path = tmp_path_factory.mktemp("model") / "m.twofold"
    made.save(path)
    return made, path


@pytest.mark.parametrize("where", ["one process", "cluster"])
def test_fold_in(where, model, client, benchmark):
    own = model[0]
    matrix = sparse.vstack([own.pairings.matrix] * 10, format="csr")
    call = on_cluster.fold_in if where == "cluster" else twofold.fold_in
    benchmark.pedantic(call, (own.objective, matrix, own.col_factors), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("where", ["one process", "cluster"])
def test_evaluate(where, model, client, benchmark):
    own, path = model
    split = split_pairs(own.pairings, rng=0)
    call, given = (on_cluster.evaluate, path) if where == "cluster" else (twofold.evaluate, own)
    options = {"baseline": False}
    benchmark.pedantic(call, (given, split, METRICS), options, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("where", ["one process", "cluster"])
def test_recommendations(where, model, client, benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr("twofold.model.export.BLOCK", 2_000)  # as many blocks as of 200,000 rows
    own, path = model
    is_local = where == "one process"
    call, given = (write_recommendations, own) if is_local else (
        on_cluster.write_recommendations, path
    )  # fmt: skip
    options = {"n": 20, "if_exists": "replace"}
    benchmark.pedantic(call, (given, tmp_path / "lists"), options, rounds=5, warmup_rounds=1)
