"""`at_most_threads`: the limit of all calls in a context, also of those in the thread of BLAS."""

import threading

import pytest

from twofold._kernels.threads import (
    at_most_threads,
    available_threads,
    check_n_threads,
    with_one_blas_thread,
)

pytestmark = pytest.mark.plain


@pytest.mark.parametrize("asked", [None, 1, 1000])
def test_no_call_has_more_threads_than_the_limit(asked):
    before = available_threads()
    with at_most_threads(1):
        assert check_n_threads(asked) == 1
        assert with_one_blas_thread(available_threads) == 1
        with at_most_threads(1000):
            assert available_threads() == before
        assert available_threads() == 1
    assert available_threads() == before


def test_other_threads_have_no_limit():
    found, before = [], available_threads()
    with at_most_threads(1):
        thread = threading.Thread(target=lambda: found.append(available_threads()))
        thread.start()
        thread.join()
    assert found == [before]
