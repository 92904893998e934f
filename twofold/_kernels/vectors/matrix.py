"""Generation of LLVM code for arrays whose rows are read and written as vectors.

A primitive of this package is a plain Python function, whose docstring and numpy body define the
result. The function above it generates LLVM code for the same result, and `machine_code` connects
the two. With ``NUMBA_DISABLE_JIT=1`` the plain function runs.
"""

import copy
import functools
import inspect
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numpy.typing import NDArray

TILE = 8
"""Number of rows and columns of a tile; all matrices are padded to multiples of it."""

VECTOR_BYTES = 32
"""Size of an AVX2 register. For narrower registers, LLVM splits the vectors."""

_WIDE_BYTES = 64  # size of an AVX-512 register
_HALF_RATE = {"cannonlake", "icelake-client", "rocketlake", "tigerlake", "znver4"}
"""Processors, by their names in LLVM, that do not compute faster with 512 than with 256 bits."""

Array = NDArray[Any]
_INDEX, _LANE = ir.IntType(64), ir.IntType(32)


@functools.cache
def vector_bits() -> int:
    """Return the largest width of vectors on this processor; 0 if kernels are not compiled."""
    if numba.config.DISABLE_JIT:
        return 0
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    return _vector_bits(name, set(features.split(",")))


def _vector_bits(name: str, features: set[str]) -> int:
    if {"+avx512f", "+avx512vl"} <= features and name not in _HALF_RATE:
        return 8 * _WIDE_BYTES
    return 8 * VECTOR_BYTES if "+avx" in features else 128


def widest_vector() -> int:
    """Return the bytes of the vectors of `machine_code` that profits from wider ones."""
    return max(VECTOR_BYTES, vector_bits() // 8)


class Matrix:
    """Generator of LLVM code for a C-contiguous array with one or two axes.

    An index is a number, an LLVM integer, or a tuple of an LLVM integer and a number that is added.

    Parameters
    ----------
    context, builder : numba's target context and LLVM builder
    kind : numba.types.Array
    value : the LLVM value of the array
    n_bytes : bytes of a vector
    """

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any, n_bytes: int) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder, self.data = builder, array.data
        self.width = cgutils.unpack_tuple(builder, array.shape, kind.ndim)[-1]
        self.element = context.get_data_type(kind.dtype)
        self.itemsize = kind.dtype.bitwidth // 8
        self.n_bytes, self.max_lanes = n_bytes, n_bytes // self.itemsize
        # The row length is a multiple of TILE only, so wider vectors must be requested explicitly.
        self._set_lanes(min(self.max_lanes, TILE))

    def _set_lanes(self, lanes: int) -> None:
        self.lanes, self.vector = lanes, ir.VectorType(self.element, lanes)

    def with_lanes(self, lanes: int) -> "Matrix":
        """Return the same array with vectors of another length, at most `max_lanes`."""
        other = copy.copy(self)
        other._set_lanes(min(lanes, self.max_lanes))
        return other

    def in_double(self) -> "Matrix":
        """Return a generator of vectors in float64, for sums of the elements of this array."""
        other = copy.copy(self)
        other.element, other.itemsize, other.max_lanes = ir.DoubleType(), 8, self.n_bytes // 8
        other._set_lanes(other.max_lanes)
        return other

    # -- memory -----------------------------------------------------------------------------------

    def index(self, at: Any) -> Any:
        """Return an index as an LLVM integer."""
        if isinstance(at, tuple):
            return self.builder.add(at[0], ir.Constant(at[0].type, at[1]))
        return ir.Constant(_INDEX, at) if isinstance(at, int) else at

    def address(self, *at: Any) -> Any:
        """Return the address of an element."""
        offset, *cols = (self.index(one) for one in at)
        for col in cols:
            offset = self.builder.add(self.builder.mul(offset, self.width), col)
        return self.builder.gep(self.data, [offset])

    def item(self, *at: Any) -> Any:
        """Load an element."""
        return self.builder.load(self.address(*at))

    def load(self, *at: Any) -> Any:
        """Load the vector that begins at an index."""
        address = self.builder.bitcast(self.address(*at), self.vector.as_pointer())
        return self.builder.load(address, align=self.itemsize)

    def load_as(self, other: "Matrix", *at: Any) -> Any:
        """Load a vector with the length and the dtype of the vectors of another array."""
        kind = ir.VectorType(self.element, other.lanes).as_pointer()
        value = self.builder.load(
            self.builder.bitcast(self.address(*at), kind), align=self.itemsize
        )
        return other.cast(value)

    def store(self, value: Any, *at: Any) -> None:
        """Store a vector or an element at an index."""
        address = self.builder.bitcast(self.address(*at), value.type.as_pointer())
        self.builder.store(value, address, align=self.itemsize)

    def prefetch(self, *at: Any) -> None:
        """Prefetch the cache line of an element."""
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _LANE, _LANE, _LANE])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        hints = [ir.Constant(_LANE, value) for value in (0, 2, 1)]  # for reading, to L2, data
        self.builder.call(function, [self.builder.bitcast(self.address(*at), byte), *hints])

    @contextmanager
    def loop(self, start: Any, stop: Any, step: int | None = None) -> Any:
        """Generate a loop over ``range(start, stop, step)``; the default step is one vector."""
        start, step_value = self.index(start), ir.Constant(_INDEX, step or self.lanes)
        with cgutils.for_range_slice(self.builder, start, stop, step_value) as (index, _):
            yield index

    # -- vectors ----------------------------------------------------------------------------------

    def constant(self, number: float) -> Any:
        """Return a vector with a constant in every lane."""
        return ir.Constant(self.vector, [number] * self.lanes)

    def broadcast(self, number: Any) -> Any:
        """Return a vector with the number in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.with_lane(undefined, 0, number)
        return self.shuffle(first, undefined, [0] * self.lanes)

    def lane(self, value: Any, lane: int) -> Any:
        """Return one lane of a vector."""
        return self.builder.extract_element(value, ir.Constant(_LANE, lane))

    def with_lane(self, value: Any, lane: int, number: Any) -> Any:
        """Return a vector with one lane replaced by a number."""
        return self.builder.insert_element(value, number, ir.Constant(_LANE, lane))

    def broadcast_lane(self, value: Any, lane: int) -> Any:
        """Return a vector with one lane of another in every lane."""
        return self.shuffle(value, value, [lane] * self.lanes)

    def shuffle(self, one: Any, other: Any, lanes: list[int]) -> Any:
        """Return the listed lanes of the concatenation of two vectors."""
        mask = ir.Constant(ir.VectorType(_LANE, len(lanes)), lanes)
        return self.builder.shuffle_vector(one, other, mask)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c of vectors or elements, rounded once if the processor can do so."""
        lanes = f"v{self.lanes}" if a.type == self.vector else ""
        name = f"llvm.fmuladd.{lanes}f{8 * self.itemsize}"
        kind = ir.FunctionType(a.type, [a.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [a, b, c])

    def cast(self, value: Any) -> Any:
        """Return a vector of floating-point numbers in the dtype of this array."""
        target = ir.VectorType(self.element, value.type.count)
        if value.type == target:
            return value
        return (self.builder.fptrunc if self.itemsize == 4 else self.builder.fpext)(value, target)

    def square_root(self, value: Any) -> Any:
        """Return the square root of an element or of every lane."""
        lanes = f"v{self.lanes}" if value.type == self.vector else ""
        kind = ir.FunctionType(value.type, [value.type])
        name = f"llvm.sqrt.{lanes}f{8 * self.itemsize}"
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, name), [value]
        )

    def new_sums(self, count: int) -> list[Any]:
        """Return variables for ``count`` vectors, initialised with zeros."""
        return [cgutils.alloca_once_value(self.builder, self.constant(0.0)) for _ in range(count)]

    def add_product(self, total: Any, a: Any, b: Any) -> None:
        """Add a b to a variable of `new_sums`."""
        self.builder.store(self.multiply_add(a, b, self.builder.load(total)), total)

    def transpose(self, rows: list[Any]) -> list[Any]:
        """Return the transpose of a square of `lanes` vectors."""
        rows, step = list(rows), 1
        while step < self.lanes:  # Swap the off-diagonal blocks of size 1, 2, 4.
            low, high = self._swapped_lanes(step)
            for r in range(self.lanes):
                if not r & step:
                    one, other = rows[r], rows[r + step]
                    rows[r] = self.shuffle(one, other, low)
                    rows[r + step] = self.shuffle(one, other, high)
            step *= 2
        return rows

    def lane_sums(self, sums: list[Any]) -> Any:
        """Return the sum over the lanes of each of `lanes` variables, as one vector."""
        vectors, step = [self.builder.load(one) for one in sums], 1
        while step < self.lanes:  # Swap off-diagonal blocks as in `transpose`, and add.
            low, high = self._swapped_lanes(step)
            vectors = [
                self.builder.fadd(self.shuffle(one, other, low), self.shuffle(one, other, high))
                for one, other in zip(vectors[::2], vectors[1::2], strict=True)
            ]
            step *= 2
        return vectors[0]

    def _swapped_lanes(self, step: int) -> tuple[list[int], list[int]]:
        """Return the lanes of two rows after swapping their off-diagonal blocks of size step."""
        low = [lane if not lane & step else lane - step + self.lanes for lane in range(self.lanes)]
        return low, [lane + step for lane in low]


