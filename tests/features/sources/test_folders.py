from __future__ import annotations

import polars as pl
import pytest

from trivet.errors import Conflict, Invalid, NotFound
from trivet.features import Source
from trivet.features.snapshots import record_source
from trivet.features.sources import read, snapshots_of
from trivet.features.sources.folders import FolderSnapshot

SOURCE = Source("s", "data")


def write(folder, name, **columns):
    path = folder / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(path)


def rows(folder, *columns):
    return read(SOURCE, columns, snapshots_of([SOURCE], folder)).rows()


def test_files_are_read_in_the_order_of_their_names_with_their_partitions(tmp_path):
    for year, city, x in ((2014, "b", 3), (2013, "b", 2), (2013, "a", 1)):
        write(tmp_path, f"year={year}/city={city}/part.parquet", x=[x])
    assert rows(tmp_path, "year", "city", "x") == [(2013, "a", 1), (2013, "b", 2), (2014, "b", 3)]


def test_a_folder_that_stands_below_something_like_a_partition(tmp_path):
    write(tmp_path / "other=1", "year=2013/a.parquet", x=[1])
    assert rows(tmp_path / "other=1", "year", "x") == [(2013, 1)]
    with pytest.raises(NotFound, match="'other'"):
        rows(tmp_path / "other=1", "other")


def test_columns_that_come_later_are_null_before(tmp_path):
    write(tmp_path, "a.parquet", x=[1])
    write(tmp_path, "b.parquet", x=[2], y=["new"])
    write(tmp_path, "c.parquet", x=[2.5])
    assert rows(tmp_path, "x", "y") == [(1.0, None), (2.0, "new"), (2.5, None)]


def test_hidden_files_and_other_files_are_not_data(tmp_path):
    write(tmp_path, "a.parquet", x=[1])
    write(tmp_path, "_temporary/b.parquet", x=[2])
    (tmp_path / "data" / "_SUCCESS").touch()
    (tmp_path / "data" / "README.md").write_text("words")
    assert rows(tmp_path, "x") == [(1,)]


def test_bad_folders_get_a_sentence(tmp_path):
    with pytest.raises(Invalid, match="does not exist"):
        rows(tmp_path, "x")
    (tmp_path / "data").mkdir()
    with pytest.raises(Invalid, match="holds no Parquet files"):
        rows(tmp_path, "x")
    write(tmp_path, "a.parquet", x=[1])
    (tmp_path / "data" / "b.parquet").touch()
    with pytest.raises(Invalid, match=r"'b.parquet' is empty"):
        rows(tmp_path, "x")
    (tmp_path / "data" / "b.parquet").write_bytes((tmp_path / "data" / "a.parquet").read_bytes()[:-9])
    with pytest.raises(Invalid, match="cannot be read"):
        rows(tmp_path, "x")
    write(tmp_path, "b.parquet", x=["text"])
    with pytest.raises(Invalid, match="cannot be read"):
        rows(tmp_path, "x")


def test_a_file_that_did_not_change_is_stored_once(context):
    write(context.root, "a.parquet", x=[1])
    first = record_source(SOURCE, context)
    write(context.root, "b.parquet", x=[2])
    second = record_source(SOURCE, context)
    assert first.digest != second.digest
    assert first.files["a.parquet"] == second.files["a.parquet"]


def test_a_folder_that_grows_while_it_is_read_is_refused(context, monkeypatch):
    write(context.root, "a.parquet", x=[1])
    keep = FolderSnapshot.keep

    def slow(snapshot, blobs):
        saved = keep(snapshot, blobs)
        write(context.root, "b.parquet", x=[2])
        return saved

    monkeypatch.setattr(FolderSnapshot, "keep", slow)
    with pytest.raises(Conflict, match="changed while it was read"):
        record_source(SOURCE, context)
