"""Sums of numbered tasks in one fixed order, of which every part of the tasks adds its own first.

The tasks are the leaves of a binary tree whose nodes are the sums of two neighbours: (0, 1),
(2, 3), ..., then pairs of these, and so on. Consecutive tasks add up to a few nodes of this tree,
whatever the other ones are, so a sum has the same bits however the tasks are divided.
"""

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any, NamedTuple

__all__ = ["Node", "nodes_of", "total_of"]


class Node(NamedTuple):
    """The sum of the tasks ``number * 2**level`` to ``(number + 1) * 2**level - 1``."""

    level: int
    number: int
    value: Any


def nodes_of(values: Iterable[Any], first: int = 0) -> list[Node]:
    """Return the nodes of consecutive tasks, of which ``first`` is the number of the first one."""
    return _merged(Node(0, number, value) for number, value in enumerate(values, first))


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
