"""What every figure depends on: versions, processor, BLAS and threads."""

import platform
from functools import cache
from pathlib import Path

import numba
import numpy as np
import scipy
import scipy.linalg
from threadpoolctl import threadpool_info

import twofold
from twofold._threads import available_threads


@cache
def facts() -> dict[str, str]:
    """Return name and value of each."""
    blas = sorted(
        {pool["internal_api"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    )
    return {
        "twofold": twofold.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "blas": ", ".join(blas),
        "cpu": _processor(),
        "threads": str(available_threads()),
    }


def machine() -> str:
    """Return all of it in one line."""
    return ", ".join(f"{name} {value}" for name, value in facts().items())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
