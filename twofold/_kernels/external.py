"""Calls of a user's formula from a kernel, by address, so that the kernel is not recompiled."""

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# With NUMBA_DISABLE_JIT=1, an "address" is an index into this list.
CALLABLES: list[Callable[[float, float], float]] = []

if numba.config.DISABLE_JIT:

    def call(address: int, a: float, b: float) -> float:
        """Call the function of index ``address`` with two floats."""
        return CALLABLES[address](a, b)

else:

    @intrinsic
    def call(typingctx: Any, address: Any, a: Any, b: Any) -> Any:
        """Call ``double function(double, double)`` at an address."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            double = ir.DoubleType()
            function = ir.FunctionType(double, [double, double]).as_pointer()
            return builder.call(builder.inttoptr(args[0], function), args[1:])

        return types.float64(types.int64, types.float64, types.float64), codegen
