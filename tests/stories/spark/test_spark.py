"""One Spark session for all tests of this folder: it takes half a minute to start."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import trivet as tv
from tests.stories.spark.same import PLANE, PLANES, asked, check_filled, check_same, flights, served, views
from trivet import plugins
from trivet.errors import ConfigError, Invalid, TrivetError
from trivet.features import FeatureView, Source, select_all
from trivet.features.engines.local import LocalEngine
from trivet.features.engines.spark import SparkEngine
from trivet.features.sources import snapshots_of
from trivet.testing.engines import EngineContract

URL = "spark:local[2]"


def opened(url=URL):
    return plugins.open_url("engine", url, Path())


class TestSpark(EngineContract):
    examples = 12

    def open(self):
        return opened()


def test_frames_queries_and_logs_of_views_are_answered_as_here():
    check_same(opened(), views(flights(), PLANES), asked())


def test_an_online_store_filled_by_spark_has_the_same_bytes(tmp_path):
    check_filled(opened(), served(flights(), PLANES), tmp_path)


def test_files_folders_and_delta_tables_are_read_where_they_are_answered(tmp_path):
    from deltalake import write_deltalake

    data = flights()
    data.write_parquet(tmp_path / "flights.parquet")
    PLANES.write_csv(tmp_path / "planes.csv")
    check_same(opened(), views("flights.parquet", "planes.csv"), asked(), tmp_path)
    check_filled(opened(), served("flights.parquet", "planes.csv"), tmp_path, tmp_path)
    for number, part in enumerate(data.iter_slices(150)):
        (tmp_path / f"folder/year={number}").mkdir(parents=True)
        part.write_parquet(tmp_path / f"folder/year={number}/rows.parquet")
        plain = part.select("tail", "dest", pl.col("dep").dt.cast_time_unit("us").dt.convert_time_zone("UTC"), "delay")
        write_deltalake(tmp_path / "delta", plain.to_arrow(), mode="append")
    for place in ("folder/", "delta:delta"):
        source = Source("flights", place, event_time="dep")
        view = FeatureView("v", entity=PLANE, source=source, features={"s": tv.sum("delay", "9h"), "n": tv.count("1h")})
        check_same(opened(), [view], asked(), tmp_path)


def test_what_is_large_goes_through_a_folder(tmp_path, monkeypatch):
    from trivet.features.engines import filling, spark, spread

    monkeypatch.setattr(spark, "_DIRECT", 1_000)
    monkeypatch.setattr(spread, "_SENT", 100)
    monkeypatch.setattr(spread, "_PART", 1_000)
    check_same(opened(), views(flights(), PLANES), asked())
    monkeypatch.setattr(filling, "_PUT", 1_000)
    check_filled(opened(), served(flights(), PLANES), tmp_path)


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


def test_the_page_is_true(tmp_path, monkeypatch):
    page = (Path(__file__).resolve().parents[3] / "docs/how-to/grow-to-spark.md").read_text("utf-8")
    [settings], [code] = (re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("toml", "python"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trivet.toml").write_text(settings)
    exec(code, {})


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
