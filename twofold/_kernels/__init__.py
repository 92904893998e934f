"""Compiled kernels: module-level functions, arrays in and arrays out, no Python objects.

They check nothing; the classes above them do. Every parallel write has one owner, and every
reduction runs over fixed chunks that are added in order, so the bits do not depend on the number
of threads. With ``NUMBA_DISABLE_JIT=1`` they are plain Python.
"""
