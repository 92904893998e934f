"""Bytes at an address, and products of 128 bits: what numba lacks for hashing texts."""

import ctypes
import sys
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

if numba.config.DISABLE_JIT:

    def load_byte(address: int) -> int:
        """Return the byte at an address."""
        return ctypes.string_at(int(address), 1)[0]

    def load_word(address: int) -> np.uint64:
        """Return the eight bytes at an address as a number in which the first one counts most."""
        return np.uint64(int.from_bytes(ctypes.string_at(int(address), 8), "big"))

    def fold_product(a: np.uint64, b: np.uint64) -> np.uint64:
        """Return the lower half of a * b, exclusive-or its upper half."""
        product = int(a) * int(b)
        return np.uint64(product % 2**64 ^ product >> 64)

else:

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

    @intrinsic
    def fold_product(typingctx: Any, a: Any, b: Any) -> Any:
        """Return the lower half of a * b, exclusive-or its upper half."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            word, wide = ir.IntType(64), ir.IntType(128)
            product = builder.mul(*(builder.zext(factor, wide) for factor in args))
            upper = builder.lshr(product, ir.Constant(wide, 64))
            return builder.xor(builder.trunc(product, word), builder.trunc(upper, word))

        return types.uint64(types.uint64, types.uint64), codegen