def machine_code(
    generate: Callable[..., Any], n_bytes: Callable[[], int] = lambda: VECTOR_BYTES
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that replaces a plain function by an intrinsic with the same parameters.

    The annotations of the plain function determine the types of the intrinsic: `int` is an index,
    `np.float64` is itself, and `float` has the dtype of the first parameter, which is an array.
    Other types are those of the arguments.

    Parameters
    ----------
    generate
        Called with the arguments, each array as a `Matrix`, to write the LLVM code. Returns the
        LLVM value of the result, or None.
    n_bytes
        Returns the bytes of a vector, when the code is generated; `VECTOR_BYTES` by default.
    """

    def decorate(plain: Callable[..., Any]) -> Callable[..., Any]:
        if numba.config.DISABLE_JIT:
            return plain
        signature_of_plain = inspect.signature(plain)

        @functools.wraps(plain)
        def typing(context, *arguments):
            argument_types = signature_of_plain.bind(*arguments).args
            if any(isinstance(kind, types.Array) and kind.layout != "C" for kind in argument_types):
                raise TypingError(f"the arrays of {plain.__name__} must be C-contiguous")
            type_of = {int: types.intp, float: argument_types[0].dtype, None: types.void}
            type_of[np.float64] = types.float64
            annotated = zip(signature_of_plain.parameters.values(), argument_types, strict=True)
            signature = type_of[signature_of_plain.return_annotation](
                *(type_of.get(parameter.annotation, kind) for parameter, kind in annotated)
            )
            return signature, emit

        def emit(context, builder, signature, values):
            operands = [
                Matrix(context, builder, kind, value, n_bytes())
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(signature.args, values, strict=True)
            ]
            result = generate(*operands)
            return context.get_dummy_value() if result is None else result

        # numba reads the parameters of the intrinsic from this signature and skips the first.
        first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_ONLY)
        parameters = [first, *signature_of_plain.parameters.values()]
        typing.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return intrinsic(typing)

    return decorate
