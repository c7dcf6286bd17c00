from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureView, Source, count, mean, select_all
from trivet.features.catalogue import Catalogue
from trivet.features.point_in_time import agree, recompute
from trivet.features.training_set import TrainingSet, TrainingSetKind, build, training_set
from trivet.ledger import Artifact
from trivet.pipelines import values

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
ORIGIN = Entity("origin")
FLIGHTS = pl.DataFrame(
    {
        "origin": ["JFK", "JFK", "EWR", "JFK"],
        "dep": [NOON - timedelta(hours=hours) for hours in (3, 2, 1, 0)],
        "delay": [10.0, None, 5.0, 99.0],
        "late": [False, True, False, True],
        "carrier": ["AA", "DL", "DL", "AA"],
    }
)
SPINE = pd.DataFrame({"origin": ["EWR", "JFK", "LGA"], "t": [NOON] * 3, "label": [1, 0, 1]}, index=[7, 7, 9])


def view(data=None, **options):
    source = Source("flights", data, event_time="dep", known_after="1h")
    features = {"delay": mean("delay", "12h"), "n": count("12h")}
    return FeatureView("congestion", entity=ORIGIN, source=source, features=features, **options)


def last(data=None):
    source = Source("flights", data, event_time="dep", known_after="1h")
    return FeatureView("last", entity=ORIGIN, source=source, features=["carrier", "late", "dep"])


def test_a_training_set_is_recorded_with_all_it_was_made_from(context):
    FLIGHTS.write_parquet(context.root / "flights.parquet")
    congestion = view("flights.parquet")
    train = training_set(context, SPINE, [congestion, last("flights.parquet")], time="t", label="label")
    assert train.to_pandas()[["origin", "delay", "n"]].replace({np.nan: None}).values.tolist() == [
        ["EWR", 5.0, 1],
        ["JFK", 10.0, 2],
        ["LGA", None, 0],
    ]
    assert train.run.kind == "training_set"
    assert set(train.run.inputs) == {"spine", "sources.flights", "views.congestion", "views.last"}
    assert train.run.outputs == {"result": train.artifact.digest}
    assert train.run.inputs["views.congestion"] == congestion.digest
    assert context.ledger.artifact(train.run.inputs["sources.flights"]).kind == "source"
    assert train.artifact.id in repr(train)


def test_the_same_call_makes_the_same_artifact_and_it_comes_back(context):
    one, other = (training_set(context, SPINE, [view(FLIGHTS)], time="t") for _ in range(2))
    assert one.artifact.digest == other.artifact.digest
    back = values.load(one.artifact, context.blobs)
    assert back.to_polars().equals(one.to_polars())
    assert (back.time, back.entities, back.features, back.report) == (one.time, one.entities, one.features, one.report)


def test_build_from_recorded_inputs_answers_the_same(context):
    train = training_set(context, SPINE, [view(FLIGHTS)], time="t", label="label")
    loaded = {slot: values.load(context.ledger.artifact(d), context.blobs) for slot, d in train.run.inputs.items()}
    again = build(
        loaded["spine"],
        {"flights": loaded["sources.flights"]},
        {"congestion": loaded["views.congestion"]},
        **train.run.parameters,
    )
    assert TrainingSetKind().save(again, context.blobs).content == train.artifact.content


def test_views_of_the_catalogue_are_found_by_reference(context):
    Catalogue(context).apply(view(FLIGHTS))
    train = training_set(context, SPINE, ["congestion:n"], time="t")
    assert train.to_polars()["n"].to_list() == [1, 2, 0]
    with pytest.raises(NotFound, match="Did you mean 'congestion'"):
        training_set(context, SPINE, ["congestoin:n"], time="t")


def test_the_features_are_inputs_of_a_model():
    train = built([last(FLIGHTS)])
    carrier, late = train.columns_of_features
    assert (carrier.name, carrier.type, carrier.categories) == ("carrier", "category", ("DL",))
    assert (late.name, late.type, late.feature, late.view) == ("late", "boolean", "last:late", last().digest)


def built(views, spine=SPINE, data=FLIGHTS, **options):
    references = [each.reference for each in select_all(views)]
    return build(spine, {"flights": data}, {v.name: v for v in views}, features=references, time="t", **options)


@pytest.mark.parametrize("make", [lambda s: s, pl.from_pandas, lambda s: pl.from_pandas(s).to_arrow()])
def test_spines_of_any_make_are_joined_row_by_row(make):
    assert built([view()], make(SPINE)).to_polars()["n"].to_list() == [1, 2, 0]


