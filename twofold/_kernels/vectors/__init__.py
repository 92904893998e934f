"""Vector instructions for what numba's own loops do not reach: tiles, listed rows, prefetching.

numba vectorises a loop over the contiguous axis, but does not keep a tile of sums in registers
while it runs along the other axis. These primitives are therefore written as LLVM vectors, each
beside its definition in numpy (see `matrix`).

Matrices are C-contiguous, of float32 or float64. The functions check nothing.
"""

from twofold._kernels.vectors.matrix import TILE
from twofold._kernels.vectors.pairs import (
    DOT,
    KEEP,
    MOVE,
    N_STATS,
    RATE,
    RIDGE,
    SLOPE,
    SQUARE,
    SUM,
    pair_dots,
    pair_move,
    pair_steps,
)
from twofold._kernels.vectors.rows import (
    add_rows,
    dot_rows,
    gather_transposed,
    prefetch_at,
    prefetch_row,
)
from twofold._kernels.vectors.tasks import atomic_add, next_task
from twofold._kernels.vectors.tiles import (
    add_tiles,
    factor_tile,
    set_tiles,
    set_tiles_from_rows,
    solve_back,
    solve_tile,
    subtract_tiles,
)

__all__ = [
    "DOT",
    "KEEP",
    "MOVE",
    "N_STATS",
    "RATE",
    "RIDGE",
    "SLOPE",
    "SQUARE",
    "SUM",
    "TILE",
    "add_rows",
    "add_tiles",
    "atomic_add",
    "dot_rows",
    "factor_tile",
    "gather_transposed",
    "next_task",
    "pair_dots",
    "pair_move",
    "pair_steps",
    "prefetch_at",
    "prefetch_row",
    "set_tiles",
    "set_tiles_from_rows",
    "solve_back",
    "solve_tile",
    "subtract_tiles",
]
