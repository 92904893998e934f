"""Memory of large arrays that is used again."""

import gc
import threading

import numpy as np
import pytest

from twofold._kernels.aligned import LINE, address, empty_aligned
from twofold._kernels.reused import ReusedMemory, memory_of

pytestmark = pytest.mark.plain
LARGE = 1 << 18  # float64: 2 MB


def test_the_memory_of_an_array_that_ended_is_used_again():
    memory = ReusedMemory(1 << 30)
    with memory_of(memory):
        first = empty_aligned((LARGE,), np.float64)
        where = address(first)
        assert where % LINE == 0
        del first
        assert memory.n_bytes == 8 * LARGE
        smaller = empty_aligned((LARGE // 2,), np.float64)  # would waste half of it
        second = empty_aligned((2 * LARGE - 100,), np.float32)
    assert address(smaller) != where
    assert address(second) == where
    assert memory.n_bytes == 0
    assert second.flags.writeable
    assert second.flags.c_contiguous


@pytest.mark.parametrize(
    "view",
    [
        lambda array: array[5:],
        lambda array: array.reshape(-1, 8)[:, 2:],
        lambda array: array.view(np.uint8)[3:],
        lambda array: memoryview(array)[7:],
        lambda array: np.frombuffer(memoryview(array)[1:], np.float64),
        lambda array: iter(array),
    ],
)
def test_memory_stays_with_every_view(view):
    memory = ReusedMemory(1 << 30)
    with memory_of(memory):
        array = empty_aligned((LARGE,), np.float64)
    left = view(array)
    del array
    assert memory.n_bytes == 0
    del left
    assert memory.n_bytes == 8 * LARGE


def test_small_arrays_and_arrays_outside_of_the_context_are_in_ordinary_memory():
    memory = ReusedMemory(1 << 30)
    with memory_of(memory):
        empty_aligned((100,), np.float64)
        with memory_of(None):
            empty_aligned((LARGE,), np.float64)
    empty_aligned((LARGE,), np.float64)
    assert memory.n_bytes == 0


def test_no_more_is_kept_than_the_limit():
    memory = ReusedMemory(5 * 8 * LARGE)
    with memory_of(memory):
        arrays = [empty_aligned((n * LARGE,), np.float64) for n in (1, 2, 3)]
        places = [address(one) for one in arrays]
        while arrays:
            del arrays[0]
        assert memory.n_bytes == 5 * 8 * LARGE  # without the oldest
        assert address(empty_aligned((3 * LARGE,), np.float64)) == places[2]


def test_arrays_that_end_in_cycles_and_threads_have_memory_of_their_own():
    """Arrays are filled and compared while the cyclic garbage collector runs in several threads."""
    memory, wrong = ReusedMemory(1 << 30), []

    def fill(number):
        with memory_of(memory):
            for turn in range(30):
                array = empty_aligned((LARGE,), np.float64)
                array[:] = 100 * number + turn
                cycle = [array]
                cycle.append(cycle)
                if turn % 7 == 0:
                    gc.collect()
                wrong.extend([] if (array == 100 * number + turn).all() else [number])

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