def test_what_was_met_on_the_way_is_counted():
    spine = pl.DataFrame({"origin": ["JFK", None, "LGA", "JFK"], "t": [NOON, NOON, NOON, None]})
    rows = pl.concat([FLIGHTS, FLIGHTS[:2], FLIGHTS[:1].with_columns(dep=pl.lit(None, pl.Datetime("us", "UTC")))])
    report = built([view()], spine, rows.with_columns(origin=pl.col("origin").replace("EWR", None))).report
    assert (report.rows, report.null_times) == (4, 1)
    assert (report.null_keys, report.unknown_keys) == ({"congestion": 1}, {"congestion": 1})
    assert report.source_rows == {"flights": 7}
    assert report.source_null_keys == {"congestion": 1}
    assert report.source_null_times == {"congestion": 1}
    assert report.source_duplicates == {"congestion": 2}
    assert report.nulls == {"delay": 3, "n": 2}


def test_bad_input_gets_a_sentence():
    with pytest.raises(NotFound, match=r"'labl'. Did you mean 'label'"):
        built([view()], label="labl")
    with pytest.raises(Invalid, match="a column of the spine called 'n'"):
        built([view()], SPINE.assign(n=1))
    with pytest.raises(Invalid, match=r"Column 't' of the spine has times without a zone. Say which it is"):
        built([view()], SPINE.assign(t=SPINE.t.dt.tz_localize(None)))
    with pytest.raises(NotFound, match="key column in the spine called 'origin'"):
        built([view()], SPINE.drop(columns="origin"))
    with pytest.raises(Invalid, match="The spine is a list"):
        built([view()], [1])
    with pytest.raises(Invalid, match=r"'congestion:delay' is the mean of column 'delay'.*String"):
        built([view()], data=FLIGHTS.cast({"delay": pl.String}))


def test_keys_that_pandas_made_floats_still_match():
    rows = pl.DataFrame({"origin": [1, 2], "dep": [NOON, NOON], "delay": [1.0, 2.0]})
    spine = pd.DataFrame({"origin": [2.0, np.nan, 1.0], "t": [NOON + timedelta(hours=2)] * 3})
    assert built([view()], spine, rows).to_polars()["delay"].to_list() == [2.0, None, 1.0]
    with pytest.raises(Invalid, match="Keys are text, whole numbers"):
        built([view()], spine.assign(origin=1.5), rows)


def test_an_empty_spine_and_an_empty_source_are_answered():
    assert built([view(), last()], SPINE[:0]).to_polars().schema["n"] == pl.Int64
    empty = built([view(), last()], data=FLIGHTS[:0]).to_polars()
    assert empty["n"].to_list() == [0, 0, 0]
    assert empty["late"].to_list() == [None] * 3


# Rows 2013-12-15 of machine_temperature_system_failure (Numenta Anomaly Benchmark): real duplicates, one step back.
NAB = [
    ("2013-12-02 21:15:00", 73.96732207),
    ("2013-12-02 21:20:00", 74.93588199999998),
    ("2013-12-02 21:25:00", 76.12416182),
    ("2013-12-02 21:20:00", 78.14070732),
    ("2013-12-02 21:25:00", 79.32983574),
    ("2013-12-02 21:25:00", 78.71041827),
    ("2013-12-02 21:30:00", 80.26978420000001),
]


def test_duplicates_and_steps_back_resolve_as_the_plain_loop_says():
    rows = pl.DataFrame(NAB, ["at", "value"], orient="row").with_columns(machine=pl.lit(1))
    source = Source("nab", event_time="at", timezone="UTC", known_after="5m")
    features = {"mean": mean("value", "10m"), "n": count("10m")}
    machine = FeatureView("machine", entity=Entity("machine"), source=source, features={**features})
    latest = FeatureView("latest", entity=Entity("machine"), source=source, features=["value"])
    start = datetime(2013, 12, 2, 21, 10, tzinfo=UTC)
    spine = [{"machine": 1, "t": start + timedelta(minutes=minute)} for minute in range(30)]
    chosen = select_all([machine, latest])
    train = build(
        pl.DataFrame(spine),
        {"nab": rows},
        {"machine": machine, "latest": latest},
        features=[each.reference for each in chosen],
        time="t",
    )
    plain = [{**row, "at": datetime.fromisoformat(row["at"]).replace(tzinfo=UTC)} for row in rows.to_dicts()]
    expected = recompute(spine, chosen, {"nab": plain}, time="t")
    for got, want in zip(train.to_polars().to_dicts(), expected, strict=True):
        assert all(agree(got[name], want[name]) for name in want)
    assert train.to_polars()["value"].drop_nulls().unique().len() == 4
    assert train.report.source_duplicates == {"machine": 3, "latest": 3}


def test_a_training_set_is_pinned(context):
    """To change one of these breaks a promise to users."""
    saved = TrainingSetKind().save(built([view()]), context.blobs)
    artifact = Artifact.of("training_set", saved.spec, saved.files, content=saved.content, created=NOON)
    assert isinstance(TrainingSetKind().load(artifact, context.blobs), TrainingSet)
    assert saved.content[:16] == "a1bbad28cdad08c2"


