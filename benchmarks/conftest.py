"""Problems in three sizes, and what is stored beside every time."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from benchmarks.machine import facts
from twofold.data.pairings import Pairings
from twofold.datasets import make_playlists

SIZES = {"tiny": (200, 120), "medium": (20_000, 10_000), "large": (100_000, 50_000)}


def pytest_configure(config: pytest.Config) -> None:
    """``-m smoke`` runs the checks at the tiny size, without timing."""
    if config.option.markexpr == "smoke":
        config.option.benchmark_disable = True


@cache
def pairings_of(size: str) -> Pairings:
    """Return generated playlists, the same in every run."""
    n_playlists, n_tracks = SIZES[size]
    return make_playlists(
        n_playlists, n_tracks, n_groups=max(4, n_tracks // 500), mean_length=40, rng=0
    ).pairings


@pytest.fixture(params=[pytest.param("tiny", marks=pytest.mark.smoke), "medium", "large"])
def pairings(request: pytest.FixtureRequest) -> Pairings:
    """Return the pairs of a size."""
    return pairings_of(request.param)


@pytest.fixture
def note(benchmark) -> Callable[..., None]:
    """Store what a time depends on beside it."""

    def store(pairings: Pairings, **more: object) -> None:
        benchmark.extra_info.update(
            **facts(),
            playlists=pairings.shape[0],
            tracks=pairings.shape[1],
            pairs=pairings.n_pairs,
            **{key: value.item() if isinstance(value, np.generic) else value
               for key, value in more.items()},
        )  # fmt: skip

    return store


def is_tiny(pairings: Pairings) -> bool:
    """Tell whether the slow reference can be asked."""
    return pairings.shape[0] <= SIZES["tiny"][0]
