from __future__ import annotations

from datetime import timedelta

import pytest

from trivet.errors import Invalid
from trivet.features import aggregates as agg
from trivet.features.aggregates import Aggregate, Several, expand
from trivet.features.definitions import Entity, FeatureView, Source

HOUR = 3_600_000_000


def texts(feature):
    return {name: str(each) for name, each in expand({"f": feature}).items()}


def test_a_declaration_goes_to_json_and_back():
    declared = agg.mean("x", "3h", where="15 < x and s in ('b','a')", lag="1d")
    assert declared.to_spec() == {
        "operation": "mean",
        "column": "x",
        "window": "3h",
        "where": "x > 15 and s in ('a', 'b')",
        "lag": "1d",
    }
    assert Aggregate.from_spec(declared.to_spec()) == declared


def test_what_is_not_declared_is_not_in_the_spec():
    assert agg.count("3h").to_spec() == {"operation": "count", "window": "3h"}
    assert agg.latest("x").to_spec() == {"operation": "latest", "column": "x"}


def test_conditions_that_say_the_same_make_the_same_view():
    def view(where):
        source = Source("s", event_time="e")
        return FeatureView("v", entity=Entity("a"), source=source, features={"n": agg.count("1h", where=where)})

    assert view("x between 1.0 and 2").digest == view(" X >= 1 AND X <= 2 ".replace("X", "x")).digest
    assert view("x > 1").digest != view("x > 2").digest


def test_several_windows_are_called_by_what_was_written():
    assert texts(agg.sum("x", ["90m", timedelta(hours=1), "1h 10m"])) == {
        "f_90m": "sum('x', '1h30m')",
        "f_1h": "sum('x', '1h')",
        "f_1h10m": "sum('x', '1h10m')",
    }
    assert texts(agg.count(("1h", "1d"))) == {"f_1h": "count('1h')", "f_1d": "count('1d')"}
    assert list(texts(agg.count("x", ["1h"]))) == ["f_1h"]


def test_buckets_are_conditions():
    assert texts(agg.count("1d", by="carrier", values=["AA", "it_s"], where="x > 1 or y > 1")) == {
        "f_AA": "count('1d', where=\"(x > 1 or y > 1) and carrier = 'AA'\")",
        "f_it_s": "count('1d', where=\"(x > 1 or y > 1) and carrier = 'it_s'\")",
    }
    assert texts(agg.mean("x", ["1h", "1d"], by="stops", values={0: "none", 2: "two"}, lag="1h")) == {
        "f_1h_none": "mean('x', '1h', where='stops = 0', lag='1h')",
        "f_1h_two": "mean('x', '1h', where='stops = 2', lag='1h')",
        "f_1d_none": "mean('x', '1d', where='stops = 0', lag='1h')",
        "f_1d_two": "mean('x', '1d', where='stops = 2', lag='1h')",
    }
    assert list(texts(agg.latest("x", by="up", values=[True, False]))) == ["f_true", "f_false"]
    assert isinstance(agg.latest("x", by="up", values=[True]), Several)


def test_a_view_holds_single_features():
    features = {"late": agg.mean("x", ["1h", "1d"]), "n": agg.count("1h")}
    view = FeatureView("v", entity=Entity("a"), source=Source("s", event_time="e"), features=features)
    assert list(view.features) == ["late_1h", "late_1d", "n"]
    assert FeatureView.from_spec(view.to_spec()) == view


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda: agg.count("1h", where="x >"), "where a column or a literal is expected"),
        (lambda: agg.count("1h", where=3), "is no text"),
        (lambda: agg.count("1h", lag="0s") and agg.count("1h", lag="-1h"), "'-1h' is not a duration"),
        (lambda: agg.count("9999999999d"), "ten thousand years"),
        (lambda: agg.latest("x", lag="9999999999d"), "ten thousand years"),
        (lambda: agg.mean("x", []), "names no window"),
        (lambda: agg.mean("x", ["1h", "60m"]), "one length twice"),
        (lambda: agg.mean("x", 3), "is not the length of a window"),
        (lambda: agg.count("1h", by="c"), "needs both"),
        (lambda: agg.count("1h", values=["a"]), "needs both"),
        (lambda: agg.count("1h", by="c", values=[]), "has no values"),
        (lambda: agg.count("1h", by="c", values="AA"), "is one text"),
        (lambda: agg.count("1h", by="c", values=["a b"]), r"values=\{'a b': 'a_name'\}"),
        (lambda: agg.count("1h", by="c", values=["_a"]), "cannot be the end"),
        (lambda: agg.count("1h", by="c", values=["a__b"]), "cannot be the end"),
        (lambda: agg.count("1h", by="c", values=[-1]), "cannot be the end"),
        (lambda: agg.count("1h", by="c", values=[0.5]), "is not a value"),
        (lambda: agg.count("1h", by="c", values=[None]), "is not a value"),
        (lambda: agg.count("1h", by="c", values=["1", 1]), "would be called '1'"),
        (lambda: expand({"a": agg.count(["1h", "1d"]), "a_1h": agg.count("1h")}), "would be called 'a_1h'"),
    ],
)
def test_what_cannot_be_declared_gets_a_sentence(declare, sentence):
    with pytest.raises(Invalid, match=sentence):
        declare()


def test_a_source_without_times_has_no_yesterday():
    with pytest.raises(Invalid, match="no event_time"):
        FeatureView("v", entity=Entity("a"), source=Source("s"), features={"x": agg.latest("x", lag="1d")})


def test_what_a_feature_reads_is_known():
    assert agg.mean("x", "1h", where="y > x and z is null").columns == ("x", "y", "z")
    assert agg.count("1h").columns == ()
    assert agg.mean("x", "1h", lag="1h").lag == HOUR
