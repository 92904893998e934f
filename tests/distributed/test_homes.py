"""`Homes`: what the tasks of workers change in their process."""

import subprocess
import sys

import pytest

from twofold.distributed import residents
from twofold.distributed.residents import Homes

SETTINGS = """
import distributed
from twofold.distributed import residents

def nothing(threads):
    return threads

if __name__ == "__main__":
    options = {"processes": False, "dashboard_address": ":0"}
    with distributed.Client(n_workers=1, threads_per_worker=1, **options):
        homes = residents.Homes()
        assert homes.values([homes.call(nothing, home=homes.addresses()[0])]) == [1]
    assert residents._reused_memory.cache_info().currsize == 0
"""


def threads_of(threads):
    return threads


def n_settings():
    return residents._reused_memory.cache_info().currsize


@pytest.mark.skipif(sys.platform != "linux", reason="sets the allocator of glibc")
def test_the_allocator_is_set_in_the_processes_of_workers(client):
    homes = Homes(client)
    calls = [homes.call(threads_of, home=home) for home in homes.addresses()]
    assert homes.values(calls) == [1, 1]
    assert [*client.run(n_settings).values()] == [1, 1]


def test_the_allocator_of_the_process_of_the_client_stays():
    """In a process of its own, because the threads of a cluster in this one would remain."""
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
