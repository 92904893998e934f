"""Calls by pools of threads: made once or withdrawn, and their errors."""

import threading
import weakref

import numpy as np
import pytest
from subprocesses import run_python

from twofold._kernels import threads
from twofold._kernels.threads import run, useful_threads, with_one_blas_thread

pytestmark = pytest.mark.plain


def pool(n_threads=1):
    return threads._Pool(lambda: n_threads, "test")


def interrupted_submit(pool, call, submit=threads._Pool.submit):
    """Submit a call that begins, and raise as Ctrl-C does."""
    submit(pool, call)
    while not call._claim.locked():
        pass
    raise KeyboardInterrupt


def test_a_withdrawn_call_is_not_made():
    made, one_thread = [], pool()
    started, go = threading.Event(), threading.Event()

    def hold():
        started.set()
        go.wait()

    first, second = threads._Call(hold, ()), threads._Call(made.append, (1,))
    one_thread.submit(first)
    one_thread.submit(second)
    started.wait()
    assert not first.withdraw()
    assert second.withdraw()
    go.set()
    first.wait()
    last = threads._Call(len, ("abc",))
    one_thread.submit(last)
    assert last.result() == 3
    assert not made


def test_an_error_of_a_call_is_raised_by_its_result():
    one_thread, call = pool(), threads._Call(int, ("no number",))
    one_thread.submit(call)
    with pytest.raises(ValueError, match="no number"):
        call.result()


def test_the_arguments_of_a_call_are_released_after_it():
    one_thread, array = pool(), np.zeros(3)
    released = threading.Event()
    weakref.finalize(array, released.set)
    call = threads._Call(np.sum, (array,))
    one_thread.submit(call)
    assert call.result() == 0.0
    del call, array
    assert released.wait(timeout=30.0)


@pytest.mark.parametrize(
    ("work", "n_threads", "expected"),
    [(0, 4, 1), (1 << 17, 4, 1), (1 << 18, 4, 2), (1 << 30, 4, 4)],
)
def test_little_work_has_few_threads(work, n_threads, expected):
    assert useful_threads(work, n_threads) == expected


def test_threads_that_submit_the_first_calls_share_one_pool():
    several, at_once = pool(2), threading.Barrier(8)
    calls = [threads._Call(threading.current_thread, ()) for _ in range(8)]

    def submit(call):
        at_once.wait()
        several.submit(call)

    submitting = [threading.Thread(target=submit, args=(call,)) for call in calls]
    for thread in submitting:
        thread.start()
    for thread in submitting:
        thread.join()
    made_by = {call.result() for call in calls}
    assert len(made_by) <= 2
    assert made_by.isdisjoint(submitting)


def test_nested_calls_with_one_blas_thread():
    found, call = [], (with_one_blas_thread, with_one_blas_thread, len, "abc")
    thread = threading.Thread(target=lambda: found.append(with_one_blas_thread(*call)), daemon=True)
    thread.start()
    thread.join(timeout=30.0)
    assert found == [3]


def test_ctrl_c_after_a_call_with_one_blas_thread_began_waits_for_it(monkeypatch):
    ended, go = [], threading.Event()

    def function():
        go.wait(0.2)
        ended.append(True)

    monkeypatch.setattr(threads._Pool, "submit", interrupted_submit)
    with pytest.raises(KeyboardInterrupt):
        with_one_blas_thread(function)
    assert ended == [True]


def test_ctrl_c_after_a_kernel_began_in_another_thread_waits_for_it(monkeypatch):
    begun, ended, go = [], [], threading.Event()

    def kernel(counter, n_tasks):
        begun.append(n_tasks)
        if n_tasks:  # not the call that compiles
            go.wait(0.2)
            ended.append(counter[0])

    monkeypatch.setattr(threads.numba.config, "DISABLE_JIT", False)
    monkeypatch.setattr(threads._Pool, "submit", interrupted_submit)
    with pytest.raises(KeyboardInterrupt):
        run(kernel, 5, 2)
    assert begun == [0, 5]
    assert ended == [5]  # and no task is left


def test_a_finalizer_can_compute_although_a_thread_that_ended_had_limited_blas():
    """A lock that such a thread held is never released."""
    output = run_python(
        """
        import threading, time, types
        from twofold._kernels.threads import with_one_blas_thread

        class Finalized:
            def __del__(self, sys=sys, compute=with_one_blas_thread, write=__import__("os").write):
                write(1, b"%d %d" % (sys.is_finalizing(), compute(len, "abc")))

        def hold():
            held.set()
            time.sleep(1000)

        sys.modules["kept_to_the_end"] = types.SimpleNamespace(content=Finalized())
        held = threading.Event()
        threading.Thread(target=with_one_blas_thread, args=(hold,), daemon=True).start()
        held.wait()
        """
    )
    assert output == "1 3"
