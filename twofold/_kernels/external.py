"""C functions and memory by their addresses, so that no kernel is compiled again for another one.

The functions are a user's formulas, and those of the SQLite that Python brings.
"""

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = [
    "CALLABLES",
    "call",
    "call_double_of_pointer",
    "call_int_of_pointer",
    "call_int_of_pointer_int",
    "call_long_of_pointer",
    "call_pointer_of_pointer_int",
    "load_byte",
    "load_word",
]

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

    def load_byte(address: int) -> int:
        """Return the byte at an address."""
        return ctypes.string_at(int(address), 1)[0]

    def load_word(address: int) -> np.uint64:
        """Return the eight bytes at an address as a number in which the first one counts most."""
        return np.uint64(int.from_bytes(ctypes.string_at(int(address), 8), "big"))

else:
    call = _c_function(types.float64, types.float64, types.float64)

    @intrinsic
    def load_byte(typingctx: Any, address: Any) -> Any:
        """Return the byte at an address."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], ir.IntType(8).as_pointer()))

        return types.uint8(types.int64), codegen

    @intrinsic
    def load_word(typingctx: Any, address: Any) -> Any:
        """Return the eight bytes at an address as a number in which the first one counts most."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word = builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()), align=1)
            return builder.bswap(word) if sys.byteorder == "little" else word

        return types.uint64(types.int64), codegen
