"""Calls by pools of threads: made once or withdrawn, and their errors."""

import threading
import weakref

import numpy as np
import pytest

from twofold._kernels import threads
from twofold._kernels.threads import useful_threads

pytestmark = pytest.mark.plain


def test_a_withdrawn_call_is_not_made():
    made, pool = [], threads._Pool(1, "test")
    started, go = threading.Event(), threading.Event()

    def hold():
        started.set()
        go.wait()

    first, second = threads._Call(hold, ()), threads._Call(made.append, (1,))
    pool.submit(first)
    pool.submit(second)
    started.wait()
    assert not first.withdraw()
    assert second.withdraw()
    go.set()
    first.wait()
    last = threads._Call(len, ("abc",))
    pool.submit(last)
    assert last.result() == 3
    assert not made


def test_an_error_of_a_call_is_raised_by_its_result():
    pool, call = threads._Pool(1, "test"), threads._Call(int, ("no number",))
    pool.submit(call)
    with pytest.raises(ValueError, match="no number"):
        call.result()


def test_the_arguments_of_a_call_are_released_after_it():
    pool, array = threads._Pool(1, "test"), np.zeros(3)
    released = threading.Event()
    weakref.finalize(array, released.set)
    call = threads._Call(np.sum, (array,))
    pool.submit(call)
    assert call.result() == 0.0
    del call, array
    assert released.wait(timeout=30.0)


@pytest.mark.parametrize(
    ("work", "n_threads", "expected"),
    [(0, 4, 1), (1 << 17, 4, 1), (1 << 18, 4, 2), (1 << 30, 4, 4)],
)
def test_little_work_has_few_threads(work, n_threads, expected):
    assert useful_threads(work, n_threads) == expected
