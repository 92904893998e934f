"""Bounds of the scores of a strip of columns, by products of 8-bit and 16-bit integers."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from twofold._kernels.vectors.matrix import TILE, Array, Matrix, machine_code
from twofold._kernels.vectors.scores import STRIP

_AHEAD = 3072  # prefetch distance in bytes
_LINE = 64  # bytes of a cache line
_INT16, _INT32 = ir.IntType(16), ir.IntType(32)


def _set_bounds(
    out: Matrix, codes: Matrix, g: Any, y: Matrix, steps: Matrix, radii: Matrix, unit: Any,
    margin: Any,
) -> None:  # fmt: skip
    builder, codes, pair = out.builder, codes.with_lanes(2 * TILE), ir.VectorType(_INT32, TILE)
    short, wide = (ir.VectorType(kind, 2 * TILE) for kind in (_INT16, _INT32))
    totals = [
        cgutils.alloca_once_value(builder, ir.Constant(pair, [0] * TILE))
        for _ in range(STRIP // TILE)
    ]
    with y.loop(0, y.width, 2) as f:
        both = builder.load(builder.bitcast(y.address(f), _INT32.as_pointer()), align=2)
        undefined = ir.Constant(pair, ir.Undefined)
        both = builder.insert_element(undefined, both, ir.Constant(_INT32, 0))
        both = out.shuffle(both, undefined, [0] * TILE)
        row = builder.sext(builder.bitcast(both, short), wide)
        start = builder.mul(f, y.index(STRIP))
        for v, total in enumerate(totals):
            own = builder.sext(codes.load(g, (start, 2 * TILE * v)), wide)
            # LLVM recognises a product of 16-bit numbers of which neighbours are added.
            products = builder.mul(own, row)
            even, odd = (
                out.shuffle(products, products, list(range(first, 2 * TILE, 2))) for first in (0, 1)
            )
            builder.store(builder.add(builder.load(total), builder.add(even, odd)), total)
        codes.prefetch(g, (start, _AHEAD))
    unit, margin = out.broadcast(unit), out.broadcast(margin)
    for v, total in enumerate(totals):
        for left in range(TILE * v, TILE * (v + 1), out.lanes):
            lanes = [left - TILE * v + lane for lane in range(out.lanes)]
            whole = out.shuffle(builder.load(total), builder.load(total), lanes)
            score = builder.fmul(builder.sitofp(whole, out.vector), unit)
            score = builder.fmul(score, steps.load(g, left))
            radius = builder.fadd(radii.load(g, left), margin)
            out.store(builder.fadd(score, radius), 0, left)
            out.store(builder.fsub(score, radius), 1, left)


@machine_code(_set_bounds)
def set_bounds(
    out: Array, codes: Array, g: int, y: Array, steps: Array, radii: Array, unit: float,
    margin: float,
) -> None:  # fmt: skip
    """Set out[0] and out[1] to the upper and lower bounds of the scores of strip g, in float32.

    They are unit * steps[g] * (z . y) +- (radii[g] + margin) with the sums of int8 ``codes`` and
    int16 ``y`` in int32. ``codes[g]`` contains first two elements of each z, then the next two of
    each.
    """
    pairs = codes[g].reshape(-1, STRIP, 2).astype(np.int32)
    whole = np.einsum("hcj,hj->c", pairs, y.reshape(-1, 2).astype(np.int32))
    with np.errstate(all="ignore"):
        score = whole.astype(np.float32) * unit * steps[g]
        out[0], out[1] = score + (radii[g] + margin), score - (radii[g] + margin)
