"""Versions, processor, BLAS and threads, which determine all figures, and memory."""

import os
import platform
import re
from contextlib import suppress
from functools import cache
from pathlib import Path

import numba
import numpy as np
import scipy
import scipy.linalg
from threadpoolctl import threadpool_info

import twofold


@cache
def facts() -> dict[str, str]:
    """Return the versions, the processor, the BLAS and the number of threads by name."""
    blas = sorted(
        {
            f"{pool['internal_api']} {pool.get('architecture', '')}".strip()
            for pool in threadpool_info()
            if pool["user_api"] == "blas"
        }
    )
    return {
        "twofold": twofold.__version__,
        "numba": numba.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "python": platform.python_version(),
        "blas": ", ".join(blas),
        "cpu": _processor(),
        "threads": str(_available_threads()),
    }


def machine() -> str:
    """Return all facts in one line."""
    return ", ".join(f"{name} {value}" for name, value in facts().items())


def child_environment(**changes: str) -> dict[str, str]:
    """Return the environment of a measured process, in which OpenBLAS selects its own kernels."""
    left_out = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    return {name: text for name, text in os.environ.items() if name not in left_out} | changes


def _available_threads() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def memory_mb(name: str) -> float | None:
    """Return VmRSS (current) or VmHWM (peak) of this process, or None if not available."""
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None


def forget_peak() -> None:
    """Reset the peak, so that it excludes scoring (Linux; see proc(5), clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
