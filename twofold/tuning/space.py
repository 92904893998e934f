"""The values that a search can try for a field: lists, ranges and distributions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

import numpy as np

from twofold.exceptions import InvalidInputError

__all__ = ["Dimension", "Values", "dimensions", "list_of_values", "plain_value"]

_INSIDE = 2.0**-53  # keeps quantiles of unbounded distributions finite


class Dimension(Protocol):
    """The values of one field, as a function of the unit interval."""

    def at(self, quantile: float) -> Any:
        """Return the value at a quantile from 0 to 1; a uniform quantile gives a random value."""

    def describe(self) -> Any:
        """Return plain JSON that differs between different dimensions."""


@dataclass(frozen=True)
class Values:
    """Some values, each with the same probability."""

    values: tuple[Any, ...]

    def at(self, quantile: float) -> Any:
        """Return the value at a quantile."""
        return self.values[min(int(quantile * len(self.values)), len(self.values) - 1)]

    def describe(self) -> Any:
        """Return the values."""
        return [plain_value(value) for value in self.values]


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, whole ones if both are whole; uniform, or uniform in log(x)."""

    low: float
    high: float
    log: bool = False

    def at(self, quantile: float) -> Any:
        """Return the value at a quantile."""
        is_whole = isinstance(self.low, int) and isinstance(self.high, int)
        low, end = self.low, self.high + is_whole
        number = low * (end / low) ** quantile if self.log else low + (end - low) * quantile
        return int(min(number, self.high)) if is_whole else float(min(number, self.high))

    def describe(self) -> Any:
        """Return the limits."""
        return {"low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Distribution:
    """A frozen distribution of scipy.stats."""

    distribution: Any

    def at(self, quantile: float) -> Any:
        """Return the value at a quantile; a whole number if the distribution is discrete."""
        value = self.distribution.ppf(min(max(quantile, _INSIDE), 1.0 - _INSIDE))
        return int(value) if hasattr(self.distribution, "pmf") else float(value)

    def describe(self) -> Any:
        """Return the name and the parameters."""
        frozen = self.distribution
        return {"name": frozen.dist.name, "args": repr(frozen.args), "kwds": repr(frozen.kwds)}


def dimensions(space: Mapping[str, Any]) -> dict[str, Dimension]:
    """Return the dimension of each name of a space.

    Raises
    ------
    InvalidInputError
        If a name has neither a list, nor a range, nor a distribution.
    """
    return {name: _dimension(name, given) for name, given in space.items()}


def _dimension(name: str, given: Any) -> Dimension:
    if isinstance(given, tuple):
        low, high, *rest = (*given, None, None)[: max(len(given), 2)]
        numbers = all(_is_number(limit) for limit in (low, high))
        if not numbers or rest not in ([], ["log"]) or not low < high:
            raise InvalidInputError(
                f'the range of {name!r} is {given!r}: give (low, high) or (low, high, "log") with '
                "low < high, or a list of values"
            )
        if rest and low <= 0:
            raise InvalidInputError(f"the range of {name!r} begins at {low}: with a log, low > 0")
        return Range(low, high, bool(rest))
    if hasattr(given, "ppf") and hasattr(given, "dist"):
        return Distribution(given)
    return Values(list_of_values(name, given))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def list_of_values(name: str, given: Any) -> tuple[Any, ...]:
    """Return the values of a list, or raise InvalidInputError."""
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise InvalidInputError(f"the values of {name!r} are {given!r}: give a list of values")
    if not len(given):
        raise InvalidInputError(f"the list of {name!r} is empty: give at least one value")
    return tuple(value.item() if isinstance(value, np.generic) else value for value in given)


def plain_value(value: Any) -> Any:
    """Return a value as plain JSON: numbers, texts, None; dataclasses by their fields."""
    if isinstance(value, np.generic):
        value = value.item()
    if is_dataclass(value) and not isinstance(value, type):
        described = {"class": type(value).__name__}
        own = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return described | {name: plain_value(item) for name, item in own.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value if isinstance(value, int | float | str | None) else repr(value)
