"""``twofold warm-up``: compile the kernels in advance."""

import time
from typing import Annotated

import typer

import twofold
from twofold.cli.output import say


def warm_up(
    processes: Annotated[
        int | None,
        typer.Option(help="Processes that compile at the same time. (default: one per processor)"),
    ] = None,
    float64: Annotated[bool, typer.Option("--float64", help="Also for float64 factors.")] = False,
) -> None:
    """Compile all kernels and keep them on disk, so that later commands start at once.

    For container images and continuous integration. NUMBA_CACHE_DIR chooses the folder; kernels on
    disk are for one kind of processor.
    """
    start = time.perf_counter()
    folder = twofold.warm_up(processes, dtypes=("float32", "float64")[: 1 + float64])
    seconds = time.perf_counter() - start
    say(f"Kernels are compiled, in {seconds:.0f} s. They are in {folder}")
