from __future__ import annotations

import msgspec
import polars as pl
import pytest
from deltalake import write_deltalake

from trivet.features import Source
from trivet.features.sources import portions, snapshot_of
from trivet.features.sources.portions import decode_portion, portions_of

ROWS = pl.DataFrame({"key": range(10), "x": [str(number) for number in range(10)]})


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(portions, "_ROWS", 4)
    ROWS.write_parquet(tmp_path / "rows.parquet")
    ROWS.write_csv(tmp_path / "rows.csv")
    for number, part in enumerate(ROWS.iter_slices(3)):
        (tmp_path / f"folder/part={number}").mkdir(parents=True)
        part.drop("x" if number == 2 else []).write_parquet(tmp_path / f"folder/part={number}/rows.parquet")
        write_deltalake(tmp_path / "delta", part.to_arrow(), mode="append")
    return tmp_path


@pytest.mark.parametrize(("place", "count"), [("rows.parquet", 3), ("rows.csv", 1), ("folder/", 4), ("delta", 4)])
def test_portions_that_were_sent_are_the_rows_in_their_order(root, place, count):
    snapshot = snapshot_of(Source("events", place, event_time="key"), root)
    sent = [decode_portion(msgspec.json.encode(each)) for each in portions_of(snapshot, here=True)]
    assert len(sent) == count
    assert pl.concat([each.scan() for each in sent]).collect().equals(snapshot.scan().collect())


def test_an_empty_file_is_one_portion(root):
    ROWS.clear().write_parquet(root / "rows.parquet")
    (portion,) = portions_of(snapshot_of(Source("events", "rows.parquet"), root), here=True)
    assert portion.scan().collect().equals(ROWS.clear())


def test_elsewhere_the_files_of_this_machine_are_not_seen(root):
    places = ("rows.parquet", "folder/", "delta")
    assert [portions_of(snapshot_of(Source("events", place), root), here=False) for place in places] == [[], [], []]
    assert portions_of(snapshot_of(Source("events", ROWS), root), here=True) == []
