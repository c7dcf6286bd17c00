"""What every kind of place promises."""

from __future__ import annotations

import polars as pl
import pytest

from tests.features.sources.conftest import ROWS
from trivet.errors import NotFound
from trivet.features import Source
from trivet.features.snapshots import record_source
from trivet.features.sources import Snapshot, SourceKind, read, snapshot_of, snapshots_of
from trivet.features.sources.opening import PLACES
from trivet.features.times import Rules, to_micros

WANTED = ["x", "key"]


def again(source, **options):
    spec = {"event_time": "at", "table": source.table, "order": source.order}
    return Source("s", source.data, function=source.function, **{**spec, **options})


def test_the_rows_are_read_in_their_order_and_in_the_columns_asked_for(declared, context):
    rows = read(declared, WANTED, snapshots_of([declared], context.root))
    assert rows.equals(ROWS.select(WANTED))
    at = read(declared, ["at"], snapshots_of([declared], context.root))["at"]
    assert to_micros(at, Rules("it", timezone="UTC")).to_list() == ROWS["at"].to_physical().to_list()


def test_the_first_kind_that_claims_a_source_claims_it_every_time(declared, context):
    claimed = [[place.claims(declared, context.root) for place in PLACES].index(True) for _ in range(2)]
    assert claimed[0] == claimed[1]
    back = Source.from_spec(declared.to_spec())
    assert back.to_spec() == declared.to_spec()


def test_recorded_twice_it_is_one_artifact_and_comes_back(declared, context):
    artifact = record_source(declared, context)
    assert record_source(declared, context).digest == artifact.digest
    back = SourceKind().load(artifact, context.blobs)
    assert isinstance(back, Snapshot)
    assert read(declared, WANTED, {"s": back}).equals(ROWS.select(WANTED))
    assert SourceKind().accepts(back)


def test_columns_that_may_not_be_stored_are_nowhere(declared, context):
    source = again(declared, personal={"secret": "do not store"})
    snapshot = snapshot_of(source, context.root)
    assert "secret" not in snapshot.scan().collect_schema().names()
    artifact = record_source(source, context)
    for file in artifact.files.values():
        assert b"s3" not in context.blobs.read(file.digest)
    back = SourceKind().load(artifact, context.blobs)
    assert read(source, WANTED, {"s": back}).equals(ROWS.select(WANTED))
    with pytest.raises(NotFound, match="secret"):
        read(source, ["secret"], {"s": back})
    assert artifact.digest != record_source(declared, context).digest


def test_a_misspelt_column_that_may_not_be_stored_is_an_error(declared, context):
    with pytest.raises(NotFound, match=r"'secrets'. Did you mean 'secret'"):
        snapshot_of(again(declared, personal={"secrets": "do not store"}), context.root)


def test_unknown_columns_offer_the_nearest(declared, context):
    with pytest.raises(NotFound, match=r"'keyy'. Did you mean 'key'"):
        read(declared, ["keyy"], snapshots_of([declared], context.root))


def test_a_query_sees_no_column_that_may_not_be_stored(declared, context):
    inner = again(declared, personal={"secret": "do not store"})
    query = Source("q", sql="select * from s", inputs=[inner])
    rows = read(query, ["key", "x"], snapshots_of([query], context.root))
    assert rows.sort("x").equals(ROWS.select("key", "x").sort("x"))
    with pytest.raises(NotFound, match="'secret'"):
        read(query, ["secret"], snapshots_of([query], context.root))


def test_frames_that_are_handed_over_directly_are_cut_too():
    source = Source("s", event_time="at", personal={"secret": "do not store"})
    with pytest.raises(NotFound, match="'secret'"):
        read(source, ["secret"], {"s": pl.DataFrame({"secret": ["x"], "at": ["2013-01-01T00:00Z"]})})
