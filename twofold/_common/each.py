"""Tasks that do not depend on each other, one after another or by workers."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["Each", "serially"]

Each = Callable[[Callable[..., Any], Any, Iterable[tuple[Any, ...]]], Iterator[Any]]
"""``each(function, shared, tasks)`` yields ``function(shared, *task)`` in the order of the tasks.

The function is one of a module, and ``shared`` is the same object for all tasks.
"""


def serially(
    function: Callable[..., Any], shared: Any, tasks: Iterable[tuple[Any, ...]]
) -> Iterator[Any]:
    """Compute the tasks in this thread; see `Each`."""
    for task in tasks:
        yield function(shared, *task)
