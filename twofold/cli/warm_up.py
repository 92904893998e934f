"""``twofold warm-up``: compile the kernels in advance."""

import time

import twofold

__all__ = ["warm_up"]


def warm_up(*, processes: int | None = None, float64: bool = False) -> None:
    """Compile all kernels and cache them on disk, so that later commands start quickly.

    Useful for container images and continuous integration. NUMBA_CACHE_DIR sets the folder. Cached
    kernels are valid for one type of processor.

    Parameters
    ----------
    processes : int, optional
        Number of processes that compile in parallel. By default one for each processor.
    float64 : bool, default False
        Also compile the kernels for float64 factors.
    """
    start = time.perf_counter()
    folder = twofold.warm_up(processes, dtypes=("float32", "float64")[: 1 + float64])
    seconds = time.perf_counter() - start
    print(f"The kernels were compiled in {seconds:.0f} s. They are in {folder}")
