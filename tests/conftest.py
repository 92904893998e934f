import signal
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest
import scipy.linalg  # noqa: F401 - loads the BLAS of scipy before its threads are limited
import servers
import sqlalchemy as sa
from scipy import sparse
from threadpoolctl import threadpool_limits

from twofold.datasets import PlaylistData, make_playlists

# The first example may compile a kernel, and the machines that run this are shared.
hypothesis.settings.register_profile("kernels", deadline=None)
hypothesis.settings.load_profile("kernels")

# Idle threads of BLAS spin, which on busy cores makes the references ten times as slow. Processes
# that tests start have the default number.
threadpool_limits(1, user_api="blas")

# A job in the background ignores SIGINT, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def playlists() -> PlaylistData:
    """300 playlists over 150 tracks in 4 planted groups."""
    return make_playlists(300, 150, n_groups=4, mean_length=15, rng=1)


@pytest.fixture
def small() -> sparse.csr_array:
    """A 30 x 20 matrix with values 1, 2, 3 in about a fifth of its cells."""
    rng = np.random.default_rng(0)
    stored = rng.random((30, 20)) < 0.2
    return sparse.csr_array(np.where(stored, rng.integers(1, 4, size=(30, 20)), 0).astype(float))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server for this session only, or skip."""
    pytest.importorskip("psycopg")
    with servers.postgresql() as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    yield postgres_server
    engine = sa.create_engine(postgres_server)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS other CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """URL of a MariaDB server for this session only, or skip."""
    pytest.importorskip("pymysql")
    with servers.mariadb() as url:
        yield url


@pytest.fixture
def mariadb(mariadb_server: str) -> Iterator[str]:
    """URL of an empty MariaDB database."""
    engine = sa.create_engine(mariadb_server)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE DATABASE music CHARACTER SET utf8mb4")
    yield f"{mariadb_server}music"
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP DATABASE music")
    engine.dispose()
