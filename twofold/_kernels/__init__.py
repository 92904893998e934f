"""Compiled kernels: module-level functions of arrays, without Python objects.

Their callers validate the arguments. Each output element is written by one thread, and each
reduction runs over fixed chunks that are added in order, so the results are bitwise independent of
the number of threads. With ``NUMBA_DISABLE_JIT=1`` the kernels run as plain Python.
"""
