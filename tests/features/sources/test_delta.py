from __future__ import annotations

import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from tests import servers
from trivet.errors import Corrupt, Invalid, NotFound
from trivet.features import Source
from trivet.features.snapshots import record_source
from trivet.features.sources import SourceKind, delta, read, snapshot_of, snapshots_of

SOURCE = Source("s", "delta:table")


def append(place, schema_mode=None, **columns):
    write_deltalake(str(place), pa.table(columns), mode="append", schema_mode=schema_mode)


@pytest.fixture
def table(context):
    for x in (2, 1, 3):
        append(context.root / "table", x=[x, x])
    return context.root / "table"


def rows(context, *columns, source=SOURCE):
    return read(source, columns, snapshots_of([source], context.root)).rows()


def test_rows_stand_in_the_order_in_which_they_were_committed(table, context):
    assert rows(context, "x") == [(2,), (2,), (1,), (1,), (3,), (3,)]
    assert rows(context, "x") == rows(context, "x", source=Source("s", "table"))


def test_columns_may_be_added(table, context):
    append(table, "merge", x=[4], y=["new"])
    assert rows(context, "x", "y")[-3:] == [(3, None), (3, None), (4, "new")]


def test_partitions_are_columns(context):
    data = pa.table({"x": [1, 2], "day": pa.array([15706, 15707], pa.date32())})
    write_deltalake(str(context.root / "table"), data, partition_by=["day"])
    assert sorted(map(str, rows(context, "day", "x"))) == [
        "(datetime.date(2013, 1, 1), 1)",
        "(datetime.date(2013, 1, 2), 2)",
    ]


def test_a_table_without_rows(context):
    write_deltalake(str(context.root / "table"), pa.table({"x": pa.array([], pa.int64())}))
    assert rows(context, "x") == []
    back = SourceKind().load(record_source(SOURCE, context), context.blobs)
    assert back.scan().collect().schema == {"x": pl.Int64}


def test_a_recorded_version_survives_changes_and_vacuuming(table, context):
    artifact = record_source(SOURCE, context)
    assert (artifact.spec["table"], artifact.spec["version"]) == ("table", 2)
    DeltaTable(str(table)).delete("x = 1")
    DeltaTable(str(table)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    assert rows(context, "x") == [(2,), (2,), (3,), (3,)]
    assert record_source(SOURCE, context).digest != artifact.digest
    back = SourceKind().load(artifact, context.blobs)
    assert read(SOURCE, ["x"], {"s": back})["x"].to_list() == [2, 2, 1, 1, 3, 3]


def test_a_version_that_is_on_record_is_not_read_again(table, context, monkeypatch):
    artifact = record_source(SOURCE, context)
    monkeypatch.setattr(delta.DeltaSnapshot, "keep", lambda *_: pytest.fail("read again"))
    assert record_source(SOURCE, context).digest == artifact.digest


@pytest.fixture
def large(table, context, monkeypatch):
    monkeypatch.setattr(delta, "MOST_COPIED", 10)
    return record_source(SOURCE, context)


def test_a_large_version_is_recorded_by_reference(table, context, large):
    append(table, x=[9])
    assert list(large.files) == ["location.json"]
    assert str(context.root) not in json.dumps(large.spec)
    back = SourceKind().load(large, context.blobs)
    assert read(SOURCE, ["x"], {"s": back})["x"].to_list() == [2, 2, 1, 1, 3, 3]


def test_a_large_version_that_was_vacuumed_says_so(table, context, large):
    DeltaTable(str(table)).delete("x = 1")
    DeltaTable(str(table)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(NotFound, match=r"version 2 of the Delta table of source 's'.* was vacuumed"):
        SourceKind().load(large, context.blobs)


def test_a_large_version_of_a_table_that_was_made_anew_is_refused(table, context, large):
    import shutil

    shutil.rmtree(table)
    with pytest.raises(NotFound, match="too large to be copied"):
        SourceKind().load(large, context.blobs)
    for x in (2, 1, 3):
        append(table, x=[x, x])
    with pytest.raises(Corrupt, match="made anew"):
        SourceKind().load(large, context.blobs)


def test_damaged_tables_get_a_sentence(table, context):
    last = sorted((table / "_delta_log").glob("*.json"))[-1]
    text = last.read_text()
    last.write_text(text[: len(text) // 2])
    with pytest.raises(Invalid, match="source 's'"):
        rows(context, "x")
    last.write_text(text)
    next(table.glob("*.parquet")).unlink()
    with pytest.raises(Invalid, match="source 's' cannot be read"):
        rows(context, "x")
    with pytest.raises(Invalid, match="source 's' cannot be read"):
        record_source(SOURCE, context)


def test_what_is_no_table_gets_a_sentence(context):
    with pytest.raises(Invalid, match="does not exist"):
        snapshot_of(SOURCE, context.root)
    (context.root / "table").mkdir()
    with pytest.raises(Invalid, match="no Delta table"):
        snapshot_of(SOURCE, context.root)


def test_tables_in_an_object_store_are_read(context, monkeypatch):
    import boto3

    with servers.s3() as endpoint:
        known = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
        for name, value in {**known, "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"}.items():
            monkeypatch.setenv(name, value)
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="shop")
        write_deltalake("s3://shop/orders", pd.DataFrame({"x": [1, 2]}))
        source = Source("s", "s3://shop/orders")
        assert rows(context, "x", source=source) == [(1,), (2,)]
        artifact = record_source(source, context)
        assert artifact.spec["table"] == "s3://shop/orders"
    back = SourceKind().load(artifact, context.blobs)
    assert back.scan().collect()["x"].to_list() == [1, 2]
