"""Checks of single values, one sentence each; shared by every class with parameters."""

import math
import os
from typing import Any

import numpy as np

from twofold.exceptions import InvalidInputError

__all__ = [
    "check_choice", "check_flags", "check_names", "check_path", "check_real", "check_whole",
    "seed_of",
]  # fmt: skip


def seed_of(rng: int | np.random.Generator | None) -> int:
    """Return a seed: the int itself, or one drawn from the generator or from fresh entropy.

    Raises
    ------
    InvalidInputError
        If rng is something else, as a negative number or a legacy RandomState.
    """
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool) and rng >= 0:
        return int(rng)
    if rng is None or isinstance(rng, np.random.Generator):
        return int(np.random.default_rng(rng).integers(1 << 62))
    raise InvalidInputError(
        f"rng is {rng!r}: give a whole number >= 0, a numpy.random.Generator or None"
    )


def check_whole(value: Any, name: str, minimum: int) -> None:
    """Raise unless value is a whole number >= minimum."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise InvalidInputError(f"{name} is {value!r}: it must be a whole number >= {minimum}")


def check_real(
    value: Any,
    name: str,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
    maximum: float = math.inf,
    below: float = math.inf,
) -> None:
    """Raise unless value is a finite number, minimum <= value <= maximum, above < value < below."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if (
        isinstance(value, bool)
        or not number
        or not math.isfinite(value)
        or not minimum <= value <= maximum
        or not above < value < below
    ):
        limits = [
            f"{sign} {limit:g}"
            for sign, limit in ((">=", minimum), (">", above), ("<=", maximum), ("<", below))
            if math.isfinite(limit)
        ]
        raise InvalidInputError(
            f"{name} is {value!r}: it must be a finite number " + " and ".join(limits)
        )


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> None:
    """Raise unless value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(f'"{choice}"' for choice in choices)
        raise InvalidInputError(f"{name} is {value!r}: it must be one of {listed}")


def check_flags(**flags: Any) -> None:
    """Raise unless each value is True or False."""
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise InvalidInputError(f"{name} is a {type(value).__name__}: it must be True or False")


def check_names(required: dict[str, Any], optional: dict[str, Any]) -> None:
    """Raise unless each name of a table or column is a text that is not empty, or may be None."""
    for what, name in (required | optional).items():
        if not (isinstance(name, str) and name) and not (what in optional and name is None):
            raise InvalidInputError(f"{what} is {name!r}: it must be a name, a text")


def check_path(path: Any) -> None:
    """Raise unless this can name a file."""
    if not isinstance(path, str | os.PathLike):
        raise InvalidInputError(f"the path is a {type(path).__name__}: give a text or a Path")
    if "\0" in str(path):
        raise InvalidInputError(f"the path is {str(path)!r}: no file has a null character in it")
