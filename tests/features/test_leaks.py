from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source, count, latest, mean, std
from trivet.features import max as greatest
from trivet.features.leaks import check_leaks, find_leaks
from trivet.features.spines import spine
from trivet.features.training_set import build, training_set
from trivet.ledger import RunQuery

START = datetime(2013, 3, 1, tzinfo=UTC)
PLANE = Entity("plane", key="tail")


def flights(rows=400, seed=1):
    random = np.random.default_rng(seed)
    dep = [START + timedelta(minutes=int(m)) for m in np.sort(random.integers(0, 40_000, rows))]
    delay = random.normal(10, 20, rows).round(1)
    return pl.DataFrame(
        {
            "tail": random.choice(list("ABCDEFGH"), rows),
            "dep": dep,
            "arr": [at + timedelta(hours=int(h)) for at, h in zip(dep, random.integers(1, 6, rows), strict=True)],
            "delay": delay,
            "arr_delay": delay + random.normal(0, 5, rows).round(1),
            "carrier": random.choice(["AA", "UA"], rows),
            "late": delay > 15,
        }
    )


def source(data, **options):
    return Source("flights", data, event_time="dep", **options)


def view(over, **options):
    features = {
        "delay_1d": mean("delay", "1d"),
        "arr_last": latest("arr_delay"),
        "carrier": latest("carrier"),
        "left": latest("dep"),
        "worst": greatest("delay", "2d", where="carrier = 'AA'"),
        "spread": std("delay", "3d", lag="1h"),
        "n": count("1d"),
    }
    return FeatureView("plane", entity=PLANE, source=over, features={**features, **options})


def asked(data):
    return data.select("tail", t="dep", late=pl.col("delay") > 15)


def test_a_sound_set_is_found_sound_and_the_report_is_kept(context):
    declared = source(flights(), known_after="1m", column_times={"arr_delay": "arr"}, timezone="America/New_York")
    train = training_set(context, asked(flights()), [view(declared)], time="t", label="late")
    report = check_leaks(context, train, rows=120)
    assert report.ok, str(report)
    assert (report.rows, report.cells, report.suspicions) == (120, 120 * 7, [])
    assert report.edges["first"] == report.edges["last"] == 6
    assert report.edges["busiest keys of plane"] > 0
    assert report.edges["days of 23 and 25 hours in America/New_York"] > 0
    assert report.edges["at dep of plane"] > 0
    assert report.edges["at random"] > 50
    [run] = context.ledger.runs(RunQuery(kind="leak_check", input=train.artifact.digest))
    assert context.ledger.artifact(run.outputs["result"]).id == report.artifact
    assert "nothing gives the label away" in str(report)
    assert report.to_json()["ok"] is True
    again = check_leaks(context, train.artifact, rows=120)
    assert again == report


def test_a_changed_cell_is_found(context):
    train = training_set(context, asked(flights(90)), [view(source(flights(90)))], time="t", label="late")
    views = {"plane": view(source(None))}
    cell = train.to_polars()["delay_1d"].is_not_null().arg_true()[-1]
    changed = (
        train.to_polars()
        .with_row_index("i")
        .with_columns(
            delay_1d=pl.when(pl.col("i") == cell).then(pl.col("delay_1d") + 1e-12).otherwise(pl.col("delay_1d"))
        )
    )
    train._table = changed.drop("i")
    found = find_leaks(train, {"flights": flights(90)}, views, rows=90)
    assert (found["ok"], found["wrong"]) == (False, 1)
    assert (found["differences"][0]["feature"], found["differences"][0]["row"]) == ("plane:delay_1d", cell)


