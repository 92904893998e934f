"""Calling C functions from a kernel: by address, so that the kernel is not compiled again.

The functions are a user's formulas, and those of the SQLite that Python brings.
"""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# NUMBA_DISABLE_JIT=1: there is no machine code, an "address" is a place in this list.
CALLABLES: list[Callable[[float, float], float]] = []


def _c_function(result: Any, first: Any, second: Any = None) -> Any:
    """Make a function of kernels that calls a C function of one or two arguments by its address.

    Pointers are int64.
    """
    arguments = [first] if second is None else [first, second]
    signature = result(types.int64, *arguments)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = [context.get_value_type(kind) for kind in (result, *arguments)]
        function = ir.FunctionType(kinds[0], kinds[1:]).as_pointer()
        return builder.call(builder.inttoptr(args[0], function), args[1:])

    def of_one(typingctx: Any, address: Any, a: Any) -> Any:
        return signature, codegen

    def of_two(typingctx: Any, address: Any, a: Any, b: Any) -> Any:
        return signature, codegen

    return intrinsic(of_one if second is None else of_two)


call_int_of_pointer = _c_function(types.int32, types.int64)
call_int_of_pointer_int = _c_function(types.int32, types.int64, types.int32)
call_long_of_pointer = _c_function(types.int64, types.int64)
call_double_of_pointer = _c_function(types.float64, types.int64)
call_pointer_of_pointer_int = _c_function(types.int64, types.int64, types.int32)

if numba.config.DISABLE_JIT:

    def call(address: int, a: float, b: float) -> float:
        """Call function number ``address`` with two floats."""
        return CALLABLES[address](a, b)

else:
    call = _c_function(types.float64, types.float64, types.float64)
