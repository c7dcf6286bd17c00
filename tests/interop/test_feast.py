"""A Feast repository comes over: what it defines is defined here, and what does not fit is named."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from textwrap import dedent

import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.interop.feast import import_feast

DRIVERS = """
from datetime import timedelta
import numpy as np
import pandas as pd
from feast import (Entity, FeatureService, FeatureView, Field, FileSource, LabelView, PushSource, RequestSource,
                   SnowflakeSource, ValueType)
from feast.aggregation import Aggregation
from feast.data_format import DeltaFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Float64, Int64, String

HALF = 0.5
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
car = Entity(name="car", description="What is driven")
stats = FileSource(name="stats", path="data/stats.parquet", timestamp_field="at", created_timestamp_column="created")
pushed = PushSource(name="pushed", batch_source=stats)
names = ["conv_rate", "acc_rate"]
hourly = FeatureView(
    name="hourly", entities=[driver], ttl=timedelta(hours=2), source=pushed, owner="ada",
    schema=[Field(name="driver_id", dtype=Int64), *(Field(name=name, dtype=Float32) for name in names)],
    tags={"team": "it's \\"us\\""}, description="per hour",
)
trips = FileSource(path="data/pairs.parquet", timestamp_field="at")
pairs = FeatureView(name="driver-car", entities=[driver, car], source=trips,
                    schema=[Field(name="trips", dtype=Int64), Field(name="tags", dtype=Array(String))], ttl=timedelta(0))
sums = FeatureView(name="sums", entities=[driver], source=stats,
                   aggregations=[Aggregation(column="trips", function="sum", time_window=timedelta(days=1)),
                                 Aggregation(column="trips", function="nonsense", time_window=timedelta(days=1))])
request = RequestSource(name="request", schema=[Field(name="offer", dtype=Int64)])

def shifted(values):
    return values + HALF

@on_demand_feature_view(sources=[hourly, request], schema=[Field(name="shifted_rate", dtype=Float64)])
def rates(inputs: pd.DataFrame) -> pd.DataFrame:
    "Rates, moved."
    return pd.DataFrame({"shifted_rate": shifted(inputs["conv_rate"]) + inputs["offer"]})

@on_demand_feature_view(sources=[hourly], schema=[Field(name="twice", dtype=Float64)], mode="python")
def doubled(inputs: dict) -> dict:
    return {"twice": [2 * rate for rate in inputs["acc_rate"]]}

