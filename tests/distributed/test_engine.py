"""`Cluster`: tasks on workers, whatever becomes of the workers."""

import os
import subprocess
import sys
import time

import distributed
import pytest

from twofold._kernels.threads import available_threads
from twofold.distributed import Cluster
from twofold.distributed.engine import connected
from twofold.exceptions import ClusterError, InvalidInputError


def added(shared, number):
    return sum(shared) + number


def place(shared):
    return os.getpid(), available_threads(), id(shared)


def spent(shared, seconds):
    begin = time.monotonic()
    time.sleep(seconds)
    return os.getpid(), begin, time.monotonic()


def die_once(flag, number):
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        return number
    os._exit(9)


def die(shared):
    os._exit(9)


def wrong(shared):
    raise InvalidInputError("a sentence")


def test_results_are_in_the_order_of_the_tasks(client):
    tasks = ((number,) for number in range(30))
    assert [*Cluster().each(added, [1, 2], tasks)] == [*range(3, 33)]


def test_a_shared_object_is_not_sent_with_each_task(client):
    """Dask may drop a copy that no task needs, and sends it again then."""
    cluster, shared = Cluster(client), {"a": 1}
    places = {cluster.submit(place, shared).result() for _ in range(40)}
    assert {n_threads for _, n_threads, _ in places} == {1}
    assert len(places) <= 3 * len({process for process, _, _ in places})


def test_a_task_has_all_threads_of_its_worker_alone():
    """In a process of its own, because the threads of a cluster in this one would remain."""
    script = """
import distributed, test_engine
from twofold.distributed import Cluster

if __name__ == "__main__":
    options = {"processes": False, "dashboard_address": ":0"}
    with distributed.Client(n_workers=1, threads_per_worker=2, **options) as client:
        promises = [Cluster().submit(test_engine.spent, None, 0.05) for _ in range(4)]
        spans = sorted(promise.result()[1:] for promise in promises)
        assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:])), spans
"""
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_worker_that_dies_is_replaced(client, tmp_path):
    tasks = ((number,) for number in range(6))
    assert [*Cluster().each(die_once, tmp_path / "died", tasks)] == [*range(6)]


def test_a_shared_object_is_sent_again_if_all_workers_end(client):
    cluster, shared = Cluster(), [3, 4]
    assert cluster.submit(added, shared, 0).result() == 7
    client.restart_workers([*client.nthreads()])
    assert cluster.submit(added, shared, 1).result() == 8


@pytest.mark.parametrize("n_failures", [1, 3])
def test_a_worker_ends_while_an_object_is_sent(client, monkeypatch, n_failures):
    """Then the scheduler raises the error of a worker that it does not know."""
    failures, original = ["tcp://127.0.0.1:1"] * n_failures, client.scatter

    def scatter(*arguments, **options):
        if failures:
            raise KeyError(failures.pop())
        return original(*arguments, **options)

    monkeypatch.setattr(client, "scatter", scatter)
    cluster = Cluster()
    if n_failures == 1:
        assert cluster.submit(added, [3, 4], 1).result() == 8
    else:
        with pytest.raises(ClusterError, match="all workers that were given"):
            cluster.submit(added, [3, 4], 1)


def test_a_task_that_ends_every_worker_is_an_error(client, monkeypatch):
    monkeypatch.setattr("twofold.distributed.engine._MOST_ATTEMPTS", 1)
    with pytest.raises(ClusterError, match="more memory"):
        Cluster().submit(die, None).result()


def test_errors_of_a_task_are_raised_as_they_are(client):
    with pytest.raises(InvalidInputError, match="a sentence"):
        Cluster().submit(wrong, None).result()


def test_a_client_that_cannot_be_used_is_a_clear_error(cluster):
    other = distributed.Client(cluster, set_as_default=False)
    other.close()
    with pytest.raises(ClusterError, match="closed: make a new one"):
        Cluster(other)
    with pytest.raises(InvalidInputError, match="client is a str"):
        Cluster("tcp://127.0.0.1:8786")


def test_an_address_of_a_scheduler_gives_a_client(cluster):
    with connected(cluster.scheduler_address) as found:
        assert Cluster(found).submit(added, [1], 2).result() == 3
    assert found.status == "closed"


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:1", "what://x:1"])
def test_an_address_without_a_scheduler_is_named(address, monkeypatch):
    monkeypatch.setattr("twofold.distributed.engine._CONNECT_SECONDS", 0.2)
    with pytest.raises(ClusterError, match=address), connected(address):
        pass


def test_dask_is_imported_when_a_cluster_is_made():
    code = """
import sys, twofold.distributed
assert twofold.distributed.Cluster and not {"dask", "distributed"} & {*sys.modules}
twofold.distributed.Cluster()"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ClusterError: there is no Dask client: make one before" in done.stderr