def test_a_value_of_the_rows_own_event_is_found_where_it_is_visible(context):
    data = flights()
    late = {"own": latest("delay"), "late_now": latest("late"), "window": mean("delay", "1d")}
    train = training_set(
        context,
        asked(data),
        [FeatureView("v", entity=PLANE, source=source(data), features=late)],
        time="t",
        label="late",
    )
    report = check_leaks(context, train, rows=10)
    assert [(each.feature, each.column) for each in report.own_values] == [("v:own", "delay"), ("v:late_now", "late")]
    assert all(each.rows == each.of > 380 for each in report.own_values)
    assert {hint.feature for hint in report.suspicions} == {"v:own", "v:late_now"}
    assert not report.ok
    assert "LEAK v:own takes in the row's own 'delay', which tells the label, in 39" in str(report)
    strict = training_set(
        context,
        asked(data),
        [FeatureView("v", entity=PLANE, source=source(data), features=late)],
        time="t",
        label="late",
        strict=True,
    )
    assert check_leaks(context, strict, rows=50).ok


def test_a_window_that_reaches_past_the_rows_own_event_is_found(context):
    """Asked at arrival, about what was known at departure: the window holds the flight itself."""
    data = flights()
    declared = source(data, column_times={"arr_delay": "arr"})
    features = {"delay_1d": mean("delay", "1d"), "arr_1d": mean("arr_delay", "1d")}
    chosen = FeatureView("v", entity=PLANE, source=declared, features=features)
    asked_at_arrival = data.select("tail", t="arr", late=pl.col("delay") > 15)
    report = check_leaks(context, training_set(context, asked_at_arrival, [chosen], time="t", label="late"), rows=10)
    assert [each.feature for each in report.own_values] == ["v:delay_1d"]


def test_a_set_without_label_is_only_recomputed(context):
    train = training_set(context, spine(context, source(flights(60)), PLANE), [view(source(flights(60)))], time="t")
    report = check_leaks(context, train, rows=1000)
    assert (report.rows, report.own_values, report.suspicions) == (60, [], [])


def test_only_what_is_on_record_can_be_checked(context):
    train = training_set(context, asked(flights(60)), [view(source(flights(60)))], time="t", label="late")
    with pytest.raises(Invalid, match="Only a recorded training set"):
        check_leaks(context, train.before(START + timedelta(days=1)))
    with pytest.raises(Invalid, match="Only a recorded training set"):
        check_leaks(context, context.ledger.artifact(train.run.inputs["sources.flights"]))


HOURS = st.integers(0, 5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("ab"), HOURS, st.none() | HOURS, HOURS, st.none() | HOURS), max_size=10),
    st.lists(st.tuples(st.none() | st.sampled_from("abc"), st.none() | HOURS), min_size=1, max_size=5),
    st.booleans(),
)
def test_what_is_left_out_before_the_loop_never_matters(rows, asked_at, strict):
    """Every cell of any set is the loop's, which sees only the rows that could matter."""
    utc = pl.Datetime("us", "UTC")
    times = ("event", "known", "created")
    frame = pl.DataFrame(
        [(t, *(None if h is None else START + timedelta(hours=h) for h in hours), v) for t, *hours, v in rows],
        {"tail": pl.String, **dict.fromkeys(times, utc), "x": pl.Int64},
        orient="row",
    )
    declared = Source("rows", event_time="event", known_at="known", created="created")
    features = {
        "x": latest("x"),
        "gap": latest("x", skip_nulls=True, lag="1h"),
        "old": latest("x", ttl="2h"),
        "n": count("2h", where="x > 1"),
    }
    chosen = FeatureView("v", entity=PLANE, source=declared, features=features)
    spine_ = pl.DataFrame(
        [(t, None if h is None else START + timedelta(hours=h)) for t, h in asked_at],
        {"tail": pl.String, "t": utc},
        orient="row",
    )
    references = [f"v:{name}" for name in features]
    train = build(spine_, {"rows": frame}, {"v": chosen}, features=references, time="t", strict=strict)
    found = find_leaks(train, {"rows": frame}, {"v": chosen})
    assert found["differences"] == []
    assert found["rows"] == len(asked_at)
