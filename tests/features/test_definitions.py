from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta

import polars as pl
import pytest

from trivet import features as tv
from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact
from trivet.types import as_utc

ORIGIN = tv.Entity("origin")
FLIGHTS = tv.Source(
    "flights",
    "flights.parquet",
    event_time="dep",
    known_after="5m",
    created="loaded",
    column_times={"arr_delay": "arr", "gate": tv.Times("dep", known="told", after="1m")},
    timezone="America/New_York",
    ambiguous="latest",
)
LATE = tv.Source(
    "late", sql="select * from flights where delay > 15", inputs=[FLIGHTS], event_time="dep", known_after="0s"
)
FEATURES = {
    "a": tv.latest("x", ttl="6h", skip_nulls=True),
    "b": tv.count("3h"),
    "c": tv.count("x", "3h"),
    "d": tv.quantile("x", 0.9, timedelta(days=7)),
    **{op: getattr(tv, op)("x", "90m") for op in ("sum", "mean", "min", "max", "std", "first", "last", "nunique")},
}


@pytest.mark.parametrize("source", [FLIGHTS, LATE, tv.Source("planes", "planes.csv")], ids=lambda s: s.name)
def test_views_come_back_from_json(source):
    features = ["x"] if source.static else FEATURES
    view = tv.FeatureView(
        "v", entity=ORIGIN, source=source, features=features, description="d", owner="o", tags={"t": "1"}
    )
    back = tv.FeatureView.from_spec(json.loads(json.dumps(view.to_spec())))
    assert back == view
    assert back.digest == view.digest
    assert list(back.features) == list(view.features)


def test_the_digest_is_that_of_the_artifact_and_pinned():
    view = tv.FeatureView("weather", entity=ORIGIN, source=FLIGHTS, features=["temp"], ttl="6h")
    artifact = Artifact.of("feature_view", view.to_spec(), created=as_utc("2013-01-01T00:00:00Z"))
    assert view.digest == artifact.digest
    assert view.digest == "1bea81de8e2b7d005a9b4723813c575fb85a3bb54a19c3cec8b188a4706d1871"


def test_a_view_comes_back_in_a_process_that_imports_no_heavy_library():
    view = tv.FeatureView("v", entity=ORIGIN, source=LATE, features=FEATURES)
    code = (
        "import json, sys\nfrom trivet.features import FeatureView\n"
        "view = FeatureView.from_spec(json.loads(sys.stdin.read()))\nprint(view.digest)\n"
        "assert not {'numpy', 'polars', 'pandas', 'duckdb', 'pyarrow'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(view.to_spec()), capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == view.digest, done.stderr


def test_the_decorator_takes_name_and_description_from_the_function():
    @tv.feature_view(entity=ORIGIN, source=FLIGHTS, owner="ada")
    def congestion(t):
        "How late planes leave."
        return {"delay_3h": tv.mean(t.dep_delay, "3h"), "n": tv.count("3h")}

    assert (congestion.name, congestion.description, congestion.owner) == (
        "congestion",
        "How late planes leave.",
        "ada",
    )
    assert congestion.features["delay_3h"] == tv.mean("dep_delay", "3h")


def test_a_data_frame_is_no_part_of_the_declaration():
    one, other = (tv.Source("s", pl.DataFrame({"origin": [n], "x": [n]})) for n in (1, 2))
    assert one.to_spec() == other.to_spec()
    assert one != other


def test_an_edit_of_the_computation_changes_the_online_name_and_of_the_words_does_not():
    def view(**options):
        return tv.FeatureView("v", entity=ORIGIN, source=FLIGHTS, **{"features": ["x"], **options})

    assert view().online_name == view(description="words", owner="ada", ttl="1d").online_name
    assert view().online_name != view(features=["y"]).online_name


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda: tv.Entity("no good"), "cannot name an entity"),
        (lambda: tv.Entity("a__b"), "cannot name an entity"),
        (lambda: tv.Entity("e", key="a", keys=("b",)), "both key= and keys="),
        (lambda: tv.Entity("e", keys=("a", "a")), "needs different key columns"),
        (lambda: tv.Source("s", known_at="k"), "not when they happened"),
        (lambda: tv.Source("s", sql="select 1"), "both sql= and inputs"),
        (lambda: tv.Source("s", "f.csv", sql="select 1", inputs=[FLIGHTS]), "both data and sql="),
        (lambda: tv.Source("s", event_time="e", timezone="Mars/Olympus"), "is not a time zone"),
        (lambda: tv.Source("s", event_time="e", ambiguous="maybe"), "is not a rule"),
        (lambda: tv.Times("e", after=timedelta(seconds=-1)), "before it happens"),
        (lambda: tv.FeatureView("v", entity=ORIGIN, source=FLIGHTS, features=[]), "has no features"),
        (lambda: tv.FeatureView("v", entity=ORIGIN, source=FLIGHTS, features="x"), "is one text"),
        (lambda: tv.FeatureView("v", entity=ORIGIN, source=FLIGHTS, features=["x", "x"]), "twice"),
        (
            lambda: tv.FeatureView("v", entity=ORIGIN, source=FLIGHTS, features={"x": "mean"}),
            "Declare it with tv.latest",
        ),
        (lambda: tv.FeatureView("v", entity="origin", source=FLIGHTS, features=["x"]), "needs entity=tv.Entity"),
        (lambda: tv.FeatureView("v", entity=ORIGIN, source=FLIGHTS, features=["x"], ttl="0s"), "longer than nothing"),
        (
            lambda: tv.FeatureView("v", entity=ORIGIN, source=tv.Source("s"), features={"n": tv.count("1h")}),
            "has no event_time",
        ),
        (
            lambda: tv.FeatureView("v", entity=ORIGIN, source=tv.Source("s"), features=["x"], ttl="1h"),
            "has no event_time",
        ),
        (lambda: tv.mean("x", 3), "Write it last, as a duration"),
        (lambda: tv.mean("x", "3 parsecs"), "is not a duration"),
        (lambda: tv.mean("x", "0s"), "longer than nothing"),
        (lambda: tv.quantile("x", 1.5, "1h"), "between 0 and 1"),
        (lambda: tv.latest(3), "is not the name of a column"),
        (lambda: tv.feature_view(entity=ORIGIN, source=FLIGHTS)(lambda a, b: {}), "takes 2 arguments"),
        (lambda: tv.feature_view(entity=ORIGIN, source=FLIGHTS, name="v")(lambda: None), "Return a dict"),
    ],
)
def test_bad_declarations_get_a_sentence(declare, sentence):
    with pytest.raises(Invalid, match=sentence):
        declare()


