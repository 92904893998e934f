"""The colours of the pictures, by the formulas of WCAG 2 and of Machado et al. 2009."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from twofold.plot.figures import COLOURS

DARK_PAGE = "#14181d"  # of the page of the benchmarks, which mixes colours with 35% of white
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour) -> np.ndarray:
    """Return the linear RGB values of a colour."""
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first, second) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21."""
    darker, lighter = sorted(0.05 + linear(colour) @ TO_XYZ[1] for colour in (first, second))
    return lighter / darker


def lab(colour, vision) -> np.ndarray:
    """Return L*, a* and b* of a colour as it is seen with a vision."""
    x, y, z = TO_XYZ @ np.clip(np.asarray(vision) @ linear(colour), 0.0, 1.0) / (0.9505, 1.0, 1.089)
    x, y, z = (np.cbrt(t) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_of_black_and_white():
    assert contrast("black", "white") == pytest.approx(21.0)
    assert contrast("#e69f00", "white") < 2.3  # the orange of Okabe & Ito


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_can_be_seen_on_white_and_on_the_dark_page(colour):
    assert contrast(colour, "white") >= 3.0
    mixed = 0.65 * np.array(to_rgb(colour)) + 0.35
    assert contrast(tuple(mixed), DARK_PAGE) >= 4.5


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_differ_for_every_vision(vision):
    seen = [lab(colour, VISIONS[vision]) for colour in COLOURS]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 16.0