def test_as_known_at_a_moment_late_data_cannot_rewrite_the_past(tmp_path):
    from datetime import timedelta

    import trivet as tv
    from trivet.clock import FixedClock

    (tmp_path / "trivet.toml").touch()  # a project of its own, whatever lies in the folders above
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    noon = datetime(2025, 6, 1, 12, tzinfo=UTC)
    rows = {"place": ["Graz"], "hour": [noon], "temp": [20.0]}
    pl.DataFrame(rows).write_parquet(tmp_path / "weather.parquet")
    source = tv.Source("weather", "weather.parquet", event_time="hour")
    view = tv.FeatureView("weather", entity=tv.Entity("place"), source=source, features=["temp"])
    spine = pl.DataFrame({"place": ["Graz"], "t": [noon + timedelta(hours=1)]})
    with tv.open(tmp_path, clock=clock) as project:
        then = project.training_set(spine, [view], time="t")
        clock.advance(timedelta(days=30))
        pl.DataFrame({**rows, "temp": [35.0]}).write_parquet(tmp_path / "weather.parquet")  # a backfill
        assert project.training_set(spine, [view], time="t").to_polars()["temp"].to_list() == [35.0]
        again = project.training_set(spine, [view], time="t", as_known_at="2026-01-15T00:00:00Z")
        assert again.artifact.digest == then.artifact.digest
        with pytest.raises(NotFound, match=r"weather as of 2025-12-31 .* The first is of 2026-01-01"):
            project.training_set(spine, [view], time="t", as_known_at="2025-12-31T00:00:00Z")
        with pytest.raises(Invalid, match="time zone"):
            project.training_set(spine, [view], time="t", as_known_at="2026-01-15T00:00:00")


def test_created_makes_a_set_proof_against_backfills(context):
    """Plain files with ``created``: rows that reach us later change nothing of what was asked before."""
    columns = FLIGHTS.with_columns(created=pl.col("dep") + timedelta(minutes=5)).select(*FLIGHTS.columns, "created")
    columns.write_parquet(context.root / "flights.parquet")
    source = Source("flights", "flights.parquet", event_time="dep", created="created")
    declared = FeatureView(
        "f", entity=ORIGIN, source=source, features={"delay": mean("delay", "12h"), "n": count("12h")}
    )
    spine = SPINE.assign(t=NOON + timedelta(minutes=5))
    before = training_set(context, spine, [declared], time="t", label="label")
    backfill = columns.with_columns(delay=pl.lit(500.0), created=pl.lit(NOON + timedelta(days=90)))
    pl.concat([columns, backfill]).write_parquet(context.root / "flights.parquet")
    after = training_set(context, spine, [declared], time="t", label="label")
    assert after.to_polars().equals(before.to_polars())
    assert after.artifact.content == before.artifact.content
    later = training_set(context, spine.assign(t=NOON + timedelta(days=90)), [declared], time="t")
    assert later.report.source_rows == {"flights": 8}


@pytest.mark.parametrize("memory", [None, "1MB"])
@pytest.mark.parametrize("kind", ["text", "naive", "zoned", "file"])
def test_naive_times_of_a_spine_have_the_zone_that_is_given(tmp_path, kind, memory):
    rows = pl.DataFrame({"place": ["A", "A"], "at": ["2026-01-05T10:00Z", "2026-01-05T15:00Z"], "temp": [1.0, 2.0]})
    view = tv.FeatureView(
        "weather", entity=tv.Entity("place"), source=tv.Source("s", rows, event_time="at"), features=["temp"]
    )
    spine = pl.DataFrame({"place": ["A"], "asked": ["2026-01-05 09:30"]})
    if kind in ("naive", "zoned"):
        spine = spine.with_columns(
            pl.col("asked").str.to_datetime(time_zone="America/New_York" if kind == "zoned" else None)
        )
    if kind == "file":
        spine.write_csv(tmp_path / "spine.csv")
    given = "spine.csv" if kind == "file" else spine
    with tv.open(tmp_path) as project:
        if kind != "zoned":
            with pytest.raises(Invalid, match=r"Column 'asked' of the spine has times without a zone. Say which it is"):
                project.training_set(given, [view], time="asked")
        train = project.training_set(given, [view], time="asked", timezone="America/New_York", memory=memory)
        assert train.to_polars()["temp"].to_list() == [1.0]  # 9:30 in New York is 14:30 in UTC
        assert train.to_polars()["asked"].dt.convert_time_zone("UTC")[0].hour == 14
        assert project.reproduce(train.run.id, environment="current").ok
        with pytest.raises(Invalid, match="The spine: 'Mars' is not a time zone"):
            project.training_set(given, [view], time="asked", timezone="Mars")
