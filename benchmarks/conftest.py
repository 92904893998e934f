"""Options, data and the measurement of times and related figures."""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.compare.problems import SIZES, load
from benchmarks.machine import facts, forget_peak, memory_mb
from twofold import Pairings

collect_ignore = ["benchopt_sparse_mf"]  # tested by benchopt
_LINES: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("twofold benchmarks")
    group.addoption("--size", choices=SIZES, default="small", help="size of the generated data")
    group.addoption("--pairs", metavar="FILE", help=".npz file of pairs instead of generated data")
    group.addoption("--threads", type=int, default=int(facts()["threads"]), help="default: all")
    group.addoption("--postgres", metavar="URL", help="URL of a database for a temporary table")


class BeyondNoise:
    """The check of ``--benchmark-compare``: a median increased by more than 10% and the noise.

    The increase exceeds the noise if the first quartile of the new times is above the third
    quartile of the old ones. With fewer than three rounds, the noise is unknown, and it passes.
    """

    def fails(self, current: dict[str, float], compared: dict[str, float]) -> str | None:
        """Return a description of the regression, or None."""
        if min(current["rounds"], compared["rounds"]) < 3 or current["q1"] <= compared["q3"]:
            return None
        ratio = current["median"] / compared["median"]
        return f"the median is {ratio:.2f} times the old one" if ratio > 1.1 else None


def pytest_configure(config: pytest.Config) -> None:
    """Add the check to ``--benchmark-compare``, unless limits are given."""
    if config.option.benchmark_compare and not config.option.benchmark_compare_fail:
        config.option.benchmark_compare_fail = [BeyondNoise()]


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("--size")


@pytest.fixture(scope="session")
def n_threads(request: pytest.FixtureRequest) -> int:
    return request.config.getoption("--threads")


@pytest.fixture(scope="session")
def pairings(size: str, request: pytest.FixtureRequest) -> Pairings:
    """Return generated playlists, the same in every run, or those of ``--pairs``."""
    return load(request.config.getoption("--pairs") or size)


@pytest.fixture
def measure(benchmark: Any, size: str, n_threads: int, request: pytest.FixtureRequest) -> Callable:
    """Time a call; store the seconds of the first call, rates, peak memory and the machine.

    ``work`` maps units to the amount of work of a call, and ``peak`` maps units to a function that
    returns the rate of the machine. ``info`` is stored unchanged.
    """

    def timed(
        function: Callable[..., Any], *arguments: Any, rounds: int | None = None,
        work: dict[str, float] | None = None, peak: dict[str, Callable[[int], float]] | None = None,
        **info: Any,
    ) -> Any:  # fmt: skip
        if benchmark.disabled:
            return benchmark(function, *arguments)
        forget_peak()
        before, started = memory_mb("VmRSS"), time.perf_counter()
        result = function(*arguments)
        figures = {"first_call_s": time.perf_counter() - started, **info}
        if before is not None:
            figures["peak_mb"] = memory_mb("VmHWM") - before
        if rounds is None:
            benchmark(function, *arguments)
        else:
            benchmark.pedantic(function, arguments, rounds=rounds)
        median = benchmark.stats.stats.median
        figures |= {f"{unit}/s": amount / median for unit, amount in (work or {}).items()}
        for unit, best in (peak or {}).items():
            figures[f"share of {best.__name__}"] = figures[f"{unit}/s"] / best(n_threads)
        benchmark.extra_info.update(facts(), size=size, n_threads=n_threads, **figures)
        shown = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in figures.items()
        )
        _LINES.append(f"{request.node.name}: median {median:.4g} s, {shown}")
        return result

    return timed


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures that pytest-benchmark only stores in its file."""
    if _LINES:
        terminalreporter.section("figures of the benchmarks")
        terminalreporter.write_line(", ".join(f"{name} {text}" for name, text in facts().items()))
        for line in _LINES:
            terminalreporter.write_line(line)


@cache
def gemm(n_threads: int) -> float:
    """Return GFLOP/s of single-precision GEMM, 1024 x 1024."""
    A = np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)
    with threadpool_limits(n_threads, "blas"):
        return 2.0 * 1024**3 / _median_seconds(lambda: A @ A) / 1e9


@cache
def copying(n_threads: int) -> float:
    """Return the gigabytes read and written per second by threads that copy 256 MB."""
    source, target = np.ones(1 << 25), np.empty(1 << 25)
    parts = [np.array_split(array, n_threads) for array in (target, source)]
    with ThreadPoolExecutor(n_threads) as pool:
        return 2 * source.nbytes / _median_seconds(lambda: list(pool.map(np.copyto, *parts))) / 1e9


def _median_seconds(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(6):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[1:])
