"""Lines over time are well-formed SVG, keep their extremes, and break where nothing is."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.server.plotting import draw_times

HOUR = 3_600_000_000
VALUES = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(-1000, 1000).map(float)


def line_of(svg: str, number: int = 0) -> str:
    return next(path.get("d") for path in ET.fromstring(svg).iter("path") if path.get("class") == f"line of{number}")


@settings(max_examples=50)
@given(st.lists(VALUES, max_size=60), st.booleans())
def test_whatever_the_values_are_the_picture_is_one_and_all_is_inside(values, steps):
    svg = draw_times({"<x & y>": [(hour * HOUR, value) for hour, value in enumerate(values)]}, title="x", steps=steps)
    root = ET.fromstring(svg)
    if not any(value is not None and math.isfinite(value) for value in values):
        assert "nothing to draw" in svg
        return
    numbers = [float(each) for each in re.findall(r"[MLHV ,](-?[\d.]+)", line_of(svg).replace("h0.01", ""))]
    assert all(0 <= number <= float(root.get("width")) for number in numbers)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(900, 3000))
def test_of_many_points_the_least_and_the_greatest_are_drawn(seed, count):
    values = np.random.default_rng(seed).normal(0, 50, count).tolist()
    d = line_of(draw_times({"x": [(i * HOUR, value) for i, value in enumerate(values)]}, title="x"))
    drawn = [float(y) for y in re.findall(r"[ML][\d.]+,([\d.]+)", d)]
    assert len(drawn) < 900
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    place = 226 - 196 * pad / (
        high - low + 2 * pad
    )  # of the least, as high above the bottom as the greatest below the top
    assert abs(max(drawn) - place) < 0.1
    assert abs(min(drawn) - (226 + 30 - place)) < 0.1


def test_a_gap_breaks_the_line_and_a_step_holds():
    points = [(0, 1.0), (HOUR, None), (2 * HOUR, 2.0), (3 * HOUR, 3.0)]
    assert line_of(draw_times({"x": points}, title="x")).count("M") == 2
    assert "H" in line_of(draw_times({"x": points}, title="x", steps=True))


def test_several_lines_have_a_legend_and_dots_stand_out():
    svg = draw_times({"a": [(0, 1.0)], "b": [(0, 2.0)]}, title="x", dots=[(0, 1.5)])
    texts = [text.text for text in ET.fromstring(svg).iter("text")]
    assert {"a", "b", "x"} <= set(texts)
    assert svg.count("<circle") == 1
