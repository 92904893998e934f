"""Properties that are computed once."""

import threading

from twofold._common.cached import cached_property


class Slow:
    """Each object computes its value while the other one does, which one lock would prevent."""

    barrier = threading.Barrier(2)

    @cached_property
    def value(self):
        self.barrier.wait(timeout=20)
        return object()


def test_objects_do_not_wait_for_each_other_and_keep_their_values():
    slow = [Slow(), Slow()]
    threads = [threading.Thread(target=lambda one=one: one.value) for one in slow]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = [one.value for one in slow]
    assert values == [one.value for one in slow]
    assert values[0] is not values[1]


def test_threads_that_compute_one_value_get_the_same_object():
    slow, values = Slow(), []
    threads = [threading.Thread(target=lambda: values.append(slow.value)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values[0] is values[1] is slow.value


def test_the_class_gives_the_property():
    assert isinstance(Slow.value, cached_property)
