"""Vector instructions for what numba's own loops do not reach: tiles, listed rows, prefetching.

numba vectorises a loop over the contiguous axis, but does not keep a tile of sums in registers
while it runs along the other axis. These primitives are therefore written as LLVM vectors, each
beside its definition in numpy (see `matrix`).

Matrices are C-contiguous, of float32 or float64. The functions check nothing.
"""
