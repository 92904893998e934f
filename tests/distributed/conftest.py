import logging

import pytest

distributed = pytest.importorskip("distributed", reason='needs pip install "twofold[distributed]"')


@pytest.fixture(scope="session")
def cluster():
    """A cluster of two processes with a thread each, for the session."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as started:
        yield started


@pytest.fixture
def client(cluster):
    """The current client of the cluster."""
    with distributed.Client(cluster) as connected:
        connected.wait_for_workers(2)
        yield connected
