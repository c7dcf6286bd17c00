"""``as_known_at``: what the same call would have answered then, and never from the data of another source."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

import trivet as tv
from trivet.clock import FixedClock
from trivet.errors import NotFound
from trivet.features.quality.expectation import expect
from trivet.features.quality.expectations import Expectations

START = datetime(2026, 1, 1, tzinfo=UTC)
K = tv.Entity("k")
SPINE = pl.DataFrame({"k": ["a"], "t": [START + timedelta(days=300)]})


def rows(value):
    return pl.DataFrame({"k": ["a"], "at": ["2025-12-01T00:00Z"], "v": [value], "w": [value]})


@pytest.fixture
def clock():
    return FixedClock(START)


@pytest.fixture
def project(tmp_path, clock):
    (tmp_path / "trivet.toml").touch()
    with tv.open(tmp_path, clock=clock) as opened:
        yield opened


def reads(name, data, column="v", source="f", **told):
    source = tv.Source(source, data, event_time="at", **told)
    return tv.FeatureView(name, entity=K, source=source, features=[column])


def asked(project, *features, at=None):
    made = project.training_set(SPINE, list(features), time="t", as_known_at=at)
    return made.to_polars().drop("k", "t").row(0), made


def test_two_files_under_one_name_are_two_sources(project, clock, tmp_path):
    rows(5.0).write_parquet(tmp_path / "x.parquet")
    rows(6.0).write_parquet(tmp_path / "y.parquet")
    x, y = reads("vx", "x.parquet"), reads("vy", "y.parquet", "w")
    asked(project, x)
    clock.advance(timedelta(days=1))
    asked(project, y)
    clock.advance(timedelta(days=1))
    assert asked(project, x, at=clock())[0] == (5.0,)
    assert asked(project, y, at=clock())[0] == (6.0,)
    with pytest.raises(NotFound, match=r"f as of 2026-01-01 .* The first is of 2026-01-02"):
        asked(project, y, at=START)
    with pytest.raises(NotFound, match="Nothing was ever recorded of this declaration"):
        asked(project, reads("vz", "z.parquet"), at=clock())
    assert asked(project, reads("late", "x.parquet", known_after="1h"), at=clock())[0] == (5.0,)  # the same rows


def test_two_frames_under_one_name_are_those_of_their_views(project, clock):
    asked(project, reads("va", rows(1.0)))
    clock.advance(timedelta(days=1))
    asked(project, reads("vb", rows(2.0), "w"))
    assert asked(project, reads("va", rows(3.0)), at=clock())[0] == (1.0,)
    with pytest.raises(NotFound, match="Nothing was ever recorded"):
        asked(project, reads("vc", rows(4.0)), at=clock())


def test_references_mean_what_was_defined_then_with_the_frames_of_then(tmp_path):
    (tmp_path / "trivet.toml").touch()

    def moment():
        time.sleep(0.002)
        now = datetime.now(UTC)
        time.sleep(0.002)
        return now

    source = tv.Source("f", rows(9.0), event_time="at")
    counted = tv.FeatureView("view", entity=K, source=source, features={"v": tv.count("999d")})
    with tv.open(tmp_path) as project:
        before = moment()
        project.define(reads("view", rows(1.0)))
        then = moment()
        project.define(counted)
        assert asked(project, "view:*")[0] == (1,)
        values, made = asked(project, "view:*", at=then)
        assert values == (1.0,)
        assert made.report.as_known == {"f": "the frame that its view was defined with then"}
        project.define(reads("view", rows(7.0)))
        assert asked(project, "view:*", at=then)[0] == (1.0,)
        assert asked(project, "view:*")[0] == (7.0,)
        with pytest.raises(NotFound, match=r"view as of .* It was first defined 20"):
            asked(project, "view:*", at=before)


def test_tables_of_the_project_answer_what_they_had(project, clock):
    def order(number, amount, **more):
        return [{"order": number, "k": "a", "at": "2025-12-01T00:00Z", "amount": amount, **more}]

    tables = project.tables
    tables.ingest("orders", order(1, 20), key="order", event_time="at")
    view = tv.FeatureView(
        "s",
        entity=K,
        source=tables.source("orders"),
        features={"s": tv.max("amount", "999d"), "l": tv.last("amount", "999d")},
    )
    moments, answers, rows_then = [], [], []
    for number, amount in ((2, 5), (3, 100), (4, 0.5), (1, 21)):
        moments.append(clock())
        made = asked(project, view)
        answers.append(made[1].artifact.content)
        rows_then.append((tables.read("orders", history=True).height, tables.describe("orders").version))
        clock.advance(timedelta(days=1))
        tables.ingest("orders", order(number, amount, **({"note": "x"} if number == 4 else {})))
    tables.compact("orders", retention="0s")
    for moment, content, (height, version) in zip(moments, answers, rows_then, strict=True):
        for later in (timedelta(), timedelta(hours=9)):
            _, made = asked(project, view, at=moment + later)
            assert made.artifact.content == content
            assert made.report.source_rows == {"orders": height}
            assert made.report.as_known["orders"] == f"version {version} of {moment:%Y-%m-%d %H:%M:%S} UTC"
            assert made.run.tags["as_known.orders"] == made.report.as_known["orders"]
    with pytest.raises(NotFound, match=r"orders as of 2025-12-31 .* Its first rows are of 2026-01-01"):
        asked(project, view, at=START - timedelta(days=1))


def test_delta_tables_answer_with_the_version_of_then(project, tmp_path):
    place = tmp_path / "delta"
    write_deltalake(place, rows(1.0).with_columns(pl.col("at").str.to_datetime(time_zone="UTC")).to_arrow())
    write_deltalake(
        place,
        rows(7.0).with_columns(at=pl.lit(START - timedelta(days=9))).to_arrow(),
        mode="append",
        schema_mode="merge",
    )
    committed = sorted(each["timestamp"] for each in DeltaTable(place).history())
    view = reads("vd", "delta")
    then, now = (datetime.fromtimestamp(each / 1000, UTC) for each in committed)
    values, made = asked(project, view, at=then)
    assert (values, made.report.as_known["f"][:12]) == ((1.0,), "version 0 of")
    assert asked(project, view, at=now)[0] == asked(project, view)[0] == (7.0,)
    with pytest.raises(NotFound, match=r"Version 0 of .* is the first"):
        asked(project, view, at=then - timedelta(seconds=1))
    DeltaTable(place).optimize.compact()
    DeltaTable(place).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(NotFound, match="of version 0 was vacuumed"):
        asked(project, view, at=then)


def test_what_was_materialized_without_refused_rows_is_no_record(project, clock, tmp_path):
    both = pl.concat([rows(1.0), rows(900.0)])
    both.write_parquet(tmp_path / "x.parquet")
    view = reads("vx", "x.parquet")
    project.define(view)
    asked(project, view)
    clock.advance(timedelta(days=1))
    project.define(Expectations(view.source, [expect("v").between(0, 60)]))
    project.materialize()
    _, made = asked(project, view, at=clock())
    assert made.report.source_rows == {"f": 2}
    assert made.report.as_known["f"].startswith("as recorded 2026-01-01 00:00:00 UTC by training_set ")


def test_where_the_data_came_from_is_no_part_of_the_digest(project, clock, tmp_path):
    rows(1.0).write_parquet(tmp_path / "x.parquet")
    view = reads("vx", "x.parquet")
    _, then = asked(project, view)
    clock.advance(timedelta(days=1))
    rows(2.0).write_parquet(tmp_path / "x.parquet")
    _, again = asked(project, view, at=clock())
    assert again.artifact.digest == then.artifact.digest
    assert again.report.as_known["f"] == f"as recorded 2026-01-01 00:00:00 UTC by training_set {then.run.id}"
    assert again.run.tags["as_known_at"] == clock().isoformat()