service = FeatureService(name="model_v1", features=[hourly[["conv_rate"]], rates, sums])
labels = LabelView(name="labels", entities=[driver], schema=[], source=stats)
snow = SnowflakeSource(name="snow", table="T")
cold = FeatureView(name="cold", entities=[driver], source=snow, schema=[Field(name="x", dtype=Int64)])
lonely = FeatureView(name="lonely", entities=[], source=stats, schema=[Field(name="x", dtype=Int64)])
"""


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "feature_store.yaml").write_text("project: shop\n")
    (folder / "trivet.toml").write_text("")
    (folder / "drivers.py").write_text(DRIVERS)
    return folder


def test_everything_that_fits_comes_over(repository):
    done = import_feast(repository)
    assert done.entities == ["driver", "car", "driver_car"]
    assert done.sources == ["stats", "pairs"]
    assert done.views == ["hourly", "driver_car", "sums"]
    assert done.on_demand == ["rates", "doubled"]
    assert done.services == ["model_v1"]


def test_what_does_not_fit_is_named_with_what_to_do(repository):
    done = import_feast(repository)
    assert set(done.left_behind) == {"labels", "snow", "cold", "lonely", "nonsense(trips) of sums"}
    assert done.left_behind["snow"].startswith("A SnowflakeSource. Declare it as tv.Source('snow'")
    assert done.left_behind["cold"] == "Its source did not come over."
    assert done.notes["driver-car"] == "It is called 'driver_car' here."
    assert "exactly as old" in done.notes["ttl"]
    told = [note for name, note in done.notes.items() if name.startswith("created of")]
    assert all("all history is null" in note for note in told)
    assert len(told) == done.code.count("created=")


def defined(code):
    names: dict = {}
    exec(compile(code, "imported.py", "exec"), names)
    return names


def test_the_code_runs_and_means_the_same(repository, monkeypatch):
    (repository / "imported.py").write_text(import_feast(repository).code)
    monkeypatch.syspath_prepend(repository)
    names = vars(__import__("imported"))
    hourly, pairs, sums = names["hourly"], names["driver_car"], names["sums"]
    assert hourly.entity == tv.Entity("driver", key="driver_id", type="int")
    assert (hourly.owner, hourly.tags, hourly.description) == ("ada", {"team": 'it\'s "us"'}, "per hour")
    assert list(hourly.features) == ["conv_rate", "acc_rate"]
    assert hourly.ttl == 2 * 3600 * 10**6
    assert pairs.ttl is None
    assert pairs.entity.keys == ("car", "driver_id")
    assert list(sums.features) == ["sum_trips_86400s"]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    (repository / "data").mkdir()
    at = [start + timedelta(hours=hour) for hour in range(3)]
    columns = {
        "driver_id": [1, 1, 2],
        "at": at,
        "created": at,
        "conv_rate": [0.1, 0.2, 0.3],
        "acc_rate": [1.0, 2.0, 3.0],
    }
    pl.DataFrame({**columns, "trips": [3, 4, 5]}).write_parquet(repository / "data" / "stats.parquet")
    spine = pl.DataFrame({"driver_id": [1, 2], "t": [start + timedelta(hours=2)] * 2, "offer": [10, 20]})
    with tv.open(repository) as project:
        project.define(*names["DEFINITIONS"])
        made = project.training_set(spine, [names["model_v1"], names["doubled"]], time="t").to_polars()
    assert made["conv_rate"].to_list() == [0.2, 0.3]
    assert made["shifted_rate"].to_list() == [0.2 + 0.5 + 10, 0.3 + 0.5 + 20]
    assert made["twice"].to_list() == [4.0, 6.0]
    assert made["sum_trips_86400s"].to_list() == [7, None] or made["sum_trips_86400s"].to_list() == [7, 0]


def test_files_that_cannot_be_read_are_named_and_the_others_come(repository):
    (repository / "broken.py").write_text("import nothing_of_that_name")
    (repository / ".feastignore").write_text("scratch.py\n")
    (repository / "scratch.py").write_text("raise SystemExit(1)")
    done = import_feast(repository)
    assert "nothing_of_that_name" in done.left_behind["broken.py"]
    assert "scratch.py" not in done.left_behind
    assert "hourly" in done.views


def test_a_folder_above_is_enough_and_a_wrong_one_gets_a_sentence(repository, tmp_path):
    assert import_feast(tmp_path).views == import_feast(repository).views
    with pytest.raises(NotFound, match="There is no folder"):
        import_feast(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="defines nothing of Feast's"):
        import_feast(tmp_path / "empty")


def test_imported_text_cannot_break_out_of_its_quotes(repository):
    (repository / "drivers.py").write_text(
        dedent(
            """
            from feast import Entity, FeatureView, Field, FileSource
            from feast.types import Int64
            e = Entity(name="e")
            s = FileSource(name="s", path="a\\"b'); raise SystemExit(3) #.parquet", timestamp_field="t")
            v = FeatureView(name="v", entities=[e], source=s, schema=[Field(name="x", dtype=Int64)])
            """
        )
    )
    names = defined(import_feast(repository).code)
    assert names["s"].data == "a\"b'); raise SystemExit(3) #.parquet"


SHOP = """
from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource, SnowflakeSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float64, Int64, String, UnixTimestamp
import pandas as pd

user = Entity(name="user", join_keys=["user_id"], description="Who buys", owner="ada", tags={"team": "shop"})
clicks = FileSource(name="clicks", path="clicks.parquet", timestamp_field="at", s3_endpoint_override="http://minio")
ui = FeatureView(name="ui", entities=[user], source=clicks, schema=[Field(name="n", dtype=Int64)])
asked = RequestSource(name="asked", schema=[Field(name="now", dtype=UnixTimestamp), Field(name="many", dtype=Array(String))])
SnowflakeSource(database="SHOP", table="ORDERS", timestamp_field="at")

@on_demand_feature_view(sources=[ui, asked], schema=[Field(name="age", dtype=Float64)])
def ages(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"age": (inputs["now"] - pd.Timestamp("2026-01-01", tz="UTC")).dt.total_seconds() + inputs["n"]})

renamed = FeatureService(name="renamed", features=[ui.with_name("ui2"), ui[["n"]].with_name("ui3")])
mapped = FeatureService(name="mapped", features=[ui, ui.with_join_key_map({"user_id": "buyer_id"})])
"""


def test_nothing_vanishes_unmentioned(tmp_path):
    (tmp_path / "feature_store.yaml").write_text("project: shop")
    (tmp_path / "shop.py").write_text(SHOP)
    done = import_feast(tmp_path)
    assert "'now': 'time'" in done.code.replace('"', "'")
    assert "Array" in done.notes["the request value many of ages"]
    assert done.services == ["renamed", "mapped"]
    assert {"the name ui2", "the name ui3"} <= done.notes.keys()
    assert "other keys" in done.left_behind["a part of service mapped"]
    assert "a part of service renamed" not in done.left_behind
    assert "ORDERS" in done.left_behind
    assert "" not in done.left_behind
    assert "AWS_ENDPOINT_URL" in done.left_behind["s3_endpoint_override of clicks"]
    for line in ("# description: Who buys", "# owner: ada", "# tags: {'team': 'shop'}"):
        assert line in done.code
    compile(done.code, "features.py", "exec")


def test_a_folder_of_several_repositories_is_refused_and_the_only_one_is_named(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "feature_store.yaml").write_text("project: shop")
        (tmp_path / name / "shop.py").write_text(SHOP)
        if name == "one":
            assert str(tmp_path / "one") in import_feast(tmp_path).notes["repository"]
    with pytest.raises(Invalid, match="holds several: one, two"):
        import_feast(tmp_path)
