"""One Spark session for all tests of this folder: it takes half a minute to start."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import lmdb
import numpy as np
import polars as pl
import pytest

import trivet as tv
from trivet import plugins
from trivet.errors import ConfigError, Invalid, TrivetError
from trivet.features import Entity, FeatureView, Source, select_all
from trivet.features.engines.local import LocalEngine
from trivet.features.engines.spark import SparkEngine
from trivet.features.materialize import Materializer
from trivet.features.online.lmdb import LmdbStore
from trivet.features.sources import snapshots_of
from trivet.testing.engines import EngineContract

URL = "spark:local[2]"
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
PLANE, ROUTE = Entity("plane", key="tail", type="string"), Entity("route", keys=("tail", "dest"))


def opened(url=URL):
    return plugins.open_url("engine", url, Path())


class TestSpark(EngineContract):
    examples = 12

    def open(self):
        return opened()


def flights(rows=400, seed=0):
    """Rows with types that Spark does not have: categories, unsigned numbers, nanoseconds in a local zone, times of day."""
    random = np.random.default_rng(seed)
    moments = [NOON + timedelta(minutes=int(m)) for m in random.integers(0, 900, rows)]
    return pl.DataFrame(
        {
            "tail": random.choice(list("ABCDEFGH"), rows),
            "dest": random.choice(["LGA", "JFK"], rows),
            "dep": pl.Series(moments, dtype=pl.Datetime("ns", "America/New_York")),
            "delay": random.normal(size=rows),
            "seats": pl.Series(random.integers(0, 2**63, rows), dtype=pl.UInt64),
            "carrier": pl.Series(random.choice(["AA", "UA"], rows).tolist(), dtype=pl.Categorical),
            "clock": pl.Series(moments).dt.time(),
            "legs": random.integers(0, 9, (rows, 2)).tolist(),
        }
    )


def asked(rows=150):
    return flights(rows, seed=1).select(pl.col("dep").alias("t"), "dest", pl.col("tail").cast(pl.String))


def views(data, planes):
    source = Source("flights", data, event_time="dep", known_after="7m")
    plane = FeatureView(
        "plane",
        entity=PLANE,
        source=source,
        ttl="2h",
        features={
            **{name: tv.latest(name) for name in ("delay", "seats", "carrier", "clock", "legs")},
            "mean": tv.mean("delay", ["1h", "4h"], where="carrier = 'AA'"),
            "std": tv.std("delay", "4h"),
        },
    )
    route = FeatureView("route", entity=ROUTE, source=source, features={"n": tv.count("3h"), "of": tv.latest("delay")})
    busy = "SELECT tail, date_trunc('hour', dep::TIMESTAMPTZ) AS hour, count(*) AS many FROM flights GROUP BY ALL"
    query = Source("busy", sql=busy, inputs=[source], event_time="hour", known_after="1h")
    return [
        plane,
        route,
        FeatureView("planes", entity=PLANE, source=Source("planes", planes), features=["age"]),
        FeatureView("busy", entity=PLANE, source=query, features=["many"]),
        FeatureView("log", entity=PLANE, source=inner(source), features={"highest": tv.max("last", "5h")}),
    ]


def served(data, planes):
    """The same views, without what has no online form and with what may not be served."""
    plane, *others = views(data, planes)
    kept = {name: each for name, each in plane.features.items() if name not in ("clock", "legs")}
    secret = Source("flights", data, event_time="dep", known_after="7m", personal={"seats": "do not serve"})
    return [FeatureView("plane", entity=PLANE, source=secret, features=kept, ttl="2h"), *others]


def inner(source):
    return FeatureView("inner", entity=PLANE, source=source, features={"last": tv.latest("delay")})


def check_same(all_views, spine, root=Path()):
    sources, features = snapshots_of([view.source for view in all_views], root), select_all(all_views)
    there = opened().point_in_time(spine, features, sources, time="t", strict=True)
    here = LocalEngine().point_in_time(spine, features, sources, time="t", strict=True)
    assert there.frame.equals(here.frame, null_equal=True)
    assert there.frame.schema == here.frame.schema
    assert there.report == here.report


def check_filled(all_views, folder, root=Path(), url=URL):
    """A store filled by Spark, by steps and by data read anew, has the bytes of one that is filled here."""
    for moment in (NOON + timedelta(hours=9), NOON + timedelta(hours=20)):
        sources = snapshots_of([view.source for view in all_views], root)
        assert filled(all_views, sources, folder / "there", moment, opened(url)) == filled(
            all_views, sources, folder / "here", moment
        )
    assert in_store(folder / "there") == in_store(folder / "here")


def filled(all_views, sources, folder, moment, engine=None):
    store = LmdbStore(folder)
    written = Materializer(all_views, sources, store, engine).advance(moment)
    store.close()
    assert any(written.values())
    return written


def in_store(folder):
    with lmdb.open(str(folder), readonly=True) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


PLANES = pl.DataFrame({"tail": ["A", "B", "B", None], "age": [10, 20, 30, 40]})


def test_frames_queries_and_logs_of_views_are_answered_as_here():
    check_same(views(flights(), PLANES), asked())


def test_an_online_store_filled_by_spark_has_the_same_bytes(tmp_path):
    check_filled(served(flights(), PLANES), tmp_path)


def test_files_folders_and_delta_tables_are_read_where_they_are_answered(tmp_path):
    from deltalake import write_deltalake

    data = flights()
    data.write_parquet(tmp_path / "flights.parquet")
    PLANES.write_csv(tmp_path / "planes.csv")
    check_same(views("flights.parquet", "planes.csv"), asked(), tmp_path)
    check_filled(served("flights.parquet", "planes.csv"), tmp_path, tmp_path)
    for number, part in enumerate(data.iter_slices(150)):
        (tmp_path / f"folder/year={number}").mkdir(parents=True)
        part.write_parquet(tmp_path / f"folder/year={number}/rows.parquet")
        plain = part.select("tail", "dest", pl.col("dep").dt.cast_time_unit("us").dt.convert_time_zone("UTC"), "delay")
        write_deltalake(tmp_path / "delta", plain.to_arrow(), mode="append")
    for place in ("folder/", "delta:delta"):
        source = Source("flights", place, event_time="dep")
        view = FeatureView("v", entity=PLANE, source=source, features={"s": tv.sum("delay", "9h"), "n": tv.count("1h")})
        check_same([view], asked(), tmp_path)


def test_what_is_large_goes_through_a_folder(tmp_path, monkeypatch):
    from trivet.features.engines import filling, spark, spread

    monkeypatch.setattr(spark, "_DIRECT", 1_000)
    monkeypatch.setattr(spread, "_SENT", 100)
    monkeypatch.setattr(spread, "_PART", 1_000)
    check_same(views(flights(), PLANES), asked())
    monkeypatch.setattr(filling, "_PUT", 1_000)
    check_filled(served(flights(), PLANES), tmp_path)


def test_the_spine_may_be_a_frame_of_spark():
    session = opened().session()
    plain = asked().select("tail", pl.col("t").dt.cast_time_unit("us").dt.convert_time_zone("UTC"))
    spine = session.createDataFrame(plain.to_arrow())
    view = views(flights(), PLANES)[2]
    there = opened().point_in_time(spine, select_all([view]), snapshots_of([view.source]), time="t")
    here = LocalEngine().point_in_time(plain, select_all([view]), snapshots_of([view.source]), time="t")
    assert there.frame["age"].equals(here.frame["age"])


def test_a_project_needs_one_line(tmp_path):
    (tmp_path / "trivet.toml").write_text(f'[features]\nengine = "{URL}"\n')
    flights().write_parquet(tmp_path / "flights.parquet")
    project = tv.open(tmp_path)
    made = project.training_set(asked(), views(str(tmp_path / "flights.parquet"), PLANES)[:2], time="t")
    (tmp_path / "trivet.toml").write_text("")
    local = tv.open(tmp_path).training_set(asked(), ["plane:*", "route:*"], time="t")
    assert made.artifact.content == local.artifact.content
    assert made.to_polars().equals(local.to_polars())


def test_materialize_uses_the_engine_that_the_project_names(tmp_path, monkeypatch):
    flights().write_parquet(tmp_path / "flights.parquet")
    declared = served(str(tmp_path / "flights.parquet"), PLANES)[1::3]
    jobs, fetch = [], SparkEngine.fetch
    monkeypatch.setattr(SparkEngine, "fetch", lambda *arguments: jobs.append(1) or fetch(*arguments))
    answers = []
    for engine in (URL, "local:"):
        (tmp_path / "trivet.toml").write_text(f'[features]\nengine = "{engine}"\nonline = "lmdb:{engine[:5]}"\n')
        with tv.open(tmp_path) as project:
            written = project.materialize(declared, until="2013-01-01T20:00Z")
            keys = [{"tail": tail, "dest": "LGA"} for tail in "ABCZ"]
            vectors = project.online_features(declared, keys, at="2013-01-01T20:00Z")
            answers.append((written, [(each.values, each.status, each.times) for each in vectors]))
    assert answers[0] == answers[1]
    assert len(jobs) == 1


def test_errors_of_spark_are_sentences():
    with pytest.raises(ConfigError, match=r"session on 'local\[2\]' already, and 'local\[7\]' is asked for"):
        opened("spark:local[7]").session()
    with pytest.raises(ConfigError, match="option 'folders'"):
        opened("spark:local[2]?folders=x")
    engine = opened()
    frame = engine.session().sql("SELECT raise_error('no')")
    with pytest.raises(TrivetError, match=r"Spark fails: .*no"):
        engine.point_in_time(frame, [], {}, time="t")


def test_a_file_that_disappears_is_named(tmp_path):
    flights().write_parquet(tmp_path / "flights.parquet")
    source = Source("flights", "flights.parquet", event_time="dep")
    view = FeatureView("v", entity=PLANE, source=source, features=["delay"])
    (tmp_path / "flights.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(Invalid, match="source 'flights' cannot be read"):
        opened().point_in_time(asked(), select_all([view]), snapshots_of([source], tmp_path), time="t")
