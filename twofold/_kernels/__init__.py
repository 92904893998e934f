"""Compiled kernels: module-level functions of arrays, without Python objects.

Their callers validate the arguments. Each output element is written by one thread, and each
reduction runs over fixed chunks that are added in order, so the results are bitwise independent of
the number of threads. With ``NUMBA_DISABLE_JIT=1`` the kernels run as plain Python.
"""

import sysconfig

from twofold.exceptions import UnsupportedPythonError

# By the build, not by the current state of the lock: builds with and without it share the tag that
# names the cache of compiled kernels, but not the layout of objects.
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise UnsupportedPythonError(
        "twofold does not support free-threaded builds of Python: use the build with the global "
        "interpreter lock, such as python3.14 instead of python3.14t; its kernels run without the "
        "lock on all cores"
    )
