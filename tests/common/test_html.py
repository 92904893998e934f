"""Parts of notebook output: well-formed, escaped, finite."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold._common.html import curve, facts, table

NASTY = "<script>alert('x')</script> & \"quotes\""


def places(svg):
    line = ElementTree.fromstring(svg).find("polyline")
    return [tuple(map(float, point.split(","))) for point in line.get("points").split()]


def test_texts_are_escaped():
    for html in (
        facts({NASTY: NASTY}),
        table([NASTY], [[NASTY]]),
        curve([(0.0, 1.0)], NASTY),
    ):
        tree = ElementTree.fromstring(html)
        assert not any("script" in element.tag for element in tree.iter())
        assert NASTY in {text for element in tree.iter() for text in (element.text, "") if text}


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=6))
def test_all_points_of_a_curve_are_inside_of_the_picture(points):
    svg = curve(points, "label")
    finite = [point for point in points if all(map(math.isfinite, point))]
    assert bool(svg) == bool(finite)
    if finite:
        assert len(places(svg)) == len(finite)
        assert all(0.0 <= x <= 240.0 and 0.0 <= y <= 80.0 for x, y in places(svg))


def test_equal_ratios_are_equal_heights():
    heights = [y for _, y in places(curve([(0, 100.0), (1, 10.0), (2, 1.0)], "label"))]
    assert heights == pytest.approx([4.0, 40.0, 76.0])
    assert re.search('cx="236.0" cy="76.0"', curve([(0, 100.0), (1, 1.0)], "label"))
