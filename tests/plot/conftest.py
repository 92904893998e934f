import pytest


@pytest.fixture(autouse=True)
def close_figures():
    """Close the figures of pyplot, which keeps them; skip tests without it."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason='needs pip install "twofold[plot]"')
    yield
    pyplot.close("all")
