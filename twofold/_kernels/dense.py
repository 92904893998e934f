"""Small dense linear algebra inside kernels: A A', Cholesky, triangular solves.

Everything is written as dot products over the contiguous axis, so that the compiler turns them
into vector code; the 4 x 3 tile keeps twelve sums in registers, which is what makes A A' fast (4 x
4 spills).
"""

import numpy as np

from twofold._kernels.jit import jit

__all__ = ["add_outer", "cholesky", "solve_cholesky"]


@jit
def add_outer(A, n, m, out):
    """Add the lower triangle of A A' to ``out``, for the first n rows and m columns of A."""
    zero = A.dtype.type(0.0)
    for i in range(0, n, 4):
        rows = min(4, n - i)
        a0, a1, a2, a3 = A[i], A[min(i + 1, n - 1)], A[min(i + 2, n - 1)], A[min(i + 3, n - 1)]
        for j in range(0, i + rows, 3):
            b0, b1, b2 = A[j], A[min(j + 1, n - 1)], A[min(j + 2, n - 1)]
            s00 = s01 = s02 = s10 = s11 = s12 = zero
            s20 = s21 = s22 = s30 = s31 = s32 = zero
            for f in range(m):
                x0, x1, x2, x3 = a0[f], a1[f], a2[f], a3[f]
                y0, y1, y2 = b0[f], b1[f], b2[f]
                s00 += x0 * y0
                s01 += x0 * y1
                s02 += x0 * y2
                s10 += x1 * y0
                s11 += x1 * y1
                s12 += x1 * y2
                s20 += x2 * y0
                s21 += x2 * y1
                s22 += x2 * y2
                s30 += x3 * y0
                s31 += x3 * y1
                s32 += x3 * y2
            columns = min(3, n - j)
            _store_row(out, i, j, columns, s00, s01, s02)
            if rows > 1:
                _store_row(out, i + 1, j, columns, s10, s11, s12)
            if rows > 2:
                _store_row(out, i + 2, j, columns, s20, s21, s22)
            if rows > 3:
                _store_row(out, i + 3, j, columns, s30, s31, s32)


@jit
def _store_row(out, i, j, columns, s0, s1, s2):
    out[i, j] += s0
    if columns > 1:
        out[i, j + 1] += s1
    if columns > 2:
        out[i, j + 2] += s2


@jit
def cholesky(M, n, smallest):
    """Replace the lower triangle of M by L with L L' = M; False if a pivot is not > smallest."""
    for i in range(n):
        row = M[i]
        for j in range(i):
            other = M[j]
            total = row[j]
            for f in range(j):
                total -= row[f] * other[f]
            row[j] = total / other[j]
        pivot = row[i]
        for f in range(i):
            pivot -= row[f] * row[f]
        if not pivot > smallest:
            return False
        row[i] = np.sqrt(pivot)
    return True


@jit
def solve_cholesky(L, n, x):
    """Replace x by the solution of L L' y = x."""
    for i in range(n):
        row = L[i]
        total = x[i]
        for f in range(i):
            total -= row[f] * x[f]
        x[i] = total / row[i]
    for i in range(n - 1, -1, -1):
        row = L[i]
        value = x[i] / row[i]
        x[i] = value
        for f in range(i):
            x[f] -= row[f] * value
