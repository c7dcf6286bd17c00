from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.ledger import lineage
from trivet.ledger.lineage import Edge, ancestors, descendants, path
from trivet.ledger.stores.memory import MemoryStore
from trivet.testing.records import a_run


def ledger_of(*runs):
    store = MemoryStore()
    store.write(*runs)
    return store


def step(name, inputs, outputs, status="finished"):
    """``step("1", "ab", "c")``: run 1 made c from a and b; the slots are i0, i1 and o0."""
    slots = {f"i{n}": one for n, one in enumerate(inputs)}, {f"o{n}": one for n, one in enumerate(outputs)}
    return a_run(name, inputs=slots[0], outputs=slots[1], status=status)


CHAIN = (step("1", "a", "b"), step("2", "bx", "c"), step("3", "c", "de"))


def test_ancestors_of_a_chain():
    found = ancestors(ledger_of(*CHAIN), "d")
    assert found.origin == "d"
    assert found.artifacts == ("d", "c", "b", "x", "a")
    assert found.runs == CHAIN
    assert found.edges == (
        Edge("1", "input", "i0", "a"),
        Edge("1", "output", "o0", "b"),
        Edge("2", "input", "i0", "b"),
        Edge("2", "input", "i1", "x"),
        Edge("2", "output", "o0", "c"),
        Edge("3", "input", "i0", "c"),
        Edge("3", "output", "o0", "d"),  # and not e, which is no ancestor of d
    )


def test_descendants_of_a_chain():
    found = descendants(ledger_of(*CHAIN), "b")
    assert found.artifacts == ("b", "c", "d", "e")
    assert [run.id for run in found.runs] == ["2", "3"]


def test_depth_counts_generations_of_runs():
    store = ledger_of(*CHAIN)
    assert [len(ancestors(store, "d", depth).runs) for depth in (0, 1, 2, 3, 9, None)] == [0, 1, 2, 3, 3, 3]
    assert ancestors(store, "d", 0).artifacts == ("d",)
    assert descendants(store, "a", 1).artifacts == ("a", "b")
    with pytest.raises(Invalid, match="depth"):
        ancestors(store, "d", -1)


def test_an_artifact_that_nobody_knows_is_alone():
    found = ancestors(MemoryStore(), "z")
    assert (found.artifacts, found.runs, found.edges) == (("z",), (), ())


def test_all_producers_are_shown_and_the_first_that_ran_is_in_front():
    store = ledger_of(
        step("1", "a", "b", "cached"), step("2", "a", "b"), step("3", "a", "b", "cached"), step("4", "q", "b")
    )
    found = ancestors(store, "b")
    assert [run.id for run in found.runs] == ["1", "2", "3", "4"]
    assert [run.id for run in found.producers("b")] == ["2", "4", "1", "3"]
    assert [run.id for run in found.consumers("a")] == ["1", "2", "3"]
    assert [hop.run.id for hop in path(store, "a", "b")] == ["2"]
    assert [hop.run.id for hop in path(store, "q", "b")] == ["4"]  # no way through the first producer


def test_a_path_prefers_first_producers_to_short_ways():
    store = ledger_of(step("1", "a", "b"), step("2", "b", "c"), step("3", "a", "c"))
    assert [(hop.source, hop.input, hop.run.id, hop.output, hop.target) for hop in path(store, "a", "c")] == [
        ("a", "i0", "1", "o0", "b"),
        ("b", "i0", "2", "o0", "c"),
    ]


def test_paths_that_are_none():
    store = ledger_of(*CHAIN)
    assert path(store, "d", "a") is None
    assert path(store, "a", "nowhere") is None
    assert path(store, "a", "a") == ()


def test_a_circle_ends():
    store = ledger_of(step("1", "a", "b"), step("2", "b", "a"), step("3", "a", "a"))
    assert ancestors(store, "a").artifacts == ("a", "b")
    assert descendants(store, "b").artifacts == ("b", "a")
    assert [hop.run.id for hop in path(store, "b", "a")] == ["2"]


def test_more_runs_than_a_page(monkeypatch):
    monkeypatch.setattr(lineage, "_PAGE", 3)
    store = ledger_of(*(step(f"{number:02}", "a", f"b{number}"[:1]) for number in range(9)))
    assert len(descendants(store, "a").runs) == 9


graphs = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcdefgh"), max_size=3, unique=True),
        st.lists(st.sampled_from("abcdefgh"), max_size=2, unique=True),
        st.sampled_from(["finished", "cached", "failed"]),
    ),
    max_size=12,
)


def steps(graph):
    return [step(f"{number:02}", *one) for number, one in enumerate(graph)]


def closure(runs, origin, came_from, goes_to):
    """Slow and obviously right: add what is one step further until nothing is added."""
    known = {origin}
    while True:
        more = {other for run in runs if known & came_from(run) for other in goes_to(run)} | known
        if more == known:
            return known
        known = more


def inputs(run):
    return set(run.inputs.values())


def outputs(run):
    return set(run.outputs.values())


@settings(max_examples=150, deadline=None)
@given(graph=graphs, origin=st.sampled_from("abcdefgh"))
def test_the_closure_by_hand(graph, origin):
    runs = steps(graph)
    store = ledger_of(*runs)
    for ask, near, far in ((ancestors, outputs, inputs), (descendants, inputs, outputs)):
        found = ask(store, origin)
        expected = closure(runs, origin, near, far)
        touching = [run for run in runs if near(run) & expected]
        assert set(found.artifacts) == expected
        assert len(found.artifacts) == len(expected)
        assert list(found.runs) == touching
        every = [edge for run in touching for edge in lineage._edges(run)]
        assert list(found.edges) == [edge for edge in every if edge.digest in expected]


@settings(max_examples=150, deadline=None)
@given(graph=graphs, a=st.sampled_from("abcdefgh"), b=st.sampled_from("abcdefgh"))
def test_a_path_exists_where_the_closure_says_so(graph, a, b):
    runs = steps(graph)
    way = path(ledger_of(*runs), a, b)
    assert (way is not None) == (a in closure(runs, b, outputs, inputs))
    for hop, following in zip(way or (), (way or ())[1:], strict=False):
        assert hop.target == following.source
    for hop in way or ():
        assert hop.run.inputs[hop.input] == hop.source
        assert hop.run.outputs[hop.output] == hop.target
    if way:
        assert (way[0].source, way[-1].target) == (a, b)


@settings(max_examples=50, deadline=None)
@given(graph=graphs, origin=st.sampled_from("abcdefgh"))
def test_the_order_of_writing_does_not_matter(graph, origin):
    runs = steps(graph)
    assert ancestors(ledger_of(*runs), origin) == ancestors(ledger_of(*reversed(runs)), origin)


def test_each_artifact_is_asked_about_once():
    asked = []

    class Counting:
        def runs(self, query):
            asked.append(query.output)
            return [run for run in CHAIN if query.output in run.outputs.values()]

    ancestors(Counting(), "e")
    assert sorted(asked) == ["a", "b", "c", "e", "x"]
