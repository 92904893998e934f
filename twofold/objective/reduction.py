"""Sums of numbered tasks in one fixed order, of which every part of the tasks adds its own first.

The tasks are the leaves of a binary tree whose nodes are the sums of two neighbours: (0, 1),
(2, 3), ..., then pairs of these, and so on. Consecutive tasks add up to a few nodes of this tree,
whatever the other ones are, so a sum has the same bits however the tasks are divided.
"""

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Node", "nodes_of", "total_of"]


class Node(NamedTuple):
    """The sum of the tasks ``number * 2**level`` to ``(number + 1) * 2**level - 1``."""

    level: int
    number: int
    value: Any


def nodes_of(values: NDArray[Any], first: int = 0) -> list[Node]:
    """Return the nodes of consecutive tasks.

    Parameters
    ----------
    values : ndarray, shape (n_tasks, ...)
        The sum of each task.
    first : int, default 0
        Number of the first task.
    """
    left, right, level = list[Node](), list[Node](), 0
    while len(values):
        if first % 2:
            left.append(Node(level, first, np.array(values[0])))
            values, first = values[1:], first + 1
        if len(values) % 2:
            right.append(Node(level, first + len(values) - 1, np.array(values[-1])))
        values = values[:-1:2] + values[1::2]
        first, level = first // 2, level + 1
    return left + right[::-1]


def total_of(nodes: Iterable[Node]) -> Any:
    """Return the sum of all tasks, whose nodes are given in order."""
    return reduce(add, (node.value for node in _merged(nodes)))


def _merged(nodes: Iterable[Node]) -> list[Node]:
    """Return nodes of which no two neighbours are the parts of one."""
    done: list[Node] = []
    for node in nodes:
        while node.number % 2 and done and done[-1][:2] == (node.level, node.number - 1):
            node = Node(node.level + 1, node.number // 2, done.pop().value + node.value)
        done.append(node)
    return done