def test_an_unknown_operation_offers_the_nearest():
    with pytest.raises(NotFound, match="Did you mean 'mean'"):
        tv.Aggregate("meann", "x", 1)


def people(**personal):
    rules = {name: rule.replace("_", " ") for name, rule in personal.items()}
    return tv.Source("flights", "f.csv", event_time="at", personal=rules)


def test_personal_data_and_tags_come_back_from_json():
    view = tv.FeatureView(
        "v", entity=ORIGIN, source=people(pilot="do_not_serve"), features=["x"], tags=["delay", "live"]
    )
    assert view.tags == {"delay": "", "live": ""}
    back = tv.FeatureView.from_spec(json.loads(json.dumps(view.to_spec())))
    assert back == view
    assert back.source.personal == {"pilot": "do not serve"}
    with pytest.raises(Invalid, match="is one text"):
        tv.FeatureView("v", entity=ORIGIN, source=FLIGHTS, features=["x"], tags="delay")


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda: people(pilot="do_not_tell"), "is not a rule. There are: do not serve, do not store"),
        (lambda: people(at="do_not_store"), "tells time or order by column 'at'"),
        (
            lambda: tv.FeatureView("v", entity=ORIGIN, source=people(x="do_not_store"), features=["x"]),
            "'x' of source 'flights' is personal data marked 'do not store', so feature 'x'",
        ),
        (
            lambda: tv.FeatureView("v", entity=ORIGIN, source=people(origin="do_not_store"), features=["x"]),
            "so entity 'origin' of view 'v' cannot use it",
        ),
    ],
)
def test_what_may_not_be_stored_is_no_part_of_a_view(declare, sentence):
    with pytest.raises(Invalid, match=sentence):
        declare()


def test_what_may_not_be_served_taints_all_that_is_made_from_it():
    flights = people(pilot="do_not_serve")
    features = {"age": tv.mean("pilot", "1h"), "n": tv.count("1h")}
    view = tv.FeatureView("v", entity=ORIGIN, source=flights, features=features)
    above = tv.FeatureView("w", entity=ORIGIN, source=view, features=["age", "n"])
    query = tv.Source("q", sql="select * from flights", inputs=flights, event_time="at", personal={})
    queried = tv.FeatureView("q", entity=ORIGIN, source=query, features=["pilot", "y"])
    assert (view.served_features, above.served_features, queried.served_features) == (("n",), ("n",), ("y",))
    view.check_served()
    view.check_served("n")
    with pytest.raises(Invalid, match=r"'w:age' is made from personal data .* Ask for 'n'"):
        above.check_served("age")
    keyed = tv.FeatureView("k", entity=tv.Entity("pilot"), source=flights, features=["x"])
    assert keyed.served_features == ()
    with pytest.raises(Invalid, match="view 'k' is made from personal data"):
        keyed.check_served()


def test_a_function_is_declared_with_all_its_text():
    source = tv.Source("s", people)
    spec = source.to_spec()
    assert list(spec) == ["name", "function"]
    assert "def people(" in source.function.text
    assert tv.Source.from_spec(spec).to_spec() == spec
    assert tv.Source.from_spec({"name": "s", "entry": "m:f"}).to_spec() == {"name": "s", "entry": "m:f"}


def test_declarations_of_before_keep_their_digests():
    spec = {
        "name": "old",
        "entity": {"name": "origin", "keys": ["origin"]},
        "source": {"name": "late", "event_time": "dep", "sql": "select 1", "inputs": [{"name": "f", "path": "f.csv"}]},
        "features": [["n", {"operation": "count", "window": "3h"}]],
        "ttl": None,
        "description": "",
        "owner": "",
        "tags": {"team": "ops"},
    }
    view = tv.FeatureView.from_spec(spec)
    assert view.to_spec() == spec
    assert view.digest == "884f250f3091aeac0f0b56cc797c00b4aeda14ff79d424e30212d203c1f12626"
    assert view.online_name == "old@2b7a8a147ab4"
