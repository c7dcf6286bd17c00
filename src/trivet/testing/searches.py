"""What every store must do with questions: the part of ``trivet.testing.ledger.LedgerContract`` about conditions and orders."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger import Ledger, Metric, Order, Redaction, Removal, Run, RunQuery, Summary, cursor_of
from trivet.ledger.conditions import And, Compare, Condition, Field, In, Known, Linked, Not, Or
from trivet.testing.records import NOW, a_run, an_artifact
from trivet.types import to_micros

__all__ = ["SearchesContract"]

AUC, DEPTH, TEAM = Field("metric", "auc"), Field("parameter", "depth"), Field("tag", "team")
NAME, SECONDS, PARENT = Field("attribute", "name"), Field("attribute", "seconds"), Field("attribute", "parent")


def ids(store: Ledger, where: Condition | None = None, **query: Any) -> str:
    """The ids of the runs that fit, joined; they are single letters here."""
    return "".join(run.id for run in store.runs(RunQuery(where=where, **query)))


class SearchesContract:
    """Each method examines one promise; its docstring says which."""

    @pytest.fixture
    def store(self) -> Iterator[Ledger]:
        """An empty store."""
        raise NotImplementedError("Supply the fixture `store` in the subclass.")

    @pytest.fixture
    def some(self, store: Ledger) -> Ledger:
        """Runs with all there is: a number, infinity, NaN, text, nothing."""
        store.write(
            a_run("a", metrics={"auc": 0.5}, parameters={"depth": 3}, tags={"team": "A"}),
            a_run("b", metrics={"auc": math.inf}, parameters={"depth": "10"}, tags={"team": "a"}, ended=None),
            a_run("c", metrics={"auc": math.nan}, parameters={"depth": "deep"}, name="späť"),
            a_run("d", parameters={"depth": None}, tags={"team": "%[*]?"}, parent="a"),
            a_run("e", metrics={"auc": 0.5}, parameters={"depth": "3.0"}, ended=NOW + timedelta(seconds=0.25)),
        )
        return store

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            (Compare(AUC, "=", 0.5), "ea"),
            (Compare(AUC, ">", 0), "eba"),
            (Compare(AUC, "!=", 0.5), "cb"),
            (Not(Compare(AUC, "=", 0.5)), "dcb"),
            (Compare(AUC, "<", math.nan), ""),
            (Compare(AUC, "!=", math.nan), "ecba"),
            (Known(AUC), "ecba"),
            (Compare(DEPTH, "=", "3"), "ea"),
            (Compare(DEPTH, "=", 3), "ea"),
            (Compare(DEPTH, "<", 10), "ea"),
            (Compare(DEPTH, ">=", "9"), "dcb"),
            (Compare(DEPTH, "!=", "deep"), "edba"),
            (Compare(DEPTH, "=", "null"), "d"),
            (Compare(DEPTH, "like", "_e%p"), "c"),
            (In(DEPTH, ("3", "deep", "none")), "eca"),
            (In(DEPTH, ()), ""),
            (Compare(TEAM, "=", "a"), "b"),
            (Compare(TEAM, "!=", "a"), "da"),
            (Compare(TEAM, "like", "a"), "b"),
            (Compare(TEAM, "ilike", "A%"), "ba"),
            (Compare(TEAM, "like", "%[*]_"), "d"),
            (Compare(NAME, "ilike", "SPäť"), "c"),
            (Compare(NAME, "ilike", "SPÄŤ"), ""),
            (Compare(NAME, ">", "fit"), "c"),
            (Compare(SECONDS, "<", 1), "e"),
            (Compare(Field("attribute", "started"), "=", to_micros(NOW)), "edcba"),
            (Compare(Field("attribute", "ended"), "<", to_micros(NOW) + 250_000.5), "e"),
            (Not(Known(Field("attribute", "ended"))), "b"),
            (Compare(PARENT, "!=", "b"), "d"),
            (In(Field("attribute", "id"), ("a", "d", "x")), "da"),
            (And((Compare(AUC, ">", 0.1), Or((Compare(TEAM, "=", "A"), Compare(DEPTH, "=", 10))))), "ba"),
            (Or(()), ""),
            (And(()), "edcba"),
        ],
    )
    def test_conditions(self, some: Ledger, where: Condition, found: str) -> None:
        """What each comparison says of numbers, text, NaN and nothing; how many there are is the same."""
        assert ids(some, where) == found
        assert some.count(RunQuery(where=where, limit=1)) == len(found)

    @pytest.mark.parametrize(
        ("field", "ascending", "descending"),
        [
            (AUC, "eabcd", "beacd"),
            (DEPTH, "eabcd", "beadc"),
            (TEAM, "dabec", "badec"),
            (NAME, "edbac", "cedba"),
            (SECONDS, "edcab", "dcaeb"),
            (PARENT, "decba", "decba"),
            (Field("metric", "auc", "max"), "eabdc", "beadc"),
        ],
    )
    def test_orders(self, some: Ledger, field: Field, ascending: str, descending: str) -> None:
        """Numbers, then NaN or text, then what is missing, both ways; what is equal goes newest first."""
        assert ids(some, order=(Order(field),)) == ascending
        assert ids(some, order=(Order(field, descending=True),)) == descending

    def test_several_orders(self, some: Ledger) -> None:
        """The second decides where the first does not."""
        assert ids(some, order=(Order(AUC, descending=True), Order(SECONDS, descending=True))) == "baecd"

    @pytest.mark.parametrize("field", [AUC, DEPTH, TEAM, NAME, SECONDS, PARENT])
    @pytest.mark.parametrize("descending", [True, False])
    def test_pages_by_cursor(self, some: Ledger, field: Field, descending: bool) -> None:
        """Every run once, also while others are added and the last one of a page is gone."""
        query = RunQuery(order=(Order(field, descending),), limit=2)
        seen: list[str] = []
        while page := some.runs(query):
            seen += [run.id for run in page]
            query = RunQuery(order=query.order, limit=2, after=cursor_of(page[-1], query))
            some.write(a_run(f"z{len(seen)}", status="running"), Removal(run=page[-1].id))
        assert [one for one in seen if len(one) == 1] == list(ids_of(some, seen, field, descending))

    def test_a_cursor_of_something_else(self, some: Ledger) -> None:
        """No cursor, or one of another order, is a sentence."""
        other = cursor_of(some.runs()[0], RunQuery(order=(Order(NAME),)))
        for after, why in (("?", "no cursor"), ("bm9uc2Vuc2U", "no cursor"), (other, "another order")):
            with pytest.raises(Invalid, match=why):
                some.runs(RunQuery(after=after))

    def test_a_question_that_is_too_large(self, store: Ledger) -> None:
        """Neither depth nor width exhausts a store."""
        deep: Condition = Known(AUC)
        for _ in range(21):
            deep = Not(deep)
        for where in (deep, And((Known(AUC),) * 501)):
            with pytest.raises(Invalid, match="too large"):
                store.runs(RunQuery(where=where))

    def test_many_values_and_parts(self, some: Ledger) -> None:
        """What is within the limits is answered."""
        assert ids(some, In(DEPTH, (*map(str, range(9_000)), "deep"))) == "ecba"
        assert ids(some, Or((Compare(AUC, "=", 0.5),) * 400)) == "ea"
        deep: Condition = Known(AUC)
        for number in range(19):
            deep = (And if number % 2 else Or)((Known(DEPTH) if number % 2 else Compare(DEPTH, "=", "none"), deep))
        assert ids(some, deep) == "ecba"

    @pytest.mark.parametrize("text", ["x" * 5_000, "nul\0here", "half \ud83d", "a'b\"c;--%s?:x", "🛫 délai", ""])
    def test_any_text_is_found(self, store: Ledger, text: str) -> None:
        """Also what some databases cannot keep as it is, as name and as value."""
        store.write(a_run("a", parameters={text: text}, tags={text: text}), a_run("b", tags={text: text + "."}))
        for group in ("parameter", "tag"):
            field = Field(group, text)
            assert ids(store, Compare(field, "=", text)) == "a"
            assert ids(store, In(field, (text, "-"))) == "a"
            assert ids(store, Compare(field, "!=", text)) == ("" if group == "parameter" else "b")
        assert ids(store, Compare(Field("tag", text), ">", text)) == "b"

    def test_conditions_see_what_is_written_again(self, store: Ledger) -> None:
        """A parameter that changes, a tag that goes and a metric that comes are found as they are."""
        store.write(a_run("a", status="running", parameters={"depth": 1, "x": 1}, tags={"team": "a", "t": "u"}))
        store.write(a_run("a", parameters={"depth": 2, "x": 1}, tags={"t": "u"}, metrics={"auc": 0.5}))
        assert ids(store, Compare(DEPTH, "=", 1)) == ids(store, Known(TEAM)) == ""
        kept = (Compare(DEPTH, "=", 2), Compare(Field("parameter", "x"), "=", 1), Known(Field("tag", "t")), Known(AUC))
        assert ids(store, And(kept)) == "a"

    def test_lineage_in_conditions(self, store: Ledger) -> None:
        """An artifact is found before and after a run, through any others, circles and the bin included."""
        chain = [a_run(id_, inputs={"x": str(n)}, outputs={"y": str(n + 1)}) for n, id_ in enumerate("abc")]
        store.write(*chain, a_run("d", inputs={"x": "3"}, outputs={"y": "1"}, deleted=NOW), a_run("e"))
        assert ids(store, Linked("input", "1")) == "b"
        assert ids(store, Linked("output", "1")) == "a"
        assert ids(store, Linked("ancestor", "0")) == "cba"
        assert ids(store, Linked("ancestor", "2")) == "cb"
        assert ids(store, Linked("descendant", "2"), deleted="both") == "dcba"
        assert ids(store, Linked("descendant", "nowhere")) == ""

    # Experiments, the bin and what is gone for good.

    def test_runs_of_an_experiment(self, store: Ledger) -> None:
        """By its id, and by comparison."""
        store.write(a_run("a", experiment="01X"), a_run("b"))
        assert ids(store, experiment="01X") == ids(store, Compare(Field("attribute", "experiment"), "=", "01X")) == "a"
        assert ids(store, experiment="") == "b"
        assert store.run("a").experiment == "01X"

    def test_the_bin(self, store: Ledger) -> None:
        """Runs in it are asked for by name only; they are read by id as ever, and come back."""
        binned = a_run("a", deleted=NOW, metrics={"auc": 1.0})
        store.write(binned, a_run("b", metrics={"auc": 1.0}))
        found = {one: ids(store, deleted=one) for one in ("no", "only", "both")}
        assert found == {"no": "b", "only": "a", "both": "ba"}
        assert [store.count(RunQuery(deleted=one)) for one in ("no", "only", "both")] == [1, 1, 2]
        assert ids(store, Compare(AUC, "=", 1)) == "b"
        assert store.run("a") == binned
        store.write(a_run("a"))
        assert ids(store) == "ba"
        with pytest.raises(Invalid, match="no, only or both"):
            store.runs(RunQuery(deleted="yes"))  # type: ignore[arg-type]

    def test_slim_runs(self, store: Ledger) -> None:
        """Without what lists seldom show."""
        whole = a_run(
            "a", inputs={"x": "1"}, outputs={"y": "2"}, key="k", key_parts={"code": "c"}, metrics={"auc": 1.0}
        )
        store.write(whole)
        assert list(store.runs(RunQuery(slim=True))) == [a_run("a", key="k", metrics={"auc": 1.0})]

    def test_a_run_removed_for_good(self, store: Ledger) -> None:
        """With its edges, parameters, tags and metrics; to say it again is no error."""
        run = a_run("a", inputs={"x": "1"}, parameters={"depth": 3}, tags={"team": "a"}, metrics={"stated": 1.0})
        store.write(run, a_run("b"), Metric("a", "auc", 0, 0.5, NOW))
        for _ in range(2):
            store.write(Removal(run="a"))
        with pytest.raises(NotFound):
            store.run("a")
        assert (list(store.metrics("a")), list(store.metrics("a", summary=True))) == ([], [])
        for where in (Known(DEPTH), Known(TEAM), Known(AUC), Linked("input", "1")):
            assert ids(store, where) == ""
        with pytest.raises(NotFound, match="no run"):
            store.write(Metric("a", "auc", 1, 0.5, NOW))
        store.write(a_run("a"))
        assert store.run("a").metrics == {}
        assert ids(store) == "ba"

    def test_an_artifact_removed_for_good(self, store: Ledger) -> None:
        """Only when no run has it and no name ever stood on it; a run may go with its artifact."""
        linked, named, free = (an_artifact(number) for number in range(3))
        store.write(linked, named, free, a_run("a", outputs={"y": linked.digest}))
        store.point("model/x", "live", named.digest, by="ada")
        store.point("model/x", "live", None, by="ada")
        with pytest.raises(Conflict, match="run a"):
            store.write(Removal(artifact=linked.digest))
        with pytest.raises(Conflict, match="model/x"):
            store.write(Removal(artifact=free.digest), Removal(artifact=named.digest))
        assert len(store.artifacts()) == 3
        store.write(Removal(artifact=linked.digest), Removal(run="a"), Removal(artifact=free.digest))
        assert list(store.artifacts()) == [named]

    def test_a_declaration_that_says_less(self, store: Ledger) -> None:
        """The artifact keeps its digest, its runs and its names; one that is not there is no error."""
        told, other = (an_artifact(number, spec={"who": "ada", "number": number}) for number in range(2))
        store.write(told, other, a_run("a", outputs={"y": told.digest}))
        store.point("model/x", "live", told.digest, by="ada")
        store.write(Redaction(told.digest, {"who": "erased"}), Redaction("0" * 64, {}))
        assert store.artifact(told.digest) == msgspec.structs.replace(told, spec={"who": "erased"})
        assert store.artifact(other.digest) == other
        store.write(told)  # said again, it is not told again
        assert store.artifact(told.digest).spec == {"who": "erased"}

    # Summaries.

    def test_summaries(self, store: Ledger) -> None:
        """Of every point of a name, NaN counted and no extreme; of a stated value, itself."""
        store.write(a_run("a", metrics={"stated": 2.0, "nothing": math.nan}))
        points = [(0, 0.5), (2, math.nan), (1, -math.inf), (2, 0.25)]
        for number, (step, value) in enumerate(points):
            store.write(Metric("a", "auc", step, value, NOW + timedelta(seconds=number)))
        store.write(*(Metric("a", "wrong", step, math.nan, NOW) for step in range(3)))
        auc, nothing, stated, wrong = store.metrics("a", summary=True)
        assert auc == Summary("a", "auc", 0.25, 2, NOW + timedelta(seconds=3), -math.inf, 0.5, 4)
        assert stated == Summary("a", "stated", 2.0, 0, None, 2.0, 2.0, 0)
        assert (wrong.min, wrong.max, wrong.count, math.isnan(wrong.last)) == (None, None, 3, True)
        assert (nothing.min, nothing.count, math.isnan(nothing.last)) == (None, 0, True)
        assert list(store.metrics("a", "auc", summary=True)) == [auc]
        assert ids(store, Compare(Field("metric", "auc", "count"), "=", 4)) == "a"
        assert ids(store, Compare(Field("metric", "auc", "min"), "<", -1e300)) == "a"
        assert ids(store, Known(Field("metric", "wrong", "max"))) == ""

    def test_a_point_told_twice_stands_once(self, store: Ledger) -> None:
        """As it was told last, in one call or in two; the summary knows."""
        store.write(a_run("a"), Metric("a", "m", 1, 5.0, NOW), Metric("a", "m", 1, 4.0, NOW))
        store.write(Metric("a", "m", 1, 3.0, NOW), Metric("a", "m", 0, 9.0, NOW))
        assert [(one.step, one.value) for one in store.metrics("a")] == [(0, 9.0), (1, 3.0)]
        assert list(store.metrics("a", summary=True)) == [Summary("a", "m", 3.0, 1, NOW, 3.0, 9.0, 2)]
        store.write(Metric("a", "m", 0, 1.0, NOW))
        assert list(store.metrics("a", summary=True)) == [Summary("a", "m", 3.0, 1, NOW, 1.0, 3.0, 2)]

    def test_the_record_and_the_points(self, store: Ledger) -> None:
        """A record that is written again states the last value; what was measured stays and comes back."""
        store.write(a_run("a"), Metric("a", "m", 5, 0.5, NOW))
        store.write(a_run("a", metrics={"m": 0.7}))
        assert list(store.metrics("a", summary=True)) == [Summary("a", "m", 0.7, 5, NOW, 0.5, 0.5, 1)]
        store.write(a_run("a"))
        assert list(store.metrics("a", summary=True)) == []
        store.write(a_run("a", metrics={"m": 0.8}))
        store.write(Metric("a", "m", 4, 0.4, NOW))
        assert list(store.metrics("a", summary=True)) == [Summary("a", "m", 0.8, 5, NOW, 0.4, 0.5, 2)]


def ids_of(store: Ledger, seen: list[str], field: Field, descending: bool) -> Iterator[str]:
    """The runs that were there at first, as the order has them; they are all gone by now."""
    expected = {"auc": "eabcd beacd", "depth": "eabcd beadc", "team": "dabec badec", "name": "edbac cedba"}
    expected |= {"seconds": "edcab dcaeb", "parent": "decba decba"}
    assert all(isinstance(run, Run) for run in store.runs())
    assert len(set(seen)) == len(seen)
    yield from expected[field.name].split()[descending]
