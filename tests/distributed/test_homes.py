"""`Homes`: what the tasks of workers change in their process."""

import subprocess
import sys
import time
from types import SimpleNamespace
from uuid import uuid4

import numpy as np
import pytest

from twofold._kernels.aligned import address, empty_aligned
from twofold.distributed import residents
from twofold.distributed.residents import Handle, Homes, Inline, Item, LostError, only_reads

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


def made(n, threads):
    array = empty_aligned((n,), np.float64)
    array[:] = n
    return array


def place(array, threads):
    return address(array)


def added(first, second, threads, factor=1):
    return factor * (first + second)


@only_reads
def is_writeable(array, threads):
    return array.flags.writeable


def is_owned(array, threads):
    return array.flags.writeable


def moment(*earlier, threads):
    time.sleep(0.05)  # The scheduler sends a task once its inputs are made.
    return time.monotonic()


def keys(dask_worker):
    return list(dask_worker.data)


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


def test_arguments_are_computed_by_the_task_that_uses_them(client):
    homes = Homes(client)
    home = homes.addresses()[0]
    one = homes.call(threads_of, home=home)
    inner = Inline(added, (one, 10), {"factor": 2})  # 22
    outer = Inline(added, (inner, one))  # 23
    assert homes.values([homes.call(added, outer, inner, home=home, factor=3)]) == [135]


def test_read_only_arrays_are_copied_unless_they_are_only_read():
    """Arrays from other workers may be read-only, and kernels may write to them."""
    array = np.ones(10)
    array.flags.writeable = False
    for function, expected in ((is_owned, True), (is_writeable, False)):
        made = residents._Made.of(Inline(function, (Handle("array"),)), [])
        assert made.result(iter([array]), 1) == expected


def test_tasks_use_the_memory_of_arrays_that_ended(client):
    homes = Homes(client)
    home, places = homes.addresses()[0], []
    for _ in range(4):
        array = homes.call(made, 300_000, home=home)
        places += homes.values([homes.call(place, array, home=home)])
        del array
    assert len(set(places)) <= 2  # Each is released after the next one is begun.


def test_objects_are_released_after_the_next_calls(client):
    homes = Homes(client)
    home = homes.addresses()[0]
    array = homes.call(made, 10, home=home)
    homes.values([homes.call(place, array, home=home)])
    key = array.key
    del array
    assert key in client.futures
    homes.values([homes.call(threads_of, home=home)])
    assert key not in client.futures
    end = time.monotonic() + 30
    while key in client.run(keys)[home]:
        assert time.monotonic() < end


def test_a_task_without_its_input_has_lost_it():
    with pytest.raises(LostError, match="worker that ended"), residents._losses():
        raise KeyError(f"times-{uuid4()}")
    with pytest.raises(KeyError, match="title"), residents._losses():
        raise KeyError("title")


def both(n, threads):
    return np.full(n, float(n)), {"n": n}


def test_items_of_a_tuple_are_arguments_on_any_worker(client):
    homes = Homes(client)
    first, second = homes.addresses()
    pair = homes.call(both, 3, home=first)
    array, named = Item(pair, 0), Item(pair, 1)
    calls = [
        homes.call(added, array, array, home=second),
        homes.call(is_owned, array, home=second),
        homes.call(is_owned, array, home=first),
        homes.call(size_of, named, home=second),
    ]
    total, *others = homes.values(calls)
    assert (total.tolist(), others) == ([6.0] * 3, [True, True, 3])
    assert homes.values([pair])[0][1] == {"n": 3}


def size_of(named, threads):
    return named["n"]


def test_few_inputs_of_calls_are_made_in_advance(client):
    homes = Homes(client)
    home = homes.addresses()[0]
    made = [homes.call(moment, home=home) for _ in range(8)]
    used = [homes.call(moment, one, home=home) for one in made]
    order = np.argsort(homes.values([*made, *used]))
    in_advance = np.cumsum(np.where(order < len(made), 1, -1))
    # It is 2 on an idle machine, more while the scheduler waits, and 8 in the order of the calls.
    assert in_advance.max() <= 5


def test_inputs_have_the_priority_of_the_first_call_that_uses_them():
    def call(*objects):
        return SimpleNamespace(objects=[SimpleNamespace(key=key) for key in objects])

    calls = {"a": call(), "b": call(), "c": call("a"), "d": call("b"), "e": call("b", "a")}
    priorities = residents._priorities(calls)
    assert sorted(calls, key=priorities.__getitem__, reverse=True) == ["a", "c", "b", "d", "e"]
