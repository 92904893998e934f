"""Primitives with explicit vector instructions: tiles, selected rows, prefetching.

numba vectorises loops over the contiguous axis, but does not keep a tile of sums in registers
during a loop over the other axis. These primitives are therefore generated as LLVM vector code,
each next to its definition in numpy (see `matrix`).

Matrices are C-contiguous, of float32 or float64. Arguments are not validated.
"""
