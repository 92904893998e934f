import logging

import pytest

distributed = pytest.importorskip("distributed", reason='needs pip install "twofold[distributed]"')


@pytest.fixture(scope="session")
def cluster():
    """A cluster of two processes with a thread each, for the session."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
    ) as started:
        yield started


@pytest.fixture(scope="session")
def session_client(cluster):
    with distributed.Client(cluster) as connected:
        yield connected


@pytest.fixture
def client(session_client):
    """The current client of the cluster, with both workers."""
    session_client.cluster.scale(2)  # one that took long to start again has been dropped
    session_client.wait_for_workers(2, timeout=30)
    with session_client.as_current():
        yield session_client
