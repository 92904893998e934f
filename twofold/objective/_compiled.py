"""Machine-code addresses of a user's own formulas, for the kernels' `EXTERNAL` code.

The method is compiled with `self` replaced by a named tuple of the dataclass's numbers, because
numba supports named tuples and not arbitrary objects.
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


def _to_float(x):  # numba compares the names of the parameters, annotations included
    return float(x)


@overload(_to_float)
def _to_float_compiled(x):
    # np.where and friends turn scalars into 0-d arrays inside numba.
    if isinstance(x, types.Array):
        return lambda x: np.float64(x.item())
    return lambda x: np.float64(x)


def address_of(owner: Any, method: str) -> int:
    """Return the address of ``double method(double, double)`` of a loss or regulariser.

    Raises
    ------
    InvalidInputError
        If numba cannot compile the method, with its reason.
    """
    numbers = tuple((field.name, getattr(owner, field.name)) for field in fields(owner))
    key = (type(owner), method, numbers)
    with global_compiler_lock:
        if key not in _ADDRESSES:
            _ADDRESSES[key] = _compile(owner, method, dict(numbers))
        return _ADDRESSES[key]


def kernel_code(owner: Any) -> int:
    """Return the code of a built-in formula, not inherited: a subclass may have changed it."""
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
    # A closure constant: numba freezes the numbers into the machine code.
    me = namedtuple(type(owner).__name__, numbers)(**numbers)
    if takes_one:

        def formula(a: float, b: float) -> float:
            try:
                return _to_float(compiled(me, a))
            except Exception:
                return np.nan  # What a kernel calls cannot raise.
    else:

        def formula(a: float, b: float) -> float:
            try:
                return _to_float(compiled(me, a, b))
            except Exception:
                return np.nan  # What a kernel calls cannot raise.

    try:
        c_function = numba.cfunc(types.float64(types.float64, types.float64))(formula)
    except numba.core.errors.NumbaError as error:
        raise InvalidInputError(
            f"{type(owner).__name__}.{method} cannot be compiled by numba: use only the numbers in "
            f"self, math and numpy ({str(error).strip().splitlines()[0]})"
        ) from error
    _KEEP_ALIVE.append(c_function)
    return int(c_function.address or 0)
