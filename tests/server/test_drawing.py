"""Pictures are well-formed SVG, point one way, and escape what they show."""

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from trivet.server.drawing import Bar, Box, Point, draw_bars, draw_graph, draw_line

NAMES = [f"n{i}" for i in range(8)]


def boxes_of(svg: str) -> dict[str, float]:
    """The top edge of each box by its title."""
    root = ET.fromstring(svg)
    found = {}
    for group in root.iter():
        if group.get("class", "").startswith("box"):
            found[group.find("text").text] = float(group.find("rect").get("y"))
    return found


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda edge: edge[0] < edge[1]), max_size=16))
def test_every_edge_of_an_acyclic_graph_points_down(pairs):
    edges = [(NAMES[a], NAMES[b]) for a, b in pairs]
    places = boxes_of(draw_graph({name: Box(name) for name in NAMES}, edges))
    assert set(places) == set(NAMES)
    assert all(places[a] < places[b] for a, b in edges)


def test_many_beside_one_another_stand_in_rows_and_never_on_one_another():
    names = [f"source {i}" for i in range(13)]
    svg = draw_graph({name: Box(name, "x" * i) for i, name in enumerate([*names, "end"])}, [(n, "end") for n in names])
    root = ET.fromstring(svg)
    boxes = [tuple(float(rect.get(key)) for key in ("x", "y", "width", "height")) for rect in root.iter("rect")]
    assert len({y for _, y, _, _ in boxes}) == 4
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert x + w <= float(root.get("width"))
        assert y + h <= float(root.get("height"))
        for other_x, other_y, other_w, other_h in boxes[:i]:
            assert x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y


def test_an_empty_graph_is_a_picture():
    assert ET.fromstring(draw_graph({}, [])).findall("*") == []


def test_a_cycle_is_drawn_all_the_same():
    svg = draw_graph({"a": Box("a"), "b": Box("b")}, [("a", "b"), ("b", "a")])
    assert set(boxes_of(svg)) == {"a", "b"}


def test_titles_are_escaped_and_links_kept():
    svg = draw_graph({"a": Box("<script>", "x & y", href="/artifacts/a?b=1&c=2")}, [])
    assert "<script>" not in svg
    link = ET.fromstring(svg).find("a")
    assert link.get("href") == "/artifacts/a?b=1&c=2"


def test_edges_to_what_is_not_shown_are_left_out():
    assert draw_graph({"a": Box("a")}, [("a", "elsewhere")]).count("<path") == 0


def test_a_line_skips_missing_values_and_shows_its_band_and_guides():
    points = [Point("Oct", 0.7, 0.6, 0.8), Point("Nov", None), Point("Dec", 0.75, 0.7, 0.8)]
    svg = draw_line(points, title="AUC", guides={"training": 0.74})
    root = ET.fromstring(svg)
    assert len(root.findall("circle")) == 2
    assert len(root.findall("polygon")) == 1
    assert "training" in [text.text for text in root.iter("text")]


def test_nothing_to_draw_is_said():
    assert "nothing to draw" in draw_line([Point("Oct", None)], title="AUC")


def test_one_point_and_a_constant_line_have_room():
    for values in ([1.0], [0.0, 0.0], [5.0, 5.0]):
        root = ET.fromstring(draw_line([Point(str(i), v) for i, v in enumerate(values)], title="x"))
        assert all(0 <= float(circle.get("cy")) <= 170 for circle in root.findall("circle"))


@given(st.lists(st.tuples(st.text(max_size=30), st.integers(0, 10**6)), max_size=25))
def test_bars_are_as_tall_as_their_counts_and_escape_their_names(counts):
    clean = [("".join(c for c in name if c.isprintable()), count) for name, count in counts]
    svg = draw_bars([Bar(name, count, count // 2) for name, count in clean], title="<x>")
    root = ET.fromstring(svg)
    bars = [float(each.get("height")) for each in root.iter("rect") if each.get("class") == "bar"]
    most = max((count for _, count in clean), default=0)
    assert len(bars) == (len(clean) if most else 0)
    assert all(abs(tall - 130 * count / most) < 0.06 for tall, (_, count) in zip(bars, clean, strict=False))


@given(st.lists(st.tuples(st.integers(0, 13), st.integers(0, 13)).filter(lambda edge: edge[0] < edge[1]), max_size=24))
def test_no_edge_runs_behind_a_box(pairs):
    names = [f"n{i}" for i in range(14)]
    root = ET.fromstring(draw_graph({name: Box(name) for name in names}, [(names[a], names[b]) for a, b in pairs]))
    boxes = [tuple(float(rect.get(key)) for key in ("x", "y", "width", "height")) for rect in root.iter("rect")]
    for path in root.iter("path"):
        for x, top, bottom in verticals(path.get("d")):
            assert not [b for b in boxes if b[0] < x < b[0] + b[2] and top < b[1] + b[3] and b[1] < bottom]
            assert 0 <= x <= float(root.get("width"))
        assert crossed(path.get("d")) <= {y for _, y, _, _ in boxes}


def verticals(d: str) -> list[tuple[float, float, float]]:
    """The straight parts of a path: where, from, to."""
    points = re.findall(r"([\d.]+),([\d.]+) V([\d.]+)", d)
    return [(float(x), float(top), float(bottom)) for x, top, bottom in points]


def crossed(d: str) -> set[float]:
    """The upper edges of the rows that a path ends at or passes through: all of them between its ends."""
    return {float(y) for y in re.findall(r"C[\d.]+,[\d.]+ [\d.]+,[\d.]+ [\d.]+,([\d.]+)", d)}
