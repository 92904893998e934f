"""Runs of `DaskALS` whose scheduler or client ends, or whose workers join late."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading

import distributed
import numpy as np
import pytest
from scipy import sparse

from twofold import L2, Objective
from twofold import distributed as twofold_distributed
from twofold.distributed import DaskALS
from twofold.distributed.residents import Homes
from twofold.exceptions import ClusterError
from twofold.solvers import ALS, Solution

OBJECTIVE = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
OPTIONS = {"n_factors": 4, "max_epochs": 5, "rng": 0}


class OwnCluster:
    """A scheduler and a worker in processes that a test can end."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes = []

    def start(self):
        here = ("--no-dashboard", "--host", "127.0.0.1")
        scheduler = self._run("scheduler", "--port", str(self.port), *here)
        self._run("worker", self.address, "--nthreads", "1", "--no-nanny", *here)
        self.scheduler = scheduler

    def _run(self, name, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes.append(subprocess.Popen(command, **quiet))
        return self.processes[-1]

    def end_scheduler(self):
        self.scheduler.kill()
        self.scheduler.wait()

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def own():
    cluster = OwnCluster()
    cluster.start()
    yield cluster
    cluster.end()


def client_of(own, seconds):
    """Return a client that waits some seconds for a scheduler that ended."""
    client = distributed.Client(own.address, timeout=60)
    client.wait_for_workers(1, timeout=60)
    client._timeout = seconds
    return client


@pytest.fixture
def matrix():
    rng = np.random.default_rng(0)
    found = sparse.random_array((300, 190), density=0.05, random_state=rng, format="csr")
    found.data[:] = 1.0
    return found


def assert_same(found, expected):
    assert [one.total for one in found.history] == [one.total for one in expected.history]
    assert found.row_factors.tobytes() == expected.row_factors.tobytes()
    assert found.col_factors.tobytes() == expected.col_factors.tobytes()


def test_the_end_of_the_scheduler_is_an_error_that_names_the_checkpoint(own, matrix, tmp_path):
    path = tmp_path / "run.npz"

    def callback(epoch, so_far):
        if epoch == 2:
            own.end_scheduler()

    with client_of(own, 0.5), pytest.raises(ClusterError, match="scheduler ended") as raised:
        DaskALS(**OPTIONS).solve(OBJECTIVE, matrix, callback=callback, checkpoint=path)
    assert f"continue by init=Solution.load({str(path)!r})" in str(raised.value)
    saved = Solution.load(path)
    assert saved.n_epochs == 2
    expected = ALS(**OPTIONS).solve(OBJECTIVE, matrix)
    assert_same(ALS(**OPTIONS).solve(OBJECTIVE, matrix, saved), expected)


def test_a_scheduler_that_is_started_anew(own, matrix, tmp_path):
    seen = []

    def callback(epoch, so_far):
        seen.append(epoch)
        if epoch == 2:
            own.end_scheduler()
            threading.Timer(0.2, own.start).start()

    def blocks():
        yield matrix
        own.end_scheduler()
        while True:
            yield matrix

    with client_of(own, 60) as client:
        found = DaskALS(**OPTIONS).solve(
            OBJECTIVE, matrix, callback=callback, checkpoint=tmp_path / "run.npz"
        )
        assert_same(found, ALS(**OPTIONS).solve(OBJECTIVE, matrix))
        assert seen == list(range(6))
        client._timeout = 0.5
        with pytest.raises(ClusterError, match="scheduler"):
            twofold_distributed.fold_in(OBJECTIVE, blocks(), found.col_factors)


KILLED = """
import os, signal, sys, distributed
from scipy import sparse
from twofold import L2, Objective
from twofold.distributed import DaskALS
from twofold.distributed.residents import Homes

def callback(epoch, so_far):
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    address, matrix, checkpoint = sys.argv[1:]
    client = distributed.Client(address)
    solver = DaskALS(n_factors=4, max_epochs=5, rng=0)
    objective = Objective(regularizer=L2(1.0), unobserved_weight=0.1)
    solver.solve(objective, sparse.load_npz(matrix), callback=callback, checkpoint=checkpoint)
"""


def test_a_new_client_continues_from_the_checkpoint_of_a_client_that_ended(
    cluster, client, matrix, tmp_path
):
    path, checkpoint = tmp_path / "matrix.npz", tmp_path / "run.npz"
    sparse.save_npz(path, matrix)
    command = [sys.executable, "-c", KILLED, cluster.scheduler_address, path, checkpoint]
    paths = os.pathsep.join(each for each in sys.path if each)
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=False)
    assert done.returncode == -signal.SIGKILL
    saved = Solution.load(checkpoint)
    assert saved.n_epochs == 2
    found = DaskALS(**OPTIONS).solve(OBJECTIVE, matrix, saved)
    assert_same(found, ALS(**OPTIONS).solve(OBJECTIVE, matrix))


def test_a_worker_that_joins_late_takes_over_when_another_one_ends(matrix):
    """The run does not wait for it, and has the same bits with it."""
    homes = []

    def callback(epoch, so_far):
        if epoch == 1:
            client.cluster.scale(2)
            client.wait_for_workers(2, timeout=60)
        if epoch == 3:
            os.kill(first, signal.SIGKILL)

    def placed(self, objects, home):
        homes.append(home)
        return original(self, objects, home)

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as started,
        distributed.Client(started) as client,
        pytest.MonkeyPatch.context() as patch,
    ):
        ((before, first),) = client.run(os.getpid).items()
        original = Homes.placed
        patch.setattr(Homes, "placed", placed)
        found = DaskALS(**OPTIONS).solve(OBJECTIVE, matrix, callback=callback)
    assert_same(found, ALS(**OPTIONS).solve(OBJECTIVE, matrix))
    assert homes[0] == before
    assert homes[-1] != before
