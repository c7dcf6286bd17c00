from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from trivet.errors import Invalid, NotFound
from trivet.features import Source
from trivet.features.sources import Snapshot, SourceKind, read, snapshot_of, snapshots_of
from trivet.ledger import Artifact

ROWS = pl.DataFrame({"key": ["a", "b"], "x": [1.5, None], "unused": [1, 2]})
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    ROWS.write_parquet(tmp_path / "rows.parquet")
    ROWS.write_csv(tmp_path / "rows.csv")
    ROWS.write_ipc(tmp_path / "rows.arrow")
    return tmp_path


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv", "rows.arrow"])
def test_files_are_read_in_the_columns_asked_for(folder, name):
    source = Source("s", name)
    assert read(source, ["x", "key"], snapshots_of([source], folder)).equals(ROWS.select("x", "key"))


@pytest.mark.parametrize("make", [lambda f: f, lambda f: f.lazy(), lambda f: f.to_pandas(), lambda f: f.to_arrow()])
def test_frames_of_any_make_are_read(make):
    source = Source("s", make(ROWS))
    assert read(source, ["key", "x"], snapshots_of([source])).equals(ROWS.select("key", "x"))
    assert read(source, ["key", "x"], {"s": make(ROWS)}).equals(ROWS.select("key", "x"))


def test_bad_files_get_a_sentence(folder):
    (folder / "empty.parquet").touch()
    (folder / "cut.parquet").write_bytes((folder / "rows.parquet").read_bytes()[:-20])
    (folder / "text.parquet").write_text("not a table")
    (folder / "folder.csv").mkdir()
    cases = {
        "row.parquet": "does not exist. Did you mean 'rows.parquet'",
        "empty.parquet": "is empty",
        "cut.parquet": "cannot be read",
        "text.parquet": "cannot be read",
        "folder.csv": "holds no Parquet files",
        "rows.xlsx": "Files that can be read end in .parquet",
    }
    for name, sentence in cases.items():
        with pytest.raises(Invalid, match=sentence):
            read(Source("s", name), ["x"], snapshots_of([Source("s", name)], folder))
    with pytest.raises(Invalid, match="has no data"):
        snapshot_of(Source("s"))
    with pytest.raises(Invalid, match=r"is a list. Give a pandas"):
        snapshot_of(Source("s", [1, 2]))


def test_unknown_columns_offer_the_nearest(folder):
    source = Source("flights", "rows.parquet")
    with pytest.raises(NotFound, match=r"'keyy'. Did you mean 'key'"):
        read(source, ["keyy"], snapshots_of([source], folder))
    with pytest.raises(NotFound, match="data for source 'flights'"):
        read(source, ["key"], {})


def test_two_sources_of_one_name_are_refused():
    with pytest.raises(Invalid, match="Two sources called 's' have different data"):
        snapshots_of([Source("s", ROWS), Source("s", ROWS.clone())])


def query(sql, *inputs):
    source = Source("q", sql=sql, inputs=inputs or [Source("rows", ROWS)])
    return read(source, ["key"], snapshots_of([source]))


def test_queries_run_over_their_inputs_and_are_sorted():
    rows = Source("rows", ROWS)
    assert query("select key from rows order by key desc")["key"].to_list() == ["a", "b"]
    upper = Source("upper", sql="select upper(key) as key from rows", inputs=[rows])
    assert query("select key || '!' as key from upper where key = 'B'", upper)["key"].to_list() == ["B!"]


def test_queries_over_instants_are_in_utc():
    source = Source("rows", pl.DataFrame({"key": [NOON]}))
    assert query("select hour(key) as key from rows", source)["key"].to_list() == [12]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from elsewhere",
        "selec key",
        "select * from read_csv('rows.csv')",
        "copy rows to 'x.csv'",
        "set enable_external_access = true",
    ],
)
def test_queries_that_fail_or_reach_outside_get_a_sentence(folder, monkeypatch, sql):
    monkeypatch.chdir(folder)
    with pytest.raises(Invalid, match="query of source 'q'"):
        query(sql)
    assert not (folder / "x.csv").exists()


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_a_recorded_file_comes_back_byte_for_byte(folder, context, name):
    snapshot = snapshot_of(Source("s", name), folder)
    saved = SourceKind().save(snapshot, context.blobs)
    artifact = Artifact.of("source", saved.spec, saved.files, created=NOON)
    back = SourceKind().load(artifact, context.blobs)
    assert back.data.read_bytes() == (folder / name).read_bytes()
    assert back.scan().collect().equals(ROWS)
    place = back.data
    del back
    assert not place.exists()


def test_a_recorded_frame_comes_back(context):
    for frame in (ROWS, ROWS.to_pandas(), ROWS.to_arrow()):
        assert isinstance(frame, pl.DataFrame | pd.DataFrame | pa.Table)
        saved = SourceKind().save(snapshot_of(Source("s", frame)), context.blobs)
        back = SourceKind().load(Artifact.of("source", saved.spec, saved.files, created=NOON), context.blobs)
        assert isinstance(back, Snapshot)
        assert back.scan().collect().equals(ROWS)
