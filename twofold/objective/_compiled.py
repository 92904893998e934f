"""Addresses of the machine code of a user's own formulas, for the `EXTERNAL` code of the kernels.

A method is compiled with `self` replaced by a named tuple of the fields of the dataclass, because
numba supports named tuples but not arbitrary objects.
"""

from collections import namedtuple
from dataclasses import fields
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import overload

from twofold._kernels.external import CALLABLES
from twofold._kernels.formulas import EXTERNAL
from twofold.exceptions import InvalidInputError

__all__ = ["address_of", "kernel_code"]

_ADDRESSES: dict[tuple[type, str, tuple[Any, ...]], int] = {}
_KEEP_ALIVE: list[Any] = []
_NUMBERS = (int, float, np.number, np.bool_)


def _to_float(x):  # Without annotations, because numba compares the signatures.
    return float(x)


@overload(_to_float)
def _to_float_compiled(x):
    # In numba, functions such as np.where convert scalars to 0-d arrays.
    if isinstance(x, types.Array):
        return lambda x: np.float64(x.item())
    return lambda x: np.float64(x)


def address_of(owner: Any, method: str) -> int:
    """Return the address of ``double method(double, double)`` of a loss or regulariser.

    Raises
    ------
    InvalidInputError
        If numba cannot compile the method.
    """
    # Other fields, such as centers, are not part of the formulas.
    values = ((field.name, getattr(owner, field.name)) for field in fields(owner))
    numbers = tuple((name, value) for name, value in values if isinstance(value, _NUMBERS))
    key = (type(owner), method, numbers)
    with global_compiler_lock:
        if key not in _ADDRESSES:
            _ADDRESSES[key] = _compile(owner, method, dict(numbers))
        return _ADDRESSES[key]


def kernel_code(owner: Any) -> int:
    """Return the code of a class, not inherited, because a subclass may have another formula."""
    code: int = vars(type(owner)).get("kernel_code", EXTERNAL)
    return code


def _compile(owner: Any, method: str, numbers: dict[str, Any]) -> int:
    function = getattr(type(owner), method)
    takes_one = function.__code__.co_argcount == 2
    if numba.config.DISABLE_JIT:
        bound = getattr(owner, method)
        CALLABLES.append((lambda a, b: float(bound(a))) if takes_one else bound)
        return len(CALLABLES) - 1
    compiled = numba.njit(error_model="numpy")(function)
    # A closure variable, so that numba compiles the numbers as constants.
    parameters = namedtuple(type(owner).__name__, numbers)(**numbers)
    if takes_one:

        def formula(a: float, b: float) -> float:
            try:
                return _to_float(compiled(parameters, a))
            except Exception:
                return np.nan  # Functions called by kernels cannot raise.
    else:

        def formula(a: float, b: float) -> float:
            try:
                return _to_float(compiled(parameters, a, b))
            except Exception:
                return np.nan  # Functions called by kernels cannot raise.

    try:
        c_function = numba.cfunc(types.float64(types.float64, types.float64))(formula)
    except numba.core.errors.NumbaError as error:
        raise InvalidInputError(
            f"{type(owner).__name__}.{method} cannot be compiled by numba: use only the numbers in "
            f"self, math and numpy ({str(error).strip().splitlines()[0]})"
        ) from error
    _KEEP_ALIVE.append(c_function)
    return int(c_function.address or 0)
