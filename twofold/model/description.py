"""Objectives and solvers as plain JSON, for model files."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.exceptions import FileFormatError, InvalidInputError
from twofold.objective import L1, L2, HuberLoss, LogisticLoss, Objective, SquaredLoss
from twofold.objective.centers import Centers
from twofold.solvers import ALS, GD, SGD, Solver

__all__ = ["CENTERS", "describe", "restore_objective", "restore_solver"]

CENTERS = ("row_center", "col_center")
"""Fields of `L2` that a file stores as arrays."""

_KNOWN: tuple[type, ...] = (SquaredLoss, HuberLoss, LogisticLoss, L1, L2, ALS, SGD, GD)


def describe(instance: Any) -> dict[str, Any]:
    """Return {"class": name, field: value, ...} of a dataclass of plain values.

    Raises
    ------
    InvalidInputError
        If a field is not a number, a string, a bool or None.
    """
    described: dict[str, Any] = {"class": type(instance).__name__}
    for field in fields(instance):
        value = getattr(instance, field.name)
        if field.name in ("loss", "regularizer") and isinstance(instance, Objective):
            value = describe(value)
        elif isinstance(value, np.random.Generator):
            value = None  # a generator has moved on; the solution keeps the seed
        elif isinstance(value, np.generic):
            value = value.item()
        elif isinstance(value, Centers):
            value = repr(value)
        elif not isinstance(value, int | float | str | bool | None):
            raise InvalidInputError(
                f"{type(instance).__name__}.{field.name} is {value!r}: a model file can only keep "
                "numbers, strings, bools and None"
            )
        described[field.name] = value
    return described


def restore_objective(
    described: dict[str, Any], classes: Iterable[type], arrays: Mapping[str, NDArray[Any]]
) -> Objective:
    """Make the objective again; the arrays are those of its centers."""
    values = {key: value for key, value in described.items() if key != "class"}
    centers = {name: arrays[name] for name in CENTERS if name in arrays}
    values["regularizer"] = values["regularizer"] | centers
    for part in ("loss", "regularizer"):
        values[part] = _restore(values[part], classes)
    return Objective(**values)


def restore_solver(described: dict[str, Any], classes: Iterable[type]) -> Solver:
    """Make the solver again."""
    solver = _restore(described, classes)
    if not isinstance(solver, Solver):
        raise FileFormatError(f"the model's solver is {described['class']!r}, which is not one")
    return solver


def _restore(described: dict[str, Any], classes: Iterable[type]) -> Any:
    for kind in classes:
        if not isinstance(kind, type):
            raise InvalidInputError(f"classes has a {type(kind).__name__}: give a list of classes")
    known = {kind.__name__: kind for kind in (*_KNOWN, *classes)}
    name = described["class"]
    if name not in known:
        raise FileFormatError(
            f"the model was made with {name!r}, which is not part of twofold: give the class, "
            f"FactorModel.load(path, classes=[{name}])"
        )
    return known[name](**{key: value for key, value in described.items() if key != "class"})
