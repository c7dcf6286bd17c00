from __future__ import annotations

import os

import polars as pl
import pytest

from trivet.errors import Conflict, Invalid
from trivet.features import Source, snapshots
from trivet.features.snapshots import INDEX, record_source
from trivet.features.sources import snapshot_of
from trivet.pipelines import values

SOURCE = Source("s", "rows.csv")


def write(folder, text, *, age=60):
    path = folder / "rows.csv"
    path.write_text(text)
    past = path.stat().st_mtime - age
    os.utime(path, (past, past))


def test_identity_is_content_and_not_place_or_time(context):
    write(context.root, "a\n1\n")
    first = record_source(SOURCE, context)
    write(context.root, "a\n1\n", age=120)
    assert record_source(SOURCE, context).digest == first.digest
    write(context.root, "a\n2\n", age=120)
    assert record_source(SOURCE, context).digest != first.digest


def test_what_did_not_change_is_not_read_again(context, monkeypatch):
    write(context.root, "a\n1\n")
    first = record_source(SOURCE, context)
    monkeypatch.setattr(snapshots.SourceKind, "save", lambda *_: pytest.fail("read again"))
    assert record_source(SOURCE, context).digest == first.digest


def test_a_file_written_just_now_is_not_trusted(context):
    write(context.root, "a\n1\n", age=0)
    record_source(SOURCE, context)
    assert not (context.root / INDEX).exists()


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_the_index_is_only_a_cache(context, damage):
    write(context.root, "a\n1\n")
    first = record_source(SOURCE, context)
    damage(context.root / INDEX)
    assert record_source(SOURCE, context).digest == first.digest


def test_a_file_that_changes_while_it_is_read_is_refused(context, monkeypatch):
    write(context.root, "a\n1\n")
    save = snapshots.SourceKind.save

    def slow(kind, snapshot, blobs):
        saved = save(kind, snapshot, blobs)
        write(context.root, "a\n1\n2\n")
        return saved

    monkeypatch.setattr(snapshots.SourceKind, "save", slow)
    with pytest.raises(Conflict, match="changed while it was read"):
        record_source(SOURCE, context)


def test_frames_are_recorded_by_content(context):
    one, other = (record_source(Source("s", pl.DataFrame({"x": [n]})), context) for n in (1, 1))
    assert one.digest == other.digest


def test_a_source_is_a_value_of_which_the_data_that_it_has_is_kept(context):
    write(context.root, "a\n1\n")
    saved = values.save(SOURCE, context)
    assert (
        saved.digest
        == record_source(SOURCE, context).digest
        == values.save(snapshot_of(SOURCE, context.root), context).digest
    )
    assert values.load(saved, context.blobs).rows().collect().to_dict(as_series=False) == {"a": [1]}
    with pytest.raises(Invalid, match=r"rows\.csv.*does not exist"):
        values.save(Source("t", "nowhere/rows.csv"), context)
