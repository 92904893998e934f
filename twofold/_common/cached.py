"""Properties that are computed once for each object."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["cached_property", "state_of"]

T = TypeVar("T")


class cached_property(Generic[T]):  # noqa: N801 - as in functools
    """`functools.cached_property` without a lock, as it is from Python 3.12 on.

    The lock of earlier versions is one for all objects of a class: threads wait for each other, and
    a process forked meanwhile waits forever. Here two threads may both compute a value; all get the
    one that was stored first.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function, self.__doc__ = function, function.__doc__

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> T: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        values = instance.__dict__
        if self.name not in values:
            values.setdefault(self.name, self.function(instance))
        return values[self.name]


def state_of(instance: Any) -> dict[str, Any]:
    """Return the state of a dataclass for pickles, without what `cached_property` has stored."""
    return {field.name: getattr(instance, field.name) for field in fields(instance)}
