"""Atomic counters that are shared by the threads of a kernel."""

from typing import Any

from llvmlite import ir

from twofold._kernels.vectors.matrix import Array, Matrix, machine_code


def _next_task(counter: Matrix) -> Any:
    one = ir.Constant(counter.element, 1)
    return counter.builder.atomic_rmw("add", counter.data, one, "monotonic")


@machine_code(_next_task)
def next_task(counter: Array) -> int:
    """Return counter[0] (int64) and add 1 to it atomically."""
    counter[0] += 1
    return int(counter[0]) - 1


def _atomic_add(counts: Matrix, i: Any, value: Any) -> Any:
    return counts.builder.atomic_rmw("add", counts.address(i), value, "seq_cst")


@machine_code(_atomic_add)
def atomic_add(counts: Array, i: int, value: int) -> int:
    """Add ``value`` to counts[i] (int64) atomically and return the previous value.

    Earlier writes of the calling thread are visible to every thread that reads the new value.
    """
    counts[i] += value
    return int(counts[i]) - value
