"""``twofold warm-up``: compile the kernels in advance."""

import time

import twofold

__all__ = ["warm_up"]


def warm_up(*, processes: int | None = None, float64: bool = False) -> None:
    """Compile all kernels and keep them on disk, so that later commands start at once.

    For container images and continuous integration. NUMBA_CACHE_DIR chooses the folder; kernels on
    disk are for one kind of processor.

    Parameters
    ----------
    processes : int, optional
        Processes that compile at the same time. By default one for each processor.
    float64 : bool, default False
        Also for float64 factors.
    """
    start = time.perf_counter()
    folder = twofold.warm_up(processes, dtypes=("float32", "float64")[: 1 + float64])
    seconds = time.perf_counter() - start
    print(f"Kernels are compiled, in {seconds:.0f} s. They are in {folder}")
