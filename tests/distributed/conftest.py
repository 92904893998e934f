import logging

import pytest

dask = pytest.importorskip("dask", reason='needs pip install "twofold[distributed]"')
distributed = pytest.importorskip("distributed", reason='needs pip install "twofold[distributed]"')


@pytest.fixture(scope="session")
def cluster():
    """A cluster of two processes with a thread each, for the session."""
    # On a busy machine a worker that was killed takes long to start again, and is dropped then.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "5 minutes"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as started,
    ):
        yield started


@pytest.fixture(scope="session")
def session_client(cluster):
    with distributed.Client(cluster) as connected:
        yield connected


@pytest.fixture
def client(session_client):
    """The current client of the cluster, with both workers."""
    session_client.wait_for_workers(2, timeout=60)
    with session_client.as_current():
        yield session_client


@pytest.fixture
def three_workers():
    """The current client of a cluster of three processes of its own, which the test may kill."""
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as started,
        distributed.Client(started) as connected,
    ):
        yield connected
