"""An audit from end to end: what is served without skew audits to nothing, and each kind of skew is found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sklearn.tree import DecisionTreeClassifier

import trivet as tv
from tests import airport
from trivet.clock import FixedClock
from trivet.errors import Invalid, NotFound
from trivet.features.online.contract import Batch, Row
from trivet.features.online.encoding import decode_row, encode_key, encode_row
from trivet.features.skew.report import FeatureSkew, SkewReport
from trivet.serving.metrics import Metrics
from trivet.serving.predictor import Request
from trivet.types import to_micros

LATER = timedelta(days=1)
MOMENT = airport.NOW - 2 * LATER
HOURS = [MOMENT + timedelta(hours=hour, minutes=10) for hour in range(12)]
FEATURES = ["congestion:*", "weather:*"]
ALL = ["congestion:mean_delay", "congestion:departures", "weather:wind"]


@tv.on_demand(inputs=["congestion:mean_delay", "weather:wind"], request={"hour": "int"})
def pressure(mean_delay, wind, hour):
    return {"pressed": mean_delay / (1 + wind), "evening": hour >= 18}


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(airport.NOW)


@pytest.fixture
def project(tmp_path: Path, clock: FixedClock) -> Iterator[tv.Project]:
    airport.build(tmp_path, "airport_audit")
    with tv.open(tmp_path, clock=clock) as opened:
        opened.define(*airport.views())
        yield opened


def fitted(project: tv.Project, features: Any = FEATURES, **columns: pl.Expr) -> None:
    made = project.training_set(airport.spine().with_columns(**columns), features, time="t", label="late")
    with project.run("late") as run:
        names = ["distance", "airport", *columns, *(column.name for column in made.columns_of_features)]
        run.model(tv.Model.fit(DecisionTreeClassifier(max_depth=3, random_state=0), made, features=names), "late")


Serve = Callable[..., list[str]]


@pytest.fixture
def serve(project: tv.Project) -> Serve:
    """Deploys once, and answers every airport at some moments, the store brought up to each where ``fresh``."""
    deployed: list[Any] = []

    def ask(
        moments: list[datetime], *, fresh: bool = False, airports: Any = airport.AIRPORTS, **sent: Any
    ) -> list[str]:
        if not deployed:
            deployed.append(project.deploy("late", allow_ungated="a test"))
        metrics, ids = Metrics(), []
        log = project._live.log(deployed[0], metrics)
        predictor = project._live.predictor(deployed[0], log=log, metrics=metrics)
        for moment in moments:
            if fresh:
                project.materialize(until=moment)
            asked = [Request({"airport": name}, {"distance": 300.0} | sent, moment) for name in airports]
            ids += [each.id for each in predictor.predict(asked)]
        log.close()
        return ids

    return ask


def found(report: SkewReport, feature: str) -> FeatureSkew:
    return next(each for each in report.features if each.feature == feature)


def tamper(project: tv.Project, change: Callable[[Row], Row], name: str, airports: Any = airport.AIRPORTS) -> None:
    """Change what the online store has of a view, as a second writer with other code would."""
    view = project.feature_view(name).view
    keys = [encode_key((each,)) for each in airports]
    [(watermark, rows)] = project._online.get([(view.online_name, keys)])
    changed = [(key, encode_row(change(decode_row(row)))) for key, row in zip(keys, rows, strict=True)]
    project._online.drop(view.online_name)
    project._online.put([Batch(view.online_name, changed, watermark, watermark, watermark=watermark)])


def with_value(place: int, change: Callable[[Any], Any]) -> Callable[[Row], Row]:
    def changed(row: Row) -> Row:
        values = list(row.values)
        values[place] = change(values[place])
        return Row(row.as_of, values, row.times)

    return changed


def rewrite(project: tv.Project, file: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = project.root / "data" / file
    change(pl.read_parquet(path)).write_parquet(path)


def test_what_is_served_fresh_has_no_skew(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    serve(HOURS, fresh=True, airports=(*airport.AIRPORTS, "nowhere"))
    report = project.audit("late")
    assert report.ok, str(report)
    assert (report.rows, report.cells) == (48, 144)
    assert [(each.feature, each.mismatches, each.stale, each.revised) for each in report.features] == [
        (name, 0, 0, 0) for name in ALL
    ]
    assert project.alarms() == []
    [run] = [project.get(each.id) for each in project.context.ledger.runs() if each.kind == "skew_audit"]
    assert run.status == "finished"
    assert project.last_audit("late") == report
    assert "no skew" in str(report)


def test_an_audit_can_be_made_again(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    serve(HOURS[:3], fresh=True)
    report = project.audit("late", rows=5, seed=3)
    assert report.rows == 5
    assert project.reproduce(report.artifact, environment="current").ok


def test_on_demand_features_are_computed_again(project: tv.Project, serve: Serve) -> None:
    fitted(project, [pressure, "congestion:departures"], hour=pl.col("t").dt.hour())
    serve(HOURS, fresh=True, hour=19)
    assert project.audit("late").ok
    tamper(project, with_value(0, lambda delay: delay + 1), "congestion")
    serve(HOURS[-1:], hour=19)
    report = project.audit("late")
    assert [each.feature for each in report.features if each.mismatches] == ["pressure:pressed"]
    assert found(report, "pressure:pressed").mismatches == 3


def test_a_store_that_is_behind_is_stale(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    project.materialize(until=MOMENT)
    serve([MOMENT + timedelta(hours=2)])
    report = project.audit("late")
    for each in report.features:
        assert set(each.causes) <= {"stale"}, str(each)
        assert each.oldest in (None, to_micros(MOMENT + timedelta(hours=2)) - to_micros(MOMENT))
    assert found(report, "weather:wind").causes == {"stale": 3}
    assert "behind: it had the value of an earlier moment by 2h" in str(report)
    declared = project.audit("late", delay="2h")
    assert declared.ok
    assert found(declared, "weather:wind").stale == 3
    assert "behind by at most 2h" in str(declared)
    assert not project.audit("late", delay="1h").ok


def test_a_store_that_is_behind_until_values_expire_is_stale(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    project.materialize(until=MOMENT)
    serve([MOMENT + timedelta(hours=9)])
    wind = found(project.audit("late"), "weather:wind")
    assert (wind.causes, wind.only_offline) == ({"stale": 3}, 3)


def test_a_backfill_after_the_answer_is_no_skew(project: tv.Project, serve: Serve, clock: FixedClock) -> None:
    fitted(project)
    serve(HOURS, fresh=True)
    rewrite(project, "weather.parquet", lambda rows: rows.with_columns(pl.col("wind") + 1))
    report = project.audit("late")
    assert report.ok, str(report)
    assert found(report, "weather:wind").revised == 36
    assert found(report, "congestion:departures").revised == 0


def test_a_store_that_is_behind_is_stale_even_when_the_source_changed_since(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    project.materialize(until=MOMENT)
    serve([MOMENT + timedelta(hours=1)])
    rewrite(project, "flights.parquet", lambda rows: rows.with_columns(pl.col("delay") + 1))
    delay = found(project.audit("late"), "congestion:mean_delay")
    assert (delay.causes, delay.oldest) == ({"stale": 3}, 3_600_000_000)


def test_rows_that_came_late_are_told_apart_from_skew(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    serve(HOURS, fresh=True)
    late = pl.DataFrame({"airport": ["JFK"], "left": [HOURS[0] - timedelta(minutes=5)], "delay": [99.0]})
    rewrite(project, "flights.parquet", lambda rows: pl.concat([rows, late.cast(rows.schema)]))
    report = project.audit("late")
    assert report.ok, str(report)
    assert found(report, "congestion:departures").revised >= 3


@pytest.mark.parametrize(
    ("view", "place", "change", "feature", "cause"),
    [
        ("weather", 0, lambda value: value + 1.0, "weather:wind", "unknown"),
        ("weather", 0, lambda value: value * (1 + 1e-14), "weather:wind", "rounding"),
        ("weather", 0, str, "weather:wind", "type"),
        ("congestion", 1, float, "congestion:departures", "type"),
    ],
)
def test_a_store_with_other_values_is_found(
    project: tv.Project, serve: Serve, view: str, place: int, change: Callable[[Any], Any], feature: str, cause: str
) -> None:
    fitted(project)
    project.materialize(until=MOMENT)
    tamper(project, with_value(place, change), view)
    if cause == "type" and view == "weather":
        with pytest.raises(Invalid):  # a model that takes numbers refuses text, so it is never served
            serve([MOMENT])
        return
    serve([MOMENT])
    report = project.audit("late")
    assert found(report, feature).causes == {cause: 3}, str(report)
    assert report.mismatches == 3
    if cause == "unknown":
        assert found(report, feature).absolute_error == pytest.approx(1)
        example = found(report, feature).examples[0]
        assert example.online == pytest.approx(example.offline + 1)
        assert project.prediction(example.prediction)["entities"] == example.entities
    if cause == "rounding":
        assert project.audit("late", tolerance=1e-12).ok


def test_another_version_of_a_view_is_named(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    project.materialize(until=MOMENT)
    project.define(*airport.views(window="24h"))
    other = project.training_set(
        pl.DataFrame({"airport": airport.AIRPORTS, "t": [MOMENT] * 3}), ["congestion:*"], time="t"
    ).to_polars()
    served = airport.views()[0].anchored(project.root)
    [(watermark, rows)] = project._online.get([(served.online_name, [encode_key((n,)) for n in airport.AIRPORTS])])
    changed = []
    for name, row, values in zip(airport.AIRPORTS, rows, other.rows(named=True), strict=True):
        old = decode_row(row)
        changed.append(
            (encode_key((name,)), encode_row(Row(old.as_of, [values["mean_delay"], values["departures"]], old.times)))
        )
    project._online.drop(served.online_name)
    project._online.put([Batch(served.online_name, changed, watermark, watermark, watermark=watermark)])
    serve([MOMENT])
    report = project.audit("late")
    assert found(report, "congestion:departures").causes == {"version": 3}, str(report)


def test_a_value_that_is_served_beyond_its_time_is_named(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    rewrite(project, "weather.parquet", lambda rows: rows.filter(pl.col("hour") <= MOMENT - timedelta(hours=2)))
    project.materialize(until=MOMENT)
    ids = serve([MOMENT + timedelta(hours=8)])
    wind = found(project.audit("late"), "weather:wind")
    assert wind.mismatches == 0, str(wind)  # too old on both sides
    changed(project, ids, lambda row: {"weather:wind": 1.0}, status="present")
    wind = found(project.audit("late"), "weather:wind")
    assert (wind.causes, wind.only_online) == ({"expired": 3}, 3)


def changed(project: tv.Project, ids: list[str], values: Callable[[Any], dict[str, Any]], *, status: str) -> None:
    """Serve the same again, recorded with other values: what a service with other code would have left."""
    import msgspec

    tables = project._live.tables
    rows = pl.DataFrame(pl.from_arrow(tables.read("predictions", where=[("id", "in", ids)]))).to_dicts()
    for row in rows:
        features, states = msgspec.json.decode(row["features"]), msgspec.json.decode(row["feature_status"])
        new = values(row)
        row["features"] = msgspec.json.encode(features | new).decode()
        row["feature_status"] = msgspec.json.encode(states | dict.fromkeys(new, status)).decode()
        row["received"] += timedelta(seconds=1)
    schema = pl.DataFrame(pl.from_arrow(tables.read("predictions"))).schema
    tables.append("predictions", pl.DataFrame(rows, schema=schema).to_arrow(), day_of="received")


def test_a_view_that_was_never_materialized_is_named(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    project.materialize(["weather"], until=MOMENT)
    serve([MOMENT])
    report = project.audit("late")
    assert found(report, "congestion:departures").causes == {"unmaterialized": 3}
    assert found(report, "weather:wind").mismatches == 0


def test_a_key_that_the_store_lost_is_named(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    project.materialize(until=MOMENT)
    tamper(project, lambda row: row, "weather", airports=("JFK",))  # the others are gone
    serve([MOMENT])
    wind = found(project.audit("late"), "weather:wind")
    assert (wind.causes, wind.only_offline) == ({"missing": 2}, 2)


def test_skew_raises_an_alarm_that_the_next_audit_clears(project: tv.Project, serve: Serve, clock: FixedClock) -> None:
    fitted(project)
    project.materialize(until=MOMENT)
    tamper(project, with_value(0, lambda value: value + 1.0), "weather")
    serve([MOMENT])
    project.audit("late")
    [alarm] = project.alarms()
    assert (alarm.alarm.kind, alarm.alarm.subject) == ("skew", "late@1")
    assert "weather:wind 100.0% (nothing on record explains it)" in alarm.alarm.message
    assert not project.audit_is_due("late")
    clock.advance(LATER)
    assert project.audit_is_due("late")
    project._online.drop(airport.views()[1].anchored(project.root).online_name)
    serve([airport.NOW], fresh=True)
    assert project.audit("late", since=airport.NOW + LATER).ok
    assert project.alarms() == []


def test_data_that_are_gone_are_taken_from_the_record(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    serve(HOURS[:2], fresh=True)
    (project.root / "data/weather.parquet").unlink()
    report = project.audit("late")
    assert report.ok
    assert "data on record" in report.notes[0]


def test_rows_that_were_set_aside_are_told_apart_from_skew(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    flights = airport.views()[0].source
    project.define(tv.Expectations(flights, [tv.expect("delay").between(-60, 15)]))
    serve(HOURS[-1:], fresh=True)
    report = project.audit("late")
    assert report.ok, str(report)
    assert found(report, "congestion:departures").revised > 0


def test_bad_arguments_are_told(project: tv.Project, serve: Serve) -> None:
    fitted(project)
    serve(HOURS[:1], fresh=True)
    for wrong in ({"rows": 0}, {"tolerance": -1.0}, {"delay": "soon"}, {"since": "2026-01-01"}):
        with pytest.raises(Invalid):
            project.audit("late", **wrong)
    with pytest.raises(NotFound):
        project.audit("nobody")
    assert project.audit("late", since=airport.NOW + LATER).rows == 0
